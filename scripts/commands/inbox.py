"""Received webhooks: list them, handle one again, and fetch those that never arrived."""

import getpass
from datetime import datetime
from typing import Annotated

import typer

from domain.errors import UnknownId
from domain.identity import webhook_stream
from infrastructure.bootstrap import running, stored
from infrastructure.postgres.inbox import InboxRow
from infrastructure.postgres.read_side.fact_reader import FactReader
from infrastructure.runtime import poller_of, unasked
from projections.audit_trail.payload import instant
from projections.registry import sentence
from scripts.commands.command import command, new_app
from scripts.commands.options import (
    Actor,
    AsJson,
    Reason,
    read_settings,
    require_one_of,
    require_text,
)
from scripts.commands.output import print_json, print_line, print_result, print_table
from scripts.exit_codes import FOUND, fail

COLUMNS = (
    "id", "provider", "event", "type", "received", "by", "status", "attempts", "waits for",
    "reason",
)  # fmt: skip
STATUSES = ("stored", "done", "ignored", "parked", "dead", "discarded")

InboxId = Annotated[int, typer.Argument(metavar="INBOX_ID", min=1)]

app = new_app(__doc__)


@command(app, "transfer-ledger inbox list --status parked", "list")
async def list_webhooks(
    status: Annotated[
        str | None, typer.Option(help="stored, done, ignored, parked, dead or discarded")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 50,
    as_json: AsJson = False,
) -> None:
    """List received webhooks, newest first."""
    require_one_of("--status", status, STATUSES)
    async with stored(read_settings()) as storage:
        rows = await storage.inbox.newest(status, limit)
    if as_json:
        print_json(row._asdict() for row in rows)
        return
    print_table(COLUMNS, map(_cells, rows))


def _cells(row: InboxRow) -> tuple[object, ...]:
    event = (row.provider, row.event_id, row.event_type, instant(row.received_at)[:19], row.source)
    waits = (row.subject or "", row.reason or "")
    return row.inbox_id, *event, row.status, row.attempts, *waits


@command(app, "transfer-ledger inbox replay 42 --actor mia --reason 'the order is there now'")
async def replay(
    inbox_id: InboxId,
    actor: Annotated[
        str | None,
        typer.Option(
            help="Person or program that decides; stays in the audit trail. Without it, the user "
            "of this machine."
        ),
    ] = None,
    reason: Reason = "replayed on the command line",
    as_json: AsJson = False,
) -> None:
    """Handle a webhook again from the start. Effects that it has had already are not repeated."""
    by = actor if actor is not None else f"user:{getpass.getuser()}"
    require_text(actor=by, reason=reason)
    async with stored(read_settings(), writes=True) as storage:
        if await storage.inbox.body(inbox_id) == b"":
            fail(f"The body of webhook {inbox_id} was erased; let the provider send it again.")
        await storage.commands.inbox.ask_for_replay(inbox_id, by, reason)
        if not await storage.inbox.replay(inbox_id):
            fail(f"Webhook {inbox_id} is being handled now; see `transfer-ledger inbox show`.")
    sentence = f"Webhook {inbox_id} is due now; a running process handles it."
    print_result(as_json, {"inbox_id": inbox_id, "due": True}, sentence)


@command(app, "transfer-ledger inbox show 42")
async def show(inbox_id: InboxId, as_json: AsJson = False) -> None:
    """Show a webhook: its body, why it waits, its attempts, and the decisions about it."""
    async with stored(read_settings()) as storage:
        row, body = await storage.inbox.one(inbox_id), await storage.inbox.body(inbox_id) or b""
        if row is None:
            raise UnknownId("webhook", str(inbox_id))
        facts = FactReader(storage.store)
        decided = await facts.of(webhook_stream(row.provider, row.event_id))
    text = body.decode(errors="replace")
    told = [f"{instant(one.fact.timestamp)}  {sentence(one.fact)}" for one in decided]
    if as_json:
        print_json([row._asdict() | {"body": text, "decisions": told}])
        return
    for name, value in row._asdict().items():
        if value is not None:
            typer.echo(f"{name}: {instant(value) if isinstance(value, datetime) else value}")
    for line in told:
        typer.echo(line)
    typer.echo(text or "The body was erased, or removed after INBOX_RETENTION.")


@command(app, "transfer-ledger inbox erase 42")
async def erase(inbox_id: InboxId, as_json: AsJson = False) -> None:
    """Erase the body of a closed webhook now, since it may hold personal data. Its row stays, so
    that the same event later is a duplicate."""
    async with stored(read_settings(), writes=True) as storage:
        erased = await storage.inbox.erase(inbox_id)
    if not erased:
        fail(
            f"Webhook {inbox_id} does not exist, or still waits to be handled; see "
            "`transfer-ledger inbox show`, and discard it first."
        )
    sentence = f"The body of webhook {inbox_id} is erased; backups still have it."
    print_result(as_json, {"inbox_id": inbox_id, "erased": True}, sentence)


@command(app, "transfer-ledger inbox discard 42 --actor mia --reason 'a test of the PSP'")
async def discard(inbox_id: InboxId, actor: Actor, reason: Reason, as_json: AsJson = False) -> None:
    """Decide that a webhook is not handled. Its alarms end; the same event later is a duplicate."""
    require_text(actor=actor, reason=reason)
    async with stored(read_settings()) as storage:
        news = await storage.commands.inbox.discard(inbox_id, actor, reason)
    again = "is discarded; `inbox replay` handles it after all" if news else "was discarded before"
    row = {"inbox_id": inbox_id, "status": "discarded", "news": news}
    print_result(as_json, row, f"Webhook {inbox_id} {again}.")


@command(app, "transfer-ledger inbox poll")
async def poll(as_json: AsJson = False) -> int:
    """Ask the providers now for webhooks that never arrived, and store those; exit 1 when a
    provider does not answer."""
    settings = read_settings()
    async with running(settings, loops=False, writes=True) as service:
        poller = poller_of(service)
        rounds = [
            found
            for provider in poller.providers
            if (found := await poller.check(provider, anyway=True)) is not None
        ]
    if as_json:
        print_json(
            {
                "provider": found.provider,
                "missed": found.missed,
                "replayed": found.replayed,
                "seen_until": instant(found.seen_until),
                "failure": found.failure,
            }
            for found in rounds
        )
    else:
        for provider, why in unasked(settings).items():
            print_line(f"{provider}: not asked ({why})")
        for found in rounds:
            print_line(
                f"{found.provider}: {found.sentence}, of all events before "
                f"{instant(found.seen_until)[:19]}Z"
            )
            if found.failure:
                print_line(f"  then: {found.failure}")
    return FOUND if any(found.failure for found in rounds) else 0
