"""One snapshot of the whole database, in which every stream is folded and every row is compared.
Changes nothing.

Facts and rows are read in the same snapshot, so commands may go on: the snapshot has neither their
facts nor their rows.
"""

import gc
import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import NamedTuple

from infrastructure.postgres.connections import connect_blocking
from infrastructure.postgres.integrity.replay import (
    SQL,
    Blocking,
    ReplayedStreams,
    StoredRow,
    UnreadableStream,
    chunks,
    replay_streams,
)
from infrastructure.postgres.integrity.row_diff import RowDifference, compare, strangers, streams_of
from projections.registry import Derived

PATIENCE = timedelta(minutes=30)
"""The time limit of one statement of a walk through everything."""
TableDifferences = list[tuple[Derived, list[RowDifference]]]
OnProgress = Callable[[int, int], None]
"""Called with the number of facts that are done, and of all facts."""


class DatabaseSnapshot(NamedTuple):
    """A connection whose transaction sees the database with the ledger's head at `position`."""

    connection: Blocking
    position: int


class Step(NamedTuple):
    """Some streams, and by table the differences of their rows."""

    replayed: ReplayedStreams
    differences: TableDifferences


@dataclass(slots=True)
class FoldedFacts:
    """Totals of the facts that a walk has folded."""

    facts: int = 0
    rows: dict[str, int] = field(default_factory=dict)
    unreadable: list[UnreadableStream] = field(default_factory=list)
    _digests: dict[str, "hashlib._Hash"] = field(default_factory=dict)

    def take(self, replayed: ReplayedStreams, tables: Sequence[Derived]) -> None:
        self.facts += replayed.facts
        self.unreadable += replayed.unreadable
        for table in (derived.table for derived in tables):
            self.rows[table] = self.rows.get(table, 0) + len(replayed.rows.get(table, ()))
            encoded = replayed.encoded(table)
            self._digests.setdefault(table, hashlib.sha256()).update(encoded and encoded + b",")

    def digest(self, table: str) -> str:
        """Return the SHA-256 of all rows that facts lead to, in the order of their streams: equal
        facts, equal digest."""
        return (
            self._digests[table].hexdigest()
            if table in self._digests
            else hashlib.sha256().hexdigest()
        )


@contextmanager
def snapshot(database_url: str) -> Iterator[DatabaseSnapshot]:
    """Open a snapshot.

    Raises psycopg.OperationalError, and psycopg.errors.UndefinedTable if the database was never
    migrated.
    """
    with connect_blocking(database_url, PATIENCE) as connection:
        prefer_indexes(connection)
        connection.execute("begin isolation level repeatable read read only")
        row = connection.execute(SQL["last_link"]).fetchone()
        yield DatabaseSnapshot(connection, row[0] if row else 0)
        connection.execute("rollback")


def prefer_indexes(connection: Blocking) -> None:
    """Make index look-ups of all plans: early plans know little of the tables, and must be right
    for a million rows too."""
    for setting in ("jit = off", "enable_seqscan = off", "plan_cache_mode = force_custom_plan"):
        connection.execute(f"set {setting}".encode())


def walk(
    seen: DatabaseSnapshot, tables: Sequence[Derived], folded: FoldedFacts, on_progress: OnProgress
) -> Iterator[Step]:
    """Walk through every stream, some at a time.

    While these are folded, PostgreSQL compares the rows of the last ones and reads the next ones.
    """
    connection, waiting = seen.connection, list[tuple[ReplayedStreams, Future[TableDifferences]]]()
    with ThreadPoolExecutor(1) as database, _without_collector():
        source = chunks(connection, seen.position)
        reading: Future[list[StoredRow] | None] = database.submit(next, source, None)
        while (chunk := reading.result()) is not None:
            reading = database.submit(next, source, None)
            streams = replay_streams(chunk)
            folded.take(streams, tables)
            waiting.append((streams, database.submit(_compare, connection, tables, streams)))
            on_progress(folded.facts, seen.position)
            if len(waiting) > 1:
                yield _step(*waiting.pop(0))
        for last in waiting:
            yield _step(*last)
    for derived in tables:
        found = strangers(connection, derived)
        yield Step(ReplayedStreams(sorted(streams_of(derived, found))), [(derived, found)])


@contextmanager
def _without_collector() -> Iterator[None]:
    """Switch off the cyclic collector: folding makes millions of small objects without cycles, and
    is a fifth faster so."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _compare(
    connection: Blocking, tables: Sequence[Derived], streams: ReplayedStreams
) -> TableDifferences:
    return [(derived, compare(connection, derived, streams)) for derived in tables]


def _step(streams: ReplayedStreams, comparing: Future[TableDifferences]) -> Step:
    return Step(streams, comparing.result())
