"""Claims while an idle transaction keeps all dead rows: they read few of them, and miss nothing."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from psycopg.rows import TupleRow

from infrastructure.postgres.connections import Pool, connect
from infrastructure.postgres.due_bound import EARLIEST, IN_A_ROW, LONGEST, MARGIN, DueBound
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


OPEN = {
    "transferring": """insert into seller_transfers
        select gen_random_uuid(), 'o', 'seller-' || (random() * 9)::int, 'd', 'sale', 1, 'EUR',
               (array['pending', 'failed'])[1 + (random() < 0.5)::int], 0, null, null, 0, now() + {due}, null, null, null,
               'g', null, 1, now(), now(), {lease}""",
    "reversing": """insert into seller_transfers
        select gen_random_uuid(), 'o', 'seller-' || (random() * 9)::int, 'd', 'sale', 1, 'EUR', 'reversal_pending', 0,
               'tr_' || i, null, 0, now() + {due}, null, null, null, 'g', null, 1, now(), now(), {lease}""",
    "refunding": """insert into refunds
        select gen_random_uuid(), 'r' || i, null, 'o', 1, 'EUR', 'requested', null, '{{}}', null, 1, now(), now(), 0,
               now() + {due}, {lease}""",
    "funding": """insert into orders
        select 'o' || i, gen_random_uuid(), 'EUR', 1, 0, 1, 'paid', null, null, '[]', 'pay', null, 1, now(), now(), 0,
               now() + {due}, {lease}""",
    "webhooks": """insert into webhook_inbox (provider, event_id, event_type, body, received_at, status, subject, due_at,
                                              leased_by, leased_until)
        select 'stripe', 'evt_' || i, 't', '', now(), (array['stored', 'parked'])[1 + (random() < 0.3)::int], 's',
               now() + {due}, {lease}""",
}
DUE = "make_interval(secs => random() * 600 - 500)"
LEASE_OR_NONE = "case when i % 3 > 0 then 'w' end, case when i % 3 > 0 then now() + {end} end"
PAUSE = """insert into pauses
    select gen_random_uuid(), 'seller:seller-' || i, true, 'p', 'r', null, 1, now(), now() from generate_series(0, 3) i"""
FIRST = """select min(at) from (select next_retry_at as at from seller_transfers union all select next_retry_at from refunds
           union all select next_retry_at from orders union all select due_at from webhook_inbox) as open"""


def searches(kind: str) -> tuple[bytes, bytes]:
    """Return the claim of a kind, and its search for the next due row."""
    if kind == "webhooks":
        return INBOX["claim"], INBOX["next_due"]
    return CLAIM[kind], NEXT_DUE[kind]


async def answers(
    person: Person, kind: str, since: datetime, limit: int
) -> tuple[list[TupleRow], list[TupleRow]]:
    """Return the answers of a claim, which is rolled back, and of the search for the next due row."""
    claim, next_due = searches(kind)
    values = WORK | {"kind": kind, "limit": limit, "since": since}
    async with person.transaction(force_rollback=True):
        claimed = await (await person.execute(claim, values)).fetchall()
    return claimed, await (await person.execute(next_due, values)).fetchall()


@pytest.mark.parametrize("kind", OPEN)
async def test_search_from_the_earliest_row_finds_all(person: Person, kind: str) -> None:
    """Searches from the earliest unsettled row on find the same rows as searches of everything:
    among free, leased, abandoned and paused rows, and rows that are due later."""
    lease = LEASE_OR_NONE.format(end=DUE)
    insert = OPEN[kind].format(due=DUE, lease=lease) + " from generate_series(1, 200) i"
    taken, earliest = (2, 1) if kind == "webhooks" else (0, 3)
    await person.execute("select setseed(0.12)")
    async with person.transaction(force_rollback=True):  # one `now()` for all searches
        for statement in (insert, PAUSE):
            await person.execute(statement.encode())
        row = await (await person.execute(FIRST)).fetchone()
        assert row is not None
        for limit in (1, 16, 500):
            everything = await answers(person, kind, EARLIEST, limit)
            assert everything[0][0][taken]
            assert everything[0][0][earliest] == row[0]
            assert await answers(person, kind, row[0], limit) == everything
            assert await answers(person, kind, row[0] - MARGIN, limit) == everything


def slow(bound: DueBound) -> None:
    """Let the last claims have searched everything for ten seconds."""
    for _ in range(IN_A_ROW):
        bound.end(EARLIEST, 10.0, None, datetime.now(UTC))


INSERT = b"""insert into seller_transfers select %s, 'o', 's', 'd', 'sale', 1, 'EUR', 'reversal_pending', 0, null, null,
    0, now() - %s::interval, null, null, null, 'g', null, 1, now(), now()"""


async def test_late_transfer_is_found_by_the_next_search_of_everything(
    pool: Pool, person: Person
) -> None:
    clock, late = 0.0, uuid4()
    queue = PostgresWorkQueue(pool)
    queue._due["reversing"] = bound = DueBound(lambda: clock)
    slow(bound)
    await person.execute(INSERT, [late, timedelta(hours=1)])
    assert (await queue.claim("reversing", "w1", 9, LEASE)).ids == []
    at = await queue.next_due("reversing")
    assert at is not None
    assert at <= datetime.now(UTC) + timedelta(seconds=LONGEST)
    clock += LONGEST
    assert (await queue.claim("reversing", "w1", 9, LEASE)).ids == [late]


async def test_bounded_claim_finds_new_and_abandoned_transfers(pool: Pool, person: Person) -> None:
    queue, first, second = PostgresWorkQueue(pool), uuid4(), uuid4()
    await person.execute(INSERT, [first, timedelta(0)])
    assert (await queue.claim("reversing", "w1", 9, LEASE)).ids == [first]
    slow(queue._due["reversing"])
    await person.execute(INSERT, [second, timedelta(0)])
    assert (await queue.claim("reversing", "w1", 9, LEASE)).ids == [second]
    assert queue._due["reversing"].bound > EARLIEST
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
    assert inbox._due.bound > EARLIEST
    await person.execute("update webhook_inbox set leased_until = now()")
    assert len((await inbox.claim("w2", 9, LEASE)).events) == 2
    assert await inbox.next_due() is not None
