"""Rate limiter of one process that only reads: it takes a quarter of the configured rate, and
writes nothing."""

from collections.abc import Sequence
from time import monotonic

QUARTER, SLOWEST = 0.25, 1 / 64
"""Shares of the configured rate: the workers use the rest."""


class ReaderRateLimiter:
    """The port `RateLimiter` for a command whose database role has no right to write."""

    def __init__(self, rate: float) -> None:
        self._rate, self._share = rate, QUARTER
        self._free_at: dict[str, float] = {}

    async def reserve(self, endpoint: str, count: int) -> Sequence[float]:
        """Reserve `count` calls; return for each the seconds to wait from now."""
        now, apart = monotonic(), 1 / (self._rate * self._share)
        first = max(self._free_at.get(endpoint, now), now)
        self._free_at[endpoint] = first + count * apart
        return [first - now + index * apart for index in range(count)]

    async def slow_down(self, endpoint: str) -> None:
        """Halve the rate for the rest of the run."""
        self._share = max(SLOWEST, self._share / 2)
