"""The facts themselves, decoded: one stream's history, the feed of all, and a transfer as it once was."""

from collections.abc import Sequence
from datetime import datetime
from itertools import takewhile
from typing import NamedTuple
from uuid import UUID

from domain.fact import Fact
from infrastructure.postgres.event_store import EventStore, Recorded
from infrastructure.postgres.ledger import FactCodec
from projections.folding import TransferFold, fold


class Told(NamedTuple):
    """A fact, and its position in the whole ledger."""

    position: int
    topic: str
    fact: Fact


class History:
    """Reads the event store; changes nothing."""

    def __init__(self, store: EventStore) -> None:
        self._store, self._codec = store, FactCodec()

    async def of(self, stream: UUID) -> list[Told]:
        """A stream's facts, oldest first; empty when there is no such stream."""
        return self._told((await self._store.load([stream])).get(stream, []))

    async def feed(self, after: int, limit: int) -> list[Told]:
        """All facts after a position, in order."""
        return self._told(await self._store.feed(after, limit))

    async def newest(self) -> Fact | None:
        """The last fact of the ledger; None when it is empty."""
        told = await self.feed(max(0, await self._store.head() - 1), 1)
        return told[0].fact if told else None

    async def transfer_as_of(self, transfer_id: UUID, instant: datetime) -> TransferFold | None:
        """A transfer as it was at an instant (what happened at that very instant included); None before it existed."""
        told = await self.of(transfer_id)
        # a stream's instants never go back, so this is a prefix of it
        folded = fold(None, (one.fact for one in takewhile(lambda one: one.fact.timestamp <= instant, told)))
        return folded if isinstance(folded, TransferFold) else None

    def _told(self, recorded: Sequence[Recorded]) -> list[Told]:
        return [Told(one.position, one.topic, self._codec.fact(one)) for one in recorded]
