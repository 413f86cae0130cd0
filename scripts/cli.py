"""The command line `transfer-ledger`. Heavy imports live inside the commands, so that `--help` is quick."""

import asyncio
import os
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from scripts.exits import fail

if TYPE_CHECKING:
    from infrastructure.settings import Settings

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="The ledger of sellers' transfers on Stripe Connect. Settings come from the environment: see .env.template.",
)
inbox_app = typer.Typer(no_args_is_help=True, help="Received webhooks: what is stored, parked, ignored or dead.")
app.add_typer(inbox_app, name="inbox")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


def settings() -> "Settings":
    """The environment, checked."""
    from infrastructure.settings import settings_from

    return settings_from(os.environ)


@app.command(epilog="Example: transfer-ledger demo")
def demo() -> None:
    """Play the main job on the embedded database and the simulator; exit 0 only if Stripe's books equal ours."""
    from scripts.demo import play

    raise typer.Exit(play())


@app.command(epilog="Example: DATABASE_URL=postgresql://ledger@db/ledger transfer-ledger serve")
def serve() -> None:
    """Run web, webhook inbox and workers in one process, until SIGTERM drains it."""
    from scripts.serving import serve

    serve(settings())


@app.command(epilog="Example: transfer-ledger worker")
def worker() -> None:
    """Run inbox and workers beside a `serve` on the same database, until SIGTERM drains it."""
    from scripts.serving import work

    work(settings())


@app.command(epilog="Example: transfer-ledger simulate --stripe-port 12111 --state books.sqlite3")
def simulate(
    stripe_port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 12111,
    hyperswitch_port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 12112,
    state: Annotated[Path | None, typer.Option(help="A file that keeps Stripe's books over a restart.")] = None,
    seed: Annotated[int, typer.Option(help="Another seed gives other ids.")] = 1,
) -> None:
    """Run the simulators of Stripe and of Hyperswitch on loopback; their control routes are under /_sim/."""
    from scripts.simulating import simulate

    simulate(stripe_port, hyperswitch_port, state, seed)


@app.command(epilog="Example: transfer-ledger migrate status")
def migrate(
    action: Annotated[str, typer.Argument(help="up, down or status")] = "up",
    to: Annotated[int | None, typer.Option(help="The version to stop at; needed for down.")] = None,
) -> None:
    """Bring the database's schema up to date, take it back, or show where it is."""
    from scripts.migrating import migrate

    migrate(settings(), action, to)


@app.command(epilog="Example: transfer-ledger transfers --status permanently_failed")
def transfers(
    status: Annotated[str | None, typer.Option(help="Only this status.")] = None,
    seller: Annotated[str | None, typer.Option(help="Only this seller_id.")] = None,
    order: Annotated[str | None, typer.Option(help="Only this order_id.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500)] = 50,
    as_json: AsJson = False,
) -> None:
    """List transfers, newest first."""
    from scripts.looking import list_transfers

    asyncio.run(list_transfers(settings(), status, seller, order, limit, as_json))


@app.command(epilog="Example: transfer-ledger history 6f0b3f0e-… --as-of 2026-11-20T12:00:00Z")
def history(
    transfer_id: Annotated[UUID, typer.Argument(metavar="ID", help="The transfer's id.")],
    as_of: Annotated[str | None, typer.Option(help="Only what had happened by then (RFC 3339).")] = None,
    as_json: AsJson = False,
) -> None:
    """Tell what happened to a transfer, and what happens next."""
    from scripts.looking import tell_history

    asyncio.run(tell_history(settings(), transfer_id, _instant(as_of), as_json))


@app.command(epilog="Example: transfer-ledger retry 6f0b3f0e-… --actor mia --reason 'account is ready'")
def retry(
    transfer_id: Annotated[UUID, typer.Argument(metavar="ID", help="The transfer's id.")],
    actor: Annotated[str, typer.Option(help="Who wants it.")],
    reason: Annotated[str, typer.Option(help="Why.")],
) -> None:
    """Try now what is due now; reopens `permanently_failed`. A running worker does the rest."""
    from scripts.looking import retry_transfer

    asyncio.run(retry_transfer(settings(), transfer_id, actor, reason))


@inbox_app.command("list", epilog="Example: transfer-ledger inbox list --status parked")
def inbox_list(
    status: Annotated[str | None, typer.Option(help="stored, done, ignored, parked or dead")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 50,
    as_json: AsJson = False,
) -> None:
    """List received webhooks, newest first."""
    from scripts.looking import list_inbox

    asyncio.run(list_inbox(settings(), status, limit, as_json))


@inbox_app.command("replay", epilog="Example: transfer-ledger inbox replay 42")
def inbox_replay(inbox_id: Annotated[int, typer.Argument(metavar="INBOX_ID", min=1)]) -> None:
    """Handle a webhook again, from the start. What it has done already it does not do twice."""
    from scripts.looking import replay_event

    asyncio.run(replay_event(settings(), inbox_id))


@app.command(epilog="Example: transfer-ledger doctor")
def doctor(as_json: AsJson = False) -> None:
    """Check settings, database and Stripe; exit 1 when something is wrong."""
    from scripts.doctor import examine

    raise typer.Exit(asyncio.run(examine(settings(), as_json)))


@app.command(epilog="Example: transfer-ledger bench --seconds 2")
def bench(
    seconds: Annotated[float, typer.Option(min=0.2, max=60, help="Of each measurement.")] = 2.0, as_json: AsJson = False
) -> None:
    """Measure speed as ratios in one run, on a scratch database of the embedded or the given server."""
    import uvloop

    from scripts.bench.report import report

    uvloop.run(report(settings(), seconds, as_json))


def _instant(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        fail(f"--as-of is {text!r}; expected an instant such as 2026-11-20T12:00:00Z.")
    if instant.tzinfo is None:
        fail(f"--as-of is {text!r}, which names no time zone; add Z for UTC.")
    return instant
