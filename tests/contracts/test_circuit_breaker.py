"""Contract of `CircuitBreaker`: one breaker for all processes, rare probes, pauses as facts, and a
wake-up for every change."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from application.ports import CircuitBreaker, FleetState
from domain.pause import EVERYTHING, LOOK_UP_FIRST, scope_of_seller
from tests.support.storage import CHANNELS, Storage
from tests.support.streams import NOW, paused

PROBE = timedelta(seconds=5)
LONGEST = timedelta(minutes=5)
MARGIN = timedelta(seconds=1)
"""Tolerance for the clock of a real database, which goes on between two statements."""


@pytest.fixture
def breaker(storage: Storage) -> CircuitBreaker:
    return storage.new_breaker()


async def test_closed_breaker_lets_everything_begin(breaker: CircuitBreaker) -> None:
    assert await breaker.state() == FleetState()
    assert await breaker.until_probe() is None
    assert not await breaker.take_probe()


async def test_breaker_is_shared_by_all_processes(
    storage: Storage, breaker: CircuitBreaker
) -> None:
    other = storage.new_breaker()
    assert sorted(await asyncio.gather(breaker.open_breaker(), other.open_breaker())) == [
        False,
        True,
    ]
    assert (await breaker.state()).outage
    assert (await other.state()).outage
    assert not (await other.state()).allows("transferring", "anna")
    assert sorted(await asyncio.gather(breaker.close_breaker(), other.close_breaker())) == [
        False,
        True,
    ]
    assert await other.state() == FleetState()


async def test_one_process_per_interval_sends_the_probe(
    storage: Storage, breaker: CircuitBreaker
) -> None:
    other = storage.new_breaker()
    await breaker.open_breaker()
    assert not await breaker.take_probe(), "the outage was seen just now"
    for _ in range(3):
        await storage.let_pass(PROBE)
        assert sorted(
            await asyncio.gather(breaker.take_probe(), other.take_probe(), other.take_probe())
        ) == [False, False, True]
        assert not await breaker.take_probe()


async def test_process_can_sleep_until_the_next_probe(
    storage: Storage, breaker: CircuitBreaker
) -> None:
    await breaker.open_breaker()
    assert await wait_of(breaker) == pytest.approx(
        PROBE.total_seconds(), abs=MARGIN.total_seconds()
    )
    await storage.let_pass(PROBE)
    assert await wait_of(breaker) == 0
    await breaker.take_probe()
    assert await wait_of(breaker) == pytest.approx(
        PROBE.total_seconds(), abs=MARGIN.total_seconds()
    )
    await breaker.close_breaker()
    assert await breaker.until_probe() is None


async def test_reopened_breaker_waits_longer_up_to_five_minutes(
    storage: Storage, breaker: CircuitBreaker
) -> None:
    waits = []
    for _ in range(10):
        await breaker.open_breaker()
        waits.append(await wait_of(breaker))
        await breaker.close_breaker()
    assert waits[1] == pytest.approx(2 * waits[0], abs=2 * MARGIN.total_seconds())
    assert sorted(waits) == pytest.approx(waits, abs=MARGIN.total_seconds())
    assert waits[-1] == pytest.approx(LONGEST.total_seconds(), abs=MARGIN.total_seconds())
    await storage.let_pass(timedelta(days=1))
    await breaker.open_breaker()
    assert await wait_of(breaker) == pytest.approx(
        PROBE.total_seconds(), abs=MARGIN.total_seconds()
    ), "long ago is forgotten"


async def test_repeated_opening_postpones_no_probe(
    storage: Storage, breaker: CircuitBreaker
) -> None:
    await breaker.open_breaker()
    await storage.let_pass(PROBE)
    assert not await breaker.open_breaker()
    assert await breaker.take_probe()


async def test_pause_is_known_to_all_processes(storage: Storage, breaker: CircuitBreaker) -> None:
    resume = await paused(storage.ledger, scope_of_seller("anna"))
    state = await breaker.state()
    assert (state.paused, state.outage) == (frozenset({"seller:anna"}), False)
    assert not state.allows("reversing", "anna")
    assert state.allows("reversing", "ben")
    await resume()
    assert await breaker.state() == FleetState()


async def test_restore_tells_all_processes_to_look_up_first(
    storage: Storage, breaker: CircuitBreaker
) -> None:
    lost_since = NOW - timedelta(hours=3)
    resume = await paused(storage.ledger, LOOK_UP_FIRST, lost_since)
    state = await breaker.state()
    assert state.look_first is not None
    assert (state.look_first.begun_at, state.look_first.lost_since) == (NOW, lost_since)
    assert state.allows("transferring", "anna"), "looking up is work"
    await resume()
    assert (await breaker.state()).look_first is None


@pytest.mark.parametrize("change", ["opened", "closed", "paused", "resumed"])
async def test_every_change_wakes_every_worker(
    storage: Storage, breaker: CircuitBreaker, change: str
) -> None:
    resume = await paused(storage.ledger, EVERYTHING) if change == "resumed" else None
    if change == "closed":
        await breaker.open_breaker()
    woken = asyncio.Event()
    for channel in CHANNELS:
        await storage.listen(channel, woken.set)
    changes: dict[str, Callable[[], Awaitable[object]]] = {
        "opened": breaker.open_breaker,
        "closed": breaker.close_breaker,
        "paused": lambda: paused(storage.ledger, EVERYTHING),
        "resumed": resume or breaker.close_breaker,
    }
    await changes[change]()
    async with asyncio.timeout(30):
        await woken.wait()


async def wait_of(breaker: CircuitBreaker) -> float:
    wait = await breaker.until_probe()
    assert wait is not None
    return wait
