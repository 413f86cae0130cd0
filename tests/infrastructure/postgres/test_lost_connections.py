"""Appends whose connection dies: none lost, none doubled, each caller gets a true answer."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from uuid import uuid4

import psycopg
import pytest

from domain.errors import Conflict, Unavailable
from infrastructure.postgres.connections import Connection, Pool
from infrastructure.postgres.event_store import Append, AppendStatement, EventStore, StoredFact
from infrastructure.postgres.group_commit import GroupCommit
from tests.infrastructure.postgres.conftest import ConnectionProxy, Person

Make = Callable[..., StoredFact]
OpenStore = Callable[..., AbstractAsyncContextManager[EventStore]]

KILLS = 300
WRITERS = (
    "select pid from pg_stat_activity where query like 'select ledger_append%' and datname = "
    "current_database()"
)


@pytest.fixture
async def distant(
    open_store: OpenStore, proxy: ConnectionProxy, fact: Make
) -> AsyncIterator[EventStore]:
    """A store whose writer goes through the proxy, and has written before."""
    async with open_store(proxy.url, patience=timedelta(seconds=5)) as store:
        await store.append([fact()])
        yield store


async def test_append_with_lost_answer_is_no_self_conflict(
    distant: EventStore, proxy: ConnectionProxy, fact: Make
) -> None:
    facts = [fact() for _ in range(20)]
    proxy.lose_the_reply_to(b"test.happened")
    got = await asyncio.gather(*(distant.append([each]) for each in facts))
    assert proxy.lost == 1
    assert got == list(range(2, 22))
    assert [r.position for r in await distant.feed()] == list(range(1, 22))


async def test_append_that_never_arrived_is_sent_again(
    distant: EventStore, proxy: ConnectionProxy, fact: Make
) -> None:
    proxy.lose_the_request(b"test.happened")
    got = await asyncio.gather(*(distant.append([fact()]) for _ in range(20)))
    assert proxy.lost == 1
    assert got == list(range(2, 22))


async def test_conflict_after_lost_connection_reaches_the_loser(
    distant: EventStore, store: EventStore, proxy: ConnectionProxy, fact: Make
) -> None:
    taken = fact()
    await store.append([taken])
    proxy.lose_the_request(b"test.happened")
    with pytest.raises(Conflict):
        await distant.append([fact(taken.originator_id, 1, b'{"other":true}')])


async def test_delayed_statement_is_no_self_conflict(database_url: str, fact: Make) -> None:
    """The first statement is slow on its way: it is not there when we look, and there when we send
    it again."""

    class Late(AppendStatement):
        async def recall(
            self, connection: Connection, items: Sequence[Append]
        ) -> Sequence[int] | None:
            found = await super().recall(connection, items)
            if found is None:
                await super().store(connection, items)
            return found

        async def store(self, connection: Connection, items: Sequence[Append]) -> Sequence[int]:
            if not self.lost:
                self.lost = True
                await connection.close()
            return await super().store(connection, items)

        lost = False

    writer = GroupCommit(database_url, Late(), limit=8)
    await writer.start()
    one = Append(
        ((stream := uuid4(), 1),),
        b'{"id":"%s","version":1,"topic":"t","state":{}}' % str(stream).encode(),
        {},
    )
    assert await writer.submit(one) == 1
    await writer.aclose()


async def test_appends_are_answered_during_and_after_outage(
    open_store: OpenStore, proxy: ConnectionProxy, fact: Make
) -> None:
    async with open_store(proxy.url, patience=timedelta(seconds=0.5)) as store:
        await store.append([fact()])
        await proxy.aclose()
        answers = await asyncio.gather(
            *(store.append([fact()]) for _ in range(100)), return_exceptions=True
        )
        assert {type(answer) for answer in answers} == {Unavailable}
        assert await store.head() == 1
        await proxy.start()
        assert await store.append([fact()]) == 2


async def test_short_outage_is_unnoticed_by_callers(
    distant: EventStore, proxy: ConnectionProxy, fact: Make
) -> None:
    await proxy.aclose()
    call = asyncio.create_task(distant.append([fact()]))
    await asyncio.sleep(0.1)
    await proxy.start()
    assert await call == 2


async def test_interrupted_close_leaves_no_append_unanswered(
    pool: Pool, proxy: ConnectionProxy, fact: Make
) -> None:
    store = EventStore(proxy.url, pool)
    await store.start()
    await proxy.aclose()
    calls = [asyncio.create_task(store.append([fact()])) for _ in range(40)]
    await asyncio.sleep(0)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await store.aclose()
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(answer) for answer in answers} == {Unavailable}
    with pytest.raises(Unavailable, match="closed"):
        await store.append([fact()])


async def test_start_without_database_is_reported(
    open_store: OpenStore, proxy: ConnectionProxy
) -> None:
    await proxy.aclose()
    with pytest.raises(psycopg.OperationalError):
        async with open_store(proxy.url):
            pass


async def test_killed_connections_lose_and_double_nothing(
    open_store: OpenStore, fact: Make, person: Person
) -> None:
    stored: dict[int, StoredFact] = {}
    killing = asyncio.Event()
    killing.set()

    async def append_again_and_again(store: EventStore) -> None:
        while killing.is_set():
            new = fact()
            position = await store.append([new])
            assert position not in stored
            stored[position] = new

    async def kill() -> None:
        killed: set[int] = set()
        async with asyncio.timeout(100):
            while len(killed) < KILLS:
                rows = await person.execute(
                    f"select pid, pg_terminate_backend(pid) from ({WRITERS}) w".encode()
                )
                killed |= {pid for pid, _ in await rows.fetchall()}
                await asyncio.sleep(0.002)  # some time to write, or nothing would be interrupted
        killing.clear()

    async with open_store() as one, open_store() as two:
        await asyncio.gather(
            kill(), *(append_again_and_again(store) for store in (one, two) for _ in range(8))
        )
        recorded = [
            fact for page in range(0, len(stored), 1000) for fact in await one.feed(page, 1000)
        ]
    assert [r.position for r in recorded] == list(range(1, len(stored) + 1))
    assert {r.position: StoredFact(*r[:4]) for r in recorded} == stored
