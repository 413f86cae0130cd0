"""Hash chain, recomputed outside the database from the same bytes that `ledger_append` hashes (see
migration 0006).

Changing, deleting, inserting or moving a stored fact breaks every link after it. Deleting the
newest facts leaves a valid, shorter chain: the versions of the rows, and seals kept elsewhere,
reveal that.
"""

from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import NamedTuple

from infrastructure.postgres.event_store import RecordedFact

GENESIS = sha256(b"ledger_events").digest()


class Break(NamedTuple):
    """A fact whose stored link or position does not follow from the fact before it."""

    position: int
    what: str


def link(before: bytes, fact: RecordedFact) -> bytes:
    """Compute the link of a fact from the link of the fact before it. Integers are big-endian,
    lengths are in bytes."""
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


def breaks(
    facts: Iterable[RecordedFact], position: int = 0, before: bytes = GENESIS
) -> Iterator[Break]:
    """Yield every break in ordered facts after `position`, whose link is `before`.

    After a break the stored link counts as valid, so that one falsified fact is one finding.
    """
    for fact in facts:
        if fact.position != position + 1:
            yield Break(
                fact.position, f"follows position {position}, so facts in between are missing"
            )
        if fact.digest != link(before, fact):
            yield Break(
                fact.position, "its link does not follow from its content and the link before it"
            )
        position, before = fact.position, fact.digest
