"""Decoded facts: of one stream, of several streams, and the feed of all."""

from collections.abc import Collection, Sequence
from datetime import datetime
from uuid import UUID

import orjson

from domain.errors import NewerRelease
from domain.fact import Fact
from infrastructure.postgres.event_store import EventStore, RecordedFact
from infrastructure.postgres.ledger import FactCodec
from projections.audit_trail.entries import PositionedFact
from projections.unknown_fact import UnknownFact


class FactReader:
    """Reads the event store; changes nothing."""

    def __init__(self, store: EventStore) -> None:
        self._store, self._codec = store, FactCodec()

    async def of(self, stream: UUID) -> list[PositionedFact]:
        """Return a stream's facts, oldest first; empty when there is no such stream."""
        return (await self.several([stream])).get(stream, [])

    async def several(self, streams: Collection[UUID]) -> dict[UUID, list[PositionedFact]]:
        """Return the facts of each stream, oldest first, by one query; a stream that does not exist
        has no key."""
        loaded = await self._store.load(streams) if streams else {}
        return {stream: self._decoded(recorded) for stream, recorded in loaded.items()}

    async def feed(self, after: int, limit: int) -> list[PositionedFact]:
        """Return the facts after a position, in order."""
        return self._decoded(await self._store.feed(after, limit))

    async def last(self, count: int) -> list[Fact]:
        """Return the last facts of the ledger, oldest first; fewer when it has fewer."""
        after = max(0, await self._store.head() - count)
        return [positioned.fact for positioned in await self.feed(after, count)]

    async def head(self) -> int:
        """Return the position of the newest fact; 0 when the ledger is empty."""
        return await self._store.head()

    def _decoded(self, recorded: Sequence[RecordedFact]) -> list[PositionedFact]:
        return [PositionedFact(one.position, one.topic, self._fact(one)) for one in recorded]

    def _fact(self, recorded: RecordedFact) -> Fact:
        """Decode a fact; one of a newer release is returned as it is stored."""
        try:
            return self._codec.fact(recorded)
        except NewerRelease:
            content = orjson.loads(recorded.state)
            at = content.pop("timestamp")
            content.pop("originator_topic", None)
            return UnknownFact(
                originator_id=recorded.originator_id,
                originator_version=recorded.originator_version,
                timestamp=datetime.fromisoformat(at["_data_"]),
                topic=recorded.topic,
                content=content,
            )
