"""Command `history`: the audit trail of a transfer, an order or a refund."""

from typing import Annotated
from uuid import UUID

import typer

from domain.errors import UnknownId
from infrastructure.bootstrap import stored
from infrastructure.postgres.directory import PostgresDirectory
from infrastructure.postgres.read_side.as_of import AsOfQueries
from infrastructure.postgres.read_side.audit_trail import AuditTrail
from infrastructure.postgres.read_side.fact_reader import FactReader
from infrastructure.service import Storage
from projections.audit_trail.entries import Entry
from projections.audit_trail.payload import instant
from scripts.commands.command import command, new_app
from scripts.commands.options import AsJson, instant_of, read_settings, require_one_of
from scripts.commands.output import print_json, print_line

KINDS = ("transfer", "order", "refund")

app = new_app()


@command(app, "transfer-ledger history order-1001 --as-of 2026-11-20T12:00:00Z")
async def history(
    name: Annotated[
        str,
        typer.Argument(
            metavar="ID", help="Id of a transfer, an order or a refund, tried in this order."
        ),
    ],
    kind: Annotated[
        str | None, typer.Option(help="transfer, order or refund, if several have this ID.")
    ] = None,
    as_of: Annotated[
        str | None, typer.Option(help="Only facts up to this instant (RFC 3339).")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show the events of a transfer, of a refund, or of an order with its transfers and refunds;
    each with its author."""
    require_one_of("--kind", kind, KINDS)
    until = None if as_of is None else instant_of("--as-of", as_of)
    async with stored(read_settings()) as storage:
        entries = [
            entry
            for entry in await _trail_of(storage, name, kind)
            if until is None or entry.at <= until
        ]
    if not entries:
        raise UnknownId(kind or "transfer, order or refund", name)
    if as_json:
        print_json(entry._asdict() | {"at": instant(entry.at)} for entry in entries)
        return
    for entry in entries:
        print_line(f"{entry.position:>8}  {instant(entry.at)}  {entry.fact:<22} {entry.sentence}")
        print_line(f"{'':>10}{_origin(entry)}")


async def _trail_of(storage: Storage, name: str, kind: str | None) -> list[Entry]:
    history = FactReader(storage.store)
    trail = AuditTrail(AsOfQueries(storage.pool, history), history)
    if (
        kind in (None, "transfer")
        and (stream := _uuid(name)) is not None
        and (found := await trail.of_stream(stream))
    ):
        return found
    if kind in (None, "order") and (found := await trail.of_order(name)):
        return found
    refund = (
        await PostgresDirectory(storage.pool).refund_named(name)
        if kind in (None, "refund")
        else None
    )
    return await trail.of_stream(refund) if refund is not None else []


def _uuid(name: str) -> UUID | None:
    try:
        return UUID(name)
    except ValueError:
        return None


def _origin(entry: Entry) -> str:
    """Name the author of a fact, its stream, and Stripe's names for the call."""
    named = {
        "key": entry.key,
        "request": entry.request_id,
        "error": entry.error and " ".join(entry.error.split()),
    }
    details = [f"{name} {value}" for name, value in named.items() if value]
    return ", ".join(
        [f"by {entry.by}, {entry.stream} {entry.stream_id} version {entry.version}", *details]
    )
