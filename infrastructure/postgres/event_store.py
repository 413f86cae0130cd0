"""Event store: facts, the rows they lead to, and the extras of a command, in one grouped commit.

The table has the columns of the `eventsourcing` library's recorder, so the library's readers work
on it. The library never writes here: the SQL function `ledger_append` is the only way in, and keeps
positions without holes and the hash chain.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import timedelta
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple
from uuid import UUID

import orjson
import psycopg
from psycopg.rows import args_row

from domain.errors import Conflict, ConstraintBroken, Unavailable
from infrastructure.measurements import AppendMeasurements, WriterMeter
from infrastructure.postgres import json_encoder
from infrastructure.postgres.alarms import PostgresAlarms
from infrastructure.postgres.connections import Connection, Pool, fetch_one
from infrastructure.postgres.group_commit import PATIENCE, GroupCommit
from infrastructure.postgres.named_queries import queries
from infrastructure.postgres.writer_health import WriterHealth

GROUP_LIMIT = 32
TABLES = frozenset({
    "seller_transfers", "transfer_reversals", "orders", "refunds", "disputes", "payouts", "pauses",
    "findings", "alarms", "webhook_inbox", "released", "probe",
})  # fmt: skip
STORED_ALREADY, NO_PREDECESSOR = "LG001", "LG002"
CLASH_OF_LOCKS = {"55P03", "40P01", "40001"}
SQL = queries("event_store")

Rows = Mapping[str, Sequence[object]]
"""Table → rows (NamedTuples or mappings, by column name), as `ledger_append` takes them.

seller_transfers, transfer_reversals, orders, refunds, disputes, payouts, pauses, findings: the
whole row; alarms: kind, subject, detail, raised_at and, to clear the alarm, cleared_at;
webhook_inbox: inbox_id, status, reason, subject, due_at of events handled with these facts;
released: subject, whose parked webhooks are due now. probe: any value, a write without a row.
"""


class StoredFact(NamedTuple):
    """A fact as the library's mapper makes it; `state` is the JSON text of an object."""

    originator_id: UUID
    originator_version: int
    topic: str
    state: bytes


class RecordedFact(NamedTuple):
    """A fact as the database has it: with its position in the whole ledger and its link of the hash
    chain."""

    originator_id: UUID
    originator_version: int
    topic: str
    state: bytes
    position: int
    digest: bytes


class Append(NamedTuple):
    """The facts and rows of one command, encoded: they are stored together or not at all."""

    versions: tuple[tuple[UUID, int], ...]
    facts: bytes
    rows: Mapping[str, bytes]


class EventStore:
    """Writes through one connection of its own, reads through the pool. `start` before use,
    `aclose` after."""

    def __init__(
        self,
        database_url: str,
        pool: Pool,
        group_limit: int = GROUP_LIMIT,
        patience: timedelta = PATIENCE,
    ) -> None:
        self.measured = AppendMeasurements()
        self._writer = GroupCommit(
            database_url,
            AppendStatement(),
            group_limit,
            patience,
            pool.drain,
            WriterMeter(self.measured, "facts"),
        )
        self._pool, self.alarms = pool, PostgresAlarms(pool)

    async def start(self) -> None:
        """Open the writer. Raises psycopg.OperationalError if the database cannot be reached."""
        await self._writer.start()

    async def aclose(self) -> None:
        """Store the waiting appends, then end."""
        await self._writer.aclose()

    async def append(self, facts: Sequence[StoredFact], rows: Rows | None = None) -> int:
        """Store facts and rows, all or nothing, and return the position of the last fact.

        Cancelling the caller withdraws nothing. Raises Conflict (another writer stored one of these
        versions first), ConstraintBroken (the database refuses the facts or rows), Unavailable (its
        `in_doubt` says whether the append may be stored), TypeError or ValueError (a value that
        cannot be encoded, a table that does not exist).
        """
        return await self._writer.submit(_encode(facts, rows or {}))

    @property
    def health(self) -> WriterHealth:
        return self._writer.health

    async def probe(self) -> None:
        """Write nothing, in the way of an append: fails as one would fail. Raises Unavailable."""
        await self.append([], {"probe": [True]})

    async def load(
        self, ids: Collection[UUID], since: Callable[[UUID], int] = lambda _: 1
    ) -> dict[UUID, list[RecordedFact]]:
        """Load streams by id, each from a version on, by one query; a stream without such facts has
        no key."""
        recorded = await self._recorded(SQL["load"], list(ids), [since(stream) for stream in ids])
        return {
            stream: list(facts) for stream, facts in groupby(recorded, attrgetter("originator_id"))
        }

    async def feed(self, after: int = 0, limit: int = 500) -> list[RecordedFact]:
        """Load the facts after a position, in order.

        A reader that follows positions misses no fact: their order is the order of commits.
        """
        return await self._recorded(SQL["feed"], after, limit)

    async def head(self) -> int:
        """Return the position of the newest fact; 0 when there is none."""
        row = await fetch_one(self._pool, SQL["head"])
        return int(row[0]) if row else 0

    async def _recorded(self, query: bytes, *values: object) -> list[RecordedFact]:
        async with (
            self._pool.connection() as connection,
            connection.cursor(binary=True, row_factory=args_row(RecordedFact)) as cursor,
        ):
            await cursor.execute(query, values)
            return await cursor.fetchall()


