"""Differences between expected and stored rows, compared by PostgreSQL itself, column by column, as
text.

As text, because a reader of the table sees text: as jsonb 900 and 900.0 are equal. The expected
rows are passed as the JSON that `ledger_append` takes, so that the same code parses both sides.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import LiteralString, NamedTuple
from uuid import UUID

from psycopg.sql import SQL, Composed, Identifier, Literal

from infrastructure.postgres import json_encoder
from infrastructure.postgres.integrity.replay import Blocking, ReplayedStreams
from projections.registry import Derived

COMPARE = """
    with expected as materialized (
        select * from json_populate_recordset(null::{table}, %(rows)s)
    ), kept as materialized (
        select * from {table} where {stream} = any(%(streams)s::uuid[]::{stream_type}[]) and {scope}
         union all
        -- a row whose stream is another one
        select t.* from {table} t join expected e using ({key})
         where t.{stream} <> e.{stream}
           and not t.{stream} = any(%(streams)s::uuid[]::{stream_type}[])
    )
    select array[{key_texts}], e.cells, k.cells
      from (select {key}, array[{cells}]::text[] as cells from expected) e
      full join (select {key}, array[{cells}]::text[] as cells from kept) k using ({key})
     where e.cells is distinct from k.cells
"""
SCOPE = """
    kind = any({kinds})
    -- for the index, which begins with the kind
    and {stream} between (select min(s) from unnest(%(streams)s::uuid[]::text[]) s)
                     and (select max(s) from unnest(%(streams)s::uuid[]::text[]) s)
"""
STRANGERS = """
    select array[{key_texts}], null, array[{cells}]::text[]
      from {table} t
     where {scope} and not exists (
           select from ledger_events e where e.originator_id = {stream_uuid})
"""
TEXT_TO_UUID = """
    case when {stream} ~ '^[0-9a-f]{{8}}(-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}}$'
         then {stream}::uuid end
"""
Cells = Mapping[str, str | None]


class RowDifference(NamedTuple):
    """One row that differs from its facts. `expected` None: no facts lead to the row; `kept` None:
    the row is missing."""

    table: str
    key: tuple[str, ...]
    expected: Cells | None
    kept: Cells | None

    @property
    def id(self) -> str:
        return " ".join(self.key)

    @property
    def columns(self) -> dict[str, tuple[str | None, str | None]]:
        """Return the columns that differ: name → (stored, expected)."""
        kept, expected = self.kept or {}, self.expected or {}
        names = self.kept if self.kept is not None else expected
        return {
            name: (kept.get(name), expected.get(name))
            for name in names
            if kept.get(name) != expected.get(name)
        }

    @property
    def sentence(self) -> str:
        """Say how the row differs."""
        if self.kept is None:
            return "the row is missing"
        if self.expected is None:
            return f"no facts lead to this row: {dict(self.kept)}"
        return "; ".join(
            f"{name} is {kept!r}, its facts say {expected!r}"
            for name, (kept, expected) in self.columns.items()
        )


def compare(
    connection: Blocking, derived: Derived, replayed: ReplayedStreams
) -> list[RowDifference]:
    """Find every row of these streams that differs from its facts, is missing, or has no facts."""
    rows = json_encoder.array([replayed.encoded(derived.table)])
    values = {"rows": json_encoder.parameter(rows), "streams": replayed.streams}
    found = connection.execute(_composed(COMPARE, derived, SCOPE), values, prepare=True)
    return [_difference(derived, *row) for row in found]


def strangers(connection: Blocking, derived: Derived) -> list[RowDifference]:
    """Find the rows whose stream has no facts at all."""
    return [
        _difference(derived, *row)
        for row in connection.execute(_composed(STRANGERS, derived, "kind = any({kinds})"))
    ]


def _difference(
    derived: Derived,
    key: Sequence[str],
    expected: Sequence[str | None] | None,
    kept: Sequence[str | None] | None,
) -> RowDifference:
    named = [
        None if cells is None else dict(zip(derived.columns, cells, strict=True))
        for cells in (expected, kept)
    ]
    return RowDifference(derived.table, tuple(key), *named)


def streams_of(derived: Derived, found: Sequence[RowDifference]) -> set[UUID]:
    """Return every stream that these rows have, or should have."""
    named = {
        cells[derived.stream]
        for difference in found
        for cells in (difference.expected, difference.kept)
        if cells
    }
    return {UUID(name) for name in named if name is not None and _is_uuid(name)}


def _is_uuid(name: str) -> bool:
    try:
        return str(UUID(name)) == name
    except ValueError:
        return False


@cache
def _composed(query: LiteralString, derived: Derived, scope: LiteralString) -> Composed:
    stream = Identifier(derived.stream)
    within = (
        SQL(scope).format(kinds=Literal(list(derived.kinds)), stream=stream)
        if derived.kinds
        else SQL("true")
    )
    return SQL(query).format(
        table=Identifier(derived.table),
        stream=stream,
        stream_type=SQL(derived.stream_type),
        stream_uuid=SQL(TEXT_TO_UUID).format(stream=stream)
        if derived.stream_type == "text"
        else stream,
        scope=within,
        key=SQL(", ").join(map(Identifier, derived.key)),
        key_texts=SQL(", ").join(SQL("{}::text").format(Identifier(name)) for name in derived.key),
        cells=SQL(", ").join(SQL("{}::text").format(Identifier(name)) for name in derived.columns),
    )
