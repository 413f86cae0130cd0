"""Command `migrate`."""

import asyncio
from functools import partial
from typing import Annotated

import typer

from infrastructure.bootstrap import database
from infrastructure.postgres import migrate as migrations
from infrastructure.postgres.server_checks import await_server
from scripts.commands.command import command, new_app
from scripts.commands.options import AsJson, read_settings
from scripts.commands.output import print_json, print_line
from scripts.exit_codes import fail

app = new_app()


@command(app, "transfer-ledger migrate status")
def migrate(
    action: Annotated[str, typer.Argument(help="up, down or status")] = "up",
    to: Annotated[
        int | None, typer.Option(help="Last version to apply; for down, the version to go back to.")
    ] = None,
    destroy: Annotated[
        str | None,
        typer.Option(
            metavar="DATABASE_NAME",
            help="For down: the name of this database, if the rows of dropped tables may be lost.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Migrate the database's schema up or down, or show its version."""
    if action not in ("up", "down", "status"):
        fail(f"{action!r} is not an action of migrate; expected up, down or status.")
    if action == "down" and to is None:
        fail("migrate down needs --to VERSION, the version to go back to; 0 removes everything.")
    settings = read_settings()
    with database(settings) as url:
        writes = action != "status"
        asyncio.run(await_server(url, settings.start_timeout, writable=writes, pooled=True))
        if action == "up":
            migrations.up(url, to, on_notice=partial(typer.echo, err=as_json))
        elif to is not None and action == "down":
            notice = partial(typer.echo, err=as_json)
            migrations.down(url, to, destroy=destroy, on_notice=notice)
        if as_json:
            print_json(version._asdict() for version in migrations.status(url))
            return
        for version in migrations.status(url):
            applied = (
                "waiting"
                if version.applied_at is None
                else f"applied {version.applied_at:%Y-%m-%dT%H:%M:%SZ}"
            )
            print_line(
                f"{version.version:04} {version.name:<40} {applied} {version.remark}".rstrip()
            )
