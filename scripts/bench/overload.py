"""Appends at 1.5 times the capacity, and bursts: stored appends per second, and the latency of
light traffic before and after.

The capacity is measured before each turn, by callers that wait for their answers. All commands of a
turn are decided before its clock starts: deciding uses the processor of the store, and under
pressure it would happen earlier than storing.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from uuid import UUID

from eventsourcing.persistence import Mapper

from domain.errors import Unavailable
from infrastructure.postgres.event_store import EventStore
from scripts.bench.append import (
    Command,
    decide_sample,
    new_transcoder,
    open_store,
    scratch_database,
)
from scripts.bench.pressure import ROUNDS, Cell, percentile, side_of
from scripts.bench.traffic import Turn

CALLERS = 64
WARM_UP = 2_000
OVERLOAD = 1.5
LIGHT = 0.3
"""Light traffic, as a part of the capacity."""
TICK = 0.01
LARGEST_BURST = 8_000
"""Below the number of appends that may wait."""

Run = Callable[["Appends", float], Awaitable[Turn]]
"""A turn with the pressure, given the capacity per second."""


async def overload(database_url: str, seconds: float) -> Cell:
    """Measure appends that come faster than they can be stored."""

    async def run(appends: "Appends", capacity: float) -> Turn:
        return await appends.at_a_rate(OVERLOAD * capacity, seconds)

    return await _cell("pressure_overload", database_url, seconds, run)


async def burst(database_url: str, seconds: float) -> Cell:
    """Measure appends that all come at once."""

    async def run(appends: "Appends", capacity: float) -> Turn:
        count = min(int(capacity * seconds), LARGEST_BURST)
        return await appends.by_callers(count, callers=count)

    return await _cell("pressure_burst", database_url, seconds, run)


class Appends:
    """Ways to append to one store."""

    def __init__(self, store: EventStore) -> None:
        self._store, self._mapper = store, Mapper[UUID](new_transcoder())

    async def by_callers(self, count: int, callers: int) -> Turn:
        """Let callers append, each as soon as its last append is answered."""
        latencies: list[float] = []
        decided = [decide_sample(self._mapper) for _ in range(count)]
        began = time.perf_counter()

        async def call() -> None:
            while decided:
                await self._append(decided.pop(), latencies)

        await asyncio.gather(*(call() for _ in range(callers)))
        return Turn(len(latencies) / (time.perf_counter() - began), latencies, {})

    async def at_a_rate(self, rate: float, seconds: float) -> Turn:
        """Append at a rate for some seconds, whether or not the appends before are answered, and
        count those answered meanwhile; then wait for the others."""
        latencies: list[float] = []
        calls: set[asyncio.Task[None]] = set()
        decided = [decide_sample(self._mapper) for _ in range(int(rate * seconds))]
        unsent, began = len(decided), time.perf_counter()
        while (passed := time.perf_counter() - began) < seconds:
            while decided and unsent - len(decided) < rate * passed:
                calls.add(call := asyncio.create_task(self._append(decided.pop(), latencies)))
                call.add_done_callback(calls.discard)
            await asyncio.sleep(TICK)
        per_second = len(latencies) / passed
        await asyncio.gather(*calls)
        return Turn(per_second, latencies, {})

    async def _append(self, command: Command, latencies: list[float]) -> None:
        began = time.perf_counter()
        with suppress(Unavailable):  # too many wait: refused at once
            await self._store.append(*command)
            latencies.append(1_000 * (time.perf_counter() - began))


async def _cell(name: str, database_url: str, seconds: float, run: Run) -> Cell:
    undisturbed, pressed = list[Turn](), list[Turn]()
    before, after = list[float](), list[float]()
    with scratch_database(database_url) as url:
        async with open_store(url) as store:
            appends = Appends(store)
            capacity = (await appends.by_callers(WARM_UP, CALLERS)).per_second
            for _ in range(ROUNDS):
                undisturbed.append(await appends.by_callers(int(capacity * seconds), CALLERS))
                capacity = undisturbed[-1].per_second
                before += (await appends.at_a_rate(LIGHT * capacity, seconds / 2)).latencies
                pressed.append(await run(appends, capacity))
                after += (await appends.at_a_rate(LIGHT * capacity, seconds / 2)).latencies
    light = percentile(sorted(before), 99), percentile(sorted(after), 99)
    return Cell(name, side_of(pressed), side_of(undisturbed), {}, light=light)
