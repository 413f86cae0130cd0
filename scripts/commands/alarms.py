"""Command `alarms`."""

from typing import Annotated

import typer
from rich.table import Table

from infrastructure.bootstrap import stored
from projections.audit_trail.payload import instant
from scripts.commands.command import command, new_app
from scripts.commands.options import AsJson, read_settings
from scripts.commands.output import print_json, print_table

app = new_app()


@command(app, "transfer-ledger alarms --json")
async def alarms(
    cleared: Annotated[
        bool, typer.Option("--all", help="The newest alarms, with those that are cleared.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 100,
    as_json: AsJson = False,
) -> None:
    """List open alarms, oldest first. Each needs a person's attention."""
    async with stored(read_settings()) as storage:
        rows = await (storage.alarms.latest(limit) if cleared else storage.alarms.raised(limit))
    if as_json:
        print_json(alarm._asdict() for alarm in rows)
        return
    table = Table("kind", "subject", "raised", "cleared", "detail")
    for alarm in rows:
        ended = instant(alarm.cleared_at)[:19] if alarm.cleared_at else ""
        table.add_row(alarm.kind, alarm.subject, instant(alarm.raised_at)[:19], ended, alarm.detail)
    print_table(table)
