"""Received webhooks: list them, handle one again, and fetch those that never arrived."""

from typing import Annotated

import typer

from infrastructure.bootstrap import running, stored
from infrastructure.postgres.inbox import InboxRow
from infrastructure.runtime import poller_of, unasked
from projections.audit_trail.payload import instant
from scripts.commands.command import command, new_app
from scripts.commands.options import AsJson, read_settings, require_one_of
from scripts.commands.output import print_json, print_line, print_table
from scripts.exit_codes import FOUND, fail

COLUMNS = (
    "id", "provider", "event", "type", "received", "by", "status", "attempts", "waits for",
    "reason",
)  # fmt: skip
STATUSES = ("stored", "done", "ignored", "parked", "dead")

app = new_app(__doc__)


@command(app, "transfer-ledger inbox list --status parked", "list")
async def list_webhooks(
    status: Annotated[
        str | None, typer.Option(help="stored, done, ignored, parked or dead")
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


@command(app, "transfer-ledger inbox replay 42")
async def replay(inbox_id: Annotated[int, typer.Argument(metavar="INBOX_ID", min=1)]) -> None:
    """Handle a webhook again from the start. Effects that it has had already are not repeated."""
    async with stored(read_settings()) as storage:
        replayed = await storage.inbox.replay(inbox_id)
    if not replayed:
        fail(
            f"Webhook {inbox_id} does not exist or is being handled now; see `transfer-ledger "
            "inbox list`."
        )
    print_line(f"Webhook {inbox_id} is due now; a running process handles it.")


@command(app, "transfer-ledger inbox poll")
async def poll(as_json: AsJson = False) -> int:
    """Ask the providers now for webhooks that never arrived, and store those; exit 1 when a
    provider does not answer."""
    settings = read_settings()
    async with running(settings, loops=False) as service:
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
