"""A token bucket over simulated time."""

from __future__ import annotations

from infrastructure.simulators.common.clock import SimClock


class TokenBucket:
    """`rate` requests per second of simulated time. The bucket holds the requests of one second at most."""

    def __init__(self, clock: SimClock, rate: float) -> None:
        self._clock = clock
        self._rate = rate
        self._tokens = max(rate, 1.0)
        self._filled_at = clock.now()

    def take(self) -> bool:
        """Take one token. Returns False when there is none."""
        now = self._clock.now()
        self._tokens = min(max(self._rate, 1.0), self._tokens + max(now - self._filled_at, 0.0) * self._rate)
        self._filled_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
