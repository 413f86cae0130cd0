"""The rate limiter: all processes together stay under the rate of an endpoint."""

import asyncio
import heapq
import math
import time
from collections import Counter
from datetime import timedelta
from itertools import pairwise

import pytest

from infrastructure.postgres.connections import Pool
from infrastructure.postgres.rate_limiter import (
    DECREASE,
    RECOVERY,
    SLOWEST,
    TOGETHER,
    PostgresRateLimiter,
)
from infrastructure.simulators.common.clock import SimClock
from infrastructure.simulators.common.rate_limits import TokenBucket
from tests.infrastructure.postgres.conftest import Person

CLOSE = 0.05  # seconds between a reply and our reading of the clock; measured against seconds


async def test_reserved_instants_are_spaced_by_rate(pool: Pool) -> None:
    waits = await PostgresRateLimiter(pool, rate=20).reserve("transfers", 5)
    assert waits == pytest.approx([0, 0.05, 0.1, 0.15, 0.2], abs=CLOSE)
    assert waits[0] >= 0
    assert [round(b - a, 9) for a, b in pairwise(waits)] == [0.05] * 4


async def test_reservation_starts_where_last_one_ended(pool: Pool) -> None:
    one, other = PostgresRateLimiter(pool, rate=2), PostgresRateLimiter(pool, rate=2)
    started = time.monotonic()
    await one.reserve("transfers", 10)
    waits = await other.reserve("transfers", 2)
    assert waits == pytest.approx([5, 5.5], abs=CLOSE + time.monotonic() - started)


async def test_concurrent_reservations_share_no_instant(pool: Pool) -> None:
    rate_limiter = PostgresRateLimiter(pool, rate=10)
    started = time.monotonic()

    async def reserve() -> list[float]:
        waits = await rate_limiter.reserve("transfers", 5)
        now = time.monotonic() - started
        return [now + wait for wait in waits]

    instants = sorted(
        instant
        for several in await asyncio.gather(*(reserve() for _ in range(8)))
        for instant in several
    )
    assert len(instants) == 40
    assert instants[-1] - instants[0] == pytest.approx(3.9, abs=4 * CLOSE)


async def test_unused_reservations_are_not_saved(pool: Pool, person: Person) -> None:
    rate_limiter = PostgresRateLimiter(pool, rate=10)
    await rate_limiter.reserve("transfers", 1)
    await person.execute("update pace set next_at = now() - interval '1 hour'")
    assert await rate_limiter.reserve("transfers", 10) == pytest.approx(
        [n / 10 for n in range(10)], abs=CLOSE
    )
    assert await rate_limiter.reserve("transfers", 1) == pytest.approx([1], abs=2 * CLOSE)


async def test_endpoints_have_separate_rates(pool: Pool) -> None:
    rate_limiter = PostgresRateLimiter(pool, rate=1)
    await rate_limiter.reserve("transfers", 100)
    assert await rate_limiter.reserve("reversals", 1) == pytest.approx([0], abs=CLOSE)


async def test_reservation_of_nothing_changes_nothing(pool: Pool, person: Person) -> None:
    assert await PostgresRateLimiter(pool, rate=1).reserve("transfers", 0) == []
    assert await (await person.execute("select from pace")).fetchall() == []


async def apart(rate_limiter: PostgresRateLimiter, endpoint: str = "transfers") -> float:
    """Seconds between two calls at the present rate."""
    first, second = await rate_limiter.reserve(endpoint, 2)
    return second - first


async def test_refusal_slows_all_processes_per_endpoint(pool: Pool) -> None:
    one, other = PostgresRateLimiter(pool, rate=20), PostgresRateLimiter(pool, rate=10)
    await one.slow_down("transfers")
    assert await apart(one) == pytest.approx(1 / 20 / DECREASE, rel=0.1)
    assert await apart(other) == pytest.approx(1 / 10 / DECREASE, rel=0.1), (
        "each from its own configured rate"
    )
    assert await apart(one, "reversals") == pytest.approx(1 / 20)


async def test_reservation_after_slowdown_starts_where_last_ended(pool: Pool) -> None:
    rate_limiter = PostgresRateLimiter(pool, rate=2)
    await rate_limiter.slow_down("transfers")
    started = time.monotonic()
    await rate_limiter.reserve("transfers", 20)
    first, second = await rate_limiter.reserve("transfers", 2)
    elapsed = time.monotonic() - started
    assert first == pytest.approx(20 * 0.5 / DECREASE, abs=CLOSE + 2 * elapsed)
    assert second - first == pytest.approx(0.5 / DECREASE, rel=0.1)


