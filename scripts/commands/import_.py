"""`transfer-ledger import`: an older system's transfers become opening facts, once, and the read model is compared with it."""

import json
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from itertools import islice
from typing import NamedTuple
from uuid import UUID

import typer
from psycopg.rows import class_row
from rich.console import Console
from rich.progress import Progress, TextColumn, TimeElapsedColumn

from application.legacy_import.row_parser import BadCell, Cells, differing, imported
from domain.errors import Conflict, ConstraintBroken
from domain.fact import opened
from domain.seller_transfer.aggregate import SellerTransfer
from domain.seller_transfer.opening_facts import Imported
from infrastructure.bootstrap import stored
from infrastructure.postgres.ledger import FactCodec, PostgresEventLog
from infrastructure.postgres.named_queries import queries
from infrastructure.service import Storage
from infrastructure.settings import Settings
from projections.seller_transfers import SellerTransferRow, evolve
from scripts.commands.import_sources import Source, source_of
from scripts.exit_codes import FOUND, USAGE

BATCH, MOST_SENTENCES = 250, 50
ATTEMPTS = 5
"""How often rows are looked at anew that somebody else imports at the same time."""
SQL = queries("read_models")


class Row(NamedTuple):
    """A row that can be taken over."""

    number: int
    fact: Imported
    due_now: bool

    def unlike(self, found: SellerTransferRow) -> list[str]:
        """The columns in which the read model is not as the source has it."""
        expected = evolve(None, self.fact)
        ignored = {"updated_at"} | ({"next_retry_at"} if self.due_now else set())
        ignored |= {"created_at"} if self.fact.created_at is None else set()
        names = (name for name in SellerTransferRow._fields if name not in ignored)
        return [name for name in names if getattr(expected, name) != getattr(found, name)]


@dataclass(slots=True)
class Told:
    """What is said in the end; sentences beyond the bound are only counted."""

    dry_run: bool
    imported: int = 0
    already_there: int = 0
    differ: int = 0
    bad: int = 0
    unclear: int = 0
    """Of those imported: pending and failed ones, which wait for a person."""
    sentences: list[str] = field(default_factory=list)

    def say(self, number: int, why: str) -> None:
        if len(self.sentences) < MOST_SENTENCES:
            self.sentences.append(f"row {number}: {why}")

    def refuse(self, number: int, why: str) -> None:
        self.bad += 1
        self.say(number, why)

    def contradict(self, number: int, why: str) -> None:
        self.differ += 1
        self.say(number, why)

    def take(self, rows: Collection[Row]) -> None:
        self.imported += len(rows)
        self.unclear += sum(row.fact.uncleared for row in rows)


async def import_transfers(
    settings: Settings, place: str, table: str, renamed: Sequence[str], dry_run: bool, as_json: bool
) -> int:
    """0 when the read model has every row as the source has it; 1 when some differ; 2, and nothing stored, when some are bad."""
    source = source_of(place, table, renamed)
    async with stored(settings) as storage:
        with _progress() as progress:
            told = await _pass(storage, source, progress, store=False)
            if not (dry_run or told.bad):
                told = await _pass(storage, source, progress, store=True)
    _tell(told, as_json)
    return USAGE if told.bad else FOUND if told.differ else 0


async def _pass(storage: Storage, source: Source, progress: Progress, *, store: bool) -> Told:
    """All rows once, so many at a time: a whole look before anything is stored, or the storing itself."""
    told, now = Told(dry_run=not store), storage.clock.now()
    task = progress.add_task("importing" if store else "reading", total=None)
    numbered = enumerate(source.rows(), start=1)
    while several := list(islice(numbered, BATCH)):
        read = [row for number, cells in several if (row := _read(source, number, cells, now, told))]
        await _take_over(storage, read, told) if store else await _look(storage, read, told)
        progress.update(task, advance=len(several))
    return told


def _read(source: Source, number: int, cells: Cells, now: datetime, told: Told) -> Row | None:
    try:
        fact = imported(cells, f"{source.named}, row {number}", now)
    except BadCell as bad:
        told.refuse(number, str(bad))
        return None
    return Row(number, fact, due_now=not cells.text("next_retry_at"))


async def _look(storage: Storage, rows: Sequence[Row], told: Told) -> None:
    new, known = await _sorted(storage, rows, told)
    told.take(new)
    await _compare(storage, known, told)


