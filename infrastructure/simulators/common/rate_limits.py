"""Limits on requests: a token bucket over simulated time, and locks on single objects."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from infrastructure.simulators.common.clock import SimClock
from infrastructure.simulators.common.refusal import Refusal


class TokenBucket:
    """`rate` requests per second of simulated time. The bucket holds the requests of one second at
    most."""

    def __init__(self, clock: SimClock, rate: float) -> None:
        self._clock = clock
        self._rate = rate
        self._tokens = max(rate, 1.0)
        self._filled_at = clock.now()

    def take(self) -> bool:
        """Take one token. Returns False when there is none."""
        now = self._clock.now()
        self._tokens = min(
            max(self._rate, 1.0), self._tokens + max(now - self._filled_at, 0.0) * self._rate
        )
        self._filled_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class ObjectLocks:
    """One writer per object at a time; a request that waits longer than `wait` seconds gets 429
    lock_timeout."""

    def __init__(self, wait: float) -> None:
        self.wait = wait
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._users: Counter[str] = Counter()

    @asynccontextmanager
    async def holding(self, object_id: str | None) -> AsyncIterator[None]:
        """Hold the object's lock. Raises Refusal("lock_timeout")."""
        if object_id is None:
            yield
            return
        self._users[object_id] += 1
        try:
            await self._acquire(object_id)
            try:
                yield
            finally:
                self._locks[object_id].release()
        finally:
            self._users[object_id] -= 1
            if not self._users[object_id]:
                del self._users[object_id], self._locks[object_id]

    async def _acquire(self, object_id: str) -> None:
        lock = self._locks[object_id]
        if not lock.locked():
            await lock.acquire()
            return
        try:
            await asyncio.wait_for(lock.acquire(), self.wait)
        except TimeoutError:
            raise Refusal("lock_timeout") from None
