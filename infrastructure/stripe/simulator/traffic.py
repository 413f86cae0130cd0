"""What keeps calls apart: Stripe's rate and concurrency limits, and the lock on each transfer."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from infrastructure.stripe.simulator.clock import SimClock
from infrastructure.stripe.simulator.config import SimulatorConfig
from infrastructure.stripe.simulator.errors import Refusal


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
    """Raises Refusal("rate_limited", reason=…) for a call above a limit; unlimited where the config says None."""

    def __init__(self, config: SimulatorConfig, clock: SimClock) -> None:
        self._config = config
        self._clock = clock
        self._global = None if config.global_rate is None else TokenBucket(clock, config.global_rate)
        self._endpoints: dict[str, TokenBucket] = {}
        self._running: Counter[str] = Counter()

    @contextmanager
    def admission(self, operation: str) -> Iterator[None]:
        self._check_rates(operation)
        self._check_concurrency(operation)
        self._running.update(("*", operation))
        try:
            yield
        finally:
            self._running.subtract(("*", operation))

    def _check_rates(self, operation: str) -> None:
        if self._global is not None and not self._global.take():
            raise Refusal("rate_limited", reason="global-rate")
        rate = self._config.endpoint_rate
        if rate is None:
            return
        bucket = self._endpoints.get(operation) or self._endpoints.setdefault(operation, TokenBucket(self._clock, rate))
        if not bucket.take():
            raise Refusal("rate_limited", reason="endpoint-rate")

    def _check_concurrency(self, operation: str) -> None:
        limits = (
            ("*", self._config.global_concurrency, "global-concurrency"),
            (operation, self._config.endpoint_concurrency, "endpoint-concurrency"),
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
