"""Sources of an import: a CSV file or a PostgreSQL table, read row by row."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import psycopg
from psycopg import sql

from application.legacy_import.row_parser import OPTIONAL, REQUIRED, Cells
from infrastructure.postgres.connections import connect_blocking
from scripts.exit_codes import fail

SORTING_MAY_TAKE = timedelta(minutes=10)
FETCHED = 1_000
"""Rows fetched from a table at a time."""


class Source(NamedTuple):
    """A file or a table. `columns` maps our column names to the source's."""

    place: str
    table: str
    columns: Mapping[str, str]

    @property
    def is_database(self) -> bool:
        return self.place.startswith(("postgresql://", "postgres://"))

    @property
    def named(self) -> str:
        """Name of the source without its URL, which may contain a password."""
        return f"table {self.table}" if self.is_database else Path(self.place).name

    def rows(self) -> Iterator[Cells]:
        """Iterate over all rows, in the same order each time. Exit with 2 when the source cannot be
        read."""
        return _from_table(self) if self.is_database else _from_file(self)


def source_of(place: str, table: str, renamed: Sequence[str]) -> Source:
    """Make a source with these columns renamed. Exit with 2 for a bad `--map`."""
    columns = {name: name for name in (*REQUIRED, *OPTIONAL)}
    for pair in renamed:
        ours, _, theirs = pair.partition("=")
        if ours not in columns or not theirs:
            fail(f"--map is {pair!r}; expected OURS=THEIRS with one of {', '.join(columns)}.")
        columns[ours] = theirs
    return Source(place, table, columns)


def _present_columns(source: Source, there: Sequence[str]) -> dict[str, str]:
    unmapped_optional = {name for name in OPTIONAL if source.columns[name] == name}
    missing = [
        name
        for ours, name in source.columns.items()
        if name not in there and ours not in unmapped_optional
    ]
    if missing:
        fail(f"{source.named} has no column {', '.join(missing)}; name it with --map OURS=THEIRS.")
    return {ours: name for ours, name in source.columns.items() if name in there}


def _from_file(source: Source) -> Iterator[Cells]:
    try:
        with Path(source.place).open(encoding="utf-8-sig", newline="") as file:
            lines = csv.DictReader(file, strict=True)
            present = _present_columns(source, lines.fieldnames or [])
            for number, line in enumerate(lines, start=1):
                if None in line:
                    fail(
                        f"Row {number} of {source.named} has more cells than there are columns; "
                        "quote cells with commas."
                    )
                yield Cells({ours: line[name] or "" for ours, name in present.items()})
    except (OSError, UnicodeDecodeError, csv.Error) as unread:
        fail(f"{source.place} cannot be read as a CSV file in UTF-8: {unread}.")


def _from_table(source: Source) -> Iterator[Cells]:
    try:
        with (
            connect_blocking(source.place, SORTING_MAY_TAKE) as connection,
            connection.transaction(),
        ):
            yield from _rows(source, connection)
    except (psycopg.OperationalError, psycopg.ProgrammingError) as unread:
        fail(f"{source.named} of the source cannot be read: {' '.join(str(unread).split())}")


def _rows(source: Source, connection: psycopg.Connection) -> Iterator[Cells]:
    table = sql.Identifier(*source.table.split("."))
    connection.execute("set transaction read only")
    try:
        empty = connection.execute(sql.SQL("select * from {} limit 0").format(table))
    except psycopg.errors.UndefinedTable:
        fail(f"The source has no table {source.table}; name it with --table.")
    present = _present_columns(source, [column.name for column in empty.description or ()])
    names = sql.SQL(", ").join(map(sql.Identifier, present.values()))
    keys = sql.SQL(", ").join(sql.Identifier(present[name]) for name in ("order_id", "seller_id"))
    with connection.cursor("source") as cursor:
        cursor.itersize = FETCHED
        cursor.execute(sql.SQL("select {} from {} order by {}").format(names, table, keys))
        for row in cursor:
            yield Cells(dict(zip(present, map(_text, row), strict=True)))


def _text(value: object) -> str:
    return "" if value is None else value.isoformat() if isinstance(value, datetime) else str(value)
