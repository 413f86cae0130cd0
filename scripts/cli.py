"""The command line `transfer-ledger`. Heavy imports live inside the commands, so that `--help` is quick."""

import asyncio
import os
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal
from uuid import UUID

import typer

from scripts.exit_codes import fail

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

LookUpFirst = Annotated[
    bool,
    typer.Option(
        "--look-up-first",
        help="After a restore from a backup: no process of this database sends what it has not looked up at Stripe, "
        "until `transfer-ledger resume --look-up-first`.",
    ),
]
TransferId = Annotated[UUID, typer.Argument(metavar="ID", help="The transfer's id.")]
Actor = Annotated[str, typer.Option(help="Who wants it.")]
Reason = Annotated[str, typer.Option(help="Why.")]
Seller = Annotated[str | None, typer.Option(help="Only work for this seller_id.")]
KindOfWork = Annotated[str | None, typer.Option("--work", help="Only this work: transferring, reversing or refunding.")]
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
def serve(look_up_first: LookUpFirst = False) -> None:
    """Run web, webhook inbox and workers in one process, until SIGTERM drains it."""
    from scripts.commands.serve import serve

    serve(settings(), look_up_first)


@app.command(epilog="Example: transfer-ledger worker")
def worker(look_up_first: LookUpFirst = False) -> None:
    """Run inbox and workers beside a `serve` on the same database, until SIGTERM drains it."""
    from scripts.commands.serve import work

    work(settings(), look_up_first)


@app.command(epilog="Example: transfer-ledger simulate --stripe-port 12111 --endpoint-rate 25 --latency recorded")
def simulate(
    stripe_port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 12111,
    hyperswitch_port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 12112,
    state: Annotated[Path | None, typer.Option(help="A file that keeps Stripe's books over a restart.")] = None,
    seed: Annotated[int, typer.Option(help="Another seed gives other ids.")] = 1,
    endpoint_rate: Annotated[
        float | None, typer.Option(min=0.01, help="Calls per second on each endpoint, else 429; Stripe's own: 25. Unset: any.")
    ] = None,
    latency: Annotated[
        Literal["none", "recorded"], typer.Option(help="recorded: each call takes as long as one of real Stripe, about 1 s.")
    ] = "none",
) -> None:
    """Run the simulators of Stripe and of Hyperswitch on loopback; their control routes are under /_sim/."""
    from infrastructure.simulators.stripe.config import SimulatorConfig
    from scripts.commands.simulate import simulate

    config = SimulatorConfig(seed=seed, state_file=state, endpoint_rate=endpoint_rate, latency=latency)
    simulate(stripe_port, hyperswitch_port, config)


@app.command(epilog="Example: transfer-ledger migrate status")
def migrate(
    action: Annotated[str, typer.Argument(help="up, down or status")] = "up",
    to: Annotated[int | None, typer.Option(help="The version to stop at; needed for down.")] = None,
) -> None:
    """Bring the database's schema up to date, take it back, or show where it is."""
    from scripts.commands.migrate import migrate

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
    from scripts.commands.transfers import list_transfers

    asyncio.run(list_transfers(settings(), status, seller, order, limit, as_json))


@app.command(epilog="Example: transfer-ledger history order-1001 --as-of 2026-11-20T12:00:00Z")
def history(
    name: Annotated[str, typer.Argument(metavar="ID", help="A transfer's id, an order_id or a refund_id, tried in this order.")],
    kind: Annotated[str | None, typer.Option(help="What ID is, should two things have it: transfer, order or refund.")] = None,
    as_of: Annotated[str | None, typer.Option(help="Only what had happened by then (RFC 3339).")] = None,
    as_json: AsJson = False,
) -> None:
    """Tell what happened, by whom, and what happens next: to a transfer, a refund, or an order with all that belongs to it."""
    from scripts.commands.history import tell_history

    if kind not in (None, "transfer", "order", "refund"):
        fail(f"--kind is {kind!r}; expected transfer, order or refund.")
    then = None if as_of is None else _instant("--as-of", as_of)
    asyncio.run(tell_history(settings(), name, kind, then, as_json))


@app.command(epilog="Example: transfer-ledger statement ada --from 2026-11-01T00:00:00Z --to 2026-12-01T00:00:00Z --csv")
def statement(
    seller: Annotated[str, typer.Argument(metavar="SELLER", help="The seller_id.")],
    start: Annotated[str, typer.Option("--from", help="The period takes in this instant (RFC 3339).")],
    end: Annotated[str, typer.Option("--to", help="The period ends before this instant (RFC 3339).")],
    currency: Annotated[str | None, typer.Option(help="Only this currency.")] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV instead of text.")] = False,
    as_json: AsJson = False,
) -> None:
    """List what moved between a seller's opening and closing balance; exit 1 when the movements do not explain them."""
    from projections.statements import Period
    from scripts.commands.history import tell_statement

    if as_csv and as_json:
        fail("--csv and --json are both given; choose one.")
    form = "csv" if as_csv else "json" if as_json else "text"
    period = Period(_instant("--from", start), _instant("--to", end))
    chosen = None if currency is None else currency.upper()
    raise typer.Exit(asyncio.run(tell_statement(settings(), seller, period, chosen, form)))


