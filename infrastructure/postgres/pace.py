"""The rate limit that all processes share: one row per endpoint holds its next free instant."""

from datetime import timedelta

from infrastructure.postgres.connections import Pool
from infrastructure.postgres.sql import queries

RESERVE = queries("pace")["reserve"]


class Pace:
    """See `application.ports.Pace`. `rate`: requests per second of each endpoint, all processes together."""

    def __init__(self, pool: Pool, rate: float) -> None:
        self._pool, self._rate = pool, rate

    async def reserve(self, endpoint: str, count: int) -> list[float]:
        """Reserve `count` instants, 1/rate seconds apart: how many seconds from now each of them is, never negative.
        An unused instant is lost.

        A duration, not a time of day: the clocks of this process and of the database need not agree.
        """
        if count < 1:
            return []
        values = {"endpoint": endpoint, "count": count, "interval": timedelta(seconds=1 / self._rate)}
        async with self._pool.connection() as connection:
            row = await (await connection.execute(RESERVE, values)).fetchone()
        first = max(0.0, row[0]) if row else 0.0
        return [first + index / self._rate for index in range(count)]
