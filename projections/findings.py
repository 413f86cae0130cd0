"""The read model `findings`: what a person decided about a difference between Stripe's books and ours."""

from datetime import datetime
from typing import NamedTuple, assert_never
from uuid import UUID

from domain.finding import Adopted, AnyFindingFact, Ignored, Noted

NOTED, IGNORED, ADOPTED = "noted", "ignored", "adopted"


class FindingRow(NamedTuple):
    """A row of `findings`. Amounts in minor units, times in UTC."""

    stream_id: UUID
    finding_id: str
    kind: str
    status: str
    stripe_id: str
    stripe_transfer_id: str
    transfer_id: UUID | None
    reversal_id: str | None
    at_risk: int
    currency: str
    detail: str
    actor: str | None
    """Who decided last."""
    reason: str | None
    version: int
    created_at: datetime
    updated_at: datetime


def evolve(row: FindingRow | None, fact: AnyFindingFact) -> FindingRow:
    """The row after a fact. Pure."""
    if isinstance(fact, Noted):
        return _noted(fact)
    assert row is not None, f"{type(fact).__name__} cannot be the first fact of a stream"
    return _decided(row, fact)._replace(version=fact.originator_version, updated_at=fact.timestamp)


def _noted(fact: Noted) -> FindingRow:
    return FindingRow(
        stream_id=fact.originator_id,
        finding_id=fact.finding_id,
        kind=fact.kind,
        status=NOTED,
        stripe_id=fact.stripe_id,
        stripe_transfer_id=fact.stripe_transfer_id,
        transfer_id=UUID(fact.transfer_id) if fact.transfer_id is not None else None,
        reversal_id=fact.reversal_id,
        at_risk=fact.at_risk,
        currency=fact.currency,
        detail=fact.detail,
        actor=None,
        reason=None,
        version=fact.originator_version,
        created_at=fact.timestamp,
        updated_at=fact.timestamp,
    )


def _decided(row: FindingRow, fact: Ignored | Adopted) -> FindingRow:
    match fact:
        case Ignored():
            return row._replace(status=IGNORED, actor=fact.actor, reason=fact.reason)
        case Adopted():
            return row._replace(status=ADOPTED, actor=fact.actor, reason=fact.reason)
        case _:
            assert_never(fact)
