"""Database in memory: facts, the rows they lead to, and listeners. It keeps the promises of the
storage ports, as the tests in tests/contracts check for it and for PostgreSQL.

`MemoryStore` takes the place of the event store under the real `PostgresEventLog`: facts pass the
real codec, rows the real folds and encoding, and no value passes that PostgreSQL would refuse.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from application.ports import EventLog, OrderMatches, WebhookName
from domain.errors import Conflict, ConstraintBroken
from domain.provider_call.stripe_objects import TransferAtStripe
from infrastructure.postgres import json_encoder
from infrastructure.postgres.event_store import TABLES, RecordedFact, StoredFact
from infrastructure.postgres.integrity.hash_chain import GENESIS, link
from infrastructure.postgres.ledger import PostgresEventLog
from projections.refunds import RefundRow
from projections.seller_transfers import SellerTransferRow
from tests.support.in_memory.alarms import AlarmBoard
from tests.support.in_memory.circuit_breaker import Breaker
from tests.support.in_memory.constraints import KINDS, Row, Uniqueness, check
from tests.support.in_memory.due_transfers import DueTransfers
from tests.support.in_memory.inbox import StoredWebhooks

Wake = Callable[[], None]
Rows = Mapping[str, Sequence[Row]]


class MemoryDatabase:
    """The state that all processes share. `clock` is the database's own clock."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self.now = clock
        self.recorded: list[RecordedFact] = []
        self._transfers: dict[UUID, SellerTransferRow] = {}
        self.tables: dict[str, dict[UUID | str, Row]] = {table: {} for table in KINDS}
        self.streams: defaultdict[UUID, list[RecordedFact]] = defaultdict(list)
        self.alarms = AlarmBoard(clock)
        self.inbox = StoredWebhooks(clock)
        self.breaker = Breaker(clock)
        self.due = DueTransfers(self._transfers)
        self.instants: dict[str, tuple[datetime, float, datetime]] = {}
        """For each endpoint: its next free instant, and the share of the full rate with the instant
        of its change."""
        self.of_order: defaultdict[str, set[UUID]] = defaultdict(set)
        """The transfers of each order."""
        self._unique = Uniqueness()
        self._listeners: defaultdict[str, list[Wake]] = defaultdict(list)

    def on(self, channel: str, wake: Wake) -> None:
        """Call `wake` for each notification, as `Listener.on` does; it has to be quick, such as
        `asyncio.Event.set`."""
        self._listeners[channel].append(wake)

    def off(self, wake: Wake) -> None:
        """Remove the listener of a process that has ended."""
        for wakes in self._listeners.values():
            wakes[:] = [each for each in wakes if each != wake]

    def notify(self, channel: str) -> None:
        """Notify the listeners of a channel."""
        for wake in list(self._listeners[channel]):
            wake()

    def commit(self, facts: Sequence[StoredFact], rows: Rows) -> int:
        """Store facts, rows and extras together or not at all; return the position of the last
        fact.

        Raises Conflict, ConstraintBroken, ValueError (no such table), TypeError (a value that has
        no place in a row).
        """
        self._refuse_versions(facts)
        changed = self._read_models(rows)
        self._record(facts)
        for table, rows_by_key in changed.items():
            for key, row in rows_by_key.items():
                self._write(table, key, row)
        self.alarms.write(rows.get("alarms", ()))
        self.inbox.mark(rows.get("webhook_inbox", ()), len(self.recorded) if facts else None)
        released = self.inbox.release([row["subject"] for row in rows.get("released", ())])
        if facts:
            self.notify("ledger_events")
        if released:
            self.notify("webhook_inbox")
        return len(self.recorded)

    def _refuse_versions(self, facts: Sequence[StoredFact]) -> None:
        given = {(fact.originator_id, fact.originator_version) for fact in facts}
        taken = [pair for pair in given if 0 < pair[1] <= len(self.streams.get(pair[0], ()))]
        if taken:
            raise Conflict(sorted(taken))
        for stream, version in given:
            if (
                version > 1
                and (stream, version - 1) not in given
                and len(self.streams.get(stream, ())) != version - 1
            ):
                raise ConstraintBroken(
                    "every_version_has_a_predecessor",
                    f"{stream} v{version} would leave a gap in the stream",
                )

    def _read_models(self, rows: Rows) -> dict[str, dict[UUID | str, Row]]:
        if unknown := rows.keys() - TABLES - KINDS.keys():
            raise ValueError(f"there is no table {', '.join(sorted(unknown))}")
        for several in rows.values():
            json_encoder.members(
                several
            )  # what PostgreSQL could not be told is refused here as well
        changed = {table: {row[0]: row for row in rows[table]} for table in KINDS if table in rows}
        for table, rows_by_key in changed.items():
            check(table, list(rows_by_key.values()))
            self._unique.check(table, rows_by_key)
        return changed

    def _record(self, facts: Sequence[StoredFact]) -> None:
        for fact in facts:
            before = self.recorded[-1].digest if self.recorded else GENESIS
            recorded = RecordedFact(*fact, position=len(self.recorded) + 1, digest=b"")
            recorded = recorded._replace(digest=link(before, recorded))
            self.recorded.append(recorded)
            self.streams[fact.originator_id].append(recorded)

    def _write(self, table: str, key: UUID | str, row: Row) -> None:
        rows = self.tables[table]
        self._unique.replace(table, key, rows.get(key), row)
        rows[key] = row
        if table == "seller_transfers":
            self._transfers[row.transfer_id] = row
            self.due.changed(row)
            self.of_order[row.order_id].add(row.transfer_id)


