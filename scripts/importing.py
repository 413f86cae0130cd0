"""`transfer-ledger import`: an older system's transfers, from a CSV file or a PostgreSQL table."""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import psycopg
import typer
from psycopg import sql
from psycopg.rows import class_row

from application.importing import OPTIONAL, REQUIRED, BadCell, Cells, differing, imported
from domain.errors import ConstraintBroken
from domain.fact import opened
from domain.seller_transfer import SellerTransfer
from domain.transfer_facts import Imported
from infrastructure.bootstrap import Storage, stored
from infrastructure.postgres.connections import connect_blocking
from infrastructure.postgres.ledger import FactCodec, PostgresLedger
from infrastructure.postgres.sql import queries
from infrastructure.settings import Settings
from projections.seller_transfers import SellerTransferRow, evolve
from scripts.exits import FOUND, fail

BATCH, MOST_SENTENCES = 100, 50
SQL = queries("read_models")


class Source(NamedTuple):
    """Where rows come from: `columns` says how each of ours is called there."""

    place: str
    table: str
    columns: Mapping[str, str]

    @property
    def is_database(self) -> bool:
        return self.place.startswith(("postgresql://", "postgres://"))

    @property
    def named(self) -> str:
        return f"table {self.table}" if self.is_database else Path(self.place).name

    def rows(self) -> Iterator[Cells]:
        return _from_table(self) if self.is_database else _from_file(self)


class Row(NamedTuple):
    """A row that can be taken over."""

    number: int
    fact: Imported
    due_now: bool


@dataclass(slots=True)
class Told:
    """What is said in the end; sentences beyond the bound are only counted."""

    new: int = 0
    known: int = 0
    bad: int = 0
    sentences: list[str] = field(default_factory=list)

    def refuse(self, number: int, why: str) -> None:
        self.bad += 1
        if len(self.sentences) < MOST_SENTENCES:
            self.sentences.append(f"row {number}: {why}")


async def import_transfers(
    settings: Settings, place: str, table: str, renamed: Sequence[str], execute: bool, as_json: bool
) -> int:
    """0 when every row is, or could be, taken over or is here already; 1 when some row is bad or differs."""
    source = Source(place, table, _columns(renamed))
    done = False
    async with stored(settings) as storage:
        told = await _pass(storage, source, store=False)
        if execute and not told.bad:
            told, done = await _pass(storage, source, store=True), True
    _tell(told, done, as_json)
    return FOUND if told.bad else 0


def _columns(renamed: Sequence[str]) -> dict[str, str]:
    columns = {name: name for name in (*REQUIRED, *OPTIONAL)}
    for pair in renamed:
        ours, _, theirs = pair.partition("=")
        if ours not in columns or not theirs:
            fail(f"--map is {pair!r}; expected OURS=THEIRS with one of {', '.join(columns)}.")
        columns[ours] = theirs
    return columns


def _present(source: Source, there: Sequence[str]) -> dict[str, str]:
    optional = {name for name in OPTIONAL if source.columns[name] == name}
    missing = [name for ours, name in source.columns.items() if name not in there and ours not in optional]
    if missing:
        fail(f"{source.named} has no column {', '.join(missing)}; name it with --map OURS=THEIRS.")
    return {ours: name for ours, name in source.columns.items() if name in there}


def _from_file(source: Source) -> Iterator[Cells]:
    try:
        with Path(source.place).open(encoding="utf-8-sig", newline="") as file:
            lines = csv.DictReader(file, strict=True)
            present = _present(source, lines.fieldnames or [])
            for line in lines:
                yield Cells({ours: line[name] or "" for ours, name in present.items()})
    except (OSError, UnicodeDecodeError, csv.Error) as unread:
        fail(f"{source.place} cannot be read as a CSV file in UTF-8: {unread}.")


