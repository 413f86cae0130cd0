"""Orders claimed by workers to read their charges: leases, pauses and Stripe's circuit breaker."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import psycopg
import pytest

from infrastructure.postgres.connections import Pool
from infrastructure.postgres.work_queue import PostgresWorkQueue

LEASE = timedelta(seconds=30)
Order = Callable[..., Awaitable[UUID]]


@pytest.fixture
def order(person: psycopg.AsyncConnection) -> Order:
    async def write(due_in: float | None = -1, status: str = "paid") -> UUID:
        stream, due = (
            uuid4(),
            None if due_in is None else datetime.now(UTC) + timedelta(seconds=due_in),
        )
        await person.execute(
            "insert into orders (order_id, stream_id, currency, amount, refunded, status, shares, "
            "connector_payment, retry_count, next_retry_at, version, created_at, updated_at) "
            "values (%s, %s, 'EUR', 1, 0, %s, '[]', 'pi_1', 0, %s, 1, now(), now())",
            (str(stream), stream, status, due),
        )
        return stream

    return write


async def claimed(pool: Pool, holder: str = "one", limit: int = 10) -> list[UUID]:
    return list(
        (await PostgresWorkQueue(pool, "orders").claim("funding", holder, limit, LEASE)).ids
    )


async def test_order_claim_takes_due_ones_longest_due_first(pool: Pool, order: Order) -> None:
    second, first = await order(-5), await order(-60)
    await order(60)
    await order(None)
    assert await claimed(pool, limit=1) == [first]
    assert await claimed(pool) == [second]


async def test_leased_order_has_one_holder(pool: Pool, order: Order) -> None:
    streams = {await order() for _ in range(20)}
    taken = await asyncio.gather(*(claimed(pool, f"holder-{n}", 5) for n in range(8)))
    together = [stream for some in taken for stream in some]
    assert len(together) == len(set(together))
    rest = [
        stream
        for some in await asyncio.gather(*(claimed(pool, "late", 20) for _ in range(2)))
        for stream in some
    ]
    assert {*together, *rest} == streams


async def test_expired_order_lease_passes_to_next_holder(
    pool: Pool, order: Order, person: psycopg.AsyncConnection
) -> None:
    stream, work = await order(), PostgresWorkQueue(pool, "orders")
    await claimed(pool, "one")
    assert await work.renew("one", [stream], LEASE) == {stream}
    await person.execute("update orders set leased_until = now() - interval '1 second'")
    assert await claimed(pool, "two") == [stream]
    assert await work.renew("one", [stream], LEASE) == set()
    await work.release("two", [stream])
    assert await claimed(pool, "three") == [stream]


@pytest.mark.parametrize(
    ("scope", "stops"),
    [("everything", True), ("work:funding", True), ("work:transferring", False)],
)
async def test_order_pause_stops_claims_and_due_instants(
    pool: Pool, order: Order, person: psycopg.AsyncConnection, scope: str, stops: bool
) -> None:
    stream = await order()
    await person.execute(
        "insert into pauses values (%s, %s, true, 'ops', 'because', null, 1, now(), now())",
        (uuid4(), scope),
    )
    assert (await PostgresWorkQueue(pool, "orders").next_due("funding") is None) is stops
    assert await claimed(pool) == ([] if stops else [stream])


async def test_stripe_outage_stops_reads_of_charges(
    pool: Pool, order: Order, person: psycopg.AsyncConnection
) -> None:
    await order()
    await person.execute("update breaker set open = true, opened_at = now(), probe_at = now()")
    assert await claimed(pool) == []
    assert await PostgresWorkQueue(pool, "orders").next_due("funding") is None


async def test_next_due_order_includes_leases_of_others(pool: Pool, order: Order) -> None:
    work = PostgresWorkQueue(pool, "orders")
    assert await work.next_due("funding") is None
    await order()
    await claimed(pool)
    leased = await work.next_due("funding")
    assert leased is not None
    assert leased > datetime.now(UTC) + LEASE / 2


async def test_charge_of_an_unpaid_order_is_never_due(order: Order) -> None:
    with pytest.raises(
        psycopg.errors.CheckViolation, match="only_the_charge_of_a_paid_order_is_read"
    ):
        await order(1, "open")