@app.command(epilog="Example: transfer-ledger retry 6f0b3f0e-… --actor mia --reason 'account is ready'")
def retry(transfer_id: TransferId, actor: Actor, reason: Reason) -> None:
    """Try now what is due now; reopens `permanently_failed`, releases what is held back. A running worker does the rest."""
    from scripts.commands.operator import retry_transfer

    asyncio.run(retry_transfer(settings(), transfer_id, actor, reason))


@app.command(epilog="Example: transfer-ledger resolve 6f0b3f0e-… --actor mia --reason 'paid by bank' --evidence 'ticket 4711'")
def resolve(
    transfer_id: TransferId,
    actor: Actor,
    reason: Reason,
    evidence: Annotated[
        str, typer.Option(help="A Stripe object (tr_…, trr_…), read at Stripe first, or where it is written what happened.")
    ],
) -> None:
    """Say how a permanently failed or held back transfer ended. Nothing is sent; a Stripe object is taken in, if it fits."""
    from scripts.commands.operator import resolve_transfer

    asyncio.run(resolve_transfer(settings(), transfer_id, actor, reason, evidence))


@app.command(epilog="Example: transfer-ledger pause --seller s_17 --actor mia --reason 'account under review'")
def pause(actor: Actor, reason: Reason, seller: Seller = None, work: KindOfWork = None) -> None:
    """Send nothing more to Stripe, and no refund to the PSP: at all, of a kind of work, or for a seller.

    Webhooks are taken in as usual.
    """
    from scripts.commands.operator import pause, scope_of

    asyncio.run(pause(settings(), scope_of(seller, work), actor, reason))


@app.command(epilog="Example: transfer-ledger resume --seller s_17 --actor mia --reason 'account is fine'")
def resume(
    actor: Actor,
    reason: Reason,
    seller: Seller = None,
    work: KindOfWork = None,
    look_up_first: Annotated[
        bool, typer.Option("--look-up-first", help="End the looks that come first after a restore.")
    ] = False,
) -> None:
    """End a pause: what is due goes on."""
    from scripts.commands.operator import resume, scope_of

    asyncio.run(resume(settings(), scope_of(seller, work, look_up_first), actor, reason))


