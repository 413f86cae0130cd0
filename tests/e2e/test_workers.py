"""Workers with a real PostgreSQL, the real SDK, real HTTP, and a Stripe that injects faults."""

from datetime import UTC, datetime, timedelta

import pytest

from domain.identity import reversal_name, transfer_stream
from domain.seller_transfer import facts
from infrastructure.postgres.circuit_breaker import PostgresCircuitBreaker
from infrastructure.settings import WorkSettings
from tests.support.idempotency_keys import epoch_of
from tests.support.json_types import Json
from tests.support.ledger_view import eventually
from tests.support.service import CREATE, OFF, QUICK, REVERSE, SLOW, SystemUnderTest

ALL_SIX = 6
"""Calls with REVERSAL_MAX_RETRIES=5: the first, and five repeats."""


def due(order_id: str, stripe_transfer_id: str | None, **columns: object) -> Json:
    """Return the columns of a row whose reversal is due."""
    return {
        "status": "reversal_pending",
        "stripe_transfer_id": stripe_transfer_id,
        "reversal_id": str(reversal_name(transfer_stream(order_id, "anna"), f"ref_{order_id}")),
        "refund_id": f"ref_{order_id}",
        "next_retry_at": datetime.now(UTC),
    } | columns


def kept(row: Json) -> tuple[object, ...]:
    return tuple(row[name] for name in ("status", "version", "stripe_reversal_id", "leased_by"))


async def test_paid_order_pays_seller_and_refund_reverses_it(system: SystemUnderTest) -> None:
    async with system.at_work() as caller:
        (transfer_id,) = await system.paid(caller)
        await caller.refund("r1", "o1", 1_000)
        (row,) = await system.view.reached("o1", "reversed")
    assert await system.view.story(transfer_id) == [
        "Created", "CallStarted", "Completed", "ReversalRequested", "CallStarted", "Reversed",
    ]  # fmt: skip
    (theirs,) = (await system.stripe.ledger())["transfers"]
    (reversal,) = theirs["reversals"]
    assert (row.stripe_transfer_id, row.stripe_reversal_id) == (theirs["id"], reversal["id"])
    assert reversal["metadata"]["refund_id"] == "r1"
    assert row.amount_reversed == theirs["amount_reversed"] == 900


async def test_reversal_made_by_others_is_settled_from_stripe_books(
    system: SystemUnderTest,
) -> None:
    await system.stripe.reword("already_fully_reversed", message="Nope.", code=None)
    async with system.at_work() as caller:
        (transfer_id,) = await system.paid(caller)
        before = await system.view.transfer("o1")
        theirs = await system.stripe.external_reversal(str(before.stripe_transfer_id))
        await caller.refund("r1", "o1", 1_000)
        (row,) = await system.view.reached("o1", "reversed")
    ending = (await system.view.facts(transfer_id))[-1]
    assert isinstance(ending, facts.Reversed)
    assert (ending.settled_by, ending.stripe_reversal_id) == ("external", theirs["id"])
    assert row.amount_reversed == 900
    assert len(await system.posts(REVERSE)) == 1
    assert len(await system.posts("reversals.list")) >= 1


async def test_partly_reversed_transfer_reverses_only_the_rest(system: SystemUnderTest) -> None:
    async with system.at_work() as caller:
        (transfer_id,) = await system.paid(caller)
        before = await system.view.transfer("o1")
        await system.stripe.external_reversal(str(before.stripe_transfer_id), 350)
        await caller.refund("r1", "o1", 1_000)
        (row,) = await system.view.reached("o1", "reversed")
    ours = await system.view.happened(transfer_id, facts.Reversed)
    assert (row.amount_reversed, ours.amount, ours.settled_by) == (900, 550, "us")
    keys = [call["key"] for call in await system.posts(REVERSE)]
    assert [epoch_of(key) for key in keys] == ["e1", "e2"]


async def test_unknown_transfer_is_called_once(system: SystemUnderTest) -> None:
    transfer_id = await system.take_over(with_order=True, stripe_transfer_id="tr_1Typo")
    async with system.at_work() as caller:
        await caller.refund("r1", "old", 900)
        (row,) = await system.view.reached("old", "permanently_failed")
    assert (await system.view.happened(transfer_id, facts.PermanentlyFailed)).reason == "not_found"
    assert len(await system.posts(REVERSE)) == 1
    assert row.next_retry_at is None
    assert "permanently_failed" in await system.view.alarms()


