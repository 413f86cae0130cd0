"""The hash chain, recomputed outside the database: the same bytes as `ledger_append` hashes (see its migration).

Changing, dropping, inserting or moving a stored fact breaks every link after it. Cutting off the newest facts leaves a
whole, shorter chain: that is found by the versions of the rows, and by positions and links kept elsewhere.
"""

from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import NamedTuple

from infrastructure.postgres.event_store import RecordedFact

GENESIS = sha256(b"ledger_events").digest()


class Break(NamedTuple):
    """A fact whose stored link or position is not what follows from the fact before it."""

    position: int
    what: str


def link(before: bytes, fact: RecordedFact) -> bytes:
    """The link of a fact, given the link of the fact before it. Integers are big-endian, lengths are in bytes."""
    topic = fact.topic.encode()
    return sha256(
        before
        + fact.position.to_bytes(8, "big")
        + fact.originator_id.bytes
        + fact.originator_version.to_bytes(8, "big", signed=True)
        + len(topic).to_bytes(4, "big")
        + topic
        + len(fact.state).to_bytes(4, "big")
        + fact.state
    ).digest()


def breaks(facts: Iterable[RecordedFact], position: int = 0, before: bytes = GENESIS) -> Iterator[Break]:
    """Every break in facts that follow `position`, in order, whose link is `before`. After a break the stored link is
    taken as given, so that one falsified fact is one finding."""
    for fact in facts:
        if fact.position != position + 1:
            yield Break(fact.position, f"follows position {position}, so facts in between are missing")
        if fact.digest != link(before, fact):
            yield Break(fact.position, "its link does not follow from its content and the link before it")
        position, before = fact.position, fact.digest
