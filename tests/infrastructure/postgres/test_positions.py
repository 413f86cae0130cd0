"""Positions and the hash chain: no holes, in the order of commits, and verifiable by an
outsider."""

import asyncio
import json
import os
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from hashlib import sha256
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from infrastructure.postgres.event_store import EventStore, RecordedFact, StoredFact
from infrastructure.postgres.integrity.hash_chain import Break, breaks
from tests.infrastructure.postgres.conftest import Person

Make = Callable[..., StoredFact]
OpenStore = Callable[..., AbstractAsyncContextManager[EventStore]]

ROOT = Path(__file__).parents[3]
WRITER = ROOT / "tests" / "support" / "writer_process.py"


async def recomputed_chain(person: Person) -> list[bytes]:
    """From the description in the migration alone, with none of our code."""
    rows = await person.execute(
        "select originator_id, originator_version, topic, state, notification_id from "
        "ledger_events order by notification_id"
    )
    link, links = sha256(b"ledger_events").digest(), []
    for stream, version, topic, state, position in await rows.fetchall():
        parts = [link, position.to_bytes(8), stream.bytes, version.to_bytes(8)]
        parts += [
            part for text in (topic.encode(), state) for part in (len(text).to_bytes(4), text)
        ]
        link = sha256(b"".join(parts)).digest()
        links.append(link)
    return links


async def test_hash_chain_can_be_recomputed_outside(
    store: EventStore, fact: Make, person: Person
) -> None:
    one, two = uuid4(), uuid4()
    await store.append([fact(one, 1, '{"é":"😀"}'.encode()), fact(two, 1)])
    await store.append([fact(one, 2)._replace(topic="täst")])
    await asyncio.gather(*(store.append([fact(two, version)]) for version in range(2, 9)))
    facts = await store.feed()
    assert [fact.digest for fact in facts] == await recomputed_chain(person)
    assert list(breaks(facts)) == []
    assert list(breaks(facts[4:], position=4, before=facts[3].digest)) == []


async def test_changed_dropped_or_moved_fact_breaks_chain(store: EventStore, fact: Make) -> None:
    await store.append([fact() for _ in range(6)])
    facts = await store.feed()

    def positions(*changed: RecordedFact) -> list[int]:
        return [broken.position for broken in breaks(changed)]

    assert positions(*facts[:2], facts[2]._replace(state=b'{"amount":9}'), *facts[3:]) == [3]
    assert positions(*facts[:2], facts[2]._replace(topic="test.other"), *facts[3:]) == [3]
    assert positions(*facts[:2], facts[2]._replace(originator_id=uuid4()), *facts[3:]) == [3]
    assert positions(*facts[:2], facts[2]._replace(digest=bytes(32)), *facts[3:]) == [3, 4]
    assert list(breaks([*facts[:2], *facts[3:]])) == [
        Break(4, "follows position 2, so facts in between are missing"),
        Break(4, "its link does not follow from its content and the link before it"),
    ]


async def test_concurrent_processes_write_one_chain(database_url: str, person: Person) -> None:
    """Each process stores 400 facts of its own, and both try the same 100 streams: one of them is
    first."""
    command = [sys.executable, str(WRITER), database_url]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    processes = [
        await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, env=environment
        )
        for _ in range(2)
    ]
    first, second = [json.loads((await process.communicate())[0]) for process in processes]
    assert first["stored"] + second["stored"] == 900
    assert first["conflicts"] + second["conflicts"] == 100

    rows = await (
        await person.execute("select notification_id, digest from ledger_events order by 1")
    ).fetchall()
    assert [position for position, _ in rows] == list(range(1, 901))
    assert [digest for _, digest in rows] == await recomputed_chain(person)


async def test_reader_by_position_sees_every_fact_in_order(
    open_store: OpenStore, fact: Make
) -> None:
    async with open_store() as one, open_store() as two:
        writing = asyncio.gather(
            *(append_many(store, fact) for store in (one, two) for _ in range(8))
        )
        seen: list[int] = []
        async with asyncio.timeout(60):
            while len(seen) < 16 * 50:
                seen += [
                    fact.position for fact in await one.feed(after=seen[-1] if seen else 0, limit=7)
                ]
                assert seen == list(range(1, len(seen) + 1)), (
                    "a reader must not pass over a position that comes later"
                )
        await writing


async def append_many(store: EventStore, fact: Make) -> None:
    for _ in range(50):
        await store.append([fact()])


async def test_reader_by_sequence_id_loses_late_commits(person: Person, database_url: str) -> None:
    """Why positions are given under a lock: two transactions may commit in the other order than
    they took their ids."""
    await person.execute("create table naive (id bigserial primary key)")
    async with await psycopg.AsyncConnection.connect(database_url) as early:
        await early.execute("insert into naive default values")
        async with await psycopg.AsyncConnection.connect(database_url) as late:
            await late.execute("insert into naive default values")
        seen = await (await person.execute("select id from naive where id > 0")).fetchall()
    seen += await (await person.execute("select id from naive where id > %s", seen[-1])).fetchall()
    assert seen == [(2,)]
    assert await (await person.execute("select id from naive order by id")).fetchall() == [
        (1,),
        (2,),
    ]


async def test_positions_follow_commit_order(
    person: Person, database_url: str, store: EventStore, fact: Make
) -> None:
    """The same two transactions as above, through `ledger_append`."""
    one = '[{"id":"00000000-0000-0000-0000-000000000001","version":1,"topic":"t","state":{}}]'
    async with await psycopg.AsyncConnection.connect(database_url) as early:
        await early.execute("select ledger_append(%s, '{}')", (one,))
        late = asyncio.create_task(store.append([fact()]))
        await until_somebody_waits_for_the_lock(person)
        assert await store.feed() == []
    assert await late == 2
    assert [fact.position for fact in await store.feed()] == [1, 2]


async def until_somebody_waits_for_the_lock(person: Person) -> None:
    waiting = "select from pg_locks where locktype = 'advisory' and not granted and database = " \
              "(select oid from pg_database where datname = current_database())"  # fmt: skip
    async with asyncio.timeout(10):
        while not await (await person.execute(waiting)).fetchall():  # noqa: ASYNC110 - the event is in the database
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("table", ["ledger_events", "seller_transfers"])
async def test_append_continues_during_vacuum_or_analyze(
    store: EventStore, fact: Make, person: Person, table: str
) -> None:
    async with person.transaction():
        # What VACUUM and ANALYZE take, for as long as they run; here for as long as the test likes.
        await person.execute(f"lock table {table} in share update exclusive mode".encode())
        async with asyncio.timeout(5):
            assert await asyncio.gather(*(store.append([fact()]) for _ in range(20))) == list(
                range(1, 21)
            )


async def test_library_table_lock_would_wait_for_vacuum(person: Person, database_url: str) -> None:
    """The reason for an advisory lock instead of LOCK TABLE."""
    async with person.transaction(), await psycopg.AsyncConnection.connect(database_url) as other:
        await person.execute("lock table ledger_events in share update exclusive mode")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            await other.execute("lock table ledger_events in exclusive mode nowait")