async def test_refusals_close_together_slow_down_once(pool: Pool, person: Person) -> None:
    paces = [PostgresRateLimiter(pool, rate=20, together=timedelta(seconds=60)) for _ in range(8)]
    await asyncio.gather(*(rate_limiter.slow_down("transfers") for rate_limiter in paces))
    assert await apart(paces[0]) == pytest.approx(1 / 20 / DECREASE, rel=0.1)
    await past(person, 20)
    await paces[0].slow_down("transfers")
    assert await apart(paces[0]) == pytest.approx(1 / 20 / (DECREASE + 20 * RECOVERY), rel=0.1)
    await past(person, 60)
    await asyncio.gather(*(rate_limiter.slow_down("transfers") for rate_limiter in paces))
    assert await apart(paces[0]) == pytest.approx(1 / 20 / DECREASE, rel=0.1), (
        "once again, from the full rate"
    )


@pytest.mark.parametrize("seconds", [0.0, 10.0, 30.0, 100.0, 4000.0])
async def test_rate_recovers_with_time_up_to_its_limit(
    pool: Pool, person: Person, seconds: float
) -> None:
    rate_limiter, model = PostgresRateLimiter(pool, rate=20), RateLimiterModel()
    await rate_limiter.slow_down("transfers")
    model.slow_down(0)
    await past(person, seconds)
    assert await apart(rate_limiter) == pytest.approx(1 / 20 / model.share(seconds), rel=0.05)


async def test_rate_never_falls_below_a_sixteenth(pool: Pool, person: Person) -> None:
    rate_limiter, model = PostgresRateLimiter(pool, rate=16), RateLimiterModel()
    for n in range(20):
        await rate_limiter.slow_down("transfers")
        model.slow_down(n * TOGETHER.total_seconds())
        assert await apart(rate_limiter) == pytest.approx(
            1 / 16 / model.share(n * TOGETHER.total_seconds()), rel=0.2
        )
        await past(person, TOGETHER.total_seconds())
    assert model.share(19 * TOGETHER.total_seconds()) == SLOWEST


async def past(person: Person, seconds: float) -> None:
    """As if that much time had passed since the endpoints were slowed down."""
    await person.execute(
        "update pace set slowed_at = slowed_at - %s * interval '1 second'", (seconds,)
    )


class RateLimiterModel:
    """The formula of the rate limiter's query with a virtual time, so that minutes of traffic take
    no time."""

    def __init__(self) -> None:
        self._share, self._slowed_at, self._next_at = 1.0, -math.inf, 0.0

    def share(self, now: float) -> float:
        return min(1.0, self._share + RECOVERY * (now - self._slowed_at))

    def reserve(self, rate: float, now: float) -> float:
        """Reserve the instant of one call."""
        at = max(self._next_at, now)
        self._next_at = at + 1 / (rate * self.share(now))
        return at

    def slow_down(self, now: float) -> None:
        if now >= self._slowed_at + TOGETHER.total_seconds():
            self._share, self._slowed_at = max(SLOWEST, DECREASE * self.share(now)), now


@pytest.mark.parametrize(
    ("held", "refused", "used"),
    [(5, 0.01, 0.95), (64, 0.03, 0.85)],
    ids=["a small worker", "a worker at full capacity"],
)
def test_rate_limiter_at_half_the_rate_is_rarely_refused(
    held: int, refused: float, used: float
) -> None:
    """`held` transfers wait for their instants at a time, so a slower pace is felt only when as
    many calls were made."""
    clock, limit, answer_takes, warm_up, end = ManualClock(), 10, 0.1, 30, 330
    bucket, model = TokenBucket(clock, limit), RateLimiterModel()
    calls = [(model.reserve(20, 0.0), 0.0) for _ in range(held)]
    heapq.heapify(calls)
    answers: Counter[bool] = Counter()
    while calls[0][0] < end:
        clock.at, _ = heapq.heappop(calls)
        taken = bucket.take()
        answered = clock.at + answer_takes
        if not taken:
            model.slow_down(answered)
        if clock.at > warm_up:
            answers[taken] += 1
        heapq.heappush(calls, (model.reserve(20, answered), answered))
    assert answers[False] / answers.total() < refused
    assert answers[True] / (end - warm_up) > used * limit


class ManualClock(SimClock):
    """A clock of the simulator that the test sets."""

    at = 0.0

    def now(self) -> float:
        return self.at
