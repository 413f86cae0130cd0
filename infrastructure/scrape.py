"""Values of the database for one scrape of the metrics, at a cost that does not grow with the
number of transfers."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import monotonic
from typing import Generic, TypeVar

import psycopg

from application.ports import FleetState
from infrastructure.postgres.circuit_breaker import PostgresCircuitBreaker
from infrastructure.postgres.connections import fetch_all
from infrastructure.postgres.named_queries import queries
from infrastructure.postgres.read_side.machine_state import EndpointRate, Machine
from infrastructure.postgres.read_side.overview import MoneyBar, Overview
from infrastructure.postgres.read_side.read_models import ReadModels
from infrastructure.service import Service

WITHIN_SECONDS = 5.0
"""Time after which the database counts as down for this scrape."""
QUICK_SECONDS = 0.01
"""A slow value that takes no longer than this is awaited by the scrape."""
LOAD_FACTOR = 50
"""A slow value is read again after this many times its duration, which is 2 % of a connection."""
NEVER = datetime.min.replace(tzinfo=UTC)
Value = TypeVar("Value")
SQL = queries("metrics")


@dataclass(frozen=True, slots=True)
class MetricsSnapshot:
    """Values from the database. `up` is False when the database did not answer; the other values
    are then meaningless."""

    up: bool = False
    facts: int = 0
    now: datetime = NEVER
    transfers: Mapping[str, int] = field(default_factory=dict)
    money: Sequence[MoneyBar] | None = None
    """None: not known."""
    oldest_reversal_seconds: float = 0.0
    oldest_due_seconds: Mapping[str, float] = field(default_factory=dict)
    inbox: Mapping[str, int] = field(default_factory=dict)
    oldest_webhook_seconds: Mapping[str, float] = field(default_factory=dict)
    missed: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    alarms: Mapping[str, int] = field(default_factory=dict)
    rates: Sequence[EndpointRate] = ()
    breaker: FleetState = field(default_factory=FleetState)


class SlowValue(Generic[Value]):
    """A value whose query reads many rows: awaited while it is quick, else read in the background.

    A scrape then shows the last value, and its cost does not depend on the query.
    """

    def __init__(self, read: Callable[[], Awaitable[Value]]) -> None:
        self._query = read
        self._value: Value | None = None
        self._ended_at, self._seconds = 0.0, 0.0
        self._reading: asyncio.Task[None] | None = None

    async def now(self) -> Value | None:
        """Return the value; None if the database has not given one yet."""
        due_at = self._ended_at + LOAD_FACTOR * self._seconds
        if self._reading is None and monotonic() >= due_at:
            self._reading = asyncio.create_task(self._read(), name="slow metrics")
        if self._reading is not None and (self._value is None or self._seconds <= QUICK_SECONDS):
            await asyncio.shield(self._reading)
        return self._value

    async def _read(self) -> None:
        began = monotonic()
        try:
            self._value = await self._query()
        except psycopg.Error:  # the next scrape reads again
            return
        finally:
            self._reading, self._ended_at = None, monotonic()
            self._seconds = self._ended_at - began


class Scrape:
    """Reader of the snapshots of one process."""

    def __init__(self, service: Service) -> None:
        self._service, self._reads = service, ReadModels(service.pool)
        self._settled = SlowValue(lambda: self._pairs("settled_transfers"))
        self._money = SlowValue(Overview(service.pool).money)

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
            now=service.clock.now(),
            facts=await service.store.head(),
            oldest_reversal_seconds=await reads.oldest_reversal(),
            oldest_due_seconds=await service.due_work.ages(),
            inbox=await service.inbox.counts(),
            oldest_webhook_seconds=await self._pairs("oldest_webhooks"),
            missed=await service.inbox.missed(),
            alarms=await reads.open_alarms(),
            rates=await Machine(service.pool, service.settings).rates(),
            breaker=await PostgresCircuitBreaker(service.pool).state(),
            # the last ones: they may begin to read many rows, beside which nothing should wait
            transfers={**(await self._settled.now() or {}), **opened},
            money=await self._money.now(),
        )

    async def _pairs(self, query: str) -> dict[str, int]:
        return {row[0]: row[1] for row in await fetch_all(self._service.pool, SQL[query])}
