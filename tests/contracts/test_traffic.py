"""What every `Traffic` owes: one breaker for all, rare probes, pauses as facts, and nobody who sleeps through a change."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from application.ports import Traffic, TrafficState
from domain.pause import EVERYTHING, LOOK_UP_FIRST, scope_of_seller
from tests.support.storage import CHANNELS, Storage
from tests.support.streams import NOW, paused

PROBE = timedelta(seconds=5)
LONGEST = timedelta(minutes=5)
MARGIN = timedelta(seconds=1)
"""For the clock of a real database, which does not stand still between two statements."""


@pytest.fixture
def traffic(storage: Storage) -> Traffic:
    return storage.new_traffic()


async def test_at_first_everything_may_begin(traffic: Traffic) -> None:
    assert await traffic.state() == TrafficState()
    assert await traffic.until_probe() is None
    assert not await traffic.take_probe()


async def test_the_breaker_is_one_for_all(storage: Storage, traffic: Traffic) -> None:
    other = storage.new_traffic()
    assert sorted(await asyncio.gather(traffic.open_breaker(), other.open_breaker())) == [False, True]
    assert (await traffic.state()).outage
    assert (await other.state()).outage
    assert not (await other.state()).allows("transferring", "anna")
    assert sorted(await asyncio.gather(traffic.close_breaker(), other.close_breaker())) == [False, True]
    assert await other.state() == TrafficState()


async def test_one_process_in_each_interval_asks_whether_stripe_answers(storage: Storage, traffic: Traffic) -> None:
    other = storage.new_traffic()
    await traffic.open_breaker()
    assert not await traffic.take_probe(), "the outage was seen just now"
    for _ in range(3):
        await storage.let_pass(PROBE)
        assert sorted(await asyncio.gather(traffic.take_probe(), other.take_probe(), other.take_probe())) == [False, False, True]
        assert not await traffic.take_probe()


async def test_a_process_can_sleep_until_the_next_probe(storage: Storage, traffic: Traffic) -> None:
    await traffic.open_breaker()
    assert await wait_of(traffic) == pytest.approx(PROBE.total_seconds(), abs=MARGIN.total_seconds())
    await storage.let_pass(PROBE)
    assert await wait_of(traffic) == 0
    await traffic.take_probe()
    assert await wait_of(traffic) == pytest.approx(PROBE.total_seconds(), abs=MARGIN.total_seconds())
    await traffic.close_breaker()
    assert await traffic.until_probe() is None


async def test_a_breaker_that_opens_again_soon_waits_longer_and_never_longer_than_five_minutes(
    storage: Storage, traffic: Traffic
) -> None:
    waits = []
    for _ in range(10):
        await traffic.open_breaker()
        waits.append(await wait_of(traffic))
        await traffic.close_breaker()
    assert waits[1] == pytest.approx(2 * waits[0], abs=2 * MARGIN.total_seconds())
    assert sorted(waits) == pytest.approx(waits, abs=MARGIN.total_seconds())
    assert waits[-1] == pytest.approx(LONGEST.total_seconds(), abs=MARGIN.total_seconds())
    await storage.let_pass(timedelta(days=1))
    await traffic.open_breaker()
    assert await wait_of(traffic) == pytest.approx(PROBE.total_seconds(), abs=MARGIN.total_seconds()), "long ago is forgotten"


async def test_an_opening_that_is_no_news_puts_no_probe_off(storage: Storage, traffic: Traffic) -> None:
    await traffic.open_breaker()
    await storage.let_pass(PROBE)
    assert not await traffic.open_breaker()
    assert await traffic.take_probe()


async def test_what_is_paused_is_known_to_all(storage: Storage, traffic: Traffic) -> None:
    resume = await paused(storage.ledger, scope_of_seller("anna"))
    state = await traffic.state()
    assert (state.paused, state.outage) == ({"seller:anna"}, False)
    assert not state.allows("reversing", "anna")
    assert state.allows("reversing", "ben")
    await resume()
    assert await traffic.state() == TrafficState()


async def test_after_a_restore_everybody_knows_what_has_to_be_looked_up(storage: Storage, traffic: Traffic) -> None:
    lost_since = NOW - timedelta(hours=3)
    resume = await paused(storage.ledger, LOOK_UP_FIRST, lost_since)
    state = await traffic.state()
    assert state.look_first is not None
    assert (state.look_first.begun_at, state.look_first.lost_since) == (NOW, lost_since)
    assert state.allows("transferring", "anna"), "looking up is work"
    await resume()
    assert (await traffic.state()).look_first is None


@pytest.mark.parametrize("change", ["opened", "closed", "paused", "resumed"])
async def test_every_change_wakes_every_worker(storage: Storage, traffic: Traffic, change: str) -> None:
    resume = await paused(storage.ledger, EVERYTHING) if change == "resumed" else None
    if change == "closed":
        await traffic.open_breaker()
    woken = asyncio.Event()
    for channel in CHANNELS:
        await storage.listen(channel, woken.set)
    changes: dict[str, Callable[[], Awaitable[object]]] = {
        "opened": traffic.open_breaker,
        "closed": traffic.close_breaker,
        "paused": lambda: paused(storage.ledger, EVERYTHING),
        "resumed": resume or traffic.close_breaker,
    }
    await changes[change]()
    async with asyncio.timeout(30):
        await woken.wait()


async def wait_of(traffic: Traffic) -> float:
    wait = await traffic.until_probe()
    assert wait is not None
    return wait