class MemoryStore:
    """See `infrastructure.postgres.event_store.EventStore`: the part of it that `PostgresEventLog`
    uses."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database

    async def load(self, ids: Collection[UUID]) -> dict[UUID, list[RecordedFact]]:
        streams = self._database.streams
        return {stream: list(streams[stream]) for stream in ids if stream in streams}

    async def append(self, facts: Sequence[StoredFact], rows: Rows | None = None) -> int:
        return self._database.commit(facts, rows or {})


def event_log(database: MemoryDatabase) -> EventLog:
    """Return the real event log on a database in memory."""
    return PostgresEventLog(MemoryStore(database))  # type: ignore[arg-type]  # it uses load and append only


class MemoryDirectory:
    """See `application.ports.Directory`."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._tables, self._of_order = database.tables, database.of_order
        self._inbox = database.inbox

    async def refund_named(self, name: str) -> UUID | None:
        found = self._refund(name)
        return found.stream_id if found else None

    async def find_order(
        self,
        *,
        refund_id: str | None = None,
        order_ids: Sequence[str] = (),
        payment_ids: Sequence[str] = (),
        source_transactions: Sequence[str] = (),
    ) -> OrderMatches:
        orders, refund = (
            self._tables["orders"],
            self._refund(refund_id) if refund_id is not None else None,
        )
        by_payment = sorted(
            row.order_id
            for row in orders.values()
            if row.payment_id in payment_ids or row.source_transaction in source_transactions
        )[:2]
        by_id = [order_id for order_id in order_ids if order_id in orders]
        found = {*by_id, *by_payment, *([refund.order_id] if refund else [])}
        paid = frozenset(
            row.order_id
            for row in orders.values()
            if row.order_id in found and row.status != "open"
        )
        by_refund, stream = (refund.order_id, refund.stream_id) if refund else (None, None)
        return OrderMatches(by_refund, stream, by_id, by_payment, paid)

    async def transfers_of(self, order_id: str) -> Sequence[UUID]:
        return sorted(self._of_order[order_id]) if order_id in self._of_order else []

    async def unsent_of(self, seller_id: str, after: UUID | None) -> Sequence[UUID]:
        unpaid = ("pending", "failed", "permanently_failed")
        rows = self._tables["seller_transfers"].values()
        ids = [r.transfer_id for r in rows if r.seller_id == seller_id and r.status in unpaid]
        return sorted(i for i in ids if after is None or i > after)[:100]

    async def webhook(self, inbox_id: int) -> WebhookName | None:
        row = self._inbox.rows.get(inbox_id)
        if row is None:
            return None
        return WebhookName(
            row.provider, row.event_id, row.event_type, row.status, row.reason, leased=False
        )

    async def claimed(self, transfers: Sequence[TransferAtStripe]) -> frozenset[str]:
        rows = self._tables["seller_transfers"]
        paid, known = (
            {row.stripe_transfer_id for row in rows.values() if row.stripe_transfer_id},
            {str(key) for key in rows},
        )
        return frozenset(
            seen.stripe_transfer_id
            for seen in transfers
            if seen.stripe_transfer_id in paid or seen.transfer_id in known
        )

    async def transfer_at_stripe(self, stripe_transfer_id: str) -> UUID | None:
        rows = self._tables["seller_transfers"].values()
        return next(
            (row.transfer_id for row in rows if row.stripe_transfer_id == stripe_transfer_id), None
        )

    async def sellers_of(self, account: str) -> Sequence[str]:
        return sorted(
            {
                row.seller_id
                for row in self._tables["seller_transfers"].values()
                if row.destination == account
            }
        )

    async def waiting(
        self, status: str, waiting_for: str, account: str | None, after: UUID | None
    ) -> Sequence[UUID]:
        rows = [
            row
            for row in self._tables["seller_transfers"].values()
            if account in (None, row.destination)
        ]
        ids = sorted(
            row.transfer_id
            for row in rows
            if (row.status, row.waiting_for) == (status, waiting_for)
        )
        return [transfer_id for transfer_id in ids if after is None or transfer_id > after]

    def _refund(self, name: str) -> RefundRow | None:
        rows = self._tables["refunds"].values()
        return next((row for row in rows if name in (row.refund_id, row.psp_refund_id)), None)
