"""Amounts that a seller owes, each beside the payouts to the seller's bank."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from infrastructure.postgres.connections import Pool, fetch_by_index
from infrastructure.postgres.named_queries import queries
from infrastructure.web.console.ledger import Json
from infrastructure.web.console.texts import moment, money, span

SQL = queries("console")
MOST: Final = 50
NOT_PAID_OUT: Final = ("failed", "canceled")


class Debt(NamedTuple):
    """A reversal that is not done: money that the seller still has to give back."""

    transfer_id: UUID
    order_id: str
    refund_id: str | None
    amount: int
    currency: str
    status: str
    since: datetime
    waiting_for: str | None
    next_retry_at: datetime | None
    last_error: str | None


async def debts_of(pool: Pool, seller_id: str) -> list[Debt]:
    """Return the oldest debts of a seller, at most `MOST`."""
    values = {"seller_id": seller_id, "limit": MOST}
    return await fetch_by_index(pool, Debt, SQL["debts_of_seller"], values)


def payouts_beside(debt: Debt, payouts: Sequence[Json]) -> list[str]:
    """Describe the last payout before a debt began, and the payouts since. Their times are those of
    Stripe's reports."""
    paid = [
        one
        for one in payouts
        if one["currency"] == debt.currency and one["status"] not in NOT_PAID_OUT
    ]
    before = [one for one in paid if moment(one["created_at"]) <= debt.since]
    since = [one for one in paid if moment(one["created_at"]) > debt.since]
    lines = []
    if before:
        last = max(before, key=lambda one: moment(one["created_at"]))
        distance = span((debt.since - moment(last["created_at"])).total_seconds())
        lines.append(f"{money(last['amount'], debt.currency)} paid out {distance} before.")
    if since:
        total = sum(one["amount"] for one in since)
        lines.append(f"{money(total, debt.currency)} paid out since then.")
    return lines
