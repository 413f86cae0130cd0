"""The read model `findings`: one row per difference from Stripe's books that a person has decided
about."""

from datetime import datetime
from enum import StrEnum
from typing import NamedTuple, assert_never
from uuid import UUID

from domain.finding import Adopted, AnyFindingFact, Ignored, IgnoreTakenBack, Noted


class FindingStatus(StrEnum):
    """Status of a finding: the last decision about it."""

    NOTED = "noted"
    """No decision is in force: until the first one, which is stored in the same transaction, and
    after an ignored finding was taken back."""
    IGNORED = "ignored"
    ADOPTED = "adopted"


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
    """Actor of the last decision."""
    reason: str | None
    version: int
    created_at: datetime
    updated_at: datetime


def evolve(row: FindingRow | None, fact: AnyFindingFact) -> FindingRow:
    """Return the row after a fact."""
    if isinstance(fact, Noted):
        return _noted(fact)
    assert row is not None, f"{type(fact).__name__} cannot be the first fact of a stream"
    return _decided(row, fact)._replace(version=fact.originator_version, updated_at=fact.timestamp)


def _noted(fact: Noted) -> FindingRow:
    return FindingRow(
        stream_id=fact.originator_id,
        finding_id=fact.finding_id,
        kind=fact.kind,
        status=FindingStatus.NOTED.value,
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


def _decided(row: FindingRow, fact: Ignored | Adopted | IgnoreTakenBack) -> FindingRow:
    match fact:
        case Ignored():
            return row._replace(
                status=FindingStatus.IGNORED.value, actor=fact.actor, reason=fact.reason
            )
        case Adopted():
            return row._replace(
                status=FindingStatus.ADOPTED.value, actor=fact.actor, reason=fact.reason
            )
        case IgnoreTakenBack():
            return row._replace(
                status=FindingStatus.NOTED.value, actor=fact.actor, reason=fact.reason
            )
        case _:
            assert_never(fact)
