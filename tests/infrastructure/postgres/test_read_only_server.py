"""Sessions on a server that takes no writes: each is closed and opened again, so that a fail-over
behind the same address needs no restart."""

from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from psycopg.sql import SQL, Identifier

from domain.errors import Unavailable
from infrastructure.postgres.connections import conninfo, execute, fetch_one, new_pool
from infrastructure.postgres.event_store import EventStore, StoredFact
from infrastructure.postgres.inbox import PostgresInbox
from infrastructure.postgres.listener import Listener
from tests.infrastructure.postgres.conftest import Person
from tests.support.ledger_view import eventually

Make = Callable[..., StoredFact]
OpenStore = Callable[..., AbstractAsyncContextManager[EventStore]]
WRITERS = (
    "select pg_terminate_backend(pid, 5000) from pg_stat_activity where pid <> pg_backend_pid() "
    "and datname = current_database() and query like 'select ledger_append%'"
)


@contextmanager
def read_only(url: str) -> Iterator[None]:
    """Make every new session of this database read only; sessions that are open stay as they
    are."""
    name = Identifier(urlsplit(url).path.removeprefix("/"))
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute(SQL("alter database {} set default_transaction_read_only = on").format(name))
        yield
        owner.execute(SQL("alter database {} reset default_transaction_read_only").format(name))


async def test_writer_connects_again_after_a_read_only_session(
    open_store: OpenStore, database_url: str, fact: Make, person: Person
) -> None:
    async with open_store(patience=timedelta(seconds=5)) as store:
        await store.append([fact()])
        with read_only(database_url):
            await (await person.execute(WRITERS)).fetchall()
            with pytest.raises(Unavailable, match="read-only"):
                await store.append([fact()])
            assert store.health.failure is not None
            with pytest.raises(Unavailable):
                await store.probe()

        async def stored() -> bool:  # a server that refuses is left alone for a moment
            try:
                return await store.append([fact()]) == 2
            except Unavailable:
                return False

        await eventually(stored, "an append on the new session", patience=3.0)
        assert store.health.failure is None


async def test_webhook_intake_connects_again_after_a_read_only_session(database_url: str) -> None:
    async with new_pool(database_url) as pool:
        with read_only(database_url):
            inbox = PostgresInbox(database_url, pool)
            await inbox.start()
            with pytest.raises(Unavailable, match="read-only"):
                await inbox.put("stripe", "evt_1", "a.type", b"{}", datetime.now(UTC))

        async def stored() -> bool:
            try:
                return await inbox.put("stripe", "evt_1", "a.type", b"{}", datetime.now(UTC))
            except Unavailable:
                return False

        await eventually(stored, "an event on the new session", patience=3.0)
        await inbox.aclose()


async def test_pool_replaces_sessions_of_a_read_only_server(database_url: str) -> None:
    """Reads of the former primary succeed, and would show old rows for ever."""
    async with new_pool(database_url) as pool:
        with read_only(database_url):
            await pool.drain()
            assert await fetch_one(pool, b"show transaction_read_only") == ("on",)
            with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
                await execute(pool, b"update pace set share = share")

        async def replaced() -> bool:
            try:
                await execute(pool, b"update pace set share = share where false")
            except psycopg.errors.ReadOnlySqlTransaction:
                return False  # another session of that time, which is replaced too
            return await fetch_one(pool, b"show transaction_read_only") == ("off",)

        await eventually(replaced, "new sessions")


async def test_listener_refuses_a_read_only_server(database_url: str) -> None:
    with read_only(database_url), pytest.raises(psycopg.OperationalError, match="read only"):
        await Listener(database_url).start()


@pytest.mark.parametrize(
    ("url", "attributes"),
    [
        ("postgresql://u@a,b/x", "read-write"),
        ("postgresql://u@a/x", None),
        ("postgresql://u@a,b/x?target_session_attrs=any", "any"),
    ],
)
def test_connection_to_several_hosts_wants_the_writable_one(
    url: str, attributes: str | None
) -> None:
    assert conninfo_to_dict(conninfo(url)).get("target_session_attrs") == attributes
