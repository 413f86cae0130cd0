"""The port `EventLog` on PostgreSQL: facts through the event store, rows folded in the same pass."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from eventsourcing.persistence import DatetimeAsISO, DecimalAsStr, JSONTranscoder, Mapper, StoredEvent, UUIDAsHex

from application.unit_of_work import CommitExtras, InboxMark, UnitOfWork
from domain.fact import Fact, Stream
from domain.provider_call.stripe_objects import TransferAtStripe
from infrastructure.postgres.connections import Pool
from infrastructure.postgres.event_store import EventStore, RecordedFact, StoredFact
from infrastructure.postgres.named_queries import queries
from projections.registry import FoldedStream, Rows

SQL = queries("directory")
NO_EXTRAS = CommitExtras()
BATCH = 100
"""How many waiting transfers a directory names at a time."""


def new_mapper() -> Mapper[UUID]:
    """Make the mapper that writes facts: the library's JSON, so that the library's own readers understand them."""
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
        event = StoredEvent(
            originator_id=recorded.originator_id,
            originator_version=recorded.originator_version,
            topic=recorded.topic,
            state=recorded.state,
        )
        fact = self._mapper.to_domain_event(event)
        assert isinstance(fact, Fact), f"{recorded.topic} at position {recorded.position} is no fact of this ledger"
        return fact


class PostgresEventLog:
    """The port `EventLog` on the event store."""

    def __init__(self, store: EventStore) -> None:
        self._store, self._codec = store, FactCodec()

    async def load(self, ids: Collection[UUID]) -> UnitOfWork:
        """Load these streams, and the rows they fold to."""
        recorded = await self._store.load(ids) if ids else {}
        facts = {stream: [self._codec.fact(one) for one in several] for stream, several in recorded.items()}
        streams = {stream: replayed(several) for stream, several in facts.items()}
        return UnitOfWork(streams, {stream: FoldedStream.of(several) for stream, several in facts.items()})

    async def append(self, uow: UnitOfWork, extras: CommitExtras = NO_EXTRAS) -> None:
        """Store facts, rows, alarms and the extras of the command, all or nothing."""
        changed = uow.changed()
        folds = {stream.id: (uow.folded(stream.id) or FoldedStream()).after(facts) for stream, facts in changed}
        stored = [self._codec.stored(fact) for _, facts in changed for fact in facts]
        await self._store.append(stored, _tables([rows for _, rows in folds.values()], extras))
        for stream, _ in changed:
            uow.stored(stream.id, folds[stream.id][0])


def replayed(facts: Sequence[Fact]) -> Stream:
    """Return the aggregate after these facts, the first of which opens it."""
    stream: Stream | None = None
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
        tables["released"] = [{"subject": subject} for subject in extras.released]
    return tables


def _marked(mark: InboxMark) -> Mapping[str, object]:
    return {"inbox_id": mark.inbox_id, "status": mark.status, "reason": mark.reason}


class PostgresDirectory:
    """See `application.ports.Directory`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def refund_named(self, name: str) -> UUID | None:
        """The stream of the refund with this `refund_id` or `psp_refund_id`."""
        async with self._pool.connection() as connection:
            row = await (await connection.execute(SQL["refund_named"], {"name": name})).fetchone()
        return row[0] if row else None

    async def orders_paid_by(self, payment_id: str) -> Sequence[str]:
        """The ids of the orders with this payment."""
        async with self._pool.connection() as connection:
            found = await (await connection.execute(SQL["orders_paid_by"], (payment_id,))).fetchall()
        return [row[0] for row in found]

    async def order_of_refund(self, name: str) -> str | None:
        """The order of the refund with this `refund_id` or `psp_refund_id`."""
        async with self._pool.connection() as connection:
            row = await (await connection.execute(SQL["order_of_refund"], {"name": name})).fetchone()
        return row[0] if row else None

    async def orders_of_charge(self, names: Collection[str]) -> Sequence[str]:
        """The ids of the orders that one of these paid."""
        return [row[0] for row in await self._rows("orders_of_charge", {"names": list(names)})]

    async def transfer_at_stripe(self, stripe_transfer_id: str) -> UUID | None:
        """Our transfer with this id at Stripe."""
        found = await self._rows("transfer_at_stripe", (stripe_transfer_id,))
        return found[0][0] if found else None

    async def sellers_of(self, account: str) -> Sequence[str]:
        """The sellers whose transfers go to this account."""
        return [row[0] for row in await self._rows("sellers_of", {"account": account})]

    async def waiting(self, status: str, waiting_for: str, account: str | None, after: UUID | None) -> Sequence[UUID]:
        """A batch of the transfers that wait for `account` or `funds`."""
        values = {"status": status, "waiting_for": waiting_for, "account": account, "after": after, "limit": BATCH}
        return [row[0] for row in await self._rows("waiting", values)]

    async def _rows(self, query: str, values: Mapping[str, object] | Sequence[object]) -> list[tuple[Any, ...]]:
        async with self._pool.connection() as connection:
            cursor = await connection.execute(SQL[query], values)
            return await cursor.fetchall()

    async def transfers_of(self, order_id: str) -> Sequence[UUID]:
        """The transfers of an order, whether the order itself is known or not."""
        return [row[0] for row in await self._rows("transfers_of", (order_id,))]

    async def claimed(self, transfers: Sequence[TransferAtStripe]) -> frozenset[str]:
        """The Stripe ids of those that a transfer of ours claims."""
        values = {"ids": [seen.stripe_transfer_id for seen in transfers], "names": [seen.transfer_id for seen in transfers]}
        return frozenset(row[0] for row in await self._rows("claimed", values))

    async def knows_order(self, order_id: str) -> bool:
        """Whether there is such an order."""
        async with self._pool.connection() as connection:
            row = await (await connection.execute(SQL["knows_order"], (order_id,))).fetchone()
        return row is not None

    async def unpaid(self, since: datetime, until: datetime, nth: int, limit: int) -> Sequence[str]:
        """See `application.missed_webhooks.ports.UnpaidOrders`."""
        values = {"since": since, "until": until, "nth": nth, "limit": limit}
        return list(dict.fromkeys(row[0] for row in await self._rows("unpaid", values)))

    async def still_unpaid(self, payment_ids: Sequence[str]) -> Collection[str]:
        """Of these payments, those that have an order which is not paid."""
        return {row[0] for row in await self._rows("still_unpaid", {"names": list(payment_ids)})}

    async def refunds_heard_of(self, names: Collection[str]) -> Mapping[str, str]:
        """See `application.missed_webhooks.ports.KnownRefunds`."""
        async with self._pool.connection() as connection:
            found = await (await connection.execute(SQL["refunds_heard_of"], (list(names),))).fetchall()
        return dict(found)
