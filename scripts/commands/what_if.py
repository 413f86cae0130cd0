"""Command `what-if`: the effect of a planned refund or dispute on each seller."""

from dataclasses import asdict
from typing import Annotated

import typer

from application.command_handler import CommandHandler
from application.what_if import Forecast, WhatIf
from infrastructure.bootstrap import stored
from infrastructure.forecast_sentences import told
from infrastructure.postgres.ledger import PostgresEventLog
from infrastructure.service import Storage
from infrastructure.web.endpoints.what_if import shown
from scripts.commands.command import command, new_app
from scripts.commands.decide import parse_parts
from scripts.commands.options import AsJson, read_settings
from scripts.commands.output import print_json, print_line, print_table
from scripts.exit_codes import fail

app = new_app()


@command(app, "transfer-ledger what-if o_17 --amount 500", name="what-if")
async def what_if(
    order_id: Annotated[str, typer.Argument(help="The order's id.")],
    amount: Annotated[
        int | None,
        typer.Option(min=1, help="In minor units; without it, all that is left of the order."),
    ] = None,
    allocation: Annotated[
        str | None,
        typer.Option(help="Amounts that the sellers bear, such as anna=450,ben=120."),
    ] = None,
    dispute: Annotated[bool, typer.Option("--dispute", help="A dispute, not a refund.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show the exact effect of a planned refund or dispute on each seller, and the amount that the
    platform bears. Nothing changes."""
    if dispute and allocation is not None:
        fail("--allocation belongs to a refund; leave it out, or leave out --dispute.")
    explicit = None if allocation is None else parse_parts(allocation)
    async with stored(read_settings()) as storage:
        forecast = await _forecast(storage, order_id, amount, explicit, dispute=dispute)
    if as_json:
        print_json([asdict(shown(forecast))])
        return
    for sentence in told(forecast):
        print_line(sentence)
    if forecast.steps:
        rows = [
            (one.seller_id, one.transfer_id or "(new)", one.fact, one.amount or "")
            for one in shown(forecast).steps
        ]
        print_table(("seller", "transfer", "fact", "amount"), rows)


async def _forecast(
    storage: Storage,
    order_id: str,
    amount: int | None,
    explicit: dict[str, int] | None,
    *,
    dispute: bool,
) -> Forecast:
    forecasts = WhatIf(CommandHandler(PostgresEventLog(storage.store), storage.clock))
    if dispute:
        return await forecasts.dispute(order_id, amount)
    return await forecasts.refund(order_id, amount, explicit)
