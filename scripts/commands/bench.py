"""Command `bench`."""

from typing import Annotated

import typer
import uvloop

from scripts.bench.report import MEASURES, Request, report
from scripts.commands.command import command, new_app
from scripts.commands.options import AsJson, read_settings, require_one_of

QUICK_SECONDS, QUICK_TRANSFERS, TRANSFERS = 0.5, 20_000, 1_000_000
app = new_app()


@command(app, "transfer-ledger bench --seconds 2")
def bench(
    seconds: Annotated[
        float, typer.Option(min=0.2, max=60, help="Duration of each measurement.")
    ] = 2.0,
    idle: Annotated[
        float, typer.Option(min=1, max=3600, help="Seconds of the idle transaction.")
    ] = 20.0,
    only: Annotated[
        list[str] | None, typer.Option(help="Name of a measurement; may be repeated.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Short turns and a small database: a first impression.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Measure speed as ratios in one run, on a scratch database of the embedded or the given
    server."""
    for name in only or []:
        require_one_of("--only", name, tuple(MEASURES))
    request = Request(seconds, idle, only or (), TRANSFERS)
    if quick:
        request = Request(min(seconds, QUICK_SECONDS), min(idle, 2.0), only or (), QUICK_TRANSFERS)
    uvloop.run(report(read_settings(), request, as_json))