async def _take_over(storage: Storage, rows: Sequence[Row], told: Told) -> None:
    for left in reversed(range(ATTEMPTS)):
        mark = Told(told.dry_run)
        new, known = await _sorted(storage, rows, mark)
        try:
            made = await _store(storage, new, mark)
        except Conflict:
            if not left:
                raise
            continue  # another import has stored some of them: now they are known
        _add(told, mark)
        told.take(made)
        await _compare(storage, [*made, *known], told, made)
        return


def _add(told: Told, mark: Told) -> None:
    told.differ, told.bad = told.differ + mark.differ, told.bad + mark.bad
    told.sentences += mark.sentences[: MOST_SENTENCES - len(told.sentences)]


async def _sorted(storage: Storage, rows: Sequence[Row], told: Told) -> tuple[list[Row], list[Row]]:
    """The rows that are new, and those that are here already as they are there. What differs is told."""
    recorded = await storage.store.load([row.fact.originator_id for row in rows])
    codec = FactCodec()
    first = {stream: codec.fact(facts[0]) for stream, facts in recorded.items()}
    new, known = [], []
    for row in rows:
        before = first.setdefault(row.fact.originator_id, row.fact)
        if before is row.fact:
            new.append(row)
        elif names := differing(before, row.fact, due_now=row.due_now):
            told.contradict(row.number, f"transfer {row.fact.originator_id} is here already and differs in {', '.join(names)}.")
        else:
            known.append(row)
    return new, known


async def _store(storage: Storage, rows: Sequence[Row], told: Told) -> list[Row]:
    """The rows that are stored. Should the database refuse some together, it is asked for each half."""
    if not rows:
        return []
    try:
        await _append(storage, rows)
    except ConstraintBroken as broken:
        if len(rows) > 1:
            middle = len(rows) // 2
            return [row for half in (rows[:middle], rows[middle:]) for row in await _store(storage, half, told)]
        told.refuse(rows[0].number, f"transfer {rows[0].fact.originator_id} is not stored: {broken}")
        return []
    return list(rows)


async def _append(storage: Storage, rows: Sequence[Row]) -> None:
    ledger = PostgresEventLog(storage.store)
    uow = await ledger.load([])
    uow.add(opened(SellerTransfer, row.fact) for row in rows)
    await ledger.append(uow)


async def _compare(storage: Storage, rows: Sequence[Row], told: Told, made: Sequence[Row] = ()) -> None:
    """The read model against the source. What has been moved on here since is no longer what the source says."""
    found, new = await _kept(storage, rows), {row.number for row in made}
    for row in rows:
        kept = found.get(row.fact.originator_id)
        names = ["all of it, for it is missing"] if kept is None else row.unlike(kept) if kept.version == 1 else []
        if names:
            told.contradict(row.number, f"the row of transfer {row.fact.originator_id} differs in {', '.join(names)}.")
        elif row.number not in new:
            told.already_there += 1


async def _kept(storage: Storage, rows: Sequence[Row]) -> Mapping[UUID, SellerTransferRow]:
    async with storage.pool.connection() as connection, connection.cursor(row_factory=class_row(SellerTransferRow)) as cursor:
        await cursor.execute(SQL["some_transfers"], ([row.fact.originator_id for row in rows],))
        return {kept.transfer_id: kept for kept in await cursor.fetchall()}


def _progress() -> AbstractContextManager[Progress]:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), TextColumn("{task.completed:.0f} rows"), TimeElapsedColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def _tell(told: Told, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(asdict(told), indent=2))
        return
    for sentence in told.sentences:
        typer.echo(sentence, err=bool(told.bad))
    if (more := told.bad + told.differ - len(told.sentences)) > 0:
        typer.echo(f"… and {more} more rows", err=bool(told.bad))
    would = "would be " if told.dry_run else ""
    typer.echo(f"{told.imported} rows {would}imported, {told.already_there} already there, {told.differ} differ, {told.bad} bad.")
    if told.unclear:
        typer.echo(f"{told.unclear} of them may have been paid: nothing is sent before each is cleared, see `alarms`.")
    if told.bad and told.dry_run:
        typer.echo("Nothing is stored: mend or leave out the bad rows first.")
