"""Readers that follow the log while it is written: the product's, the `eventsourcing` library's,
and a naive one on a table with a sequence."""

import asyncio
import logging
from array import array
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing, suppress
from threading import Event, Thread
from uuid import UUID

import orjson
import psycopg
from eventsourcing.application import Application
from eventsourcing.persistence import ApplicationRecorder, PersistenceError, Subscription
from psycopg.conninfo import conninfo_to_dict

from infrastructure.postgres.connections import connect, new_pool
from infrastructure.postgres.event_store import EventStore
from infrastructure.postgres.integrity.hash_chain import GENESIS, breaks
from infrastructure.postgres.listener import Listener

PAGE = 2_000
LOOK_EVERY = 1.0
"""Seconds after which a reader looks without a notification."""
BETWEEN_PAGES = 0.005
"""Seconds between two looks at a growing log, so that readers leave some of the processor."""
PAUSE = 0.05


class Seen:
    """The facts that one reader of positions has seen, in the order in which it saw them."""

    def __init__(self) -> None:
        self.tokens, self.last = array("q"), 0
        self.gaps = self.doubled = self.lost_connections = 0

    def take(self, position: int, state: bytes) -> None:
        """Note one fact; positions must follow each other."""
        self.gaps += position > self.last + 1
        self.doubled += position <= self.last
        self.tokens.append(token_of(state))
        self.last = position


class ProductFollower(Seen):
    """Follows `EventStore.feed`, woken by the product's listener, and recomputes the hash chain."""

    def __init__(self) -> None:
        super().__init__()
        self.chain_breaks = 0

    async def run(self, database_url: str) -> None:
        """Follow until cancelled."""
        woken, link = asyncio.Event(), GENESIS
        async with new_pool(database_url, 1) as pool, _listening(database_url, woken):
            store = EventStore(database_url, pool)
            while True:
                woken.clear()
                try:
                    facts = await store.feed(self.last, PAGE)
                except psycopg.Error:
                    self.lost_connections += 1
                    await asyncio.sleep(PAUSE)
                    continue
                self.chain_breaks += len(list(breaks(facts, self.last, link)))
                for fact in facts:
                    self.take(fact.position, fact.state)
                    link = fact.digest
                if len(facts) < PAGE:
                    await asyncio.sleep(BETWEEN_PAGES)
                if not facts:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(LOOK_EVERY):
                            await woken.wait()


class Ledger(Application[UUID]):
    """The ledger as an application of the library, for reading."""

    name = "ledger"


class LibraryFollower(Seen):
    """Follows a subscription of the `eventsourcing` library; after a lost connection, a new one
    from the last position on."""

    def __init__(self) -> None:
        super().__init__()
        self._stopped = Event()
        self._subscription: Subscription[ApplicationRecorder] | None = None

    @asynccontextmanager
    async def following(self, database_url: str) -> AsyncIterator[None]:
        """Follow in a thread."""
        thread = Thread(target=self._run, args=(database_url,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stopped.set()
            if self._subscription is not None:
                self._subscription.stop()
            await asyncio.to_thread(thread.join)

    def _run(self, database_url: str) -> None:
        while not self._stopped.is_set():
            try:
                with closing(_application(database_url)) as application:
                    self._follow(application)
            except (PersistenceError, psycopg.Error):
                self.lost_connections += 1
                self._stopped.wait(PAUSE)

    def _follow(self, application: Application[UUID]) -> None:
        with application.recorder.subscribe(gt=self.last) as subscription:
            self._subscription = subscription
            if self._stopped.is_set():  # set before the subscription could be stopped
                return
            for notification in subscription:
                self.take(notification.id, notification.state)


class NaiveFollower:
    """Follows `where id > last order by id` on a table whose ids come from a sequence."""

    def __init__(self) -> None:
        self.seen, self.last = set[int](), 0

    async def run(self, database_url: str) -> None:
        """Follow until cancelled."""
        while True:
            with suppress(psycopg.Error):
                async with AsyncExitStack() as stack:
                    connection = await connect(database_url)
                    stack.push_async_callback(connection.close)
                    while True:
                        rows = await connection.execute(
                            "select id from naive_log where id > %s order by id", (self.last,)
                        )
                        self.seen.update(found := [row[0] for row in await rows.fetchall()])
                        self.last = found[-1] if found else self.last
                        await asyncio.sleep(BETWEEN_PAGES)
            await asyncio.sleep(PAUSE)


def token_of(state: bytes) -> int:
    """Return the token of a fact of the torture."""
    return int(orjson.loads(state)["token"])


@asynccontextmanager
async def _listening(database_url: str, woken: asyncio.Event) -> AsyncIterator[None]:
    listener = Listener(database_url)
    listener.on("ledger_events", woken.set)
    await listener.start()
    try:
        yield
    finally:
        await listener.aclose()


def _application(database_url: str) -> Application[UUID]:
    given = conninfo_to_dict(database_url)
    return Ledger({
        "PERSISTENCE_MODULE": "eventsourcing.postgres",
        "CREATE_TABLE": "n",
        "POSTGRES_DBNAME": str(given["dbname"]),
        "POSTGRES_HOST": str(given.get("host", "")),
        "POSTGRES_PORT": str(given.get("port", 5432)),
        "POSTGRES_USER": str(given.get("user", "")),
        "POSTGRES_PASSWORD": str(given.get("password", "")),
        "POSTGRES_POOL_SIZE": "2",
        "POSTGRES_MAX_OVERFLOW": "0",
        "POSTGRES_MAX_WAITING": "0",
    })  # fmt: skip


def quieten() -> None:
    """Silence the log of lost connections: the torture makes thousands."""
    logging.disable(logging.ERROR)
