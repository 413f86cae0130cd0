"""The read model `disputes`: one row per dispute, the fold of its one stream."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from domain import dispute as facts
from domain.dispute import AnyDisputeFact, DisputeStatus, later


class DisputeRow(NamedTuple):
    """A row of `disputes`. Amount in minor units, times in UTC."""

    stream_id: UUID
    dispute_id: str
    provider: str
    order_id: str
    amount: int
    currency: str
    status: str
    withdrawn: bool
    """True if the bank has ever taken the money from the platform."""
    reinstated: bool
    """True if the bank has given the money back."""
    reason: str | None
    """Reason of the buyer, in the provider's words."""
    evidence_due_by: datetime | None
    """Instant until which the provider wants evidence; None if it has not said."""
    version: int
    created_at: datetime
    updated_at: datetime


def evolve(row: DisputeRow | None, fact: AnyDisputeFact) -> DisputeRow:
    """Return the row after a fact."""
    if isinstance(fact, facts.Opened):
        return _opened(fact)
    assert row is not None, f"{type(fact).__name__} cannot be the first fact of a stream"
    return row._replace(
        evidence_due_by=fact.evidence_due_by
        if isinstance(fact, facts.EvidenceRequested)
        else row.evidence_due_by,
        amount=fact.amount if isinstance(fact, facts.Restated) else row.amount,
        status=later(DisputeStatus(row.status), fact.LEADS_TO).value,
        withdrawn=row.withdrawn or isinstance(fact, facts.FundsWithdrawn),
        reinstated=row.reinstated or isinstance(fact, facts.FundsReinstated),
        version=fact.originator_version,
        updated_at=fact.timestamp,
    )


def _opened(fact: facts.Opened) -> DisputeRow:
    return DisputeRow(
        stream_id=fact.originator_id,
        dispute_id=fact.dispute_id,
        provider=fact.provider,
        order_id=fact.order_id,
        amount=fact.amount,
        currency=fact.currency,
        status=DisputeStatus.OPENED.value,
        withdrawn=False,
        reinstated=False,
        reason=fact.reason,
        evidence_due_by=None,
        version=fact.originator_version,
        created_at=fact.timestamp,
        updated_at=fact.timestamp,
    )
