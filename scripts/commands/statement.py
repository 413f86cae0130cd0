"""Command `statement`: the movements between a seller's opening and closing balance."""

import csv
import json
import sys
from collections.abc import Iterable
from datetime import timedelta
from typing import Annotated

import typer

from infrastructure.bootstrap import stored
from infrastructure.postgres.read_side.as_of import AsOfQueries
from infrastructure.postgres.read_side.fact_reader import FactReader
from infrastructure.visible_text import csv_cells
from projections.audit_trail.payload import instant
from projections.statements import MoneyMovement, Period, SellerStatement, StatementAccount
from scripts.commands.command import command, new_app
from scripts.commands.options import AsJson, instant_of, read_settings
from scripts.commands.output import print_line
from scripts.exit_codes import FOUND, fail

COLUMNS = (
    "seller_id", "at", "position", "kind", "amount", "currency", "order_id", "refund_id",
    "transfer_id",
    "stripe_transfer_id", "stripe_reversal_id",
)  # fmt: skip
TEXTS = ("seller_id", "order_id", "refund_id", "stripe_transfer_id", "stripe_reversal_id")

app = new_app()


@command(app, "transfer-ledger statement ada --month 2026-11 --csv")
async def statement(
    seller: Annotated[str, typer.Argument(metavar="SELLER", help="The seller_id.")],
    start: Annotated[
        str | None, typer.Option("--from", help="First instant of the period (RFC 3339), or date.")
    ] = None,
    end: Annotated[
        str | None, typer.Option("--to", help="End of the period (RFC 3339), not part of it.")
    ] = None,
    month: Annotated[
        str | None,
        typer.Option(metavar="YYYY-MM", help="A month in UTC, instead of --from and --to."),
    ] = None,
    currency: Annotated[str | None, typer.Option(help="Only this currency.")] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV instead of text.")] = False,
    as_json: AsJson = False,
) -> int:
    """List the movements between a seller's opening and closing balance; exit 1 when they do not
    explain the difference."""
    if as_csv and as_json:
        fail("--csv and --json are both given; choose one.")
    period = _period(start, end, month)
    async with stored(read_settings()) as storage:
        past = AsOfQueries(storage.pool, FactReader(storage.store))
        whole = await past.statement(seller, period, await past.moment())
    shown = whole.only(None if currency is None else currency.upper())
    (_print_csv if as_csv else _print_json if as_json else _print_text)(shown)
    for unexplained in shown.unexplained:
        print_line(f"The statement does not tie out. {unexplained}", err=True)
    return FOUND if shown.unexplained else 0


def _period(start: str | None, end: str | None, month: str | None) -> Period:
    """Return the period that the options name, or exit with 2."""
    if month is not None and (start, end) == (None, None):
        first = instant_of("--month", f"{month}-01")
        following = (first + timedelta(days=31)).replace(day=1)
        return Period(first, following)
    if month is not None or start is None or end is None:
        fail("The period is missing or given twice; expected --from and --to, or --month.")
    period = Period(instant_of("--from", start), instant_of("--to", end))
    if period.end < period.start:
        fail(f"--to is {instant(period.end)}, before --from at {instant(period.start)}; swap them.")
    return period


def _print_json(statement: SellerStatement) -> None:
    accounts = [_account(account) for account in statement.accounts]
    start, end = map(instant, statement.period)
    shown = {
        "seller_id": statement.seller_id,
        "period": {"from": start, "to": end},
        "position": statement.position,
    }
    typer.echo(json.dumps({**shown, "accounts": accounts}, indent=2, default=str))


def _account(account: StatementAccount) -> dict[str, object]:
    movements = [
        movement._asdict() | {"at": instant(movement.at)} for movement in account.movements
    ]
    return {**account._asdict(), "movements": movements, "difference": account.difference}


def _print_csv(statement: SellerStatement) -> None:
    """Print one table: each account's opening balance, its movements, its closing balance. The
    amounts are a running sum."""
    lines = csv.DictWriter(sys.stdout, COLUMNS, restval="", lineterminator="\n")
    lines.writeheader()
    start, end = map(instant, statement.period)
    for account in statement.accounts:
        seller = csv_cells({"seller_id": statement.seller_id}, ["seller_id"])
        of_account = {**seller, "currency": account.currency}
        lines.writerow({**of_account, "at": start, "kind": "opening", "amount": account.opening})
        lines.writerows(_line(movement) | of_account for movement in account.movements)
        lines.writerow({**of_account, "at": end, "kind": "closing", "amount": account.closing})


def _line(movement: MoneyMovement) -> dict[str, object]:
    return csv_cells(movement._asdict() | {"at": instant(movement.at)}, TEXTS)


def _print_text(statement: SellerStatement) -> None:
    start, end = map(instant, statement.period)
    print_line(
        f"Seller {statement.seller_id}, from {start} and before {end}; amounts in minor units."
    )
    for account in statement.accounts:
        print_line(f"{'opening':<47}{account.opening:>16} {account.currency}")
        for movement in account.movements:
            print_line(
                f"{instant(movement.at)}  {movement.kind:<18}{movement.amount:>16} "
                f"{movement.currency}  {_names(movement)}"
            )
        print_line(f"{'closing':<47}{account.closing:>16} {account.currency}")
    if not statement.accounts:
        print_line("No transfers.")


def _names(movement: MoneyMovement) -> str:
    names: Iterable[tuple[str, str | None]] = (
        ("order", movement.order_id),
        ("refund", movement.refund_id),
        ("at Stripe", movement.stripe_reversal_id or movement.stripe_transfer_id),
    )
    return ", ".join(f"{name} {value}" for name, value in names if value)
