"""Command `import`: takes over the transfers of an older system."""

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress, TextColumn, TimeElapsedColumn

from application.legacy_import.importer import Importer, ImportReport
from infrastructure.bootstrap import stored
from infrastructure.postgres.imported_transfers import ImportedTransfers
from infrastructure.postgres.ledger import PostgresEventLog
from infrastructure.service import Storage
from scripts.commands.command import command, new_app
from scripts.commands.import_sources import Source, source_of
from scripts.commands.options import AsJson, read_settings
from scripts.commands.output import print_line
from scripts.exit_codes import FOUND, USAGE

app = new_app()


@command(app, "transfer-ledger import old.csv --map destination=account_id", "import")
async def import_(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="A CSV file or a PostgreSQL URL.")
    ],
    table: Annotated[str, typer.Option(help="Table of a PostgreSQL source.")] = "seller_transfers",
    renamed: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="OURS=THEIRS", help="Name of a column in the source."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only check the rows.")] = False,
    as_json: AsJson = False,
) -> int:
    """Import an older system's transfers, and compare. Pending and failed ones are not sent until a
    person clears them.

    Exit 1 when rows differ from the recorded transfers; 2, with nothing stored, when rows cannot be
    read.
    """
    rows = source_of(source, table, renamed or [])
    async with stored(read_settings(), writes=not dry_run) as storage:
        report = await _run(storage, rows, store=False)
        if not (dry_run or report.bad):
            report = await _run(storage, rows, store=True)
    _print(report, as_json)
    return USAGE if report.bad else FOUND if report.differ else 0


async def _run(storage: Storage, source: Source, *, store: bool) -> ImportReport:
    importer = Importer(
        PostgresEventLog(storage.store),
        ImportedTransfers(storage.store, storage.pool),
        storage.clock,
    )
    with _progress() as progress:
        task = progress.add_task("importing" if store else "reading", total=None)
        return await importer.run(
            source.rows(),
            source.named,
            store=store,
            on_progress=lambda rows: progress.update(task, advance=rows),
        )


def _progress() -> Progress:
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        TextColumn("{task.completed:.0f} rows"),
        TimeElapsedColumn(),
    )
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def _print(report: ImportReport, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(asdict(report), indent=2))
        return
    for sentence in report.sentences:
        print_line(sentence, err=bool(report.bad))
    if (more := report.bad + report.differ - len(report.sentences)) > 0:
        print_line(f"… and {more} more rows", err=bool(report.bad))
    would = "would be " if report.dry_run else ""
    counts = f"{report.already_there} already there, {report.differ} differ, {report.bad} bad"
    print_line(f"{report.imported} rows {would}imported, {counts}.")
    if report.unclear:
        print_line(
            f"{report.unclear} of them may have been paid: nothing is sent before each is "
            "cleared, see `alarms`."
        )
    if report.bad and report.dry_run:
        print_line("Nothing is stored: correct or remove the bad rows first.")
