"""Contract of `RateLimiter`: all processes stay under one rate, which falls when Stripe refuses and
rises again."""

import asyncio
from datetime import timedelta
from itertools import pairwise

import pytest

from application.ports import RateLimiter
from tests.support.storage import Storage

RATE = 0.01
"""One call in 100 s: no machine is slow enough to disturb the test."""
APART = 1 / RATE


async def distance(rate_limiter: RateLimiter, endpoint: str = "transfers") -> float:
    """Return the seconds between two calls of one reservation."""
    first, second = await rate_limiter.reserve(endpoint, 2)
    return second - first


async def test_calls_are_spaced_by_the_rate(storage: Storage) -> None:
    waits = list(await storage.new_rate_limiter(RATE).reserve("transfers", 5))
    assert 0 <= waits[0] < APART / 2
    assert [later - sooner for sooner, later in pairwise(waits)] == pytest.approx([APART] * 4)


async def test_next_reservation_begins_where_the_last_ended(storage: Storage) -> None:
    one, other = storage.new_rate_limiter(RATE), storage.new_rate_limiter(RATE)
    await one.reserve("transfers", 3)
    (wait,) = await other.reserve("transfers", 1)
    assert 2.5 * APART < wait <= 3 * APART


async def test_concurrent_reservations_never_share_an_instant(storage: Storage) -> None:
    rate_limiter = storage.new_rate_limiter(RATE)
    several = await asyncio.gather(*(rate_limiter.reserve("transfers", 3) for _ in range(6)))
    instants = sorted(wait for waits in several for wait in waits)
    assert all(later - sooner > APART / 2 for sooner, later in pairwise(instants))


async def test_unused_capacity_is_not_saved(storage: Storage) -> None:
    rate_limiter = storage.new_rate_limiter(RATE)
    await rate_limiter.reserve("transfers", 2)
    await storage.let_pass(timedelta(days=1))
    first, second = await rate_limiter.reserve("transfers", 2)
    assert (first, second) == pytest.approx((0, APART), abs=APART / 2)


async def test_endpoints_do_not_slow_each_other(storage: Storage) -> None:
    rate_limiter = storage.new_rate_limiter(RATE)
    await rate_limiter.reserve("transfers", 100)
    (wait,) = await rate_limiter.reserve("reversals", 1)
    assert wait < APART / 2


async def test_zero_calls_reserve_no_time(storage: Storage) -> None:
    assert list(await storage.new_rate_limiter(RATE).reserve("transfers", 0)) == []


async def test_refusal_slows_all_processes_at_one_endpoint(storage: Storage) -> None:
    one, other = storage.new_rate_limiter(RATE), storage.new_rate_limiter(RATE)
    await one.slow_down("transfers")
    assert await distance(other) > 1.2 * APART
    assert await distance(other, "reversals") == pytest.approx(APART)


async def test_simultaneous_refusals_slow_down_once(storage: Storage) -> None:
    rate_limiter = storage.new_rate_limiter(RATE)
    await rate_limiter.slow_down("transfers")
    await asyncio.gather(*(rate_limiter.slow_down("reversals") for _ in range(8)))
    assert await distance(rate_limiter, "reversals") == pytest.approx(
        await distance(rate_limiter, "transfers"), rel=0.05
    )


async def test_separate_refusals_slow_down_but_never_stop(storage: Storage) -> None:
    rate_limiter = storage.new_rate_limiter(RATE)
    distances = []
    for _ in range(20):
        await rate_limiter.slow_down("transfers")
        distances.append(await distance(rate_limiter))
        await storage.let_pass(timedelta(seconds=10))
    assert distances[1] > 1.1 * distances[0]
    assert distances[-1] < 1_000 * APART


async def test_full_rate_returns_after_refusals_end(storage: Storage) -> None:
    rate_limiter = storage.new_rate_limiter(RATE)
    await rate_limiter.slow_down("transfers")
    slow = await distance(rate_limiter)
    await storage.let_pass(timedelta(seconds=10))
    assert APART <= await distance(rate_limiter) <= slow, "little by little"
    await storage.let_pass(timedelta(days=1))
    assert await distance(rate_limiter) == pytest.approx(APART)
