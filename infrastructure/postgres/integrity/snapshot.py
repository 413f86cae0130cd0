"""One instant of the whole database, walked through once: every stream folded, every row compared. Changes nothing.

Facts and rows are read in one snapshot, so commands may go on meanwhile: whatever they store later is in neither.
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
from infrastructure.postgres.integrity.replay import SQL, Blocking, Refolded, StoredRow, Unreadable, chunks, refolded
from infrastructure.postgres.integrity.row_diff import Difference, compare, strangers, streams_of
from projections.registry import Derived

PATIENCE = timedelta(minutes=30)
"""For one statement of a long look at everything."""
OnProgress = Callable[[int, int], None]
"""How many facts are done, of how many."""


class Snapshot(NamedTuple):
    """A connection whose transaction sees the database as it was when the ledger's head was at `position`."""

    connection: Blocking
    position: int


class Step(NamedTuple):
    """Some streams, and by table what differs of their rows."""

    refolded: Refolded
    differences: Sequence[tuple[Derived, Sequence[Difference]]]


@dataclass(slots=True)
class Folded:
    """What a walk has seen of the facts."""

    facts: int = 0
    rows: dict[str, int] = field(default_factory=dict)
    unreadable: list[Unreadable] = field(default_factory=list)
    _digests: dict[str, "hashlib._Hash"] = field(default_factory=dict)

    def take(self, refolded: Refolded, tables: Sequence[Derived]) -> None:
        self.facts += refolded.facts
        self.unreadable += refolded.unreadable
        for table in (derived.table for derived in tables):
            self.rows[table] = self.rows.get(table, 0) + len(refolded.rows.get(table, ()))
            encoded = refolded.encoded(table)
            self._digests.setdefault(table, hashlib.sha256()).update(encoded and encoded + b",")

    def digest(self, table: str) -> str:
        """The SHA-256 of all rows that facts lead to, in the order of their streams: equal facts, equal digest."""
        return self._digests[table].hexdigest() if table in self._digests else hashlib.sha256().hexdigest()


@contextmanager
def snapshot(database_url: str) -> Iterator[Snapshot]:
    """Raises psycopg.OperationalError; psycopg.errors.UndefinedTable where the database was never migrated."""
    with connect_blocking(database_url, PATIENCE) as connection:
        prefer_indexes(connection)
        connection.execute("begin isolation level repeatable read read only")
        row = connection.execute(SQL["last_link"]).fetchone()
        yield Snapshot(connection, row[0] if row else 0)
        connection.execute("rollback")


def prefer_indexes(connection: Blocking) -> None:
    """Plans are made when little is known of the tables; what is looked up by index now is so among a million rows."""
    for setting in ("jit = off", "enable_seqscan = off", "plan_cache_mode = force_custom_plan"):
        connection.execute(f"set {setting}".encode())


def walk(seen: Snapshot, tables: Sequence[Derived], folded: Folded, on_progress: OnProgress) -> Iterator[Step]:
    """Every stream, some at a time. PostgreSQL reads the next ones and compares the last ones while these are folded."""
    connection, waiting = seen.connection, list[tuple[Refolded, Future[list[tuple[Derived, list[Difference]]]]]]()
    with ThreadPoolExecutor(1) as database, _without_collector():
        source = chunks(connection, seen.position)
        reading: Future[list[StoredRow] | None] = database.submit(next, source, None)
        while (chunk := reading.result()) is not None:
            reading = database.submit(next, source, None)
            streams = refolded(chunk)
            folded.take(streams, tables)
            waiting.append((streams, database.submit(_compare, connection, tables, streams)))
            on_progress(folded.facts, seen.position)
            if len(waiting) > 1:
                yield _step(*waiting.pop(0))
        for last in waiting:
            yield _step(*last)
    for derived in tables:
        found = strangers(connection, derived)
        yield Step(Refolded(sorted(streams_of(derived, found))), [(derived, found)])


@contextmanager
def _without_collector() -> Iterator[None]:
    """Folding makes millions of small objects and no cycles: counting references is enough, and a fifth faster."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _compare(connection: Blocking, tables: Sequence[Derived], streams: Refolded) -> list[tuple[Derived, list[Difference]]]:
    return [(derived, compare(connection, derived, streams)) for derived in tables]


def _step(streams: Refolded, comparing: Future[list[tuple[Derived, list[Difference]]]]) -> Step:
    return Step(streams, comparing.result())
