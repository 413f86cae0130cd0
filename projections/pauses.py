"""The read model `pauses`: one row per scope, the fold of its one stream. Workers read it before
they claim work."""

from datetime import datetime
from typing import NamedTuple, assert_never
from uuid import UUID

from domain.pause import AnyPauseFact, CapabilitiesTold, Installed, Paused, Resumed


class PauseRow(NamedTuple):
    """A row of `pauses`. Times in UTC."""

    stream_id: UUID
    scope: str
    """`everything`, `work:<kind>`, `seller:<id>`, `transferring:<seller>` or `unseen`; see
    `domain.pause`."""
    paused: bool
    actor: str | None
    """Actor of the last pause or resumption."""
    reason: str | None
    lost_since: datetime | None
    version: int
    created_at: datetime
    updated_at: datetime


def evolve(row: PauseRow | None, fact: AnyPauseFact) -> PauseRow:
    """Return the row after a fact."""
    if isinstance(fact, Installed):
        at = fact.timestamp
        return PauseRow(
            fact.originator_id, fact.scope, False, None, None, None, fact.originator_version, at, at
        )
    assert row is not None, f"{type(fact).__name__} cannot be the first fact of a stream"
    return _changed(row, fact)._replace(version=fact.originator_version, updated_at=fact.timestamp)


def _changed(row: PauseRow, fact: AnyPauseFact) -> PauseRow:
    match fact:
        case Paused():
            return row._replace(
                paused=True, actor=fact.actor, reason=fact.reason, lost_since=fact.lost_since
            )
        case Resumed():
            return row._replace(paused=False, actor=fact.actor, reason=fact.reason, lost_since=None)
        case Installed() | CapabilitiesTold():
            return row  # the first is only a first fact, which `evolve` handles
        case _:
            assert_never(fact)
