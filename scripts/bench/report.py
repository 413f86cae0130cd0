"""Report of `transfer-ledger bench`: the figures of docs/figures.md, each a ratio measured in one
run."""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import structlog
import typer
from rich.console import Console
from rich.table import Table

from infrastructure import garbage_collection
from infrastructure.bootstrap import database
from infrastructure.settings import Settings
from scripts.bench.append import append_ratio, scratch_database
from scripts.bench.drain import BOUND, drain_in_process, drain_through_the_sdk
from scripts.bench.intake import intake_ratio
from scripts.bench.overload import burst, overload
from scripts.bench.pages import pages_speed
from scripts.bench.pressure import (
    EXPORT_SPEED,
    ROUNDS,
    Cell,
    idle_transaction,
    pressure_of,
    readers,
)

QUIET = structlog.make_filtering_bound_logger(40)


class Request(NamedTuple):
    """Wanted measurements, all of them if `only` is empty; seconds of each turn and of the idle
    transaction; transfers in the database whose pages are measured."""

    seconds: float
    idle: float = 20.0
    only: Sequence[str] = ()
    transfers: int = 1_000_000


class Figure(NamedTuple):
    """A measured rate per second, and the rate that it is compared with.

    `details`: pairs of values under pressure and undisturbed.
    """

    name: str
    what: str
    ours: float
    against: str
    theirs: float
    details: Mapping[str, object] = MappingProxyType({})

    @property
    def ratio(self) -> float:
        """Our rate divided by the other."""
        return self.ours / self.theirs


async def report(settings: Settings, request: Request, as_json: bool) -> None:
    """Run measurements one after the other, and print them."""
    structlog.configure(wrapper_class=QUIET)
    garbage_collection.tune()  # as in `serve`
    console = Console(stderr=True)
    with database(settings) as url:
        figures = []
        for name in request.only or MEASURES:
            with console.status(f"measuring {name}"):
                figures.append(await MEASURES[name](url, request))
    _print(figures, as_json)


def _print(figures: list[Figure], as_json: bool) -> None:
    if as_json:
        typer.echo(
            json.dumps(
                [
                    {**figure._asdict(), "details": dict(figure.details), "ratio": figure.ratio}
                    for figure in figures
                ],
                indent=2,
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


async def _appends(url: str, request: Request) -> Figure:
    measured = await append_ratio(url, seconds=request.seconds)
    return Figure(
        "appends",
        "appends, 64 callers",
        measured.ours,
        "app.save() of the library",
        measured.library,
    )


async def _webhooks(url: str, request: Request) -> Figure:
    measured = await intake_ratio(url, request.seconds)
    return Figure(
        "webhooks",
        "webhooks received over HTTP, 64 callers",
        measured.ours,
        "a bare handler, one INSERT each",
        measured.bare,
    )


async def _reversals(url: str, request: Request) -> Figure:
    with scratch_database(url) as scratch:
        measured = await drain_in_process(scratch, int(BOUND * request.seconds))
    return Figure(
        "reversals",
        "reversals, 100 ms a call, 100 in flight",
        measured.per_second,
        "upper limit of these calls",
        BOUND,
    )


async def _reversals_sdk(url: str, request: Request) -> Figure:
    with scratch_database(url) as scratch:
        measured = await drain_through_the_sdk(scratch, int(BOUND * request.seconds))
    return Figure(
        "reversals_sdk",
        "the same through the SDK and HTTP",
        measured.per_second,
        "upper limit of these calls",
        BOUND,
    )


async def _idle_transaction(url: str, request: Request) -> Figure:
    name, lasting = "pressure_idle_transaction", request.idle
    cell = await pressure_of(url, name, idle_transaction, request.seconds, lasting)
    return _pressure(f"webhooks handled, an idle transaction of {lasting:.0f} s", cell)


async def _readers(url: str, request: Request) -> Figure:
    name, lasting = "pressure_readers", 2 * ROUNDS * request.seconds
    cell = await pressure_of(url, name, readers(EXPORT_SPEED), request.seconds, lasting)
    return _pressure(f"webhooks handled, four readers of {EXPORT_SPEED:,.0f} facts/s", cell)


async def _fast_readers(url: str, request: Request) -> Figure:
    name, lasting = "pressure_readers_at_full_speed", 2 * ROUNDS * request.seconds
    cell = await pressure_of(url, name, readers(0), request.seconds, lasting)
    return _pressure("webhooks handled, four readers at full speed", cell)


async def _overload(url: str, request: Request) -> Figure:
    return _pressure("appends, 1.5 times the capacity", await overload(url, request.seconds))


async def _burst(url: str, request: Request) -> Figure:
    return _pressure("appends, all at once", await burst(url, request.seconds))


async def _pages(url: str, request: Request) -> Figure:
    measured = await pages_speed(url, request.transfers)
    what = f"95 % of the slowest page of {request.transfers:,} transfers"
    ours, theirs = (1000 / page.p95_ms for page in (measured.slowest, measured.yardstick))
    return Figure("pages", what, ours, "a page without a query", theirs, measured.details())


def _pressure(what: str, cell: Cell) -> Figure:
    ours, theirs = cell.pressed.per_second, cell.undisturbed.per_second
    return Figure(cell.name, what, ours, "undisturbed", theirs, cell.details())


MEASURES: dict[str, Callable[[str, Request], Awaitable[Figure]]] = {
    "appends": _appends,
    "webhooks": _webhooks,
    "reversals": _reversals,
    "reversals_sdk": _reversals_sdk,
    "pressure_idle_transaction": _idle_transaction,
    "pressure_readers": _readers,
    "pressure_readers_at_full_speed": _fast_readers,
    "pressure_overload": _overload,
    "pressure_burst": _burst,
    "pages": _pages,
}
