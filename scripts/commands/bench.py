"""Command `bench`."""

from typing import Annotated

import typer
import uvloop

from scripts.bench.report import report
from scripts.commands.command import command, new_app
from scripts.commands.options import AsJson, read_settings

app = new_app()


@command(app, "transfer-ledger bench --seconds 2")
def bench(
    seconds: Annotated[
        float, typer.Option(min=0.2, max=60, help="Duration of each measurement.")
    ] = 2.0,
    as_json: AsJson = False,
) -> None:
    """Measure speed as ratios in one run, on a scratch database of the embedded or the given
    server."""
    uvloop.run(report(read_settings(), seconds, as_json))
