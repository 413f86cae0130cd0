"""The rate limit that all processes share: one row per endpoint holds its next free instant, and how far it is slowed down.

Stripe's real limit is not told to anybody. A refusal takes a part of the rate (multiplicative decrease), time gives it back
(additive recovery): the rate swings closely around what Stripe takes. What is shared is the share of the configured rate, so
that processes with different configurations slow down together.
"""

from datetime import timedelta

from infrastructure.postgres.connections import Pool
from infrastructure.postgres.named_queries import queries

SQL = queries("pace")
DECREASE = 0.8
"""What a refusal leaves of the rate."""
TOGETHER = timedelta(seconds=2)
"""Refusals this close together count once. Instants that were given out before go on at the old rate for some seconds:
with less, they would slow us down again and again; with more, we would be too slow to slow down."""
RECOVERY = 0.005
"""The part of the configured rate that is found back in a second; with twice as much, twice as many calls are refused."""
SLOWEST = 1 / 16
"""The share of the configured rate below which no refusal slows us."""


class PostgresRateLimiter:
    """See `application.ports.RateLimiter`. `rate`: requests per second of each endpoint, all processes together."""

    def __init__(self, pool: Pool, rate: float, together: timedelta = TOGETHER) -> None:
        self._pool, self._interval, self._together = pool, timedelta(seconds=1 / rate), together

    async def reserve(self, endpoint: str, count: int) -> list[float]:
        """Reserve `count` instants, evenly spaced by the present rate: how many seconds from now each of them is, never
        negative. An unused instant is lost.

        A duration, not a time of day: the clocks of this process and of the database need not agree.
        """
        if count < 1:
            return []
        values = {"endpoint": endpoint, "count": count, "interval": self._interval, "recovery": RECOVERY}
        async with self._pool.connection() as connection:
            row = await (await connection.execute(SQL["reserve"], values)).fetchone()
        assert row, "the statement always returns a row"
        first, apart = max(0.0, row[0]), row[1]
        return [first + index * apart for index in range(count)]

    async def slow_down(self, endpoint: str) -> None:
        """Stripe says that we are too fast: all processes slow down, unless they did a moment ago."""
        rules = {"decrease": DECREASE, "floor": SLOWEST, "recovery": RECOVERY, "together": self._together}
        async with self._pool.connection() as connection:
            await connection.execute(SQL["slow_down"], rules | {"endpoint": endpoint})