@app.command(epilog="Example: transfer-ledger alarms --json")
def alarms(
    cleared: Annotated[bool, typer.Option("--all", help="The latest, cleared ones included.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 100,
    as_json: AsJson = False,
) -> None:
    """List what a person has to look at, oldest first."""
    from scripts.commands.operator import list_alarms

    asyncio.run(list_alarms(settings(), cleared, limit, as_json))


@inbox_app.command("list", epilog="Example: transfer-ledger inbox list --status parked")
def inbox_list(
    status: Annotated[str | None, typer.Option(help="stored, done, ignored, parked or dead")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 50,
    as_json: AsJson = False,
) -> None:
    """List received webhooks, newest first."""
    from scripts.commands.transfers import list_inbox

    asyncio.run(list_inbox(settings(), status, limit, as_json))


@inbox_app.command("replay", epilog="Example: transfer-ledger inbox replay 42")
def inbox_replay(inbox_id: Annotated[int, typer.Argument(metavar="INBOX_ID", min=1)]) -> None:
    """Handle a webhook again, from the start. What it has done already it does not do twice."""
    from scripts.commands.transfers import replay_event

    asyncio.run(replay_event(settings(), inbox_id))


@inbox_app.command("poll", epilog="Example: transfer-ledger inbox poll")
def inbox_poll(as_json: AsJson = False) -> None:
    """Ask now what webhooks should have told, and store what never arrived; exit 1 when a provider cannot be asked."""
    from scripts.commands.polling import poll_now

    raise typer.Exit(asyncio.run(poll_now(settings(), as_json)))


@app.command(epilog="Example: transfer-ledger backfill --review review.csv")
def backfill(
    apply: Annotated[bool, typer.Option("--apply", help="Record what is matched; without it, only tell.")] = False,
    review: Annotated[Path | None, typer.Option(metavar="FILE", help="CSV of what needs a person; overwritten.")] = None,
    as_json: AsJson = False,
) -> None:
    """Find in Stripe's lists what has paid transfers without a Stripe id; exit 1 when some need a person. Sends nothing."""
    from scripts.commands.backfill import backfill

    raise typer.Exit(asyncio.run(backfill(settings(), apply, review, as_json)))


@app.command(epilog="Example: transfer-ledger rebuild seller_transfers --dry-run")
def rebuild(
    tables: Annotated[list[str] | None, typer.Argument(metavar="[TABLE]...", help="Read models; all without any.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what differs; exit 1 when anything does.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make read models equal to what the facts say, while commands go on; lists the rows that were repaired."""
    from scripts.commands.integrity import rebuild_tables

    raise typer.Exit(rebuild_tables(settings(), tables or [], dry_run, as_json))


@app.command(epilog="Example: transfer-ledger verify --seal seal.json --key-file seal.key")
def verify(
    seals: Annotated[list[Path] | None, typer.Option("--seal", metavar="FILE", help="A head kept elsewhere; repeatable.")] = None,
    key_file: Annotated[Path | None, typer.Option(help="The key that the seals must be signed with.")] = None,
    as_json: AsJson = False,
) -> None:
    """Recompute the hash chain, derive every table anew, ask every law; exit 1 when anything is not as it must be."""
    from scripts.commands.integrity import verify_ledger

    raise typer.Exit(verify_ledger(settings(), seals or [], key_file, as_json))


@app.command(epilog="Example: transfer-ledger seal --out seal-$(date +%F).json --key-file seal.key")
def seal(
    out: Annotated[Path | None, typer.Option(help="A new file; standard output without it.")] = None,
    key_file: Annotated[Path | None, typer.Option(help="Sign it with HMAC-SHA256 and this key of at least 16 bytes.")] = None,
) -> None:
    """Write down the head of the hash chain, as JSON, to be kept where nobody can reach it through this database."""
    from scripts.commands.integrity import seal_head

    seal_head(settings(), out, key_file)


@app.command(epilog="Example: transfer-ledger reconcile --from 2026-11-01T00:00:00Z --adopt ID --actor mia --reason 'checked'")
def reconcile(
    start: Annotated[str | None, typer.Option("--from", help="From this instant on (RFC 3339); 30 days before --to.")] = None,
    end: Annotated[str | None, typer.Option("--to", help="Before this instant (RFC 3339); now without it.")] = None,
    adopted: Annotated[
        list[str] | None, typer.Option("--adopt", metavar="ID", help="Take in what this finding shows; repeatable.")
    ] = None,
    ignored: Annotated[
        list[str] | None,
        typer.Option("--ignore", metavar="ID", help="Let this finding stand, until other money hangs on it; repeatable."),
    ] = None,
    actor: Annotated[str | None, typer.Option(help="Who decides.")] = None,
    reason: Annotated[str | None, typer.Option(help="Why.")] = None,
    as_json: AsJson = False,
) -> None:
    """Compare Stripe's transfers and reversals with ours; exit 1 when they differ in what nobody has decided about."""
    from domain.finding import DecidedBy
    from scripts.commands.reconcile import Choice, reconcile

    since, until = (None if text is None else _instant(name, text) for name, text in (("--from", start), ("--to", end)))
    chosen = Choice(frozenset(adopted or []), frozenset(ignored or []), DecidedBy(actor or "", reason or ""))
    raise typer.Exit(asyncio.run(reconcile(settings(), since, until, chosen, as_json)))


@app.command("import", epilog="Example: transfer-ledger import old.csv --map destination=account_id")
def import_(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="A CSV file or a PostgreSQL URL.")],
    table: Annotated[str, typer.Option(help="The table of a PostgreSQL source.")] = "seller_transfers",
    renamed: Annotated[list[str] | None, typer.Option("--map", metavar="OURS=THEIRS", help="A column's name there.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be imported.")] = False,
    as_json: AsJson = False,
) -> None:
    """Take over an older system's transfers, and compare. Pending and failed ones are not sent before a person clears them.

    Exit 1 when some rows differ from what is here; 2, and nothing stored, when some cannot be read.
    """
    from scripts.commands.import_ import import_transfers

    raise typer.Exit(asyncio.run(import_transfers(settings(), source, table, renamed or [], dry_run, as_json)))


@app.command(epilog="Example: transfer-ledger doctor")
def doctor(as_json: AsJson = False) -> None:
    """Check settings, database, Stripe and the PSP; exit 1 when something is wrong."""
    from scripts.commands.doctor import examine

    raise typer.Exit(asyncio.run(examine(settings(), as_json)))


@app.command(epilog="Example: transfer-ledger bench --seconds 2")
def bench(
    seconds: Annotated[float, typer.Option(min=0.2, max=60, help="Of each measurement.")] = 2.0, as_json: AsJson = False
) -> None:
    """Measure speed as ratios in one run, on a scratch database of the embedded or the given server."""
    import uvloop

    from scripts.bench.report import report

    uvloop.run(report(settings(), seconds, as_json))


def _instant(option: str, text: str) -> datetime:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        fail(f"{option} is {text!r}; expected an instant such as 2026-11-20T12:00:00Z.")
    if instant.tzinfo is None:
        fail(f"{option} is {text!r}, which names no time zone; add Z for UTC.")
    return instant
