"""The port `EventLog` on PostgreSQL: facts through the event store, rows folded in the same
pass."""

from collections.abc import Collection, Mapping, Sequence
from uuid import UUID

from eventsourcing.persistence import (
    DatetimeAsISO,
    DecimalAsStr,
    JSONTranscoder,
    Mapper,
    StoredEvent,
    UUIDAsHex,
)
from eventsourcing.utils import TopicError

from application.unit_of_work import CommitExtras, InboxMark, UnitOfWork
from domain.errors import NewerRelease
from domain.fact import Fact, Stream
from domain.refund import facts as refund_facts
from domain.seller_transfer import facts as transfer_facts
from infrastructure.postgres.event_store import EventStore, RecordedFact, StoredFact
from infrastructure.postgres.stream_cache import KnownStream, StreamCache
from infrastructure.postgres.texts import storable
from projections.registry import FoldedStream, Rows

NO_EXTRAS = CommitExtras()
NEWER_RELEASE, LEDGER = "newer_release", "ledger"
"""Kind and subject of the alarm about facts of a newer release. A start of a process clears it; the
next fact that the release does not know raises it again."""


def new_mapper() -> Mapper[UUID]:
    """Make the mapper that writes facts: the library's JSON, so that the library's own readers
    understand them."""
    transcoder = JSONTranscoder()
    for transcoding in (UUIDAsHex(), DecimalAsStr(), DatetimeAsISO()):
        transcoder.register(transcoding)
    return Mapper(transcoder)


class FactCodec:
    """Converts facts to their stored form and back."""

    def __init__(self) -> None:
        self._mapper = new_mapper()

    def stored(self, fact: Fact) -> StoredFact:
        event = self._mapper.to_stored_event(fact)
        return StoredFact(fact.originator_id, event.originator_version, event.topic, event.state)

    def fact(self, recorded: RecordedFact) -> Fact:
        """Decode a stored fact. Raises NewerRelease."""
        event = StoredEvent(
            originator_id=recorded.originator_id,
            originator_version=recorded.originator_version,
            topic=recorded.topic,
            state=recorded.state,
        )
        try:
            fact = self._mapper.to_domain_event(event)
        except TopicError:
            raise NewerRelease(recorded.topic) from None
        assert isinstance(fact, Fact), (
            f"{recorded.topic} at position {recorded.position} is no fact of this ledger"
        )
        return fact


class PostgresEventLog:
    """The port `EventLog` on the event store."""

    def __init__(self, store: EventStore, codec: FactCodec | None = None) -> None:
        self._store, self._codec, self._cache = store, codec or FactCodec(), StreamCache()

    async def load(self, ids: Collection[UUID]) -> UnitOfWork:
        """Load these streams, and the rows they fold to. Raises NewerRelease, after an alarm."""
        known, recorded = await self._recorded(ids) if ids else ({}, {})
        streams: dict[UUID, Stream] = {}
        folded: dict[UUID, FoldedStream] = {}
        try:
            for stream_id, several in recorded.items():
                streams[stream_id], folded[stream_id] = self._state(several, known.get(stream_id))
        except NewerRelease as newer:
            await self._store.alarms.raise_alarm(NEWER_RELEASE, LEDGER, str(newer))
            raise
        return UnitOfWork(streams, folded)

    async def _recorded(
        self, ids: Collection[UUID]
    ) -> tuple[dict[UUID, KnownStream], dict[UUID, list[RecordedFact]]]:
        """Load the facts of these streams from the known states on. The states are those of the
        time of the question: other loads change the cache while this one waits for its answer."""
        states = {stream: self._cache.known(stream) for stream in ids}
        known = {stream: state for stream, state in states.items() if state is not None}
        recorded = await self._store.load(
            ids, lambda stream: known[stream].version if stream in known else 1
        )
        lost = [
            stream
            for stream, state in known.items()
            if not state.is_continued_by(recorded.get(stream, ()))
        ]
        if lost:  # a fail-over or a restore has taken facts away
            for stream in lost:
                self._cache.forget(stream)
                del known[stream]
                recorded.pop(stream, None)
            recorded |= await self._store.load(lost)
        return known, recorded

    def _state(
        self, recorded: Sequence[RecordedFact], known: KnownStream | None
    ) -> tuple[Stream, FoldedStream]:
        new = recorded if known is None else recorded[1:]
        facts = [self._codec.fact(one) for one in new]
        stream = replayed(facts, known.stream.copied() if known is not None else None)
        before = known.folded if known is not None else FoldedStream()
        folded = before.continued(facts)
        if new:
            self._cache.keep(stream, folded, new[-1])
        return stream, folded

    async def append(self, uow: UnitOfWork, extras: CommitExtras = NO_EXTRAS) -> None:
        """Store facts, rows, alarms and the extras of the command, all or nothing."""
        changed = uow.changed()
        folds = {
            stream.id: (uow.folded(stream.id) or FoldedStream()).after(facts)
            for stream, facts in changed
        }
        stored = [self._codec.stored(fact) for _, facts in changed for fact in facts]
        await self._store.append(stored, _tables([rows for _, rows in folds.values()], extras))
        for stream, facts in changed:
            self._count_setbacks(facts)
            uow.stored(stream.id, folds[stream.id][0])

    def _count_setbacks(self, facts: Sequence[Fact]) -> None:
        for fact in facts:
            if (reason := setback(fact)) is not None:
                self._store.measured.setbacks.labels(type(fact).__name__, reason).inc()


def setback(fact: Fact) -> str | None:
    """Return the reason of a fact that tells of a call that did not succeed; None for others."""
    match fact:
        case transfer_facts.Failed() | transfer_facts.PermanentlyFailed():
            return str(fact.reason)
        case transfer_facts.AttemptDeferred() | refund_facts.AttemptDeferred():
            return str(fact.why)
        case refund_facts.Failed():
            return "failed_after_success" if fact.after_success else "failed"
        case _:
            return None


def replayed(facts: Sequence[Fact], stream: Stream | None = None) -> Stream:
    """Return the aggregate after these facts; without an aggregate the first of them opens it."""
    for fact in facts:
        stream = fact.mutate(stream)
    assert stream is not None
    return stream


def _tables(changed: Collection[Rows], extras: CommitExtras) -> dict[str, list[object]]:
    tables: dict[str, list[object]] = {}
    for rows_by_table in changed:
        for table, rows in rows_by_table.items():
            tables.setdefault(table, []).extend(rows)
    if extras.inbox is not None:
        tables["webhook_inbox"] = [_marked(extras.inbox)]
    if extras.released:
        tables["released"] = [{"subject": storable(subject)} for subject in extras.released]
    return tables


def _marked(mark: InboxMark) -> Mapping[str, object]:
    reason = storable(mark.reason) if mark.reason is not None else None
    return {"inbox_id": mark.inbox_id, "status": mark.status, "reason": reason}
