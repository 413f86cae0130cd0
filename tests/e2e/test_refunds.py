"""Refunds in every order: several, partial, before, during and after the payment, and failing
afterwards."""

from tests.support.service import CREATE, OFF, REVERSE, SystemUnderTest


async def test_reversals_of_transfer_are_sent_one_at_a_time(system: SystemUnderTest) -> None:
    async with system.at_work() as caller:
        await system.paid(caller)
        await system.paid(caller, "other", 500, bert=400)
        await system.stripe.hold(REVERSE, on_disconnect="execute")
        await caller.refund("r1", "o1", 300)
        await system.stripe.wait_until_held(REVERSE)
        await caller.refund("r2", "o1", 700)
        await caller.refund("r3", "other", 500)
        await system.view.reached("other", "reversed")  # the worker has looked around since
        assert [row["status"] for row in await system.view.reversals("o1")] == [
            "requested",
            "queued",
        ]
        assert (
            len(await system.posts(REVERSE)) == 1
        )  # the log has finished calls: only the other order's
        await system.stripe.release(REVERSE)
        await system.view.reached("o1", "reversed")
    first, second = [
        call for call in await system.posts(REVERSE) if call["transfer"] == (await first_of(system))
    ]
    assert second["at"] >= first["answered_at"]


async def first_of(system: SystemUnderTest) -> str | None:
    return (await system.view.transfer("o1")).stripe_transfer_id


async def test_three_sellers_and_three_refunds_are_exact_to_the_cent(
    system: SystemUnderTest,
) -> None:
    refunds = {"r1": 1_000, "r2": 3_333, "r3": 9_999 - 1_000 - 3_333}
    shares = {"anna": 3_333, "bert": 3_334, "carl": 1_000}
    async with system.at_work() as caller:
        await system.paid(caller, "o1", 9_999, **shares)
        for name, amount in refunds.items():
            await caller.refund(name, "o1", amount)
        rows = await system.view.reached("o1", "reversed", "reversed", "reversed")
    assert {row.seller_id: row.amount_reversed for row in rows} == shares
    held = (await system.stripe.ledger())["transfers"]
    assert {t["metadata"]["seller_id"]: [r["amount"] for r in t["reversals"]] for t in held} == {
        "anna": [333, 1_111, 1_889],  # floor(share x refunded so far / 9,999), step by step
        "bert": [333, 1_111, 1_890],
        "carl": [100, 333, 567],
    }


async def test_refund_before_payment_never_reaches_stripe(system: SystemUnderTest) -> None:
    async with system.at_work() as caller:
        await caller.order("o1", 1_000, anna=600, bert=300)
        await caller.refund("r1", "o1", 1_000)
        await caller.pay("o1")
        rows = await system.view.reached("o1", "cancelled", "cancelled")
    assert [await system.view.story(row.transfer_id) for row in rows] == [
        ["Created", "Cancelled"]
    ] * 2
    assert await system.posts(CREATE) == []


async def test_partial_refund_before_payment_reduces_transfer(system: SystemUnderTest) -> None:
    async with system.at_work() as caller:
        await caller.order("o1", 1_000, anna=900)
        await caller.refund("r1", "o1", 333)
        await caller.pay("o1")
        (row,) = await system.view.reached("o1", "completed")
    assert row.amount == 900 - 900 * 333 // 1_000
    (theirs,) = (await system.stripe.ledger())["transfers"]
    assert theirs["amount"] == row.amount


async def test_refund_during_transfer_call_waits(system: SystemUnderTest) -> None:
    async with system.at_work() as caller:
        await system.stripe.hold(CREATE, on_disconnect="execute")
        await caller.order("o1", 1_000, anna=900)
        await caller.pay("o1")
        await system.stripe.wait_until_held(CREATE)
        await caller.refund("r1", "o1", 1_000)
        (waiting,) = await system.view.reversals("o1")
        assert (waiting["status"], waiting["waiting_for"]) == ("queued", "transfer")
        await system.stripe.release(CREATE)
        (row,) = await system.view.reached("o1", "reversed")
    assert await system.view.story(row.transfer_id) == [
        "Created", "CallStarted", "ReversalQueued", "Completed", "ReversalRequested",
        "CallStarted", "Reversed",
    ]  # fmt: skip


async def test_failed_refund_gives_reversed_amount_back(system: SystemUnderTest) -> None:
    async with system.at_work() as caller:
        await system.paid(caller)
        await caller.refund("r1", "o1", 400)
        await system.view.reached("o1", "partially_reversed")
        await caller.refund_failed("r1", "o1", 400)
        sale, compensation = await system.view.reached("o1", "partially_reversed", "completed")
    assert (sale.amount_reversed, compensation.amount) == (360, 360)
    assert len((await system.stripe.ledger())["transfers"]) == 2


async def test_refund_failing_during_reversal_is_given_back_after_it(
    system: SystemUnderTest,
) -> None:
    async with system.at_work() as caller:
        await system.paid(caller)
        await system.stripe.hold(REVERSE, on_disconnect="execute")
        await caller.refund("r1", "o1", 400)
        await system.stripe.wait_until_held(REVERSE)
        await caller.refund_failed("r1", "o1", 400)
        assert len(await system.view.transfers("o1")) == 1
        await system.stripe.release(REVERSE)
        sale, compensation = await system.view.reached("o1", "partially_reversed", "completed")
    assert (sale.amount_reversed, compensation.amount) == (360, 360)


async def test_refund_failing_before_reversal_withdraws_it(system: SystemUnderTest) -> None:
    async with system.at_work(reversals=OFF) as caller:
        await system.paid(caller)
        await caller.refund("r1", "o1", 400)
        await caller.refund_failed("r1", "o1", 400)
        await system.view.reached("o1", "partially_reversed")
    async with system.at_work() as caller:
        await system.paid(caller, "other", 500, bert=400)
        await caller.refund("r2", "other", 500)
        await system.view.reached("other", "reversed")
    assert len(await system.posts(REVERSE)) == 1
    assert (await system.view.transfer("o1")).amount_reversed == 0
