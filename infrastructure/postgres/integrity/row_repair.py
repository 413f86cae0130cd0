"""Repair of rows that differ from their facts, in short transactions under the lock of the
appends."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache
from typing import LiteralString
from uuid import UUID

import orjson
import psycopg
from psycopg.sql import SQL, Composed, Identifier

from infrastructure.postgres import json_encoder
from infrastructure.postgres.integrity.replay import (
    Blocking,
    ReplayedStreams,
    moved,
    replay_streams,
)
from infrastructure.postgres.integrity.row_diff import RowDifference, compare, streams_of
from projections.registry import Derived

BATCH = 250
"""Streams repaired in one transaction; appends wait for that, some tens of milliseconds."""
ATTEMPTS, PAUSE = 25, 0.2
"""Number of tries for a row that another session holds, and the seconds between them."""
LOCK = (
    "select pg_advisory_xact_lock(x'6c6564676572'::bigint), set_config('lock_timeout', '200ms', "
    "true)"
)
REMOVE = """
    delete from {table} t using json_populate_recordset(null::{table}, %s) g
     where {same_key} returning row_to_json(t)::text
"""
WRITE = """
    insert into {table} ({columns})
    select {columns} from json_populate_recordset(null::{table}, %s) order by {key}
    on conflict ({key}) do update set {assignments}
"""
RESTORE = (
    "insert into {table} ({columns}) select {columns} from "
    "json_populate_recordset(null::{table}, %s)"
)
LOCKED = (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected)


Key = tuple[str, ...]
Store = Callable[[Derived, ReplayedStreams, Sequence[RowDifference]], None]


class RepairRefused(Exception):
    """Rows cannot be repaired; earlier repairs of the run stay."""

    def __init__(self, table: str, why: str) -> None:
        super().__init__(
            f"{table} cannot be repaired: {why}; remove the cause and run `transfer-ledger "
            "rebuild` again."
        )


class Repairs:
    """Repairs the differences that a walk finds. `position` is that of the walk's snapshot."""

    def __init__(self, connection: Blocking, position: int) -> None:
        self._connection, self._position = connection, position
        self._set_aside: dict[Derived, list[UUID]] = {}

    def repair(
        self, derived: Derived, known: ReplayedStreams, found: Sequence[RowDifference]
    ) -> list[RowDifference]:
        """Write the rows of these differences as their present facts have them, and return those
        really repaired."""
        streams = streams_of(derived, found).intersection(known.streams)
        repaired, ordered = self._forget(derived, found), sorted(streams)
        for begin in range(0, len(ordered), BATCH):
            batch = ordered[begin : begin + BATCH]
            try:
                repaired += self._with_retries(
                    derived, known.only(set(batch)), self._position, self._write
                )
            except psycopg.errors.UniqueViolation:
                # another wrong row still has this value; `finish` replaces all wrong rows at once
                self._set_aside.setdefault(derived, []).extend(batch)
        return repaired

    def finish(self) -> list[RowDifference]:
        """Replace the rows that were set aside, in one transaction per table; their leases stay."""
        aside = [
            (derived, ReplayedStreams(streams)) for derived, streams in self._set_aside.items()
        ]
        return [
            row
            for derived, known in aside
            for row in self._with_retries(derived, known, 0, self._replace)
        ]

    def _forget(self, derived: Derived, found: Sequence[RowDifference]) -> list[RowDifference]:
        """Delete the rows that have no valid stream id at all."""
        nameless = [difference for difference in found if not streams_of(derived, [difference])]
        if nameless:
            self._remove(derived, nameless)
        return nameless

    def _with_retries(
        self, derived: Derived, known: ReplayedStreams, position: int, store: Store
    ) -> list[RowDifference]:
        for left in reversed(range(ATTEMPTS)):
            try:
                return self._at_once(derived, known, position, store)
            except LOCKED as held:
                if not left:
                    raise RepairRefused(
                        derived.table, "another session keeps some of its rows locked"
                    ) from held
                time.sleep(PAUSE)
            except psycopg.errors.UniqueViolation:
                raise
            except psycopg.IntegrityError as refused:
                raise RepairRefused(
                    derived.table, f"PostgreSQL refuses the rows: {refused.diag.message_primary}"
                ) from refused
        raise AssertionError("the last attempt returns or raises")

    def _at_once(
        self, derived: Derived, known: ReplayedStreams, position: int, store: Store
    ) -> list[RowDifference]:
        with self._connection.transaction():
            self._connection.execute(LOCK)
            current = known.replaced(
                replay_streams(moved(self._connection, known.streams, position))
            )
            found = compare(self._connection, derived, current)
            if found:
                store(derived, current, found)
        return found

    def _write(
        self, derived: Derived, current: ReplayedStreams, found: Sequence[RowDifference]
    ) -> None:
        self._remove(derived, [difference for difference in found if difference.expected is None])
        rows = list(_expected(derived, current, found).values())
        self._connection.execute(_composed(WRITE, derived, derived.columns), (_recordset(rows),))

    def _replace(
        self, derived: Derived, current: ReplayedStreams, found: Sequence[RowDifference]
    ) -> None:
        gone = self._remove(derived, found)
        for key, row in _expected(derived, current, found).items():
            restored = {
                **gone.get(key, {}),
                **row,
            }  # columns that facts do not determine, such as a lease, stay
            self._connection.execute(
                _composed(RESTORE, derived, tuple(restored)), (_recordset([restored]),)
            )

    def _remove(
        self, derived: Derived, found: Sequence[RowDifference]
    ) -> dict[Key, Mapping[str, object]]:
        if not found:
            return {}
        keys = [dict(zip(derived.key, difference.key, strict=True)) for difference in found]
        removed = self._connection.execute(
            _composed(REMOVE, derived, derived.columns), (_recordset(keys),)
        ).fetchall()
        rows = [orjson.loads(row) for (row,) in removed]
        return {_key(derived, row): row for row in rows}


def _expected(
    derived: Derived, current: ReplayedStreams, found: Collection[RowDifference]
) -> dict[Key, dict[str, object]]:
    wanted = {difference.key for difference in found}
    rows = [
        orjson.loads(json_encoder.encode(row)) for _, row in current.rows.get(derived.table, ())
    ]
    return {key: row for row in rows if (key := _key(derived, row)) in wanted}


def _key(derived: Derived, row: Mapping[str, object]) -> Key:
    return tuple(str(row[name]) for name in derived.key)


def _recordset(rows: Sequence[Mapping[str, object]]) -> object:
    return json_encoder.parameter(json_encoder.array([json_encoder.members(rows)]))


@cache
def _composed(query: LiteralString, derived: Derived, columns: tuple[str, ...]) -> Composed:
    same = [SQL("t.{name} = g.{name}").format(name=Identifier(name)) for name in derived.key]
    changed = [name for name in columns if name not in derived.key]
    return SQL(query).format(
        table=Identifier(derived.table),
        columns=SQL(", ").join(map(Identifier, columns)),
        key=SQL(", ").join(map(Identifier, derived.key)),
        same_key=SQL(" and ").join(same),
        assignments=SQL(", ").join(
            SQL("{name} = excluded.{name}").format(name=Identifier(name)) for name in changed
        ),
    )