class AppendStatement:
    """The statement that a group of appends shares (see `group_commit.GroupStatement`)."""

    async def store(self, connection: Connection, items: Sequence[Append]) -> Sequence[int]:
        facts, rows = json_encoder.array(item.facts for item in items), _joined_rows(items)
        cursor = await connection.execute(
            SQL["append"],
            (json_encoder.parameter(facts), json_encoder.parameter(rows)),
            prepare=True,
        )
        row = await cursor.fetchone()
        return _positions(items, row[0] if row else 0)

    async def recall(self, connection: Connection, items: Sequence[Append]) -> Sequence[int] | None:
        """Compare all facts, not only the last one: another writer may have stored the very same
        fact in another group."""
        await connection.execute(SQL["await_writers"])
        facts = json_encoder.array(item.facts for item in items)
        row = await (
            await connection.execute(SQL["recall"], (json_encoder.parameter(facts),))
        ).fetchone()
        wanted = sum(len(item.versions) for item in items)
        return _positions(items, row[1]) if row and wanted and row[0] == wanted else None

    def blamed(self, error: psycopg.Error, items: Sequence[Append]) -> Mapping[int, Exception]:
        if error.sqlstate not in {STORED_ALREADY, NO_PREDECESSOR}:
            return {}
        named = {
            (UUID(stream), version)
            for stream, version in orjson.loads(error.diag.message_detail or "[]")
        }
        per_item = {index: named.intersection(item.versions) for index, item in enumerate(items)}
        return {index: _blame(error, sorted(pairs)) for index, pairs in per_item.items() if pairs}

    def refusal(self, error: Exception, item: Append) -> Exception:
        if not isinstance(error, psycopg.Error):
            return ConstraintBroken(None, f"{type(error).__name__}: {error}")
        reason = error.diag.message_primary or str(error)
        if error.sqlstate in CLASH_OF_LOCKS:
            return Unavailable(f"another session holds a row of this append: {reason}")
        return ConstraintBroken(error.diag.constraint_name, reason)


def _encode(facts: Sequence[StoredFact], rows: Rows) -> Append:
    if unknown := rows.keys() - TABLES:
        raise ValueError(
            f"ledger_append knows no table {', '.join(sorted(unknown))}; expected one of "
            f"{sorted(TABLES)}"
        )
    versions = tuple((fact.originator_id, fact.originator_version) for fact in facts)
    encoded = {table: json_encoder.members(several) for table, several in rows.items() if several}
    if facts and "webhook_inbox" in encoded:
        encoded["webhook_inbox"] = _caused(rows["webhook_inbox"], versions[-1])
    return Append(versions, json_encoder.members(map(_fact, facts)), encoded)


def _fact(fact: StoredFact) -> dict[str, object]:
    stream, version, topic, state = fact
    return {"id": stream, "version": version, "topic": topic, "state": orjson.Fragment(state)}


def _caused(handled: Sequence[object], last: tuple[UUID, int]) -> bytes:
    """Name the last fact that the event caused: only ledger_append knows its position, which the
    inbox row keeps."""
    stream, version = last
    return json_encoder.members(
        {**orjson.loads(json_encoder.encode(row)), "stream": stream, "version": version}
        for row in handled
    )


def _joined_rows(items: Sequence[Append]) -> bytes:
    tables = {table for item in items for table in item.rows}
    return json_encoder.record(
        {table: json_encoder.array(item.rows.get(table, b"") for item in items) for table in tables}
    )


def _positions(items: Sequence[Append], last: int) -> list[int]:
    """Return the position of each append's last fact, when the group's last fact is at `last`."""
    positions = []
    for item in reversed(items):
        positions.append(last)
        last -= len(item.versions)
    return positions[::-1]


def _blame(error: psycopg.Error, pairs: Sequence[tuple[UUID, int]]) -> Exception:
    if error.sqlstate == STORED_ALREADY:
        return Conflict(pairs)
    listed = ", ".join(f"{stream} v{version}" for stream, version in pairs)
    return ConstraintBroken(
        "every_version_has_a_predecessor", f"{listed} would leave a gap in the stream"
    )
