"""Circuit breaker of the whole fleet: one row that all processes share, and the read model of the
pauses."""

from datetime import timedelta

from psycopg.rows import TupleRow

from application.ports import FleetState
from domain.pause import LOOK_UP_FIRST
from domain.provider_call.operation import LookFirst
from infrastructure.postgres.connections import Pool, fetch_one
from infrastructure.postgres.named_queries import queries

SQL = queries("circuit_breaker")
FIRST_INTERVAL = timedelta(seconds=5)
LONGEST_INTERVAL = timedelta(minutes=5)
SOON = timedelta(seconds=60)
"""A breaker that opens again within this time and one interval after it was closed doubles its
interval."""


class PostgresCircuitBreaker:
    """The port `CircuitBreaker`. Every method is one statement, so any number of processes may call
    at once."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def state(self) -> FleetState:
        """Return the state of the fleet as of the last commit."""
        row = await self._row("state", look_up_first=LOOK_UP_FIRST)
        assert row, "the migration has made the breaker's only row"
        outage, paused, begun_at, lost_since = row
        return FleetState(
            outage, frozenset(paused), LookFirst(begun_at, lost_since) if begun_at else None
        )

    async def open_breaker(self) -> bool:
        """Stop all claims; return False if the breaker was open."""
        intervals = {"first": FIRST_INTERVAL, "longest": LONGEST_INTERVAL, "soon": SOON}
        return await self._row("open_breaker", **intervals) is not None

    async def take_probe(self) -> bool:
        """Return True if the caller has the turn to probe Stripe. Wakes no worker: the claims are
        still stopped."""
        return await self._row("take_probe") is not None

    async def until_probe(self) -> float | None:
        """Return the seconds until the next probe, by the database's clock; None while the breaker
        is closed."""
        row = await self._row("until_probe")
        return float(row[0]) if row else None

    async def close_breaker(self) -> bool:
        """Let work go on; return False if the breaker was closed."""
        return await self._row("close_breaker") is not None

    async def _row(self, query: str, **values: object) -> TupleRow | None:
        return await fetch_one(self._pool, SQL[query], values)
