"""Database in memory: facts, the rows they lead to, and listeners. It keeps the promises of the
storage ports, as the tests in tests/contracts check for it and for PostgreSQL.

`MemoryStore` takes the place of the event store under the real `PostgresEventLog`: facts pass the
real codec, rows the real folds and encoding, and no value passes that PostgreSQL would refuse.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from copy import deepcopy
from datetime import datetime
from uuid import UUID

from application.ports import EventLog
from domain.errors import Conflict, ConstraintBroken
from infrastructure.measurements import AppendMeasurements
from infrastructure.postgres import json_encoder
from infrastructure.postgres.event_store import TABLES, RecordedFact, StoredFact
from infrastructure.postgres.integrity.hash_chain import GENESIS, link
from infrastructure.postgres.ledger import FactCodec, PostgresEventLog
from infrastructure.simulation.in_memory.alarms import AlarmBoard, MemoryAlarms
from infrastructure.simulation.in_memory.circuit_breaker import Breaker
from infrastructure.simulation.in_memory.constraints import KINDS, Row, Uniqueness, check
from infrastructure.simulation.in_memory.due_transfers import DueStream, DueTransfers
from infrastructure.simulation.in_memory.inbox import StoredWebhooks
from infrastructure.simulation.in_memory.indexes import Indexes
from infrastructure.simulation.in_memory.webhook_polls import StoredPolls
from projections.seller_transfers import SellerTransferRow

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
        self._streams: dict[str, dict[UUID, DueStream]] = {"refunds": {}, "orders": {}}
        self.due_streams = {table: DueTransfers(rows) for table, rows in self._streams.items()}
        """Due refunds, and orders whose charge is to be read."""
        self.instants: dict[str, tuple[datetime, float, datetime]] = {}
        """For each endpoint: its next free instant, and the share of the full rate with the instant
        of its change."""
        self.polls = StoredPolls(clock)
        self.indexes = Indexes()
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

    def backup(self) -> "MemoryDatabase":
        """Return a copy of the present state, without listeners."""
        listeners, self._listeners = self._listeners, defaultdict(list)
        try:
            return deepcopy(self)
        finally:
            self._listeners = listeners

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
        position = len(self.recorded) if facts else None
        for about in self.inbox.mark(rows.get("webhook_inbox", ()), position):
            self.alarms.clear_all(about)
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
        self.indexes.changed(rows.get(key), row)
        rows[key] = row
        if table == "seller_transfers":
            self._transfers[row.transfer_id] = row
            self.due.changed(row)
        elif table in self._streams:
            kind = "a refund" if table == "refunds" else "an order"
            due = DueStream(row.stream_id, kind, row.next_retry_at)
            self._streams[table][row.stream_id] = due
            self.due_streams[table].changed(due)


class MemoryStore:
    """See `infrastructure.postgres.event_store.EventStore`: the part of it that `PostgresEventLog`
    uses."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database
        self.alarms = MemoryAlarms(database)
        self.measured = AppendMeasurements()

    async def load(
        self, ids: Collection[UUID], since: Callable[[UUID], int] = lambda _: 1
    ) -> dict[UUID, list[RecordedFact]]:
        streams = self._database.streams
        loaded = {s: streams[s][since(s) - 1 :] for s in ids if s in streams}
        return {stream: recorded for stream, recorded in loaded.items() if recorded}

    async def append(self, facts: Sequence[StoredFact], rows: Rows | None = None) -> int:
        return self._database.commit(facts, rows or {})


def event_log(database: MemoryDatabase, codec: FactCodec | None = None) -> EventLog:
    """Return the real event log on a database in memory."""
    store = MemoryStore(database)
    return PostgresEventLog(store, codec)  # type: ignore[arg-type]  # it uses load, append, alarms and measured only
