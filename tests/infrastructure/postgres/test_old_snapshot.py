"""Claims while an idle transaction keeps all dead rows: they read few of them, and miss nothing."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from psycopg.rows import TupleRow

from infrastructure.postgres.connections import Pool, connect
from infrastructure.postgres.due_bound import EARLIEST, MARGIN, SHARE, DueBound
from infrastructure.postgres.inbox import PostgresInbox
from infrastructure.postgres.named_queries import queries
from infrastructure.postgres.work_queue import CLAIM, NEXT_DUE, PostgresWorkQueue
from tests.infrastructure.postgres.conftest import Person

LEASE = timedelta(seconds=10)
SETTLED = 4_000
SETTLE = (
    f"""insert into seller_transfers
        select gen_random_uuid(), 'o', 'seller-' || i % 20, 'd', 'sale', 1, 'EUR', 'reversal_pending', 0, 'tr_' || i,
               null, 0, now(), null, null, null, 'g', null, 1, now(), now() from generate_series(1, {SETTLED}) i""",
    "update seller_transfers set status = 'reversed', next_retry_at = null",
    f"""insert into webhook_inbox (provider, event_id, event_type, body, received_at, due_at)
        select 'stripe', 'evt_' || i, 't', '', now(), now() from generate_series(1, {SETTLED}) i""",
    "update webhook_inbox set status = 'done', due_at = null",
    "analyze seller_transfers, webhook_inbox",  # the statistics say that nothing is due
)
INBOX = queries("inbox")
WORK = {"kind": "reversing", "holder": "w", "limit": 32, "lease": LEASE, "after": ""}
WORK |= {"visits": 500, "window": 1_000}
SEARCHES = {
    "claim of reversals": (CLAIM["reversing"], WORK),
    "next due reversal": (NEXT_DUE["reversing"], WORK),
    "claim of webhooks": (INBOX["claim"], WORK),
    "next due webhook": (INBOX["next_due"], WORK),
}


@pytest.fixture
async def settled(database_url: str, person: Person) -> AsyncIterator[None]:
    """Settle rows while a transaction with an older snapshot is open."""
    async with await connect(database_url) as idle:
        await idle.execute("begin isolation level repeatable read")
        await idle.execute("select count(*) from seller_transfers")
        for statement in SETTLE:
            await person.execute(statement.encode())
        yield


async def pages_read(person: Person, statement: bytes, values: dict[str, object]) -> int:
    explain = b"explain (analyze, buffers, format json) " + statement
    row: TupleRow | None = await (await person.execute(explain, values)).fetchone()
    assert row is not None
    plan = (row[0] if isinstance(row[0], list) else json.loads(row[0]))[0]["Plan"]
    return int(plan["Shared Hit Blocks"]) + int(plan["Shared Read Blocks"])


@pytest.mark.usefixtures("settled")
async def test_bounded_search_reads_few_dead_rows(person: Person) -> None:
    now = datetime.now(UTC) + timedelta(seconds=1)
    for name, (statement, values) in SEARCHES.items():
        everything = await pages_read(person, statement, values | {"since": EARLIEST})
        bounded = await pages_read(person, statement, values | {"since": now})
        assert bounded < everything / 5, name


def slow(bound: DueBound) -> None:
    """Let the last search of everything have taken an hour."""
    bound.took(EARLIEST, 3_600)


async def test_bounded_claim_finds_new_and_abandoned_transfers(pool: Pool, person: Person) -> None:
    insert = (
        b"insert into seller_transfers select %s, 'o', 's', 'd', 'sale', 1, 'EUR', 'reversal_pending', 0, "
        b"null, null, 0, now(), null, null, null, 'g', null, 1, now(), now()"
    )
    queue, first, second = PostgresWorkQueue(pool), uuid4(), uuid4()
    await person.execute(insert, [first])
    assert (await queue.claim("reversing", "w1", 9, LEASE)).ids == [first]
    slow(queue._due["reversing"])
    await person.execute(insert, [second])
    assert (await queue.claim("reversing", "w1", 9, LEASE)).ids == [second]
    assert queue._due["reversing"].since > EARLIEST
    await person.execute("update seller_transfers set leased_until = now()")  # both holders died
    assert set((await queue.claim("reversing", "w2", 9, LEASE)).ids) == {first, second}
    assert await queue.next_due("reversing") is not None


async def test_bounded_claim_finds_new_and_abandoned_webhooks(
    inbox: PostgresInbox, person: Person
) -> None:
    for event in ("evt_1", "evt_2"):
        await inbox.put("stripe", event, "t", b"{}", datetime.now(UTC))
        claim = await inbox.claim("w1", 9, LEASE)
        assert [one.event_id for one in claim.events] == [event]
        slow(inbox._due)
    assert inbox._due.since > EARLIEST
    await person.execute("update webhook_inbox set leased_until = now()")
    assert len((await inbox.claim("w2", 9, LEASE)).events) == 2
    assert await inbox.next_due() is not None


def test_bound_is_used_only_after_a_slow_search() -> None:
    now, clock = datetime(2026, 11, 30, tzinfo=UTC), 100.0
    bound = DueBound(lambda: clock)
    bound.found(now, now)
    bound.took(EARLIEST, 0.01)
    assert bound.since == EARLIEST
    bound.took(EARLIEST, 1.0)
    assert bound.since == now - MARGIN
    bound.took(bound.since, 0.001)  # says nothing about a search of everything
    assert bound.since == now - MARGIN
    clock += 1 / SHARE
    assert bound.since == EARLIEST


def test_bound_is_never_later_than_now() -> None:
    now, bound = datetime(2026, 11, 30, tzinfo=UTC), DueBound(lambda: 0.0)
    bound.took(EARLIEST, 1.0)
    for earliest, expected in ((None, now), (now + LEASE, now), (now - LEASE, now - LEASE)):
        bound.found(earliest, now)
        assert bound.since == expected - MARGIN
