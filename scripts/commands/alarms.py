"""Command `alarms`."""

from typing import Annotated

import typer

from infrastructure.bootstrap import stored
from infrastructure.postgres.alarms import StoredAlarm
from projections.audit_trail.payload import instant
from scripts.commands.command import command, new_app
from scripts.commands.options import AsJson, read_settings
from scripts.commands.output import print_json, print_line, print_table
from scripts.exit_codes import FOUND

COLUMNS = ("kind", "subject", "raised", "last seen", "times", "cleared", "detail")

app = new_app()


@command(app, "transfer-ledger alarms --json")
async def alarms(
    cleared: Annotated[
        bool, typer.Option("--all", help="The newest alarms, with those that are cleared.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 100,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="Exit with 1 while an alarm is open.")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """List open alarms, oldest first. Each needs a person's attention."""
    async with stored(read_settings()) as storage:
        rows = await (storage.alarms.latest(limit) if cleared else storage.alarms.raised(limit))
    if as_json:
        print_json(_json(alarm) for alarm in rows)
    elif rows:
        print_table(COLUMNS, map(_cells, rows))
    else:
        print_line("No alarms." if cleared else "No open alarms.")
    return FOUND if exit_code and any(alarm.cleared_at is None for alarm in rows) else 0


def _cells(alarm: StoredAlarm) -> tuple[str, ...]:
    ended = instant(alarm.cleared_at)[:19] if alarm.cleared_at else ""
    seen = (instant(alarm.raised_at)[:19], instant(alarm.last_seen_at)[:19], str(alarm.times))
    return alarm.kind, alarm.subject, *seen, ended, alarm.detail


def _json(alarm: StoredAlarm) -> dict[str, object]:
    row = alarm._asdict()
    return {("count" if name == "times" else name): value for name, value in row.items()}
