"""Workers share the due transfers: each goes to one of them, and a dead worker's come back."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from infrastructure.postgres.connections import Pool
from infrastructure.postgres.event_store import EventStore
from infrastructure.postgres.traffic import Traffic
from infrastructure.postgres.work import AHEAD, CLAIM, NEXT_DUE, SOONEST, VISITS, Work

Make = Callable[..., Any]
Person = psycopg.AsyncConnection[Any]

LEASE = timedelta(seconds=10)
PAST = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def work(pool: Pool) -> Work:
    return Work(pool)


@pytest.fixture
def record(store: EventStore, fact: Make, transfer: Make) -> Callable[..., Any]:
    async def recorded(status: str = "pending", due: datetime | None = PAST, waiting_for: str | None = None) -> UUID:
        stream = uuid4()
        row = transfer(stream, status=status, next_retry_at=due, waiting_for=waiting_for)
        await store.append([fact(stream)], {"seller_transfers": [row]})
        return stream

    return recorded


async def database_now(person: Person) -> datetime:
    row = await (await person.execute("select now()")).fetchone()
    assert row
    return row[0]  # type: ignore[no-any-return]


async def test_each_kind_claims_its_own_statuses(work: Work, record: Make, person: Person) -> None:
    later = await database_now(person) + timedelta(hours=1)
    pending, failed, reversing = [await record(status) for status in ("pending", "failed", "reversal_pending")]
    for status in ("pending", "failed", "reversal_pending"):
        await record(status, later)
    for status in ("completed", "reversed", "permanently_failed", "partially_reversed", "cancelled"):
        await record(status, None)
    await record("pending", None, "an operator")
    assert set((await work.claim("transferring", "w", 100, LEASE)).ids) == {pending, failed}
    assert (await work.claim("reversing", "w", 100, LEASE)).ids == [reversing]


async def test_the_longest_due_comes_first(work: Work, record: Make) -> None:
    hours = [5, 1, 4, 2, 3, 6]
    statuses = ["pending", "failed"] * 3
    ids = {hour: await record(status, PAST + timedelta(hours=hour)) for hour, status in zip(hours, statuses, strict=True)}
    assert (await work.claim("transferring", "w", 4, LEASE)).ids == [ids[1], ids[2], ids[3], ids[4]]
    assert (await work.claim("transferring", "w", 4, LEASE)).ids == [ids[5], ids[6]]


@pytest.mark.parametrize(("kind", "status"), [("transferring", "failed"), ("reversing", "reversal_pending")])
async def test_eight_claimers_at_once_get_distinct_transfers_and_all_of_them(
    work: Work, record: Make, kind: str, status: str
) -> None:
    recorded = set(await asyncio.gather(*(record(status) for _ in range(300))))
    claims = await asyncio.gather(*(work.claim(kind, f"worker-{n}", 40, LEASE) for n in range(8)))
    ids = [each for claim in claims for each in claim.ids]
    while more := (await work.claim(kind, "worker-9", 40, LEASE)).ids:  # a short claim does not mean idle
        ids += more
    assert len(ids) == 300
    assert set(ids) == recorded


async def test_an_empty_claim_tells_the_time(work: Work, person: Person) -> None:
    claim = await work.claim("reversing", "w", 10, LEASE)
    assert claim.ids == []
    assert timedelta(0) <= await database_now(person) - claim.now < timedelta(seconds=10)
    assert claim.now.utcoffset() == timedelta(0)


async def test_the_transfers_of_a_dead_worker_come_back(work: Work, record: Make, person: Person) -> None:
    stream = await record()
    assert (await work.claim("transferring", "dead", 10, LEASE)).ids == [stream]
    assert (await work.claim("transferring", "alive", 10, LEASE)).ids == []
    await person.execute("update seller_transfers set leased_until = now() - interval '1 second'")
    assert (await work.claim("transferring", "alive", 10, LEASE)).ids == [stream]
    assert await work.renew("dead", [stream], LEASE) == set()
    await work.release("dead", [stream])
    assert await work.renew("alive", [stream], LEASE) == {stream}


async def test_a_renewed_lease_is_longer(work: Work, record: Make, person: Person) -> None:
    stream = await record()
    await work.claim("transferring", "w", 10, LEASE)
    assert await work.renew("w", [stream, uuid4()], 6 * LEASE) == {stream}
    row = await (await person.execute("select leased_until - now() from seller_transfers")).fetchone()
    assert row
    assert row[0] > 5 * LEASE


async def test_a_released_transfer_can_be_claimed_at_once(work: Work, record: Make) -> None:
    stream = await record()
    await work.claim("transferring", "w", 10, LEASE)
    await work.release("w", [stream])
    assert (await work.claim("transferring", "v", 10, LEASE)).ids == [stream]


async def test_a_worker_can_sleep_until_the_next_due_instant(work: Work, record: Make, person: Person) -> None:
    assert await work.next_due("transferring") is None
    now = await database_now(person)
    await record("failed", now + timedelta(hours=2))
    await record("pending", now + timedelta(hours=1))
    await record("pending", None, "an operator")
    assert await work.next_due("transferring") == now + timedelta(hours=1)
    assert await work.next_due("reversing") is None
    await record("reversal_pending", now + timedelta(hours=3))
    assert await work.next_due("reversing") == now + timedelta(hours=3)


@pytest.mark.parametrize(
    ("kind", "status"), [("transferring", "pending"), ("transferring", "failed"), ("reversing", "reversal_pending")]
)
async def test_what_another_holds_is_due_when_its_lease_ends(
    work: Work, record: Make, person: Person, kind: str, status: str
) -> None:
    await record(status)
    claim = await work.claim(kind, "another", 10, LEASE)
    await record(status, claim.now + timedelta(hours=1))
    assert await work.next_due(kind) == claim.now + LEASE
    await record(status)
    assert await work.next_due(kind) == PAST, "and what nobody holds is due now"


async def test_a_claim_never_waits_for_a_row_that_somebody_works_on(work: Work, record: Make, person: Person) -> None:
    held, free = await record(), await record()
    async with person.transaction():
        await person.execute("select from seller_transfers where transfer_id = %s for update", (held,))
        async with asyncio.timeout(5):
            assert (await work.claim("transferring", "w", 10, LEASE)).ids == [free]


async def test_appends_and_renewals_of_the_same_transfers_do_not_wait_in_a_circle(
    work: Work, store: EventStore, fact: Make, transfer: Make, record: Make
) -> None:
    ids = [await record("pending") for _ in range(60)]
    await work.claim("transferring", "w", 100, timedelta(minutes=1))
    streams = sorted(ids, key=str, reverse=True)

    async def append_all(version: int) -> None:
        rows = [transfer(stream, version=version) for stream in streams]
        await store.append([fact(stream, version) for stream in streams], {"seller_transfers": rows})

    async def renew_all() -> None:
        for _ in range(40):
            assert await work.renew("w", streams, LEASE) == set(ids)

    async def append_again_and_again() -> None:
        for version in range(2, 42):
            await append_all(version)

    await asyncio.gather(append_again_and_again(), renew_all(), renew_all())


@pytest.mark.parametrize("kind", ["transferring", "reversing"])
async def test_claims_look_at_an_index_however_many_transfers_are_settled(person: Person, kind: str) -> None:
    """The partial indexes are what keeps a claim short; a renamed status would silently lose them."""
    await person.execute(
        "insert into seller_transfers select gen_random_uuid(), 'o', 's', 'd', 'sale', 1, 'EUR', 'completed', 0, null, "
        "null, 0, null, null, null, null, 'g', null, 1, now(), now() from generate_series(1, 20000)"
    )
    await person.execute("analyze seller_transfers")
    values = {"kind": kind, "holder": "w", "limit": 60, "lease": LEASE, "after": "", "visits": VISITS, "window": SOONEST}
    for statement in (CLAIM[kind], NEXT_DUE[kind]):
        plan = [line for (line,) in await (await person.execute(b"explain " + statement, values)).fetchall()]
        assert [line for line in plan if "Seq Scan on seller_transfers" in line] == []
        assert any("using seller_transfers_due_" in line for line in plan)
        assert statement is NEXT_DUE[kind] or any("using seller_transfers_turns_" in line for line in plan)


# --- sellers take turns ---


@pytest.fixture
def owe(person: Person) -> Callable[..., Any]:
    """Many rows at once: `count` due transfers of each of these sellers, one second after another from `due` on."""

    async def owed(sellers: list[str], count: int = 1, due: datetime = PAST, status: str = "reversal_pending") -> None:
        await person.execute(
            "insert into seller_transfers select gen_random_uuid(), 'o', seller, 'd', 'sale', 1, 'EUR', %(status)s, 0, null, "
            "null, 0, %(due)s + n * interval '1 second', null, null, null, 'g', null, 1, now(), now() "
            "from unnest(%(sellers)s::text[]) seller, generate_series(1, %(count)s) n",
            {"sellers": sellers, "count": count, "due": due, "status": status},
        )

    return owed


@pytest.fixture
def sellers_of(person: Person) -> Callable[..., Any]:
    async def sellers(ids: list[UUID]) -> list[str]:
        rows = await person.execute("select seller_id from seller_transfers where transfer_id = any(%s)", (ids,))
        return sorted(row[0] for row in await rows.fetchall())

    return sellers


OTHERS = [f"seller-{n:02}" for n in range(20)]
KINDS = [("transferring", "pending"), ("transferring", "failed"), ("reversing", "reversal_pending")]


@pytest.mark.parametrize("limit", [1, 7, 60, 500])
@pytest.mark.parametrize(("kind", "status"), KINDS)
@pytest.mark.parametrize("storm", ["a-storm", "seller-10-storm", "z-storm"])
async def test_one_sellers_storm_does_not_keep_the_others_waiting(
    work: Work, owe: Make, sellers_of: Make, kind: str, status: str, limit: int, storm: str
) -> None:
    await owe([storm], 5_000, status=status)
    await owe(OTHERS, due=PAST + timedelta(days=1), status=status)
    claimed: list[UUID] = []
    for _ in range(-(-21 // limit)):  # as many claims as it takes to hand out one transfer for each seller
        claimed += (await work.claim(kind, "w", limit, LEASE)).ids
    assert set(await sellers_of(claimed)) == {storm, *OTHERS}


async def test_every_seller_has_the_next_turn_before_anybody_has_a_second(work: Work, owe: Make, sellers_of: Make) -> None:
    await owe(OTHERS, 3)
    for _ in range(3):
        turns = [await sellers_of((await work.claim("reversing", "w", 4, LEASE)).ids) for _ in range(5)]
        assert sorted(seller for turn in turns for seller in turn) == OTHERS


async def test_a_lone_seller_gets_all_that_there_is_room_for_and_the_longest_due_first(work: Work, owe: Make) -> None:
    await owe(["storm"], 100)
    assert [len((await work.claim("reversing", "w", 60, timedelta(hours=1))).ids) for _ in range(3)] == [60, 40, 0]


async def test_two_storms_share_a_claim(work: Work, owe: Make, sellers_of: Make) -> None:
    await owe(["older"], 500)
    await owe(["newer"], 500, PAST + timedelta(days=1))
    assert await sellers_of((await work.claim("reversing", "w", 60, LEASE)).ids) == ["newer"] * 30 + ["older"] * 30


async def test_the_few_that_are_due_are_found_among_thousands_of_sellers_that_wait(
    work: Work, owe: Make, sellers_of: Make, person: Person
) -> None:
    later = await database_now(person) + timedelta(hours=1)
    await owe([f"waits-{n}" for n in range(3 * VISITS)], due=later)
    await owe(["zz-1", "zz-2"])
    assert await sellers_of((await work.claim("reversing", "w", 60, LEASE)).ids) == ["zz-1", "zz-2"]


@pytest.mark.parametrize(("kind", "status"), KINDS)
async def test_processes_that_claim_at_once_get_every_transfer_once_however_many_sellers_there_are(
    pool: Pool, owe: Make, person: Person, kind: str, status: str
) -> None:
    await owe(["storm"], 400, status=status)
    await owe(OTHERS, 20, status=status)
    claimed: list[UUID] = []

    async def claim_all(holder: str) -> None:
        work = Work(pool)
        while await unclaimed():  # an empty claim does not mean idle
            claimed.extend((await work.claim(kind, holder, 30, timedelta(hours=1))).ids)

    async def unclaimed() -> bool:
        async with pool.connection() as connection:
            found = await connection.execute("select from seller_transfers where leased_by is null limit 1")
            return await found.fetchone() is not None

    await asyncio.gather(*(claim_all(f"process-{n}") for n in range(8)))
    assert len(claimed) == 800
    assert len(set(claimed)) == 800


# --- the breaker and pauses ---


async def pause(person: Person, scope: str, paused: bool = True) -> None:
    await person.execute(
        "insert into pauses values (gen_random_uuid(), %s, %s, 'ada', 'why', null, 1, now(), now()) "
        "on conflict (scope) do update set paused = excluded.paused",
        (scope, paused),
    )


@pytest.mark.parametrize(("kind", "status"), KINDS)
async def test_nothing_is_claimed_and_nothing_is_due_while_the_breaker_is_open(
    work: Work, pool: Pool, record: Make, kind: str, status: str
) -> None:
    stream = await record(status)
    await Traffic(pool).open_breaker()
    assert (await work.claim(kind, "w", 10, LEASE)).ids == []
    assert await work.next_due(kind) is None
    await Traffic(pool).close_breaker()
    assert await work.next_due(kind) == PAST
    assert (await work.claim(kind, "w", 10, LEASE)).ids == [stream]


@pytest.mark.parametrize("scope", ["everything", "work:reversing", "seller:seller-1"])
async def test_what_is_paused_is_neither_claimed_nor_due(work: Work, record: Make, person: Person, scope: str) -> None:
    stream = await record("reversal_pending")
    await pause(person, scope)
    assert (await work.claim("reversing", "w", 10, LEASE)).ids == []
    assert await work.next_due("reversing") is None
    await pause(person, scope, paused=False)
    assert await work.next_due("reversing") == PAST
    assert (await work.claim("reversing", "w", 10, LEASE)).ids == [stream]


@pytest.mark.parametrize("scope", ["work:transferring", "seller:seller-2", "seller:", "unseen"])
async def test_a_pause_of_something_else_stops_nothing(work: Work, record: Make, person: Person, scope: str) -> None:
    stream = await record("reversal_pending")
    await pause(person, scope)
    assert await work.next_due("reversing") == PAST
    assert (await work.claim("reversing", "w", 10, LEASE)).ids == [stream]


async def test_a_paused_seller_leaves_its_turn_to_the_others(work: Work, owe: Make, sellers_of: Make, person: Person) -> None:
    await owe(["storm"], 200)
    await owe(OTHERS, due=PAST + timedelta(days=1))
    await pause(person, "seller:storm")
    assert await work.next_due("reversing") == PAST + timedelta(days=1, seconds=1)
    assert await sellers_of((await work.claim("reversing", "w", 60, timedelta(hours=1))).ids) == OTHERS
    due = await work.next_due("reversing")
    assert due is not None
    assert due > await database_now(person), "the storm is due, but paused; the others are leased"


async def test_behind_a_paused_storm_a_worker_looks_again_in_a_second_instead_of_all_the_time(
    work: Work, owe: Make, person: Person
) -> None:
    await owe(["storm"], AHEAD)
    await pause(person, "seller:storm")
    assert await work.next_due("reversing") is None
    await owe(["storm"])
    now, due = await database_now(person), await work.next_due("reversing")
    assert due is not None
    assert timedelta(seconds=1) <= due - now < timedelta(seconds=30)