async def test_reversal_after_503_waits_for_its_backoff(system: SystemUnderTest) -> None:
    await system.stripe.fault("status", REVERSE, status=503, times=1)
    async with system.at_work(reversals=SLOW) as caller:
        (transfer_id,) = await system.paid(caller)
        await caller.refund("r1", "o1", 1_000)
        deferred = await system.view.happened(transfer_id, facts.AttemptDeferred)
        row = await system.view.transfer("o1")
        assert (row.status, row.retry_count) == ("reversal_pending", 1)
        assert row.next_retry_at == deferred.timestamp + SLOW.backoff_base
        await caller.retry(transfer_id)
        await system.view.reached("o1", "reversed")
    keys = {call["key"] for call in await system.posts(REVERSE)}
    assert len(keys) == 1


async def test_fifth_retry_delay_is_capped_at_ten_seconds(system: SystemUnderTest) -> None:
    """A planted fact counts four retries already, so that the test need not wait for them."""
    ten = WorkSettings(backoff_base=timedelta(seconds=1), backoff_max=timedelta(seconds=10))
    theirs = await system.at_stripe()
    transfer_id = await system.take_over(**due("old", theirs, retry_count=4))
    await system.stripe.fault("status", REVERSE, status=503, times=1)
    async with system.at_work(reversals=ten) as caller:
        deferred = await system.view.happened(
            transfer_id, facts.AttemptDeferred, times=2
        )  # after the look that comes first
        assert deferred.retry_count == 5
        assert deferred.next_retry_at - deferred.timestamp == timedelta(seconds=10)
        await caller.retry(transfer_id)
        await system.view.reached("old", "reversed")


async def test_sixth_failure_reads_stripe_books_before_giving_up(system: SystemUnderTest) -> None:
    timeout = timedelta(seconds=1)
    await system.stripe.fault("status", REVERSE, status=503)
    async with system.at_work(stripe_timeout=timeout) as caller:
        (transfer_id,) = await system.paid(caller)
        await caller.refund("r1", "o1", 1_000)
        (row,) = await system.view.reached("o1", "permanently_failed")
    calls, (look,) = await system.posts(REVERSE), await system.posts("transfers.retrieve")
    assert len(calls) == ALL_SIX
    assert len({call["key"] for call in calls}) == 1
    assert look["at"] - calls[-1]["at"] >= timeout.total_seconds()
    assert (await system.view.happened(transfer_id, facts.PermanentlyFailed)).reason == "exhausted"
    assert (row.retry_count, row.next_retry_at) == (5, None)


async def test_late_reversal_is_found_after_all_attempts(system: SystemUnderTest) -> None:
    await system.stripe.fault("reset_after_commit", REVERSE, nth=1)
    for nth in range(2, ALL_SIX + 1):
        await system.stripe.fault("reset_on_arrival", REVERSE, nth=nth)
    async with system.at_work(stripe_timeout=timedelta(seconds=1)) as caller:
        (transfer_id,) = await system.paid(caller)
        await caller.refund("r1", "o1", 1_000)
        await system.view.reached("o1", "reversed")
    ending = await system.view.happened(transfer_id, facts.Reversed)
    assert (ending.settled_by, ending.note) == ("us", "found in Stripe's books")
    assert len(await system.posts(REVERSE)) == ALL_SIX


async def test_late_transfer_is_found_after_all_attempts(system: SystemUnderTest) -> None:
    await system.stripe.fault("reset_after_commit", CREATE, nth=1)
    for nth in range(2, ALL_SIX + 1):
        await system.stripe.fault("reset_on_arrival", CREATE, nth=nth)
    async with system.at_work(stripe_timeout=timedelta(seconds=1)) as caller:
        (transfer_id,) = await system.paid(caller)
    assert (
        await system.view.happened(transfer_id, facts.Completed)
    ).note == "found in Stripe's books"
    assert len(await system.posts(CREATE)) == ALL_SIX


