"""Command `decide`: a person's decision about a refund or dispute that was set aside."""

from typing import Annotated

import typer

from application.commands.decisions import Decision
from domain.errors import UnknownId
from infrastructure.bootstrap import stored
from infrastructure.postgres.directory import PostgresDirectory
from infrastructure.service import Storage
from scripts.commands.command import command, new_app
from scripts.commands.options import (
    Actor,
    AsJson,
    Reason,
    read_settings,
    require_one_of,
    require_text,
)
from scripts.commands.output import print_json
from scripts.exit_codes import fail

KINDS = ("refund", "dispute")

app = new_app()


@command(
    app,
    "transfer-ledger decide refund-7 --allocation anna=450,ben=120 --actor mia --reason 'agreed'",
)
async def decide(
    name: Annotated[
        str, typer.Argument(metavar="ID", help="Id of a refund or a dispute, tried in this order.")
    ],
    actor: Actor,
    reason: Reason,
    allocation: Annotated[
        str | None,
        typer.Option(
            help="Amounts to take, in minor units of each share, such as anna=450,ben=120."
        ),
    ] = None,
    dismiss: Annotated[
        bool, typer.Option("--dismiss", help="Take nothing from any seller, ever.")
    ] = False,
    amount: Annotated[
        int | None,
        typer.Option(min=0, help="Part of the order that it counts as; else as reported."),
    ] = None,
    kind: Annotated[
        str | None, typer.Option(help="refund or dispute, if both have this ID.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Decide a refund or dispute that was set aside, or came back in part: which amount each seller
    bears, or none."""
    require_text(actor=actor, reason=reason)
    require_one_of("--kind", kind, KINDS)
    if dismiss == (allocation is not None):
        fail("Expected either --allocation or --dismiss.")
    parts = None if allocation is None else parse_parts(allocation)
    decision = Decision(parts, actor, reason, amount)
    async with stored(read_settings()) as storage:
        found, news = await _decide(storage, name, kind, decision)
    if as_json:
        print_json([{"kind": found, "id": name, "allocation": parts, "news": news}])
        return
    taken = "takes nothing" if dismiss else "is taken from the sellers as given"
    repeated = "" if news else " (decided before)"
    typer.echo(f"{found.capitalize()} {name} {taken}{repeated}.")


async def _decide(
    storage: Storage, name: str, kind: str | None, decision: Decision
) -> tuple[str, bool]:
    decisions = storage.commands.decisions
    known = await PostgresDirectory(storage.pool).refund_named(name)
    if kind == "refund" or (kind is None and known is not None):
        return "refund", await decisions.refund(name, decision)
    try:
        return "dispute", await decisions.dispute(name, decision)
    except UnknownId:
        raise UnknownId(kind or "refund or dispute", name) from None


def parse_parts(text: str) -> dict[str, int]:
    """Parse an allocation such as `anna=450,ben=120`, or exit with 2."""
    parts: dict[str, int] = {}
    for part in filter(None, text.split(",")):
        seller, equals, amount = part.strip().rpartition("=")
        if not equals or not seller or not (amount.isascii() and amount.isdigit()):
            fail(f"--allocation names {part!r}; expected seller=amount, in minor units.")
        if seller in parts:
            fail(f"--allocation names seller {seller!r} twice; expected one amount per seller.")
        parts[seller] = int(amount)
    return parts
