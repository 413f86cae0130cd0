"""Both implementations of the storage ports, for the contracts: the ports, a clock, and a view of
the stored facts."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

from psycopg.sql import SQL, Identifier

from application.ports import (
    Alarms,
    CircuitBreaker,
    Directory,
    EventLog,
    Inbox,
    RateLimiter,
    WorkQueue,
)
from infrastructure.postgres import alarms, circuit_breaker, inbox, rate_limiter, work_queue
from infrastructure.postgres.connections import Pool, new_pool
from infrastructure.postgres.directory import PostgresDirectory
from infrastructure.postgres.due_bound import DueBound
from infrastructure.postgres.event_store import EventStore, RecordedFact
from infrastructure.postgres.ledger import PostgresEventLog
from infrastructure.postgres.listener import Listener
from infrastructure.simulation.in_memory.alarms import MemoryAlarms
from infrastructure.simulation.in_memory.circuit_breaker import MemoryCircuitBreaker
from infrastructure.simulation.in_memory.database import MemoryDatabase, event_log
from infrastructure.simulation.in_memory.directory import MemoryDirectory
from infrastructure.simulation.in_memory.inbox import MemoryInbox
from infrastructure.simulation.in_memory.work_queue import MemoryRateLimiter, MemoryWork

CHANNELS = ("ledger_events", "ledger_work")
"""The notification channels of every worker."""
INSTANTS = """
    select table_name, column_name from information_schema.columns join information_schema.tables using (table_schema, table_name)
     where table_schema = current_schema() and data_type = 'timestamp with time zone'
       and table_type = 'BASE TABLE' and table_name not in ('ledger_events', 'schema_migrations')
"""


class OpenAlarm(Protocol):
    """An alarm that is not cleared."""

    @property
    def kind(self) -> str: ...
    @property
    def subject(self) -> str: ...
    @property
    def detail(self) -> str: ...


class StoredAlarms(Alarms, Protocol):
    """The port, and the list of open alarms."""

    async def raised(self) -> Sequence[OpenAlarm]: ...


class StoredInbox(Inbox, Protocol):
    """The port, and the method by which the web stores a webhook."""

    async def put(
        self, provider: str, event_id: str, event_type: str, body: bytes, received_at: datetime
    ) -> bool: ...


@dataclass(slots=True)
class Storage:
    """One database, by its ports."""

    ledger: EventLog
    directory: Directory
    work: WorkQueue
    alarms: StoredAlarms
    inbox: StoredInbox
    new_rate_limiter: Callable[[float], RateLimiter]
    new_breaker: Callable[[], CircuitBreaker]
    now: Callable[[], Awaitable[datetime]]
    let_pass: Callable[[timedelta], Awaitable[None]]
    """Let the database's time pass, as far as stored instants show it."""
    facts: Callable[[], Awaitable[Sequence[RecordedFact]]]
    listen: Callable[[str, Callable[[], None]], Awaitable[None]]
    """Listen as LISTEN does: call `wake` for each notification on a channel; it listens on
    return."""
    pool: Pool | None = None


@asynccontextmanager
async def in_memory() -> AsyncIterator[Storage]:
    clock = _ManualClock()
    database = MemoryDatabase(lambda: clock.at)

    async def let_pass(time: timedelta) -> None:
        clock.at += time

    async def now() -> datetime:
        return clock.at

    async def facts() -> list[RecordedFact]:
        return database.recorded

    async def listen(channel: str, wake: Callable[[], None]) -> None:
        database.on(channel, wake)

    yield Storage(
        event_log(database),
        MemoryDirectory(database),
        MemoryWork(database),
        MemoryAlarms(database),
        MemoryInbox(database),
        lambda rate: MemoryRateLimiter(database, rate),
        lambda: MemoryCircuitBreaker(database),
        now,
        let_pass,
        facts,
        listen,
    )


class _ManualClock:
    def __init__(self) -> None:
        self.at = datetime(2026, 1, 1, tzinfo=UTC)


@asynccontextmanager
async def on_postgres(database_url: str) -> AsyncIterator[Storage]:
    async with new_pool(database_url) as pool:
        store, webhooks = EventStore(database_url, pool), inbox.PostgresInbox(database_url, pool)
        work = work_queue.PostgresWorkQueue(pool)
        await asyncio.gather(store.start(), webhooks.start())
        listeners: list[Listener] = []

        async def now() -> datetime:
            async with pool.connection() as connection:
                row = await (await connection.execute("select now()")).fetchone()
            assert row is not None
            at: datetime = row[0]
            return at

        async def let_pass(time: timedelta) -> None:
            await _put_back(pool, time)
            webhooks._due, work._due = DueBound(), {kind: DueBound() for kind in work._due}

        async def facts() -> list[RecordedFact]:
            return await store.feed()

        async def listen(channel: str, wake: Callable[[], None]) -> None:
            listener = Listener(database_url)
            listener.on(channel, wake)
            listeners.append(listener)
            await listener.start()

        try:
            yield Storage(
                PostgresEventLog(store),
                PostgresDirectory(pool),
                work,
                alarms.PostgresAlarms(pool),
                webhooks,
                lambda rate: rate_limiter.PostgresRateLimiter(pool, rate),
                lambda: circuit_breaker.PostgresCircuitBreaker(pool),
                now,
                let_pass,
                facts,
                listen,
                pool,
            )
        finally:
            for listener in listeners:
                await listener.aclose()
            await asyncio.gather(store.aclose(), webhooks.aclose())


async def _put_back(pool: Pool, time: timedelta) -> None:
    """Move every stored instant into the past: for the database this equals waiting."""
    async with pool.connection() as connection:
        for table, column in await (await connection.execute(INSTANTS.encode())).fetchall():
            query = SQL("update {table} set {column} = {column} - %s where {column} is not null")
            await connection.execute(
                query.format(table=Identifier(table), column=Identifier(column)), (time,)
            )


__all__ = ["CHANNELS", "Alarms", "Storage", "in_memory", "on_postgres"]
