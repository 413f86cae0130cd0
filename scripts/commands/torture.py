"""Command `torture`."""

import asyncio
import json
import secrets
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from scripts.commands.command import command, new_app
from scripts.commands.options import AsJson, read_settings
from scripts.commands.output import print_line
from scripts.exit_codes import FOUND
from scripts.torture.run import Plan, server_for
from scripts.torture.run import torture as tortured

app = new_app()


@command(app, "transfer-ledger torture --appends 20000")
def torture(
    appends: Annotated[int, typer.Option(min=100, help="Acknowledged appends to reach.")] = 20_000,
    restarts: Annotated[int, typer.Option(min=0, help="Restarts of the embedded server.")] = 3,
    minutes: Annotated[
        float, typer.Option(min=0.1, help="Minutes after which no append begins.")
    ] = 20,
    seed: Annotated[int | None, typer.Option(help="Seed of the random choices.")] = None,
    as_json: AsJson = False,
) -> int:
    """Write from 32 writers while sessions and server are killed, then compare the log with every
    answer; exit 1 on a violation."""
    chosen = secrets.randbelow(1 << 32) if seed is None else seed
    plan = Plan(appends, chosen, restarts=restarts, limit=60 * minutes)
    with (
        server_for(read_settings().database_url) as server,
        tempfile.TemporaryDirectory() as directory,
    ):
        report = asyncio.run(tortured(plan, server, Path(directory)))
    if as_json:
        typer.echo(json.dumps(report, indent=2))
    else:
        for name, value in report.items():
            print_line(f"{name}: {value}")
    return FOUND if report["violations"] else 0
