"""Values of the database for one scrape of the metrics, at a cost that does not grow with the
number of transfers."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from time import monotonic

import psycopg

from application.ports import FleetState
from infrastructure.postgres.circuit_breaker import PostgresCircuitBreaker
from infrastructure.postgres.connections import fetch_all
from infrastructure.postgres.named_queries import queries
from infrastructure.postgres.rate_limiter import RECOVERY
from infrastructure.postgres.read_models import ReadModels
from infrastructure.service import Service

WITHIN_SECONDS = 5.0
"""Time after which the database counts as down for this scrape."""
QUICK_SECONDS = 0.02
"""A count of the settled transfers that takes no longer is awaited by the scrape."""
LOAD_FACTOR = 50
"""A slower count is repeated after this many times its duration, which is 2 % of a connection."""
SQL = queries("metrics")


@dataclass(frozen=True, slots=True)
class MetricsSnapshot:
    """Values from the database. `up` is False when the database did not answer; the other values
    are then meaningless."""

    up: bool = False
    facts: int = 0
    transfers: Mapping[str, int] = field(default_factory=dict)
    oldest_reversal_seconds: float = 0.0
    oldest_due_seconds: Mapping[str, float] = field(default_factory=dict)
    inbox: Mapping[str, int] = field(default_factory=dict)
    oldest_webhook_seconds: Mapping[str, float] = field(default_factory=dict)
    missed: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    alarms: Mapping[str, int] = field(default_factory=dict)
    pace: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """By endpoint, the share of the configured rate, and the seconds until the next free
    instant."""
    breaker: FleetState = field(default_factory=FleetState)


class Scrape:
    """Reader of the snapshots of one process."""

    def __init__(self, service: Service) -> None:
        self._service, self._reads = service, ReadModels(service.pool)
        self._settled: Mapping[str, int] | None = None
        self._counted_at, self._count_seconds = 0.0, 0.0
        self._counting: asyncio.Task[None] | None = None

    async def read(self) -> MetricsSnapshot:
        """Read the values; without a database, return an empty snapshot."""
        try:
            async with asyncio.timeout(WITHIN_SECONDS):
                return await self._read()
        except (psycopg.Error, TimeoutError):
            return MetricsSnapshot()

    async def _read(self) -> MetricsSnapshot:
        service, reads = self._service, self._reads
        opened = await self._pairs("open_transfers")
        return MetricsSnapshot(
            up=True,
            facts=await service.store.head(),
            transfers={**await self._settled_transfers(), **opened},
            oldest_reversal_seconds=await reads.oldest_reversal(),
            oldest_due_seconds=await service.due_work.ages(),
            inbox=await service.inbox.counts(),
            oldest_webhook_seconds=await self._pairs("oldest_webhooks"),
            missed=await service.inbox.missed(),
            alarms=await reads.open_alarms(),
            pace=await self._pace(),
            breaker=await PostgresCircuitBreaker(service.pool).state(),
        )

    async def _settled_transfers(self) -> Mapping[str, int]:
        """Return the last count of the settled transfers, which a large ledger repeats in the
        background."""
        again_at = self._counted_at + LOAD_FACTOR * self._count_seconds
        if self._counting is None and monotonic() >= again_at:
            self._counting = asyncio.create_task(self._count_settled(), name="count of transfers")
        if self._counting is not None and (
            self._settled is None or self._count_seconds <= QUICK_SECONDS
        ):
            await asyncio.shield(self._counting)
        return self._settled or {}

    async def _count_settled(self) -> None:
        began = monotonic()
        try:
            self._settled = await self._pairs("settled_transfers")
        except psycopg.Error:  # the next scrape counts again
            return
        finally:
            self._counting, self._counted_at = None, monotonic()
            self._count_seconds = self._counted_at - began

    async def _pairs(self, query: str) -> dict[str, int]:
        return {row[0]: row[1] for row in await fetch_all(self._service.pool, SQL[query])}

    async def _pace(self) -> dict[str, tuple[float, float]]:
        rows = await fetch_all(self._service.pool, SQL["pace"], {"recovery": RECOVERY})
        return {endpoint: (share, wait) for endpoint, share, wait in rows}