def _from_table(source: Source) -> Iterator[Cells]:
    table = sql.Identifier(*source.table.split("."))
    with connect_blocking(source.place) as connection, connection.transaction():
        try:
            empty = connection.execute(sql.SQL("select * from {} limit 0").format(table))
        except psycopg.errors.UndefinedTable:
            fail(f"The source has no table {source.table}; name it with --table.")
        present = _present(source, [column.name for column in empty.description or ()])
        names = sql.SQL(", ").join(map(sql.Identifier, present.values()))
        keys = sql.SQL(", ").join(sql.Identifier(present[name]) for name in ("order_id", "seller_id"))
        with connection.cursor("source") as cursor:
            cursor.execute(sql.SQL("select {} from {} order by {}").format(names, table, keys))
            for row in cursor:
                yield Cells(dict(zip(present, map(_text, row), strict=True)))


def _text(value: object) -> str:
    return "" if value is None else value.isoformat() if isinstance(value, datetime) else str(value)


async def _pass(storage: Storage, source: Source, *, store: bool) -> Told:
    told, now = Told(), storage.clock.now()
    numbered = enumerate(source.rows(), start=1)
    while several := list(islice(numbered, BATCH)):
        read = [row for number, cells in several if (row := _read(source, number, cells, now, told))]
        new = await _unknown(storage, read, told)
        told.new += len(new)
        if store and new:
            await _check(storage, await _store(storage, new, told), told)
    return told


def _read(source: Source, number: int, cells: Cells, now: datetime, told: Told) -> Row | None:
    try:
        fact = imported(cells, f"{source.named}, row {number}", now)
    except BadCell as bad:
        told.refuse(number, str(bad))
        return None
    return Row(number, fact, due_now=not cells.text("next_retry_at"))


async def _unknown(storage: Storage, rows: Sequence[Row], told: Told) -> list[Row]:
    recorded = await storage.store.load([row.fact.originator_id for row in rows])
    codec = FactCodec()
    first = {stream: codec.fact(facts[0]) for stream, facts in recorded.items()}
    new = []
    for row in rows:
        before = first.setdefault(row.fact.originator_id, row.fact)
        if before is row.fact:
            new.append(row)
        elif names := differing(before, row.fact, due_now=row.due_now):
            told.refuse(row.number, f"transfer {row.fact.originator_id} is here already and differs in {', '.join(names)}.")
        else:
            told.known += 1
    return new


async def _store(storage: Storage, rows: Sequence[Row], told: Told) -> list[Row]:
    """The rows that are stored. Should the database refuse some together, each is asked for alone."""
    try:
        await _append(storage, rows)
    except ConstraintBroken as broken:
        if len(rows) > 1:
            return [row for one in rows for row in await _store(storage, [one], told)]
        told.new -= 1
        told.refuse(rows[0].number, f"transfer {rows[0].fact.originator_id} is not stored: {broken}")
        return []
    return list(rows)


async def _append(storage: Storage, rows: Sequence[Row]) -> None:
    ledger = PostgresLedger(storage.store)
    book = await ledger.load([])
    book.add(opened(SellerTransfer, row.fact) for row in rows)
    await ledger.append(book)


async def _check(storage: Storage, rows: Sequence[Row], told: Told) -> None:
    """What a running worker has moved on since is no longer what the source said."""
    async with storage.pool.connection() as connection, connection.cursor(row_factory=class_row(SellerTransferRow)) as cursor:
        for row in rows:
            await cursor.execute(SQL["transfer"], (row.fact.originator_id,))
            found, expected = await cursor.fetchone(), evolve(None, row.fact)
            if found is None or (found.version == 1 and found != expected):
                told.refuse(row.number, f"transfer {row.fact.originator_id} was stored, but its row is not as the source has it.")


def _tell(told: Told, stored_: bool, as_json: bool) -> None:
    if as_json:
        counts = {"stored": stored_, "new": told.new, "known": told.known, "bad": told.bad}
        typer.echo(json.dumps({**counts, "sentences": told.sentences}, indent=2))
        return
    for sentence in told.sentences:
        typer.echo(sentence)
    if told.bad > len(told.sentences):
        typer.echo(f"… and {told.bad - len(told.sentences)} more rows")
    done = "stored" if stored_ else "nothing stored; without bad rows, --execute stores"
    typer.echo(f"{told.new} new, {told.known} here already, {told.bad} bad: {done}.")
