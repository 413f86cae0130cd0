"""Facts of a stream as links of the hash chain, recomputed while the page is made."""

from typing import NamedTuple
from uuid import UUID

from infrastructure.postgres.event_store import EventStore, RecordedFact
from infrastructure.postgres.integrity.hash_chain import GENESIS, link

MOST_LINKS = 100
"""Newest facts of a stream that are recomputed for one page."""


class ChainLink(NamedTuple):
    """A fact in the chain. `holds`: its stored link follows from its content and the link before
    it."""

    position: int
    version: int
    fact: str
    before: str
    digest: str
    holds: bool


async def chain_of(store: EventStore, stream: str) -> list[ChainLink]:
    """Return the newest links of a stream, oldest first."""
    recorded = (await store.load([UUID(stream)])).get(UUID(stream), [])
    return [await _link(store, fact) for fact in recorded[-MOST_LINKS:]]


async def _link(store: EventStore, fact: RecordedFact) -> ChainLink:
    before = GENESIS
    if fact.position > 1:
        (previous,) = await store.feed(fact.position - 2, 1)
        before = previous.digest
    return ChainLink(
        fact.position,
        fact.originator_version,
        fact.topic.rpartition(".")[2],
        before.hex(),
        fact.digest.hex(),
        fact.digest == link(before, fact),
    )
