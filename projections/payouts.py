"""The read model `payouts`: one row per payout from a Stripe account to a seller's bank, the fold
of its one stream."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from domain import payout as facts
from domain.payout import AnyPayoutFact, PayoutStatus


class PayoutRow(NamedTuple):
    """A row of `payouts`. Amount in minor units, times in UTC."""

    stream_id: UUID
    payout_id: str
    """Stripe's `po_…`."""
    account: str
    seller_ids: list[str]
    """Sellers whose transfers went to this account when the payout became known."""
    amount: int
    currency: str
    status: str
    arrival_date: datetime | None
    last_error: str | None
    version: int
    created_at: datetime
    updated_at: datetime


def evolve(row: PayoutRow | None, fact: AnyPayoutFact) -> PayoutRow:
    """Return the row after a fact."""
    if isinstance(fact, facts.Announced):
        return _announced(fact)
    assert row is not None, f"{type(fact).__name__} cannot be the first fact of a stream"
    return row._replace(
        status=fact.LEADS_TO.value,
        last_error=fact.detail if isinstance(fact, facts.Failed) else None,
        version=fact.originator_version,
        updated_at=fact.timestamp,
    )


def _announced(fact: facts.Announced) -> PayoutRow:
    return PayoutRow(
        stream_id=fact.originator_id,
        payout_id=fact.payout_id,
        account=fact.account,
        seller_ids=fact.seller_ids,
        amount=fact.amount,
        currency=fact.currency,
        status=PayoutStatus.PENDING.value,
        arrival_date=fact.arrival_date,
        last_error=None,
        version=fact.originator_version,
        created_at=fact.timestamp,
        updated_at=fact.timestamp,
    )
