"""Rebuild: read models made anew from the facts, and rows that differ repaired where they stand, while commands go on.

Every append writes the rows of its streams as folds of all their facts, so a row that was right in the snapshot is right
afterwards too. Only those that differed are folded again, under the lock that appends take, and written in a short
transaction: table, indexes, constraints, grants, leases and everybody's plans stay what they are (docs/adr/0010).
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from infrastructure.postgres.connections import connect_blocking
from infrastructure.postgres.integrity.replay import Blocking, Unreadable
from infrastructure.postgres.integrity.row_diff import Difference
from infrastructure.postgres.integrity.row_repair import Repairs
from infrastructure.postgres.integrity.snapshot import Folded, OnProgress, Snapshot, Step, prefer_indexes, snapshot, walk
from projections.registry import Derived

REPORTED = 10_000
"""Differences that are listed; beyond that they are only counted."""
ONE_AT_A_TIME = "select pg_try_advisory_lock(hashtextextended('ledger_rebuild', 0))"
TRIES, PAUSE = 20, 0.1
"""How long a rebuild that was just killed may take to lose its lock."""


class RebuildRunning(Exception):
    """Another rebuild works on this database."""

    def __init__(self) -> None:
        super().__init__("Another rebuild is running on this database; wait until it has ended.")


class TableResult(NamedTuple):
    """How many rows the facts lead to, and the digest of them all."""

    rows: int
    digest: str


@dataclass(slots=True)
class Rebuilt:
    """What a rebuild has found, and, unless it was a rehearsal, repaired."""

    position: int = 0
    """Of the newest fact that was read in order; streams that moved on since are as new as their repair."""
    facts: int = 0
    seconds: float = 0.0
    tables: dict[str, TableResult] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    """Rows that differed, by table."""
    differences: dict[tuple[str, tuple[str, ...]], Difference] = field(default_factory=dict)
    unreadable: Sequence[Unreadable] = ()

    def take(self, found: Sequence[Difference]) -> None:
        """One row may be found under two streams, where it is and where it belongs: the latter tells more."""
        for difference in found:
            name = (difference.table, difference.key)
            known = self.differences.get(name)
            if known is None:
                self.counts[difference.table] = self.counts.get(difference.table, 0) + 1
            if len(self.differences) < REPORTED or known is not None:
                self.differences[name] = difference if known is None or known.expected is None else known

    @property
    def count(self) -> int:
        return sum(self.counts.values())


def rehearse(database_url: str, tables: Sequence[Derived], on_progress: OnProgress) -> Rebuilt:
    """What a rebuild would repair. Changes nothing, locks nothing. Raises psycopg.Error."""
    with snapshot(database_url) as seen:
        return compared(seen, tables, on_progress)


def compared(seen: Snapshot, tables: Sequence[Derived], on_progress: OnProgress) -> Rebuilt:
    """Every difference in a snapshot."""
    rebuilt, folded, began = Rebuilt(seen.position), Folded(), time.monotonic()
    for step in walk(seen, tables, folded, on_progress):
        for _, differences in step.differences:
            rebuilt.take(differences)
    return _finished(rebuilt, folded, tables, began)


def rebuild(database_url: str, tables: Sequence[Derived], on_progress: OnProgress) -> Rebuilt:
    """Make these read models equal to the facts. Killed anywhere, it leaves nothing behind: run it again.

    Raises RebuildRunning; RepairRefused where PostgreSQL, or somebody's lock, does not let it; psycopg.OperationalError.
    """
    with _only_one(database_url) as connection, snapshot(database_url) as seen:
        rebuilt, folded, began = Rebuilt(seen.position), Folded(), time.monotonic()
        repairs = Repairs(connection, seen.position)
        for step in walk(seen, tables, folded, on_progress):
            rebuilt.take(_repaired(repairs, step))
        rebuilt.take(repairs.finish())
        return _finished(rebuilt, folded, tables, began)


def _repaired(repairs: Repairs, step: Step) -> list[Difference]:
    found = [(derived, differences) for derived, differences in step.differences if differences]
    return [repaired for derived, differences in found for repaired in repairs.repair(derived, step.refolded, differences)]


def _finished(rebuilt: Rebuilt, folded: Folded, tables: Sequence[Derived], began: float) -> Rebuilt:
    rebuilt.facts, rebuilt.unreadable, rebuilt.seconds = folded.facts, folded.unreadable, time.monotonic() - began
    names = [derived.table for derived in tables]
    rebuilt.tables = {name: TableResult(folded.rows.get(name, 0), folded.digest(name)) for name in names}
    return rebuilt


@contextmanager
def _only_one(database_url: str) -> Iterator[Blocking]:
    """The lock ends with the connection, however the process ends."""
    with connect_blocking(database_url) as connection:
        for _ in range(TRIES):
            if connection.execute(ONE_AT_A_TIME).fetchone() == (True,):
                break
            time.sleep(PAUSE)
        else:
            raise RebuildRunning
        prefer_indexes(connection)
        yield connection
