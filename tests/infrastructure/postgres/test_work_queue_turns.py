"""Fairness of claims: sellers take turns, and paused work is not claimed."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from infrastructure.postgres.circuit_breaker import PostgresCircuitBreaker
from infrastructure.postgres.connections import Pool
from infrastructure.postgres.work_queue import AHEAD, VISITS, PostgresWorkQueue
from tests.infrastructure.postgres.conftest import Make, Person

LEASE = timedelta(seconds=10)
PAST = datetime(2026, 1, 1, tzinfo=UTC)


async def database_now(person: Person) -> datetime:
    row = await (await person.execute("select now()")).fetchone()
    assert row
    return row[0]  # type: ignore[no-any-return]


@pytest.fixture
def owe(person: Person) -> Make:
    """Many rows at once: `count` due transfers of each of these sellers, one second after another
    from `due` on."""

    async def owed(
        sellers: list[str], count: int = 1, due: datetime = PAST, status: str = "reversal_pending"
    ) -> None:
        await person.execute(
            "insert into seller_transfers select gen_random_uuid(), 'o', seller, 'd', 'sale', 1, "
            "'EUR', %(status)s, 0, null, "
            "null, 0, %(due)s + n * interval '1 second', null, null, null, 'g', null, 1, now(), "
            "now() "
            "from unnest(%(sellers)s::text[]) seller, generate_series(1, %(count)s) n",
            {"sellers": sellers, "count": count, "due": due, "status": status},
        )

    return owed


@pytest.fixture
def sellers_of(person: Person) -> Make:
    async def sellers(ids: list[UUID]) -> list[str]:
        rows = await person.execute(
            "select seller_id from seller_transfers where transfer_id = any(%s)", (ids,)
        )
        return sorted(row[0] for row in await rows.fetchall())

    return sellers


OTHERS = [f"seller-{n:02}" for n in range(20)]
KINDS = [("transferring", "pending"), ("transferring", "failed"), ("reversing", "reversal_pending")]


@pytest.mark.parametrize("limit", [1, 7, 60, 500])
@pytest.mark.parametrize(("kind", "status"), KINDS)
@pytest.mark.parametrize("busy", ["a-busy", "seller-10-busy", "z-busy"])
async def test_busy_seller_does_not_delay_others(
    work: PostgresWorkQueue,
    owe: Make,
    sellers_of: Make,
    kind: str,
    status: str,
    limit: int,
    busy: str,
) -> None:
    await owe([busy], 5_000, status=status)
    await owe(OTHERS, due=PAST + timedelta(days=1), status=status)
    claimed: list[UUID] = []
    for _ in range(
        -(-21 // limit)
    ):  # as many claims as it takes to hand out one transfer for each seller
        claimed += (await work.claim(kind, "w", limit, LEASE)).ids
    assert set(await sellers_of(claimed)) == {busy, *OTHERS}


async def test_claim_gives_each_seller_a_turn_before_a_second(
    work: PostgresWorkQueue, owe: Make, sellers_of: Make
) -> None:
    await owe(OTHERS, 3)
    for _ in range(3):
        turns = [
            await sellers_of((await work.claim("reversing", "w", 4, LEASE)).ids) for _ in range(5)
        ]
        assert sorted(seller for turn in turns for seller in turn) == OTHERS


async def test_lone_seller_fills_claim_longest_due_first(
    work: PostgresWorkQueue, owe: Make
) -> None:
    await owe(["busy"], 100)
    assert [
        len((await work.claim("reversing", "w", 60, timedelta(hours=1))).ids) for _ in range(3)
    ] == [60, 40, 0]


async def test_two_busy_sellers_share_a_claim(
    work: PostgresWorkQueue, owe: Make, sellers_of: Make
) -> None:
    await owe(["older"], 500)
    await owe(["newer"], 500, PAST + timedelta(days=1))
    assert (
        await sellers_of((await work.claim("reversing", "w", 60, LEASE)).ids)
        == ["newer"] * 30 + ["older"] * 30
    )


async def test_due_transfers_are_found_among_thousands_of_sellers(
    work: PostgresWorkQueue, owe: Make, sellers_of: Make, person: Person
) -> None:
    later = await database_now(person) + timedelta(hours=1)
    await owe([f"waits-{n}" for n in range(3 * VISITS)], due=later)
    await owe(["zz-1", "zz-2"])
    assert await sellers_of((await work.claim("reversing", "w", 60, LEASE)).ids) == ["zz-1", "zz-2"]


@pytest.mark.parametrize(("kind", "status"), KINDS)
async def test_concurrent_claims_take_every_transfer_once(
    pool: Pool, owe: Make, person: Person, kind: str, status: str
) -> None:
    await owe(["busy"], 400, status=status)
    await owe(OTHERS, 20, status=status)
    claimed: list[UUID] = []

    async def claim_all(holder: str) -> None:
        work = PostgresWorkQueue(pool)
        while await unclaimed():  # an empty claim does not mean idle
            claimed.extend((await work.claim(kind, holder, 30, timedelta(hours=1))).ids)

    async def unclaimed() -> bool:
        async with pool.connection() as connection:
            found = await connection.execute(
                "select from seller_transfers where leased_by is null limit 1"
            )
            return await found.fetchone() is not None

    await asyncio.gather(*(claim_all(f"process-{n}") for n in range(8)))
    assert len(claimed) == 800
    assert len(set(claimed)) == 800


# --- the breaker and pauses ---


async def pause(person: Person, scope: str, paused: bool = True) -> None:
    await person.execute(
        "insert into pauses values (gen_random_uuid(), %s, %s, 'ada', 'why', null, 1, now(), "
        "now()) "
        "on conflict (scope) do update set paused = excluded.paused",
        (scope, paused),
    )


@pytest.mark.parametrize(("kind", "status"), KINDS)
async def test_open_breaker_stops_claims_and_due_instants(
    work: PostgresWorkQueue, pool: Pool, record: Make, kind: str, status: str
) -> None:
    stream = await record(status)
    await PostgresCircuitBreaker(pool).open_breaker()
    assert (await work.claim(kind, "w", 10, LEASE)).ids == []
    assert await work.next_due(kind) is None
    await PostgresCircuitBreaker(pool).close_breaker()
    assert await work.next_due(kind) == PAST
    assert (await work.claim(kind, "w", 10, LEASE)).ids == [stream]


@pytest.mark.parametrize("scope", ["everything", "work:reversing", "seller:seller-1"])
async def test_paused_transfers_are_neither_claimed_nor_due(
    work: PostgresWorkQueue, record: Make, person: Person, scope: str
) -> None:
    stream = await record("reversal_pending")
    await pause(person, scope)
    assert (await work.claim("reversing", "w", 10, LEASE)).ids == []
    assert await work.next_due("reversing") is None
    await pause(person, scope, paused=False)
    assert await work.next_due("reversing") == PAST
    assert (await work.claim("reversing", "w", 10, LEASE)).ids == [stream]


@pytest.mark.parametrize("scope", ["work:transferring", "seller:seller-2", "seller:", "unseen"])
async def test_unrelated_pause_stops_nothing(
    work: PostgresWorkQueue, record: Make, person: Person, scope: str
) -> None:
    stream = await record("reversal_pending")
    await pause(person, scope)
    assert await work.next_due("reversing") == PAST
    assert (await work.claim("reversing", "w", 10, LEASE)).ids == [stream]


async def test_paused_seller_yields_its_turn(
    work: PostgresWorkQueue, owe: Make, sellers_of: Make, person: Person
) -> None:
    await owe(["busy"], 200)
    await owe(OTHERS, due=PAST + timedelta(days=1))
    await pause(person, "seller:busy")
    assert await work.next_due("reversing") == PAST + timedelta(days=1, seconds=1)
    assert (
        await sellers_of((await work.claim("reversing", "w", 60, timedelta(hours=1))).ids) == OTHERS
    )
    due = await work.next_due("reversing")
    assert due is not None
    assert due > await database_now(person), (
        "the busy seller is due, but paused; the others are leased"
    )


async def test_worker_behind_paused_seller_polls_once_a_second(
    work: PostgresWorkQueue, owe: Make, person: Person
) -> None:
    await owe(["busy"], AHEAD)
    await pause(person, "seller:busy")
    assert await work.next_due("reversing") is None
    await owe(["busy"])
    now, due = await database_now(person), await work.next_due("reversing")
    assert due is not None
    assert timedelta(seconds=1) <= due - now < timedelta(seconds=30)
