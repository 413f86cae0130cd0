"""Command `migrate`."""

from typing import Annotated

import typer

from infrastructure.bootstrap import database
from infrastructure.postgres import migrate as migrations
from scripts.commands.command import command, new_app
from scripts.commands.options import read_settings
from scripts.commands.output import print_line
from scripts.exit_codes import fail

app = new_app()


@command(app, "transfer-ledger migrate status")
def migrate(
    action: Annotated[str, typer.Argument(help="up, down or status")] = "up",
    to: Annotated[
        int | None, typer.Option(help="Last version to apply; for down, the version to go back to.")
    ] = None,
) -> None:
    """Migrate the database's schema up or down, or show its version."""
    with database(read_settings()) as url:
        match action:
            case "up":
                migrations.up(url, to, on_notice=typer.echo)
            case "down" if to is not None:
                migrations.down(url, to, on_notice=typer.echo)
            case "down":
                fail(
                    "migrate down needs --to VERSION, the version to go back to; 0 removes "
                    "everything."
                )
            case "status":
                pass
            case _:
                fail(f"{action!r} is not an action of migrate; expected up, down or status.")
        for version in migrations.status(url):
            applied = (
                "waiting"
                if version.applied_at is None
                else f"applied {version.applied_at:%Y-%m-%dT%H:%M:%SZ}"
            )
            print_line(
                f"{version.version:04} {version.name:<40} {applied} {version.remark}".rstrip()
            )
