"""Refunds claimed by workers: leases and pauses, independent of Stripe's circuit breaker."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import psycopg
import pytest

from infrastructure.postgres.connections import Pool
from infrastructure.postgres.work_queue import PostgresWorkQueue

LEASE = timedelta(seconds=30)
Refund = Callable[..., Awaitable[UUID]]


@pytest.fixture
def refund(person: psycopg.AsyncConnection) -> Refund:
    async def write(due_in: float | None = -1, status: str = "requested") -> UUID:
        stream, due = (
            uuid4(),
            None if due_in is None else datetime.now(UTC) + timedelta(seconds=due_in),
        )
        await person.execute(
            "insert into refunds (stream_id, refund_id, order_id, amount, currency, status, "
            "allocation, next_retry_at, version,"
            " created_at, updated_at) values (%s, %s, 'o1', 1, 'EUR', %s, '[]', %s, 1, now(), "
            "now())",
            (stream, str(stream), status, due),
        )
        return stream

    return write


async def claimed(pool: Pool, holder: str = "one", limit: int = 10) -> list[UUID]:
    return list(
        (await PostgresWorkQueue(pool, "refunds").claim("refunding", holder, limit, LEASE)).ids
    )


async def test_refund_claim_takes_due_ones_longest_due_first(pool: Pool, refund: Refund) -> None:
    second, first = await refund(-5), await refund(-60, "submitted")
    await refund(60)
    await refund(None, "succeeded")
    assert await claimed(pool, limit=1) == [first]
    assert await claimed(pool) == [second]


async def test_leased_refund_has_one_holder(pool: Pool, refund: Refund) -> None:
    streams = {await refund() for _ in range(20)}
    taken = await asyncio.gather(*(claimed(pool, f"holder-{n}", 5) for n in range(8)))
    together = [stream for some in taken for stream in some]
    assert len(together) == len(set(together))
    rest = [
        stream
        for some in await asyncio.gather(*(claimed(pool, "late", 20) for _ in range(2)))
        for stream in some
    ]
    assert {*together, *rest} == streams


async def test_expired_refund_lease_passes_to_next_holder(
    pool: Pool, refund: Refund, person: psycopg.AsyncConnection
) -> None:
    stream, work = await refund(), PostgresWorkQueue(pool, "refunds")
    await claimed(pool, "one")
    assert await work.renew("one", [stream], LEASE) == {stream}
    await person.execute("update refunds set leased_until = now() - interval '1 second'")
    assert await claimed(pool, "two") == [stream]
    assert await work.renew("one", [stream], LEASE) == set()
    await work.release("one", [stream])
    assert await claimed(pool, "three") == []
    await work.release("two", [stream])
    assert await claimed(pool, "three") == [stream]


@pytest.mark.parametrize(
    ("scope", "stops"), [("everything", True), ("work:refunding", True), ("work:reversing", False)]
)
async def test_refund_pause_stops_claims_and_due_instants(
    pool: Pool, refund: Refund, person: psycopg.AsyncConnection, scope: str, stops: bool
) -> None:
    stream = await refund()
    await person.execute(
        "insert into pauses values (%s, %s, true, 'ops', 'because', null, 1, now(), now())",
        (uuid4(), scope),
    )
    assert (await PostgresWorkQueue(pool, "refunds").next_due("refunding") is None) is stops
    assert await claimed(pool) == ([] if stops else [stream])


async def test_stripe_outage_stops_no_refund(
    pool: Pool, refund: Refund, person: psycopg.AsyncConnection
) -> None:
    stream = await refund()
    await person.execute("update breaker set open = true, opened_at = now(), probe_at = now()")
    assert await claimed(pool) == [stream]


async def test_next_due_refund_includes_leases_of_others(pool: Pool, refund: Refund) -> None:
    work = PostgresWorkQueue(pool, "refunds")
    assert await work.next_due("refunding") is None
    await refund()
    before = await work.next_due("refunding")
    assert before is not None
    assert before < datetime.now(UTC)
    await claimed(pool)
    leased = await work.next_due("refunding")
    assert leased is not None
    assert leased > datetime.now(UTC) + LEASE / 2


async def test_unfinished_refund_always_has_a_due_instant(refund: Refund) -> None:
    for due_in, status in (
        (None, "requested"),
        (None, "submitted"),
        (1, "succeeded"),
        (1, "failed"),
        (1, "review"),
    ):
        with pytest.raises(
            psycopg.errors.CheckViolation, match="a_refund_under_way_has_its_next_retry_at"
        ):
            await refund(due_in, status)
