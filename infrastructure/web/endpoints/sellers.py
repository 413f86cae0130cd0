"""Balance, payouts and statement of a seller."""

from infrastructure.web.as_of import asks_for_the_past, moment_of
from infrastructure.web.operation import ApiCall, Reply
from infrastructure.web.problems import Problem
from infrastructure.web.requests import PastQuery, PayoutsQuery, StatementQuery
from infrastructure.web.responses import (
    Account,
    Balance,
    CurrencyBalance,
    Movement,
    Payout,
    Payouts,
    Statement,
)
from projections import statements
from projections.statements import Period

MOST_MOVEMENTS = 10_000
"""Limit of one answer; the command line has no such limit."""


async def show_balance(call: ApiCall[None, PastQuery]) -> Reply:
    """Show a seller's balances. Sellers are known only by their transfers: without any, there are
    no balances, which is not an error."""
    seller_id = call.id("seller_id")
    if asks_for_the_past(call.query):
        balances = await call.past.balances(seller_id, await moment_of(call))
    else:
        balances = await call.reads.balances(seller_id)
    return Reply(200, Balance(seller_id, [CurrencyBalance(*row) for row in balances]))


async def list_payouts(call: ApiCall[None, PayoutsQuery]) -> Reply:
    """List a seller's payouts; an unknown seller has none."""
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


async def show_statement(call: ApiCall[None, StatementQuery]) -> Reply:
    """Show a seller's statement; a seller without transfers has no accounts, which is not an
    error."""
    query, seller_id = call.query, call.id("seller_id")
    if query.end < query.start:
        detail = (
            f"The period ends at {query.end.isoformat()}, before it begins at "
            f"{query.start.isoformat()}; swap from and to."
        )
        raise Problem("bad_period", detail)
    moment = await call.past.moment(position=query.as_of_position)
    statement = await call.past.statement(
        seller_id, Period(query.start, query.end), moment, MOST_MOVEMENTS
    )
    return Reply(200, _statement(statement.only(query.currency)))


def _statement(statement: statements.SellerStatement) -> Statement:
    if statement.unexplained:
        detail = (
            "The statement is not shown, because it does not add up: "
            f"{' '.join(statement.unexplained)}"
        )
        raise Problem("does_not_tie_out", detail)
    start, end = statement.period
    accounts = [
        Account(
            account.currency,
            account.opening,
            [Movement(*movement) for movement in account.movements],
            account.closing,
        )
        for account in statement.accounts
    ]
    return Statement(statement.seller_id, {"from": start, "to": end}, statement.position, accounts)
