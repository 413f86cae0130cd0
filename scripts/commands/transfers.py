"""Command `transfers`."""

from datetime import datetime
from typing import Annotated

import typer

from domain.lifecycle import TransferStatus
from infrastructure.bootstrap import stored
from infrastructure.postgres.read_side.read_models import Filters, ReadModels
from projections.audit_trail.payload import instant
from projections.seller_transfers import SellerTransferRow
from scripts.commands.command import command, new_app
from scripts.commands.options import AsJson, read_settings, require_one_of
from scripts.commands.output import print_json, print_table

COLUMNS = (
    "transfer", "order", "seller", "amount", "reversed", "currency", "status", "next", "reason",
)  # fmt: skip

app = new_app()


@command(app, "transfer-ledger transfers --status permanently_failed")
async def transfers(
    status: Annotated[str | None, typer.Option(help="Only this status.")] = None,
    seller: Annotated[str | None, typer.Option(help="Only this seller_id.")] = None,
    order: Annotated[str | None, typer.Option(help="Only this order_id.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500)] = 50,
    as_json: AsJson = False,
) -> None:
    """List transfers, newest first."""
    require_one_of("--status", status, tuple(TransferStatus))
    async with stored(read_settings()) as storage:
        rows = await ReadModels(storage.pool).transfers(Filters(status, seller, order), limit)
    if as_json:
        print_json(_shown(row) for row in rows)
        return
    print_table(COLUMNS, map(_cells, rows))


def _cells(row: SellerTransferRow) -> tuple[object, ...]:
    waits = instant(row.next_retry_at)[:19] if row.next_retry_at else row.waiting_for or ""
    named = (row.transfer_id, row.order_id, row.seller_id)
    amounts = (row.amount, row.amount_reversed, row.currency)
    return *named, *amounts, row.status, waits, row.last_error or ""


def _shown(row: SellerTransferRow) -> dict[str, object]:
    return {
        name: instant(value) if isinstance(value, datetime) else value
        for name, value in row._asdict().items()
    }
