"""Appends without their synchronous standby: a caller who gives up must not make the server commit
without it. On a server of the test's own, whose settings a superuser changes."""

from collections.abc import Iterator
from datetime import timedelta

import psycopg
import pytest

from domain.errors import Unavailable
from infrastructure.postgres import migrate
from infrastructure.postgres.connections import new_pool
from infrastructure.postgres.event_store import EventStore
from tests.infrastructure.postgres.conftest import Make
from tests.support.ledger_view import eventually
from tests.support.postgres_server import PostgresServer, servers

PATIENCE = timedelta(seconds=1)


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    with servers() as (server,):
        migrate.up(server.url())
        yield server


def visible(server: PostgresServer) -> int:
    with psycopg.connect(server.url()) as connection:
        row = connection.execute("select count(*) from ledger_events").fetchone()
    assert row is not None
    return int(row[0])


async def test_append_given_up_is_not_committed_without_standby(
    server: PostgresServer, fact: Make
) -> None:
    async with new_pool(server.url()) as pool:
        store = EventStore(server.url(), pool, patience=PATIENCE)
        await store.start()
        server.set("synchronous_commit", "on")
        server.set("synchronous_standby_names", "absent")
        one = fact()
        for _ in range(2):  # asking again must not be answered either
            with pytest.raises(Unavailable) as unknown:
                await store.append([one])
            assert unknown.value.in_doubt
            assert visible(server) == 0
        server.set("synchronous_standby_names", "")

        async def stored() -> bool:
            return visible(server) == 1

        await eventually(stored, "the waiting commit ends")
        await store.aclose()
