"""Work queue and rate limiter in memory, shared by all processes of a fleet."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from application.ports import ClaimedWork
from infrastructure.simulation.in_memory.circuit_breaker import state
from infrastructure.simulation.in_memory.database import MemoryDatabase
from infrastructure.simulation.in_memory.due_transfers import Obeys

SLOWER = 0.5
"""Factor of the rate after Stripe has refused a call with 429."""
SLOWEST = 0.05
RECOVERY_PER_SECOND = 0.01
"""Share of the full rate that returns per second."""
TOGETHER = timedelta(seconds=2)
"""Refusals within this time belong to one burst."""


class MemoryWork:
    """See `application.ports.WorkQueue`; for transfers, or for another table of streams."""

    def __init__(self, database: MemoryDatabase, table: str = "seller_transfers") -> None:
        self._database = database
        self._due = database.due_streams.get(table, database.due)
        self._obeys_breaker = table != "refunds"  # the breaker is Stripe's

    async def claim(self, kind: str, holder: str, limit: int, lease: timedelta) -> ClaimedWork:
        now, obeys = self._database.now(), self._obeys(kind)
        return ClaimedWork(self._due.lease(kind, holder, limit, now + lease, now, obeys), now)

    def _obeys(self, kind: str) -> Obeys:
        fleet = state(self._database)
        if not self._obeys_breaker:
            fleet = fleet._replace(outage=False)
        return lambda seller_id: fleet.allows(kind, seller_id)

    async def hold(self, holder: str, ids: Collection[UUID], lease: timedelta) -> None:
        now = self._database.now()
        self._due.hold(holder, ids, now + lease, now)

    async def renew(self, holder: str, ids: Collection[UUID], lease: timedelta) -> Collection[UUID]:
        return self._due.renew(holder, ids, self._database.now() + lease)

    async def release(self, holder: str, ids: Collection[UUID]) -> None:
        if self._due.release(holder, ids):
            self._database.notify("ledger_work")

    async def next_due(self, kind: str) -> datetime | None:
        if self._obeys_breaker and state(self._database).outage:
            return None
        return self._due.next(kind, self._database.now(), self._obeys(kind))


class MemoryRateLimiter:
    """See `application.ports.RateLimiter`. `rate`: requests per second of each endpoint, all
    processes together."""

    def __init__(self, database: MemoryDatabase, rate: float) -> None:
        self._database, self._rate = database, rate

    async def reserve(self, endpoint: str, count: int) -> Sequence[float]:
        if count < 1:
            return []
        now = self._database.now()
        free_at, share, since = self._database.instants.get(endpoint, (now, 1.0, now))
        interval = 1 / (self._rate * _recovered(share, now - since))
        first = max(free_at, now)
        self._database.instants[endpoint] = (
            first + timedelta(seconds=count * interval),
            share,
            since,
        )
        return [(first - now).total_seconds() + index * interval for index in range(count)]

    async def slow_down(self, endpoint: str) -> None:
        now = self._database.now()
        free_at, share, since = self._database.instants.get(endpoint, (now, 1.0, now - TOGETHER))
        if share == 1.0 or now - since >= TOGETHER:
            slower = max(SLOWEST, SLOWER * _recovered(share, now - since))
            self._database.instants[endpoint] = (free_at, slower, now)


def _recovered(share: float, waited: timedelta) -> float:
    return min(1.0, share + RECOVERY_PER_SECOND * waited.total_seconds())
