"""Command `simulate-week`: a week of a marketplace in virtual time."""

import logging
import sys
import time
from typing import Annotated

import structlog
import typer

from infrastructure.simulation.week.plan import FEWEST
from infrastructure.simulation.week.run import simulate_week as run_week
from scripts.commands.command import command, new_app
from scripts.commands.options import AsJson
from scripts.exit_codes import FOUND

app = new_app()


@command(app, "transfer-ledger simulate-week --orders 2000 --seed 7", name="simulate-week")
def simulate_week(
    orders: Annotated[int, typer.Option(min=FEWEST, help="Orders of the week.")] = 10_000,
    seed: Annotated[
        int, typer.Option(help="The same seed gives the same report, byte for byte.")
    ] = 1,
    json: AsJson = False,
) -> int:
    """Simulate a week: a marketplace, Stripe and the PSP in live manners, with refunds, disputes,
    lost webhooks, an outage and a bad deploy. Exit code 1 if the books differ, or if a person is
    needed for anything but a true loss."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    began = time.monotonic()
    report = run_week(orders, seed, lambda day: _tell(f"day {day} is over", began))
    sys.stdout.write((report.json().decode() if json else report.text()) + "\n")
    _tell("the week is over", began)
    return 0 if report.passed else FOUND


def _tell(sentence: str, began: float) -> None:
    """Write progress to standard error: the report contains no real time."""
    sys.stderr.write(f"{sentence} after {time.monotonic() - began:.0f} s\n")
