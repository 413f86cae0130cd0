"""What a person asks the past: the audit trail of a transfer, an order or a refund, and a seller's statement."""

import csv
import json
import sys
from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

import typer

from domain.errors import UnknownId
from infrastructure.bootstrap import stored
from infrastructure.postgres.as_of import AsOfQueries
from infrastructure.postgres.audit_trail import AuditTrail
from infrastructure.postgres.directory import PostgresDirectory
from infrastructure.postgres.fact_reader import FactReader
from infrastructure.service import Storage
from infrastructure.settings import Settings
from projections.audit_trail.entries import Entry
from projections.audit_trail.payload import instant
from projections.statements import MoneyMovement, Period, SellerStatement, StatementAccount
from scripts.exit_codes import FOUND, fail

COLUMNS = (
    "seller_id", "at", "position", "kind", "amount", "currency", "order_id", "refund_id", "transfer_id",
    "stripe_transfer_id", "stripe_reversal_id",
)  # fmt: skip


async def tell_history(settings: Settings, name: str, kind: str | None, as_of: datetime | None, as_json: bool) -> None:
    """The audit trail of whatever has this id. Raises UnknownId."""
    async with stored(settings) as storage:
        entries = [entry for entry in await _trail_of(storage, name, kind) if as_of is None or entry.at <= as_of]
    if not entries:
        raise UnknownId(kind or "transfer, order or refund", name)
    if as_json:
        typer.echo(json.dumps([entry._asdict() | {"at": instant(entry.at)} for entry in entries], indent=2, default=str))
        return
    for entry in entries:
        typer.echo(f"{entry.position:>8}  {instant(entry.at)}  {entry.fact:<22} {entry.sentence}")
        typer.echo(f"{'':>10}{_behind(entry)}")


async def _trail_of(storage: Storage, name: str, kind: str | None) -> list[Entry]:
    history = FactReader(storage.store)
    trail = AuditTrail(AsOfQueries(storage.pool, history), history)
    if kind in (None, "transfer") and (stream := _uuid(name)) is not None and (found := await trail.of_stream(stream)):
        return found
    if kind in (None, "order") and (found := await trail.of_order(name)):
        return found
    refund = await PostgresDirectory(storage.pool).refund_named(name) if kind in (None, "refund") else None
    return await trail.of_stream(refund) if refund is not None else []


def _uuid(name: str) -> UUID | None:
    try:
        return UUID(name)
    except ValueError:
        return None


def _behind(entry: Entry) -> str:
    """Who or what was behind a fact, and the names under which Stripe knows it."""
    named = {"key": entry.key, "request": entry.request_id, "said": entry.error and " ".join(entry.error.split())}
    told = [f"{name} {value}" for name, value in named.items() if value]
    return ", ".join([f"by {entry.by}, {entry.stream} {entry.stream_id} version {entry.version}", *told])


async def tell_statement(settings: Settings, seller_id: str, period: Period, currency: str | None, form: str) -> int:
    """Print it; 1 when it does not tie out. Raises PeriodTooLong."""
    if period.end < period.start:
        fail(f"--to is {instant(period.end)}, before --from at {instant(period.start)}; swap them.")
    async with stored(settings) as storage:
        past = AsOfQueries(storage.pool, FactReader(storage.store))
        statement = (await past.statement(seller_id, period, await past.moment())).only(currency)
    {"csv": _print_csv, "json": _print_json, "text": _print_text}[form](statement)
    for unexplained in statement.unexplained:
        typer.echo(f"The statement does not tie out. {unexplained}", err=True)
    return FOUND if statement.unexplained else 0


def _print_json(statement: SellerStatement) -> None:
    accounts = [_account(account) for account in statement.accounts]
    start, end = map(instant, statement.period)
    shown = {"seller_id": statement.seller_id, "period": {"from": start, "to": end}, "position": statement.position}
    typer.echo(json.dumps({**shown, "accounts": accounts}, indent=2, default=str))


def _account(account: StatementAccount) -> dict[str, object]:
    movements = [movement._asdict() | {"at": instant(movement.at)} for movement in account.movements]
    return {**account._asdict(), "movements": movements, "difference": account.difference}


def _print_csv(statement: SellerStatement) -> None:
    """One table: each account's opening balance, its movements, its closing balance; amounts add up from line to line."""
    lines = csv.DictWriter(sys.stdout, COLUMNS, restval="", lineterminator="\n")
    lines.writeheader()
    start, end = map(instant, statement.period)
    for account in statement.accounts:
        of_account = {"seller_id": statement.seller_id, "currency": account.currency}
        lines.writerow({**of_account, "at": start, "kind": "opening", "amount": account.opening})
        lines.writerows(_line(movement) | of_account for movement in account.movements)
        lines.writerow({**of_account, "at": end, "kind": "closing", "amount": account.closing})


def _line(movement: MoneyMovement) -> dict[str, object]:
    return movement._asdict() | {"at": instant(movement.at)}


def _print_text(statement: SellerStatement) -> None:
    start, end = map(instant, statement.period)
    typer.echo(f"Seller {statement.seller_id}, from {start} and before {end}; amounts in minor units.")
    for account in statement.accounts:
        typer.echo(f"{'opening':<47}{account.opening:>16} {account.currency}")
        for movement in account.movements:
            typer.echo(
                f"{instant(movement.at)}  {movement.kind:<18}{movement.amount:>16} {movement.currency}  {_names(movement)}"
            )
        typer.echo(f"{'closing':<47}{account.closing:>16} {account.currency}")
    if not statement.accounts:
        typer.echo("No transfers.")


def _names(movement: MoneyMovement) -> str:
    names: Iterable[tuple[str, str | None]] = (
        ("order", movement.order_id),
        ("refund", movement.refund_id),
        ("at Stripe", movement.stripe_reversal_id or movement.stripe_transfer_id),
    )
    return ", ".join(f"{name} {value}" for name, value in names if value)
