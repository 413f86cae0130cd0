"""Circuit breaker in memory: the shared breaker, and the scopes that facts pause."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Protocol

from application.ports import FleetState
from domain.pause import LOOK_UP_FIRST
from domain.provider_call.operation import LookFirst

PROBE, LONGEST_PROBE = timedelta(seconds=5), timedelta(minutes=5)
SOON = timedelta(minutes=10)
"""Opened again within this, the breaker was closed too early."""


class Breaker:
    """The row of the breaker that all processes share."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._now = clock
        self.is_open = False
        self.probe_at: datetime | None = None
        self._interval = PROBE
        self._closed_at: datetime | None = None

    def open(self) -> bool:
        if self.is_open:
            return False
        soon = self._closed_at is not None and self._now() - self._closed_at < SOON
        self._interval = min(2 * self._interval, LONGEST_PROBE) if soon else PROBE
        self.is_open, self.probe_at = True, self._now() + self._interval
        return True

    def take_probe(self) -> bool:
        if self.probe_at is None or self._now() < self.probe_at:
            return False
        self.probe_at = self._now() + self._interval
        return True

    def close(self) -> bool:
        was_open, self.is_open, self.probe_at = self.is_open, False, None
        self._closed_at = self._now() if was_open else self._closed_at
        return was_open


class BreakerDatabase(Protocol):
    """The part of the database in memory that has the breaker and the pauses."""

    breaker: Breaker
    now: Callable[[], datetime]

    @property
    def tables(self) -> Mapping[str, Mapping[Any, Any]]: ...

    def notify(self, channel: str) -> None: ...


class MemoryCircuitBreaker:
    """See `application.ports.CircuitBreaker`."""

    def __init__(self, database: BreakerDatabase) -> None:
        self._database = database

    async def state(self) -> FleetState:
        return state(self._database)

    async def open_breaker(self) -> bool:
        return self._told(self._database.breaker.open())

    async def take_probe(self) -> bool:
        return self._database.breaker.take_probe()

    async def until_probe(self) -> float | None:
        at = self._database.breaker.probe_at
        return None if at is None else max(0.0, (at - self._database.now()).total_seconds())

    async def close_breaker(self) -> bool:
        return self._told(self._database.breaker.close())

    def _told(self, news: bool) -> bool:
        if news:
            self._database.notify("ledger_work")
        return news


def state(database: BreakerDatabase) -> FleetState:
    """Return the state of the fleet as it is now; claims obey it too."""
    paused = [row for row in database.tables["pauses"].values() if row.paused]
    unverified = next((row for row in paused if row.scope == LOOK_UP_FIRST), None)
    return FleetState(
        outage=database.breaker.is_open,
        paused=frozenset(row.scope for row in paused if row.scope != LOOK_UP_FIRST),
        look_first=LookFirst(unverified.updated_at, unverified.lost_since or unverified.updated_at)
        if unverified
        else None,
    )
