"""Appends at 1.5 times the capacity, and bursts: stored appends per second, and the latency of
light traffic before and after.

The capacity is measured before each turn, by callers that wait for their answers.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from uuid import UUID

from eventsourcing.persistence import Mapper

from domain.errors import Unavailable
from infrastructure.postgres.event_store import EventStore
from scripts.bench.append import create_sample, new_transcoder, open_store, scratch_database
from scripts.bench.pressure import ROUNDS, Cell, percentile, side_of
from scripts.bench.traffic import Turn

CALLERS = 64
OVERLOAD = 1.5
LIGHT = 0.3
"""Light traffic, as a part of the capacity."""
TICK = 0.01
LARGEST_BURST = 8_000
"""Below the number of appends that may wait."""

Run = Callable[["Appends", float], Awaitable[Turn]]
"""Appends under pressure, given the capacity per second."""


async def overload(database_url: str, seconds: float) -> Cell:
    """Measure appends that come faster than they can be stored."""

    async def run(appends: "Appends", capacity: float) -> Turn:
        return await appends.open_loop(OVERLOAD * capacity, seconds)

    return await _cell("pressure_overload", database_url, seconds, run)


async def burst(database_url: str, seconds: float) -> Cell:
    """Measure appends that all come at once."""

    async def run(appends: "Appends", capacity: float) -> Turn:
        return await appends.at_once(min(int(capacity * seconds), LARGEST_BURST))

    return await _cell("pressure_burst", database_url, seconds, run)


class Appends:
    """Ways to append to one store: in a closed loop, in an open loop, at once."""

    def __init__(self, store: EventStore) -> None:
        self._store, self._mapper = store, Mapper[UUID](new_transcoder())

    async def closed_loop(self, seconds: float) -> Turn:
        """Let callers append, each as soon as its last append is answered."""
        latencies: list[float] = []
        began = time.perf_counter()

        async def call() -> None:
            while time.perf_counter() < began + seconds:
                await self._one(latencies)

        await asyncio.gather(*(call() for _ in range(CALLERS)))
        return _turn(latencies, began)

    async def open_loop(self, rate: float, seconds: float) -> Turn:
        """Append at a rate, whether or not the appends before are answered; the rate of the stored
        ones counts until the last answer."""
        latencies: list[float] = []
        calls: set[asyncio.Task[None]] = set()
        began, sent = time.perf_counter(), 0
        while (passed := time.perf_counter() - began) < seconds:
            while sent < rate * passed:
                calls.add(call := asyncio.create_task(self._one(latencies)))
                call.add_done_callback(calls.discard)
                sent += 1
            await asyncio.sleep(TICK)
        await asyncio.gather(*calls)
        return _turn(latencies, began)

    async def at_once(self, count: int) -> Turn:
        """Begin all appends in the same instant."""
        latencies: list[float] = []
        began = time.perf_counter()
        await asyncio.gather(*(self._one(latencies) for _ in range(count)))
        return _turn(latencies, began)

    async def _one(self, latencies: list[float]) -> None:
        began = time.perf_counter()
        with suppress(Unavailable):  # too many wait: refused at once
            await create_sample(self._store, self._mapper)
            latencies.append(1_000 * (time.perf_counter() - began))


async def _cell(name: str, database_url: str, seconds: float, run: Run) -> Cell:
    undisturbed, pressed = list[Turn](), list[Turn]()
    before, after = list[float](), list[float]()
    with scratch_database(database_url) as url:
        async with open_store(url) as store:
            appends = Appends(store)
            await appends.closed_loop(seconds / 2)  # connections, plans and caches
            for _ in range(ROUNDS):
                undisturbed.append(await appends.closed_loop(seconds))
                capacity = undisturbed[-1].per_second
                before += (await appends.open_loop(LIGHT * capacity, seconds)).latencies
                pressed.append(await run(appends, capacity))
                after += (await appends.open_loop(LIGHT * capacity, seconds)).latencies
    light = percentile(sorted(before), 99), percentile(sorted(after), 99)
    return Cell(name, side_of(pressed), side_of(undisturbed), {}, light)


def _turn(latencies: Sequence[float], began: float) -> Turn:
    return Turn(len(latencies) / (time.perf_counter() - began), latencies, {})
