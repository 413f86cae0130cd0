"""The facts themselves, decoded: one stream's history, several streams', and the feed of all."""

from collections.abc import Collection, Sequence
from uuid import UUID

from domain.fact import Fact
from infrastructure.postgres.event_store import EventStore, Recorded
from infrastructure.postgres.ledger import FactCodec
from projections.audit_trail.entries import PositionedFact


class History:
    """Reads the event store; changes nothing."""

    def __init__(self, store: EventStore) -> None:
        self._store, self._codec = store, FactCodec()

    async def of(self, stream: UUID) -> list[PositionedFact]:
        """A stream's facts, oldest first; empty when there is no such stream."""
        return (await self.several([stream])).get(stream, [])

    async def several(self, streams: Collection[UUID]) -> dict[UUID, list[PositionedFact]]:
        """The facts of each stream, oldest first, in one query; a stream that does not exist has no key."""
        loaded = await self._store.load(streams) if streams else {}
        return {stream: self._told(recorded) for stream, recorded in loaded.items()}

    async def feed(self, after: int, limit: int) -> list[PositionedFact]:
        """All facts after a position, in order."""
        return self._told(await self._store.feed(after, limit))

    async def newest(self) -> Fact | None:
        """The last fact of the ledger; None when it is empty."""
        told = await self.feed(max(0, await self._store.head() - 1), 1)
        return told[0].fact if told else None

    async def head(self) -> int:
        """The position of the newest fact, 0 if there is none."""
        return await self._store.head()

    def _told(self, recorded: Sequence[Recorded]) -> list[PositionedFact]:
        return [PositionedFact(one.position, one.topic, self._codec.fact(one)) for one in recorded]
