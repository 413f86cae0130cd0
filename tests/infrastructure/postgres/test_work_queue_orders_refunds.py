"""Orders and refunds claimed by workers: one holder each, leases that pass on, and pauses."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from infrastructure.postgres.connections import Pool
from infrastructure.postgres.work_queue import PostgresWorkQueue, WorkTable

LEASE = timedelta(seconds=30)
Row = Callable[..., Awaitable[UUID]]
"""Writes a row that is due in so many seconds, in the given status; None: never due."""


class Kind(NamedTuple):
    """A table with due rows, and how its tests write one."""

    table: WorkTable
    work: str
    due: str
    """The status of a row that waits for a worker."""
    done: str
    insert: str


ORDERS = Kind(
    "orders",
    "funding",
    "paid",
    "paid",
    "insert into orders (order_id, stream_id, currency, amount, refunded, status, shares, "
    "connector_payment, retry_count, next_retry_at, version, created_at, updated_at) "
    "values (%(id)s, %(stream)s, 'EUR', 1, 0, %(status)s, '[]', 'pi_1', 0, %(due)s, 1, now(), "
    "now())",
)
REFUNDS = Kind(
    "refunds",
    "refunding",
    "requested",
    "succeeded",
    "insert into refunds (stream_id, refund_id, order_id, amount, currency, status, allocation, "
    "next_retry_at, version, created_at, updated_at) "
    "values (%(stream)s, %(id)s, 'o1', 1, 'EUR', %(status)s, '[]', %(due)s, 1, now(), now())",
)


@pytest.fixture(params=[ORDERS, REFUNDS], ids=lambda kind: kind.table)
def kind(request: pytest.FixtureRequest) -> Kind:
    found: Kind = request.param
    return found


@pytest.fixture
def row(person: psycopg.AsyncConnection, kind: Kind) -> Row:
    async def write(due_in: float | None = -1, status: str | None = None) -> UUID:
        stream = uuid4()
        due = None if due_in is None else datetime.now(UTC) + timedelta(seconds=due_in)
        values = {"id": str(stream), "stream": stream, "status": status or kind.due, "due": due}
        await person.execute(kind.insert.encode(), values)
        return stream

    return write


async def claimed(pool: Pool, kind: Kind, holder: str = "one", limit: int = 10) -> list[UUID]:
    work = PostgresWorkQueue(pool, kind.table)
    return list((await work.claim(kind.work, holder, limit, LEASE)).ids)


async def test_claim_takes_due_rows_longest_due_first(pool: Pool, kind: Kind, row: Row) -> None:
    second, first = await row(-5), await row(-60)
    await row(60)
    await row(None, kind.done)
    assert await claimed(pool, kind, limit=1) == [first]
    assert await claimed(pool, kind) == [second]


async def test_leased_row_has_one_holder(pool: Pool, kind: Kind, row: Row) -> None:
    streams = {await row() for _ in range(20)}
    taken = await asyncio.gather(*(claimed(pool, kind, f"holder-{n}", 5) for n in range(8)))
    together = [stream for some in taken for stream in some]
    assert len(together) == len(set(together))
    late = await asyncio.gather(*(claimed(pool, kind, "late", 20) for _ in range(2)))
    assert {*together, *(stream for some in late for stream in some)} == streams


async def test_expired_lease_passes_to_the_next_holder(
    pool: Pool, kind: Kind, row: Row, person: psycopg.AsyncConnection
) -> None:
    stream, work = await row(), PostgresWorkQueue(pool, kind.table)
    await claimed(pool, kind, "one")
    assert await work.renew("one", [stream], LEASE) == {stream}
    expire = SQL("update {} set leased_until = now() - interval '1 second'")
    await person.execute(expire.format(Identifier(kind.table)))
    assert await claimed(pool, kind, "two") == [stream]
    assert await work.renew("one", [stream], LEASE) == set()
    await work.release("one", [stream])
    assert await claimed(pool, kind, "three") == []
    await work.release("two", [stream])
    assert await claimed(pool, kind, "three") == [stream]


@pytest.mark.parametrize(
    ("scope", "stops"), [("everything", True), ("its own", True), ("work:transferring", False)]
)
async def test_pause_stops_claims_and_due_instants(
    pool: Pool, kind: Kind, row: Row, person: psycopg.AsyncConnection, scope: str, stops: bool
) -> None:
    stream = await row()
    await person.execute(
        "insert into pauses values (%s, %s, true, 'ops', 'because', null, 1, now(), now())",
        (uuid4(), f"work:{kind.work}" if scope == "its own" else scope),
    )
    next_due = await PostgresWorkQueue(pool, kind.table).next_due(kind.work)
    assert (next_due is None) is stops
    assert await claimed(pool, kind) == ([] if stops else [stream])


@pytest.mark.parametrize(("kind", "stops"), [(ORDERS, True), (REFUNDS, False)])
async def test_stripe_outage_stops_reads_of_charges_only(
    pool: Pool, kind: Kind, stops: bool, row: Row, person: psycopg.AsyncConnection
) -> None:
    stream = await row()
    await person.execute("update breaker set open = true, opened_at = now(), probe_at = now()")
    next_due = await PostgresWorkQueue(pool, kind.table).next_due(kind.work)
    assert (next_due is None) is stops
    assert await claimed(pool, kind) == ([] if stops else [stream])


async def test_next_due_includes_leases_of_others(pool: Pool, kind: Kind, row: Row) -> None:
    work = PostgresWorkQueue(pool, kind.table)
    assert await work.next_due(kind.work) is None
    await row()
    before = await work.next_due(kind.work)
    assert before is not None
    assert before < datetime.now(UTC)
    await claimed(pool, kind)
    leased = await work.next_due(kind.work)
    assert leased is not None
    assert leased > datetime.now(UTC) + LEASE / 2


@pytest.mark.parametrize("kind", [ORDERS])
async def test_charge_of_an_unpaid_order_is_never_due(kind: Kind, row: Row) -> None:
    rule = "only_the_charge_of_a_paid_order_is_read"
    with pytest.raises(psycopg.errors.CheckViolation, match=rule):
        await row(1, "open")


@pytest.mark.parametrize("kind", [REFUNDS])
@pytest.mark.parametrize(
    ("due_in", "status"),
    [(None, "requested"), (None, "submitted"), (1, "succeeded"), (1, "failed"), (1, "review")],
)
async def test_unfinished_refund_always_has_a_due_instant(
    kind: Kind, row: Row, due_in: float | None, status: str
) -> None:
    rule = "a_refund_under_way_has_its_next_retry_at"
    with pytest.raises(psycopg.errors.CheckViolation, match=rule):
        await row(due_in, status)
