"""Endpoints of sellers: balances, now or at an earlier instant, and payouts to their banks."""

from infrastructure.web.as_of import asks_for_the_past, moment_of
from infrastructure.web.operation import Call, Reply
from infrastructure.web.requests import PastQuery, PayoutsQuery
from infrastructure.web.responses import Balance, CurrencyBalance, Payout, Payouts


async def show_balance(call: Call[None, PastQuery]) -> Reply:
    """Show the balances of a seller. A seller without transfers has none, which is no error."""
    seller_id = call.id("seller_id")
    if asks_for_the_past(call.query):
        balances = await call.past.balances(seller_id, await moment_of(call))
    else:
        balances = await call.reads.balances(seller_id)
    return Reply(200, Balance(seller_id, [CurrencyBalance(*row) for row in balances]))


async def list_payouts(call: Call[None, PayoutsQuery]) -> Reply:
    """Show the payouts of a seller. An unknown seller has none, which is no error."""
    seller_id = call.id("seller_id")
    rows = await call.reads.payouts(seller_id, call.query.limit)
    shown = [
        Payout(
            row.payout_id,
            row.account,
            row.amount,
            row.currency,
            row.status,
            row.arrival_date,
            row.last_error,
            row.created_at,
            row.updated_at,
        )
        for row in rows
    ]
    return Reply(200, Payouts(seller_id, shown))
