"""Report of `transfer-ledger bench`: the figures of docs/figures.md, each a ratio measured in one
run."""

import json
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import structlog
import typer
from rich.console import Console
from rich.table import Table

from infrastructure.bootstrap import database
from infrastructure.settings import Settings
from scripts.bench.append import append_ratio, scratch_database
from scripts.bench.drain import BOUND, drain_in_process, drain_through_the_sdk
from scripts.bench.intake import intake_ratio

QUIET = structlog.make_filtering_bound_logger(40)


class Figure(NamedTuple):
    """A measured rate per second, and the rate that it is compared with."""

    what: str
    ours: float
    against: str
    theirs: float

    @property
    def ratio(self) -> float:
        """Our rate divided by the other."""
        return self.ours / self.theirs


async def report(settings: Settings, seconds: float, as_json: bool) -> None:
    """Run all measurements one after the other, and print them."""
    structlog.configure(wrapper_class=QUIET)
    console = Console(stderr=True)
    with database(settings) as url:
        figures = []
        for name, measure in MEASURES.items():
            with console.status(f"measuring {name}"):
                figures.append(await measure(url, seconds))
    _print(figures, as_json)


def _print(figures: list[Figure], as_json: bool) -> None:
    if as_json:
        typer.echo(
            json.dumps(
                [{**figure._asdict(), "ratio": figure.ratio} for figure in figures], indent=2
            )
        )
        return
    table = Table("measured", "per second", "against", "per second ", "ratio")
    for figure in figures:
        table.add_row(
            figure.what,
            f"{figure.ours:,.0f}",
            figure.against,
            f"{figure.theirs:,.0f}",
            f"{figure.ratio:.2f}",
        )
    Console(width=150).print(table)


async def _appends(url: str, seconds: float) -> Figure:
    measured = await append_ratio(url, seconds=seconds)
    return Figure(
        "appends, 64 callers", measured.ours, "app.save() of the library", measured.library
    )


async def _webhooks(url: str, seconds: float) -> Figure:
    measured = await intake_ratio(url, seconds)
    return Figure(
        "webhooks received over HTTP, 64 callers",
        measured.ours,
        "a bare handler, one INSERT each",
        measured.bare,
    )


async def _reversals(url: str, seconds: float) -> Figure:
    with scratch_database(url) as scratch:
        measured = await drain_in_process(scratch, int(BOUND * seconds))
    return Figure(
        "reversals, 100 ms a call, 100 in flight",
        measured.per_second,
        "upper limit of these calls",
        BOUND,
    )


async def _reversals_sdk(url: str, seconds: float) -> Figure:
    with scratch_database(url) as scratch:
        measured = await drain_through_the_sdk(scratch, int(BOUND * seconds))
    return Figure(
        "the same through the SDK and HTTP",
        measured.per_second,
        "upper limit of these calls",
        BOUND,
    )


MEASURES: dict[str, Callable[[str, float], Awaitable[Figure]]] = {
    "appends": _appends,
    "webhooks": _webhooks,
    "reversals": _reversals,
    "reversals through the SDK": _reversals_sdk,
}
