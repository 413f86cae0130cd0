"""What the whole fleet obeys: the breaker, one row that all processes share, and the read model of what is paused."""

from datetime import timedelta

from psycopg.rows import TupleRow

from application.ports import FleetState
from domain.pause import LOOK_UP_FIRST
from domain.provider_call.operation import LookFirst
from infrastructure.postgres.connections import Pool
from infrastructure.postgres.named_queries import queries

SQL = queries("traffic")
FIRST_INTERVAL = timedelta(seconds=5)
LONGEST_INTERVAL = timedelta(minutes=5)
SOON = timedelta(seconds=60)
"""Opened again within this time and one interval after it was closed, the breaker doubles its interval."""


class CircuitBreaker:
    """See `application.ports.CircuitBreaker`. Every method is one statement, so any number of processes may call at once."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def state(self) -> FleetState:
        """What may be sent now, as of the last commit."""
        row = await self._row("state", look_up_first=LOOK_UP_FIRST)
        assert row, "the migration has made the breaker's only row"
        outage, paused, begun_at, lost_since = row
        return FleetState(outage, frozenset(paused), LookFirst(begun_at, lost_since) if begun_at else None)

    async def open_breaker(self) -> bool:
        """Nobody claims anything from now on; False if it was open."""
        intervals = {"first": FIRST_INTERVAL, "longest": LONGEST_INTERVAL, "soon": SOON}
        return await self._row("open_breaker", **intervals) is not None

    async def take_probe(self) -> bool:
        """Whether the caller is the one who asks now. Nobody is woken: what may begin has not changed."""
        return await self._row("take_probe") is not None

    async def until_probe(self) -> float | None:
        """Seconds until the next probe may be taken, by the database's clock; None while the breaker is closed."""
        row = await self._row("until_probe")
        return float(row[0]) if row else None

    async def close_breaker(self) -> bool:
        """Work goes on; False if it was closed."""
        return await self._row("close_breaker") is not None

    async def _row(self, query: str, **values: object) -> TupleRow | None:
        async with self._pool.connection() as connection:
            return await (await connection.execute(SQL[query], values)).fetchone()
