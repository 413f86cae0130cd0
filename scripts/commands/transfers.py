"""What a person looks at: transfers, their history, and received webhooks, one of which may be replayed."""

import json
from collections.abc import Iterable
from datetime import datetime

import typer
from rich.console import Console
from rich.table import Table

from domain.lifecycle import TransferStatus
from infrastructure.bootstrap import stored
from infrastructure.postgres.read_models import Filters, ReadModels
from infrastructure.settings import Settings
from projections.audit_trail.payload import instant
from projections.seller_transfers import SellerTransferRow
from scripts.exit_codes import fail

INBOX_STATUSES = ("stored", "done", "ignored", "parked", "dead")


async def list_transfers(
    settings: Settings, status: str | None, seller: str | None, order: str | None, limit: int, as_json: bool
) -> None:
    """Newest first."""
    if status is not None and status not in {known.value for known in TransferStatus}:
        fail(f"--status is {status!r}; expected one of {', '.join(TransferStatus)}.")
    async with stored(settings) as storage:
        rows = await ReadModels(storage.pool).transfers(Filters(status, seller, order), limit)
    if as_json:
        print_json([_shown(row) for row in rows])
        return
    table = Table("transfer", "order", "seller", "amount", "back", "currency", "status", "next", "why")
    for row in rows:
        waits = instant(row.next_retry_at)[:19] if row.next_retry_at else row.waiting_for or ""
        amounts = (str(row.amount), str(row.amount_reversed), row.currency)
        table.add_row(str(row.transfer_id), row.order_id, row.seller_id, *amounts, row.status, waits, row.last_error or "")
    Console(width=None if Console().is_terminal else 240).print(table)


def _shown(row: SellerTransferRow) -> dict[str, object]:
    return {name: instant(value) if isinstance(value, datetime) else value for name, value in row._asdict().items()}


async def list_inbox(settings: Settings, status: str | None, limit: int, as_json: bool) -> None:
    """Newest first."""
    if status is not None and status not in INBOX_STATUSES:
        fail(f"--status is {status!r}; expected one of {', '.join(INBOX_STATUSES)}.")
    async with stored(settings) as storage:
        rows = await storage.inbox.newest(status, limit)
    if as_json:
        print_json([row._asdict() for row in rows])
        return
    table = Table("id", "provider", "event", "type", "received", "by", "status", "attempts", "waits for", "why")
    for row in rows:
        named = (str(row.inbox_id), row.provider, row.event_id, row.event_type, instant(row.received_at)[:19])
        table.add_row(*named, row.source, row.status, str(row.attempts), row.subject or "", row.reason or "")
    Console(width=None if Console().is_terminal else 240).print(table)


async def replay_event(settings: Settings, inbox_id: int) -> None:
    """Handle a webhook again."""
    async with stored(settings) as storage:
        replayed = await storage.inbox.replay(inbox_id)
    if not replayed:
        fail(f"There is no webhook {inbox_id} to replay, or somebody works on it now; see `transfer-ledger inbox list`.")
    typer.echo(f"Webhook {inbox_id} is due now; a running process takes it up.")


def print_json(rows: Iterable[object]) -> None:
    """Rows as one JSON array."""
    typer.echo(json.dumps(list(rows), indent=2, default=str))
