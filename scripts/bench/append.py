"""Speed of appends by the event store, as a ratio to the library's own recorder in the same run.

Absolute figures depend on the machine and its load. The ratio of two figures that are measured in
turns does not.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from secrets import token_hex
from typing import NamedTuple
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import psycopg
from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event
from eventsourcing.persistence import DatetimeAsISO, JSONTranscoder, Mapper, UUIDAsHex
from psycopg.conninfo import conninfo_to_dict
from psycopg.sql import SQL, Identifier

from infrastructure.postgres import migrate
from infrastructure.postgres.connections import new_pool
from infrastructure.postgres.event_store import GROUP_LIMIT, EventStore, StoredFact

CALLERS = 64
ROUNDS = 3

Command = tuple[list[StoredFact], dict[str, list[object]]]
"""Facts and rows to append."""


class AppendSpeed(NamedTuple):
    """Commits per second, one new aggregate each, with the same number of callers."""

    ours: float
    library: float

    @property
    def times(self) -> float:
        """Our speed divided by the library's."""
        return self.ours / self.library


class SampleTransfer(Aggregate):
    """An aggregate with about as much content as the first fact of a seller's transfer."""

    @event("Created")
    def __init__(
        self, order_id: str, seller_id: str, destination: str, amount: int, currency: str, due: str
    ) -> None:
        self.order_id, self.seller_id, self.destination = order_id, seller_id, destination
        self.amount, self.currency, self.due = amount, currency, due


async def append_ratio(
    database_url: str,
    *,
    seconds: float = 2.0,
    callers: int = CALLERS,
    group_limit: int = GROUP_LIMIT,
) -> AppendSpeed:
    """Measure a command that stores one aggregate, its row and its chain link, and the library's
    `app.save(Aggregate())`.

    Both sides run in turns, for `seconds` in each of three rounds, in a scratch database of the
    same server.
    """
    with scratch_database(database_url) as url, library_application(url, callers) as application:
        async with open_store(url, group_limit) as store:
            ours = library = 0.0
            for _ in range(ROUNDS):
                library += await asyncio.to_thread(_saves_per_second, application, callers, seconds)
                ours += await _appends_per_second(store, callers, seconds)
    return AppendSpeed(ours / ROUNDS, library / ROUNDS)


@contextmanager
def scratch_database(database_url: str) -> Iterator[str]:
    """Create a migrated database on the same server, and drop it afterwards."""
    name = f"ledger_bench_{token_hex(4)}"
    with psycopg.connect(database_url, autocommit=True) as admin:
        admin.execute(SQL("create database {}").format(Identifier(name)))
        try:
            url = urlsplit(database_url)._replace(path=f"/{name}").geturl()
            migrate.up(url)
            yield url
        finally:
            admin.execute(SQL("drop database {} with (force)").format(Identifier(name)))


@contextmanager
def library_application(database_url: str, connections: int) -> Iterator[Application[UUID]]:
    """Open the library's application on its own table in the same database."""
    given = conninfo_to_dict(database_url)
    application = Application[UUID]({
        "APPLICATION_NAME": "library",
        "PERSISTENCE_MODULE": "eventsourcing.postgres",
        "POSTGRES_DBNAME": str(given["dbname"]),
        "POSTGRES_HOST": str(given.get("host", "")),
        "POSTGRES_PORT": str(given.get("port", 5432)),
        "POSTGRES_USER": str(given.get("user", "")),
        "POSTGRES_PASSWORD": str(given.get("password", "")),
        "POSTGRES_POOL_SIZE": str(min(connections, 16)),
        "POSTGRES_MAX_OVERFLOW": "0",
        "POSTGRES_MAX_WAITING": "0",
        "POSTGRES_LOCK_TIMEOUT": "30",
    })  # fmt: skip
    try:
        yield application
    finally:
        application.close()


@asynccontextmanager
async def open_store(
    database_url: str, group_limit: int = GROUP_LIMIT
) -> AsyncIterator[EventStore]:
    """Open an event store with its own pool."""
    async with new_pool(database_url) as pool:
        store = EventStore(database_url, pool, group_limit)
        await store.start()
        try:
            yield store
        finally:
            await store.aclose()


async def _appends_per_second(store: EventStore, callers: int, seconds: float) -> float:
    mapper = Mapper[UUID](new_transcoder())
    return await _per_second(lambda: create_sample(store, mapper), callers, seconds)


async def create_sample(store: EventStore, mapper: Mapper[UUID]) -> int:
    """Execute a whole command: decide, encode, fold, append."""
    return await store.append(*decide_sample(mapper))


def decide_sample(mapper: Mapper[UUID]) -> Command:
    """Return the fact and the row of a new aggregate."""
    now = datetime.now(UTC)
    sample = SampleTransfer(
        f"order-{uuid4().hex[:12]}",
        "seller-1",
        "acct_1032D82eZvKYlo2C",
        12_50,
        "EUR",
        now.isoformat(),
    )
    stored = [mapper.to_stored_event(created) for created in sample.collect_events()]
    facts = [
        StoredFact(UUID(str(e.originator_id)), e.originator_version, e.topic, e.state)
        for e in stored
    ]
    return facts, {"seller_transfers": [_row(sample, now)]}


def _row(sample: SampleTransfer, now: datetime) -> dict[str, object]:
    return {
        "transfer_id": sample.id, "order_id": sample.order_id, "seller_id": sample.seller_id,
        "destination": sample.destination, "cause": "sale", "amount": sample.amount,
        "currency": sample.currency,
        "status": "pending", "amount_reversed": 0, "stripe_transfer_id": None,
        "stripe_reversal_id": None,
        "retry_count": 0, "next_retry_at": now, "waiting_for": None, "last_error": None,
        "refund_id": None,
        "transfer_group": sample.order_id, "source_transaction": None, "version": 1,
        "created_at": now,
        "updated_at": now,
    }  # fmt: skip


async def _per_second(act: Callable[[], Awaitable[object]], callers: int, seconds: float) -> float:
    end = time.perf_counter() + seconds

    async def call_repeatedly() -> int:
        done = 0
        while time.perf_counter() < end:
            await act()
            done += 1
        return done

    started = time.perf_counter()
    done = await asyncio.gather(*(call_repeatedly() for _ in range(callers)))
    return sum(done) / (time.perf_counter() - started)


def _saves_per_second(application: Application[UUID], callers: int, seconds: float) -> float:
    end = time.perf_counter() + seconds

    def save_repeatedly(_: int) -> int:
        done = 0
        while time.perf_counter() < end:
            application.save(Aggregate())
            done += 1
        return done

    started = time.perf_counter()
    with ThreadPoolExecutor(callers) as threads:
        done = sum(threads.map(save_repeatedly, range(callers)))
    return done / (time.perf_counter() - started)


def new_transcoder() -> JSONTranscoder:
    """Make a transcoder for the samples."""
    transcoder = JSONTranscoder()
    transcoder.register(UUIDAsHex())
    transcoder.register(DatetimeAsISO())
    return transcoder
