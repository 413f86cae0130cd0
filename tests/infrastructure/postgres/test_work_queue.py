"""Due transfers claimed by workers: each by one worker, and again after that worker's death."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from infrastructure.postgres.due_bound import EARLIEST
from infrastructure.postgres.event_store import EventStore
from infrastructure.postgres.work_queue import CLAIM, NEXT_DUE, SOONEST, VISITS, PostgresWorkQueue
from tests.infrastructure.postgres.conftest import Make, Person

LEASE = timedelta(seconds=10)
PAST = datetime(2026, 1, 1, tzinfo=UTC)


async def database_now(person: Person) -> datetime:
    row = await (await person.execute("select now()")).fetchone()
    assert row
    return row[0]  # type: ignore[no-any-return]


async def test_worker_kind_claims_its_own_statuses(
    work: PostgresWorkQueue, record: Make, person: Person
) -> None:
    later = await database_now(person) + timedelta(hours=1)
    pending, failed, reversing = [
        await record(status) for status in ("pending", "failed", "reversal_pending")
    ]
    for status in ("pending", "failed", "reversal_pending"):
        await record(status, later)
    for status in (
        "completed",
        "reversed",
        "permanently_failed",
        "partially_reversed",
        "cancelled",
    ):
        await record(status, None)
    await record("pending", None, "an operator")
    assert set((await work.claim("transferring", "w", 100, LEASE)).ids) == {pending, failed}
    assert (await work.claim("reversing", "w", 100, LEASE)).ids == [reversing]


async def test_claim_takes_longest_due_first(work: PostgresWorkQueue, record: Make) -> None:
    hours = [5, 1, 4, 2, 3, 6]
    statuses = ["pending", "failed"] * 3
    ids = {
        hour: await record(status, PAST + timedelta(hours=hour))
        for hour, status in zip(hours, statuses, strict=True)
    }
    assert (await work.claim("transferring", "w", 4, LEASE)).ids == [ids[1], ids[2], ids[3], ids[4]]
    assert (await work.claim("transferring", "w", 4, LEASE)).ids == [ids[5], ids[6]]


@pytest.mark.parametrize(
    ("kind", "status"), [("transferring", "failed"), ("reversing", "reversal_pending")]
)
async def test_eight_concurrent_claims_take_all_once(
    work: PostgresWorkQueue, record: Make, kind: str, status: str
) -> None:
    recorded = set(await asyncio.gather(*(record(status) for _ in range(300))))
    reversals = await asyncio.gather(
        *(work.claim(kind, f"worker-{n}", 40, LEASE) for n in range(8))
    )
    ids = [each for claim in reversals for each in claim.ids]
    while more := (
        await work.claim(kind, "worker-9", 40, LEASE)
    ).ids:  # a short claim does not mean idle
        ids += more
    assert len(ids) == 300
    assert set(ids) == recorded


async def test_empty_claim_returns_database_clock(work: PostgresWorkQueue, person: Person) -> None:
    claim = await work.claim("reversing", "w", 10, LEASE)
    assert claim.ids == []
    assert timedelta(0) <= await database_now(person) - claim.now < timedelta(seconds=10)
    assert claim.now.utcoffset() == timedelta(0)


async def test_transfers_of_dead_worker_return(
    work: PostgresWorkQueue, record: Make, person: Person
) -> None:
    stream = await record()
    assert (await work.claim("transferring", "dead", 10, LEASE)).ids == [stream]
    assert (await work.claim("transferring", "alive", 10, LEASE)).ids == []
    await person.execute("update seller_transfers set leased_until = now() - interval '1 second'")
    assert (await work.claim("transferring", "alive", 10, LEASE)).ids == [stream]
    assert await work.renew("dead", [stream], LEASE) == set()
    await work.release("dead", [stream])
    assert await work.renew("alive", [stream], LEASE) == {stream}


async def test_renewed_lease_is_longer(
    work: PostgresWorkQueue, record: Make, person: Person
) -> None:
    stream = await record()
    await work.claim("transferring", "w", 10, LEASE)
    assert await work.renew("w", [stream, uuid4()], 6 * LEASE) == {stream}
    row = await (
        await person.execute("select leased_until - now() from seller_transfers")
    ).fetchone()
    assert row
    assert row[0] > 5 * LEASE


async def test_released_transfer_is_claimable_at_once(
    work: PostgresWorkQueue, record: Make
) -> None:
    stream = await record()
    await work.claim("transferring", "w", 10, LEASE)
    await work.release("w", [stream])
    assert (await work.claim("transferring", "v", 10, LEASE)).ids == [stream]


async def test_worker_can_sleep_until_next_due_instant(
    work: PostgresWorkQueue, record: Make, person: Person
) -> None:
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
    ("kind", "status"),
    [("transferring", "pending"), ("transferring", "failed"), ("reversing", "reversal_pending")],
)
async def test_leased_transfer_is_due_when_its_lease_ends(
    work: PostgresWorkQueue, record: Make, person: Person, kind: str, status: str
) -> None:
    await record(status)
    claim = await work.claim(kind, "another", 10, LEASE)
    await record(status, claim.now + timedelta(hours=1))
    assert await work.next_due(kind) == claim.now + LEASE
    await record(status)
    assert await work.next_due(kind) == PAST, "and what nobody holds is due now"


async def test_claim_never_waits_for_locked_row(
    work: PostgresWorkQueue, record: Make, person: Person
) -> None:
    held, free = await record(), await record()
    async with person.transaction():
        await person.execute(
            "select from seller_transfers where transfer_id = %s for update", (held,)
        )
        async with asyncio.timeout(5):
            assert (await work.claim("transferring", "w", 10, LEASE)).ids == [free]


async def test_appends_and_lease_renewals_do_not_deadlock(
    work: PostgresWorkQueue, store: EventStore, fact: Make, transfer: Make, record: Make
) -> None:
    ids = [await record("pending") for _ in range(60)]
    await work.claim("transferring", "w", 100, timedelta(minutes=1))
    streams = sorted(ids, key=str, reverse=True)

    async def append_all(version: int) -> None:
        rows = [transfer(stream, version=version) for stream in streams]
        await store.append(
            [fact(stream, version) for stream in streams], {"seller_transfers": rows}
        )

    async def renew_all() -> None:
        for _ in range(40):
            assert await work.renew("w", streams, LEASE) == set(ids)

    async def append_again_and_again() -> None:
        for version in range(2, 42):
            await append_all(version)

    await asyncio.gather(append_again_and_again(), renew_all(), renew_all())


@pytest.mark.parametrize("kind", ["transferring", "reversing"])
async def test_claim_uses_index_with_many_settled_transfers(person: Person, kind: str) -> None:
    """The partial indexes keep a claim short; a renamed status would silently lose them."""
    await person.execute(
        "insert into seller_transfers select gen_random_uuid(), 'o', 's', 'd', 'sale', 1, 'EUR', "
        "'completed', 0, null, "
        "null, 0, null, null, null, null, 'g', null, 1, now(), now() from generate_series(1, 20000)"
    )
    await person.execute("analyze seller_transfers")
    values = {
        "kind": kind,
        "holder": "w",
        "limit": 60,
        "lease": LEASE,
        "after": "",
        "visits": VISITS,
        "window": SOONEST,
        "since": EARLIEST,
    }
    for statement in (CLAIM[kind], NEXT_DUE[kind]):
        plan = [
            line
            for (line,) in await (await person.execute(b"explain " + statement, values)).fetchall()
        ]
        assert [line for line in plan if "Seq Scan on seller_transfers" in line] == []
        assert [line for line in plan if "using seller_transfers_status_idx" in line] == []
        assert any("using seller_transfers_due_" in line for line in plan)
        assert statement is NEXT_DUE[kind] or any(
            "using seller_transfers_turns_" in line for line in plan
        )