@pytest.mark.parametrize("missing", [None, ""])
async def test_reversal_without_stripe_transfer_id_makes_no_call(
    system: SystemUnderTest, missing: str | None
) -> None:
    transfer_id = await system.take_over(**due("old", missing))
    async with system.at_work():
        await system.view.reached("old", "permanently_failed")
    assert (
        await system.view.happened(transfer_id, facts.PermanentlyFailed)
    ).reason == "no_stripe_transfer_id"
    assert "CallStarted" not in await system.view.story(transfer_id)
    assert await system.posts(REVERSE) == []


STATUSES: dict[str, Json] = {
    "pending": {"next_retry_at": datetime(2026, 1, 1, tzinfo=UTC)},
    "failed": {"next_retry_at": datetime(2026, 1, 1, tzinfo=UTC)},
    "completed": {},
    "partially_reversed": {"amount_reversed": 100},
    "reversed": {"amount_reversed": 900},
    "permanently_failed": {},
    "cancelled": {},
}


async def take_over_one_of_each_status(system: SystemUnderTest) -> None:
    for status, columns in STATUSES.items():
        sent: Json = (
            {}
            if status in ("pending", "failed", "cancelled")
            else {"stripe_transfer_id": await system.at_stripe(status)}
        )
        if back := columns.get("amount_reversed"):
            await system.stripe.external_reversal(sent["stripe_transfer_id"], back)
        await system.take_over(status, status=status, **sent, **columns)
    await system.take_over("due", **due("due", await system.at_stripe("due")))


@pytest.mark.parametrize(
    ("enabled", "worked_on"),
    [
        ("reversals", {"due": "reversed"}),
        ("transfers", {"pending": "completed", "failed": "completed"}),
    ],
)
async def test_worker_claims_only_due_work_of_its_kind(
    system: SystemUnderTest, enabled: str, worked_on: dict[str, str]
) -> None:
    """All are due. The first claim takes every transfer that it may take, and the drain records the
    calls."""
    await take_over_one_of_each_status(system)
    before = {
        row["order_id"]: row for row in await system.view.select("select * from seller_transfers")
    }
    async with system.at_work(**{"reversals": OFF, "transfers": OFF, enabled: QUICK}):
        for order_id, status in worked_on.items():
            await system.view.reached(order_id, status)
    for row in await system.view.select("select * from seller_transfers"):
        if row["order_id"] not in worked_on:
            assert kept(row) == kept(before[row["order_id"]]), row["order_id"]
    assert len(await system.posts(REVERSE)) == (1 if enabled == "reversals" else 0)
    assert len(await system.posts(CREATE)) == (2 if enabled == "transfers" else 0)


async def test_call_is_not_sent_before_its_time(system: SystemUnderTest) -> None:
    at = datetime.now(UTC) + timedelta(seconds=1.5)
    soon = await system.take_over(
        "soon", **due("soon", await system.at_stripe("soon"), next_retry_at=at)
    )
    later = await system.take_over(
        "later",
        **due("later", await system.at_stripe("later"), next_retry_at=at + timedelta(hours=1)),
    )
    async with system.at_work():
        await system.view.reached("soon", "reversed")
    (call,) = await system.posts(REVERSE)
    assert call["at"] >= at.timestamp()
    assert (await system.view.happened(soon, facts.CallStarted)).timestamp >= at
    assert await system.view.story(later) == ["Imported"]


async def test_outage_delays_work_and_loses_nothing(system: SystemUnderTest) -> None:
    many = [f"o{n}" for n in range(8)]
    async with system.at_work() as caller:
        for order_id in many[:4]:
            await system.paid(caller, order_id)
        fault = await system.stripe.fault("status", "*", status=503)
        for order_id in many[4:]:
            await caller.order(order_id, 1_000, anna=900)
            await caller.pay(order_id)
        for order_id in many:
            await caller.refund(f"r_{order_id}", order_id, 250)

        breaker = PostgresCircuitBreaker(system.view.pool)

        async def noticed() -> bool:
            return (await breaker.state()).outage

        await eventually(noticed, "the outage is noticed")
        await system.stripe.clear_faults(fault)
        for order_id in many:
            await system.view.reached(order_id, "partially_reversed")
    for theirs in (await system.stripe.ledger())["transfers"]:
        assert [reversal["amount"] for reversal in theirs["reversals"]] == [225]
