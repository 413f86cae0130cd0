"""What keeps calls apart: Stripe's rate and concurrency limits, and the lock on each transfer."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from infrastructure.simulators.common.clock import SimClock
from infrastructure.simulators.common.refusal import Refusal
from infrastructure.simulators.common.request import Call
from infrastructure.simulators.stripe.runtime_settings import Tuning

RESOURCES_REMEMBERED = 10_000
"""Objects whose rate is counted at a time; with one more all of them start anew."""


class TokenBucket:
    """`rate` requests per second of simulated time, saving up at most one second's worth."""

    def __init__(self, clock: SimClock, rate: float) -> None:
        self._clock = clock
        self._rate = rate
        self._tokens = max(rate, 1.0)
        self._filled_at = clock.now()

    def take(self) -> bool:
        now = self._clock.now()
        self._tokens = min(max(self._rate, 1.0), self._tokens + max(now - self._filled_at, 0.0) * self._rate)
        self._filled_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class Limits:
    """Raises Refusal("rate_limited", reason=…) for a call above a limit; unlimited where the tuning says None."""

    def __init__(self, tuning: Tuning, clock: SimClock) -> None:
        self._clock = clock
        self._running: Counter[str] = Counter()
        self.tune(tuning)

    def tune(self, tuning: Tuning) -> None:
        """Other limits from now on, all of them untouched so far; the calls under way still count as such."""
        self._tuning = tuning
        self._global: dict[str, TokenBucket] = {}
        self._endpoints: dict[str, TokenBucket] = {}
        self._resources: dict[str, TokenBucket] = {}

    @contextmanager
    def admission(self, call: Call) -> Iterator[None]:
        self._check_rates(call)
        self._check_concurrency(call.operation)
        self._running.update(("*", call.operation))
        try:
            yield
        finally:
            self._running.subtract(("*", call.operation))

    def _check_rates(self, call: Call) -> None:
        tuning, resource = self._tuning, call.transfer or call.destination
        self._take(self._global, "*", tuning.global_rate, "global-rate")
        self._take(self._endpoints, call.operation, tuning.endpoint_rate, "endpoint-rate")
        if resource is not None:
            if len(self._resources) > RESOURCES_REMEMBERED:
                self._resources.clear()
            self._take(self._resources, resource, tuning.resource_rate, "resource-specific")

    def _take(self, buckets: dict[str, TokenBucket], name: str, rate: float | None, reason: str) -> None:
        if rate is None:
            return
        bucket = buckets.get(name) or buckets.setdefault(name, TokenBucket(self._clock, rate))
        if not bucket.take():
            raise Refusal("rate_limited", reason=reason)

    def _check_concurrency(self, operation: str) -> None:
        limits = (
            ("*", self._tuning.global_concurrency, "global-concurrency"),
            (operation, self._tuning.endpoint_concurrency, "endpoint-concurrency"),
        )
        for name, limit, reason in limits:
            if limit is not None and self._running[name] >= limit:
                raise Refusal("rate_limited", reason=reason)


class ObjectLocks:
    """One writer per transfer at a time; whoever waits too long is told 429 lock_timeout."""

    def __init__(self, wait: float) -> None:
        self.wait = wait
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._interested: Counter[str] = Counter()

    @asynccontextmanager
    async def holding(self, object_id: str | None) -> AsyncIterator[None]:
        """Raises Refusal("lock_timeout")."""
        if object_id is None:
            yield
            return
        self._interested[object_id] += 1
        try:
            await self._acquire(object_id)
            try:
                yield
            finally:
                self._locks[object_id].release()
        finally:
            self._interested[object_id] -= 1
            if not self._interested[object_id]:
                del self._interested[object_id], self._locks[object_id]

    async def _acquire(self, object_id: str) -> None:
        lock = self._locks[object_id]
        if not lock.locked():
            await lock.acquire()
            return
        try:
            await asyncio.wait_for(lock.acquire(), self.wait)
        except TimeoutError:
            raise Refusal("lock_timeout") from None
