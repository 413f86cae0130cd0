"""Rebuild of the read models from the facts: rows that differ are repaired in place, while commands
go on.

Every append writes the rows of its streams as folds of all their facts, so a row that was right in
the snapshot stays right. Only the rows that differ are folded again, under the lock of the appends,
and written in a short transaction: table, indexes, constraints, grants, leases and the plans of all
sessions stay unchanged (docs/adr/0010).
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from infrastructure.postgres.connections import connect_blocking
from infrastructure.postgres.integrity.replay import Blocking, UnreadableStream
from infrastructure.postgres.integrity.row_diff import RowDifference
from infrastructure.postgres.integrity.row_repair import Repairs
from infrastructure.postgres.integrity.snapshot import (
    DatabaseSnapshot,
    FoldedFacts,
    OnProgress,
    Step,
    prefer_indexes,
    snapshot,
    walk,
)
from projections.registry import Derived

REPORTED = 10_000
"""The most differences that are listed; further ones are only counted."""
ONE_AT_A_TIME = "select pg_try_advisory_lock(hashtextextended('ledger_rebuild', 0))"
TRIES, PAUSE = 20, 0.1
"""Together, the time that a killed rebuild may need to lose its lock; the pause is in seconds."""


class RebuildRunning(Exception):
    """Another rebuild is running on this database."""

    def __init__(self) -> None:
        super().__init__("Another rebuild is running on this database; wait until it has ended.")


class TableResult(NamedTuple):
    """The number of rows that the facts lead to, and the digest of all of them."""

    rows: int
    digest: str


@dataclass(slots=True)
class Rebuilt:
    """The result of a rebuild: the rows that differed, and that are repaired now unless the run was
    a rehearsal."""

    position: int = 0
    """Of the newest fact in the snapshot; streams with newer facts are as new as their repair."""
    facts: int = 0
    seconds: float = 0.0
    tables: dict[str, TableResult] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    """Rows that differed, by table."""
    differences: dict[tuple[str, tuple[str, ...]], RowDifference] = field(default_factory=dict)
    unreadable: Sequence[UnreadableStream] = ()

    def take(self, found: Sequence[RowDifference]) -> None:
        """Add differences. A row may be found under two streams, the one it has and the right one:
        the latter says more."""
        for difference in found:
            name = (difference.table, difference.key)
            known = self.differences.get(name)
            if known is None:
                self.counts[difference.table] = self.counts.get(difference.table, 0) + 1
            if len(self.differences) < REPORTED or known is not None:
                self.differences[name] = (
                    difference if known is None or known.expected is None else known
                )

    @property
    def count(self) -> int:
        return sum(self.counts.values())


def rehearse(database_url: str, tables: Sequence[Derived], on_progress: OnProgress) -> Rebuilt:
    """Find the rows that a rebuild would repair. Changes nothing, locks nothing. Raises
    psycopg.Error."""
    with snapshot(database_url) as seen:
        return compared(seen, tables, on_progress)


def compared(seen: DatabaseSnapshot, tables: Sequence[Derived], on_progress: OnProgress) -> Rebuilt:
    """Find every difference in a snapshot."""
    rebuilt, folded, began = Rebuilt(seen.position), FoldedFacts(), time.monotonic()
    for step in walk(seen, tables, folded, on_progress):
        for _, differences in step.differences:
            rebuilt.take(differences)
    return _finished(rebuilt, folded, tables, began)


def rebuild(database_url: str, tables: Sequence[Derived], on_progress: OnProgress) -> Rebuilt:
    """Make these read models equal to the facts. A killed rebuild leaves nothing half done: run it
    again.

    Raises RebuildRunning; RepairRefused if PostgreSQL, or the lock of another session, prevents it;
    psycopg.OperationalError.
    """
    with _only_one(database_url) as connection, snapshot(database_url) as seen:
        rebuilt, folded, began = Rebuilt(seen.position), FoldedFacts(), time.monotonic()
        repairs = Repairs(connection, seen.position)
        for step in walk(seen, tables, folded, on_progress):
            rebuilt.take(_repaired(repairs, step))
        rebuilt.take(repairs.finish())
        return _finished(rebuilt, folded, tables, began)


def _repaired(repairs: Repairs, step: Step) -> list[RowDifference]:
    found = [(derived, differences) for derived, differences in step.differences if differences]
    return [
        repaired
        for derived, differences in found
        for repaired in repairs.repair(derived, step.replayed, differences)
    ]


def _finished(
    rebuilt: Rebuilt, folded: FoldedFacts, tables: Sequence[Derived], began: float
) -> Rebuilt:
    rebuilt.facts, rebuilt.unreadable, rebuilt.seconds = (
        folded.facts,
        folded.unreadable,
        time.monotonic() - began,
    )
    names = [derived.table for derived in tables]
    rebuilt.tables = {
        name: TableResult(folded.rows.get(name, 0), folded.digest(name)) for name in names
    }
    return rebuilt


@contextmanager
def _only_one(database_url: str) -> Iterator[Blocking]:
    """Hold the lock against other rebuilds. The lock ends with the connection, even if the process
    is killed."""
    with connect_blocking(database_url) as connection:
        for _ in range(TRIES):
            if connection.execute(ONE_AT_A_TIME).fetchone() == (True,):
                break
            time.sleep(PAUSE)
        else:
            raise RebuildRunning
        prefer_indexes(connection)
        yield connection
