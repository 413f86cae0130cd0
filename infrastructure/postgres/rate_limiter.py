"""Rate limiter of all processes: one row per endpoint has its next free instant, and the present
share of its rate.

Stripe does not publish its real limit. A refusal (429) takes a part of the rate (multiplicative
decrease), and time restores it (additive recovery): the rate stays close to the real limit. The row
has a share of the configured rate, so that processes with different configurations slow down
together.
"""

from datetime import timedelta

from infrastructure.postgres.connections import Pool, execute, fetch_one
from infrastructure.postgres.named_queries import queries

SQL = queries("rate_limiter")
DECREASE = 0.8
"""The part of the rate that is left after a refusal."""
TOGETHER = timedelta(seconds=2)
"""Refusals this close together count once. Instants that were reserved before stay at the old rate
for some seconds: with a shorter time, their refusals would slow us down again and again; with a
longer one, we would slow down too late."""
RECOVERY = 0.005
"""The part of the configured rate that comes back in a second; with twice as much, twice as many
calls are refused."""
SLOWEST = 1 / 16
"""The smallest share of the configured rate."""
WINDOW = 10.0
"""Seconds over which the overview shows the rate of calls."""


class PostgresRateLimiter:
    """The port `RateLimiter`. `rate`: requests per second of each endpoint, all processes
    together."""

    def __init__(self, pool: Pool, rate: float, together: timedelta = TOGETHER) -> None:
        self._pool, self._interval, self._together = pool, timedelta(seconds=1 / rate), together

    async def reserve(self, endpoint: str, count: int) -> list[float]:
        """Reserve `count` instants, evenly spaced by the present rate, and return the seconds from
        now to each of them.

        No number is negative. An unused instant is lost. Durations and not times of day: the clocks
        of this process and of the database need not agree.
        """
        if count < 1:
            return []
        values = {
            "endpoint": endpoint,
            "count": count,
            "interval": self._interval,
            "recovery": RECOVERY,
            "window": WINDOW,
        }
        row = await fetch_one(self._pool, SQL["reserve"], values)
        assert row, "the statement always returns a row"
        first, apart = max(0.0, row[0]), row[1]
        return [first + index * apart for index in range(count)]

    async def slow_down(self, endpoint: str) -> None:
        """Slow down all processes after a refusal by Stripe, unless they did so a moment ago."""
        rules = {
            "decrease": DECREASE,
            "floor": SLOWEST,
            "recovery": RECOVERY,
            "together": self._together,
        }
        await execute(self._pool, SQL["slow_down"], rules | {"endpoint": endpoint})
