"""`transfer-ledger migrate`."""

import typer

from infrastructure.bootstrap import database
from infrastructure.postgres import migrate as migrations
from infrastructure.settings import Settings
from scripts.exit_codes import fail


def migrate(settings: Settings, action: str, to: int | None) -> None:
    """Up (all, or up to a version), down to a version, or status."""
    with database(settings) as url:
        match action:
            case "up":
                migrations.up(url, to, on_notice=typer.echo)
            case "down" if to is not None:
                migrations.down(url, to, on_notice=typer.echo)
            case "down":
                fail("migrate down needs --to VERSION, the version to go back to; 0 takes everything away.")
            case "status":
                pass
            case _:
                fail(f"{action!r} is no action of migrate; expected up, down or status.")
        for version in migrations.status(url):
            applied = "waiting" if version.applied_at is None else f"applied {version.applied_at:%Y-%m-%dT%H:%M:%SZ}"
            typer.echo(f"{version.version:04} {version.name:<40} {applied} {version.remark}".rstrip())
