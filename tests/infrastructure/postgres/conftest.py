"""An event store on a fresh database, facts and rows for it, and a proxy that loses connections."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import TupleRow

from infrastructure.postgres.connections import Pool, new_pool
from infrastructure.postgres.event_store import EventStore, StoredFact
from infrastructure.postgres.inbox import PostgresInbox
from infrastructure.postgres.work_queue import PostgresWorkQueue

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
PAST = datetime(2026, 1, 1, tzinfo=UTC)

Person = psycopg.AsyncConnection[TupleRow]
"""A connection beside the ledger's own, for reading and for damage."""
Make = Callable[..., Any]
"""A fixture that makes a fact or a row."""
OpenStore = Callable[..., AbstractAsyncContextManager[EventStore]]


def make_fact(
    stream: UUID | None = None, version: int = 1, state: bytes = b'{"amount":1200}'
) -> StoredFact:
    return StoredFact(stream or uuid4(), version, "test.happened", state)


def make_transfer(transfer_id: UUID, **changes: object) -> dict[str, object]:
    return {
        "transfer_id": transfer_id, "order_id": "order-1", "seller_id": "seller-1",
        "destination": "acct_1",
        "cause": "sale", "amount": 1200, "currency": "EUR", "status": "pending",
        "amount_reversed": 0,
        "retry_count": 0, "next_retry_at": NOW, "transfer_group": "order-1", "version": 1,
        "created_at": NOW, "updated_at": NOW,
    } | changes  # fmt: skip


def make_reversal(reversal_id: UUID, transfer_id: UUID, **changes: object) -> dict[str, object]:
    return {
        "reversal_id": reversal_id, "transfer_id": transfer_id, "order_id": "order-1",
        "seller_id": "seller-1",
        "refund_id": "refund-1", "amount": 100, "currency": "EUR", "status": "requested",
        "reason": "refund",
        "created_at": NOW, "updated_at": NOW,
    } | changes  # fmt: skip


@pytest.fixture
def fact() -> Make:
    return make_fact


@pytest.fixture
def transfer() -> Make:
    return make_transfer


@pytest.fixture
def reversal() -> Make:
    return make_reversal


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[Pool]:
    async with new_pool(database_url) as pool:
        yield pool


@pytest.fixture
def open_store(database_url: str, pool: Pool) -> OpenStore:
    """Open a further store on the same database, as another process would."""

    @asynccontextmanager
    async def opened(url: str = database_url, **options: Any) -> AsyncIterator[EventStore]:
        store = EventStore(url, pool, **options)
        await store.start()
        try:
            yield store
        finally:
            await store.aclose()

    return opened


@pytest.fixture
async def store(open_store: OpenStore) -> AsyncIterator[EventStore]:
    async with open_store() as store:
        yield store


@pytest.fixture
def work(pool: Pool) -> PostgresWorkQueue:
    return PostgresWorkQueue(pool)


@pytest.fixture
def record(store: EventStore, fact: Make, transfer: Make) -> Make:
    """Store a transfer that may be claimed."""

    async def recorded(
        status: str = "pending", due: datetime | None = PAST, waiting_for: str | None = None
    ) -> UUID:
        stream = uuid4()
        row = transfer(stream, status=status, next_retry_at=due, waiting_for=waiting_for)
        await store.append([fact(stream)], {"seller_transfers": [row]})
        return stream

    return recorded


@pytest.fixture
async def inbox(database_url: str, pool: Pool) -> AsyncIterator[PostgresInbox]:
    inbox = PostgresInbox(database_url, pool)
    await inbox.start()
    yield inbox
    await inbox.aclose()


@pytest.fixture
async def person(database_url: str) -> AsyncIterator[Person]:
    """A second connection, as of a person with psql: it sees only committed rows."""
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        yield connection


class ConnectionProxy:
    """A proxy between a client and PostgreSQL, on a unix socket, that loses messages on request."""

    def __init__(self, database_url: str, directory: Path) -> None:
        given = conninfo_to_dict(database_url)
        self._host, self._port = str(given.get("host", "localhost")), int(given.get("port") or 5432)
        self.url = make_conninfo(database_url, host=str(directory), port="5432")
        self._socket = directory / ".s.PGSQL.5432"
        self._server: asyncio.Server | None = None
        self._lose_request: bytes | None = None
        self._lose_reply_to: bytes | None = None
        self._lose_next_reply = self._swallows = False
        self._clients: set[asyncio.StreamWriter] = set()
        self._serving: set[asyncio.Task[None]] = set()
        self.lost = 0

    def lose_the_reply_to(self, words: bytes) -> None:
        """Deliver the next message with these words, lose its reply, and end the connection."""
        self._lose_reply_to = words

    def lose_the_request(self, words: bytes) -> None:
        """End the connection before the next message with these words arrives."""
        self._lose_request = words

    def swallow_requests(self, on: bool) -> None:
        """Drop every message to PostgreSQL, or pass them on again; no connection ends."""
        self._swallows = on

    async def start(self) -> None:
        self._server = await asyncio.start_unix_server(self._connected, self._socket)

    async def aclose(self) -> None:
        """End every connection and refuse new ones, as a server that is away."""
        if self._server:
            self._server.close()
            self._server = None
            self._socket.unlink(missing_ok=True)
        for client in self._clients:
            client.close()
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if (task := asyncio.current_task()) is not None:
            self._serving.add(task)
            task.add_done_callback(self._serving.discard)
        if self._host.startswith("/"):
            upstream = await asyncio.open_unix_connection(f"{self._host}/.s.PGSQL.{self._port}")
        else:
            upstream = await asyncio.open_connection(self._host, self._port)
        self._clients.add(writer)
        await asyncio.gather(
            self._requests(reader, upstream[1]), self._replies(upstream[0], writer)
        )
        self._clients.discard(writer)

    async def _requests(self, client: asyncio.StreamReader, server: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while message := await client.read(1 << 20):
                if self._swallows:
                    continue
                if self._lose_request and self._lose_request in message:
                    self._lose_request, self.lost = None, self.lost + 1
                    break
                if self._lose_reply_to and self._lose_reply_to in message:
                    self._lose_reply_to, self._lose_next_reply = None, True
                server.write(message)
                await server.drain()
        server.close()

    async def _replies(self, server: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while message := await server.read(1 << 20):
                if self._lose_next_reply:
                    self._lose_next_reply, self.lost = False, self.lost + 1
                    break
                client.write(message)
                await client.drain()
        client.close()


@pytest.fixture
async def proxy(database_url: str, tmp_path: Path) -> AsyncIterator[ConnectionProxy]:
    proxy = ConnectionProxy(database_url, tmp_path)
    await proxy.start()
    yield proxy
    await proxy.aclose()
