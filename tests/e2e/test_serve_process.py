"""A `serve` process with PostgreSQL and Stripe's HTTP: signed webhooks in, and the state that the
API shows in the end."""

import asyncio

from infrastructure.simulators.stripe import SimulatorControl
from tests.e2e.conftest import Processes
from tests.support.ledger_process import payment, refund, signed
from tests.support.ledger_view import LedgerView
from tests.support.service import CREATE, REVERSE, SystemUnderTest


async def reversed_for(stripe: SimulatorControl, stripe_transfer_id: object) -> list[int]:
    """Return the amounts of this transfer's reversals in Stripe's own books."""
    held = (await stripe.ledger())["transfers"]
    return [
        reversal["amount"]
        for theirs in held
        if theirs["id"] == stripe_transfer_id
        for reversal in theirs["reversals"]
    ]


async def test_refund_webhook_ends_in_reversal_and_history(
    processes: Processes, stripe: SimulatorControl, view: LedgerView
) -> None:
    web = await processes.talk(await processes.start())
    await web.order("o1", 1_000, anna=900)
    await web.pay("o1", 1_000)
    await view.reached("o1", "completed")
    await web.refund("r1", "o1", 1_000)
    await view.reached("o1", "reversed")

    (shown,) = (await web.get("/v1/transfers", order_id="o1"))["data"]
    history = (await web.get(f"/v1/transfers/{shown['transfer_id']}/history"))["data"]
    told = await web.get("/v1/refunds/r1")
    assert (shown["status"], shown["amount_reversed"]) == ("reversed", 900)
    assert [entry["fact"] for entry in history] == [
        "Created", "CallStarted", "Completed", "ReversalRequested", "CallStarted", "Reversed",
    ]  # fmt: skip
    assert all(entry["sentence"] for entry in history)
    assert (told["status"], [part["status"] for part in told["allocation"]]) == (
        "succeeded",
        ["reversed"],
    )
    assert await reversed_for(stripe, shown["stripe_transfer_id"]) == [900]


async def test_unknown_stripe_transfer_fails_after_one_call(
    processes: Processes, stripe: SimulatorControl, view: LedgerView, system: SystemUnderTest
) -> None:
    await system.take_over(with_order=True, stripe_transfer_id="tr_1Typo")
    web = await processes.talk(await processes.start())
    await web.refund("r1", "old", 900)
    await view.reached("old", "permanently_failed")
    (shown,) = (await web.get("/v1/transfers", status="permanently_failed"))["data"]
    assert shown["last_error"].startswith("not_found")
    assert [call["transfer"] for call in await stripe.requests(REVERSE)] == ["tr_1Typo"]


async def test_dashboard_reversal_is_recorded_and_not_repeated(
    processes: Processes, stripe: SimulatorControl, view: LedgerView
) -> None:
    web = await processes.talk(await processes.start())
    await web.order("o1", 1_000, anna=900)
    await web.pay("o1", 1_000)
    (row,) = await view.reached("o1", "completed")
    await stripe.external_reversal(str(row.stripe_transfer_id))
    await web.refund("r1", "o1", 1_000)
    await view.reached("o1", "reversed")
    (reversal,) = await view.reversals("o1")
    assert (reversal["settled_by"], reversal["amount"]) == ("external", 900)
    assert await reversed_for(stripe, row.stripe_transfer_id) == [900]


async def test_five_concurrent_webhooks_have_one_effect(
    processes: Processes, stripe: SimulatorControl, view: LedgerView
) -> None:
    web = await processes.talk(await processes.start())
    await web.order("o1", 1_000, anna=900)
    paid = signed("evt_paid", "payment_succeeded", "payment_details", payment("o1", 1_000))
    refunded = signed(
        "evt_refunded", "refund_succeeded", "refund_details", refund("r1", "o1", 1_000)
    )
    answers = await asyncio.gather(*(web.post(paid) for _ in range(5)))
    await view.reached("o1", "completed")
    answers += await asyncio.gather(*(web.post(refunded) for _ in range(5)))
    await view.reached("o1", "reversed")
    assert [answer.status_code for answer in answers] == [200] * 10
    assert len(await stripe.requests(CREATE)) == len(await stripe.requests(REVERSE)) == 1


async def test_refund_under_two_event_ids_is_one_refund(
    processes: Processes, stripe: SimulatorControl, view: LedgerView
) -> None:
    web = await processes.talk(await processes.start())
    await web.order("o1", 1_000, anna=900)
    await web.pay("o1", 1_000)
    await view.reached("o1", "completed")
    deliveries = [
        signed(f"evt_again_{n}", "refund_succeeded", "refund_details", refund("r1", "o1", 400))
        for n in range(5)
    ]
    answers = await asyncio.gather(*(web.post(delivery) for delivery in deliveries))
    assert [answer.status_code for answer in answers] == [200] * 5
    await view.until(lambda: all_done(view, 6), "all webhooks are done")
    (row,) = await view.reached("o1", "partially_reversed")
    assert row.amount_reversed == 360
    assert await reversed_for(stripe, row.stripe_transfer_id) == [360]


async def all_done(view: LedgerView, webhooks: int) -> bool:
    return len(await view.select("select from webhook_inbox where status = 'done'")) == webhooks


async def test_webhooks_in_wrong_order_reach_same_state(
    processes: Processes, stripe: SimulatorControl, view: LedgerView
) -> None:
    """The refund is parked until its order is known; then the order is paid, but nothing is left to
    be sent."""
    web = await processes.talk(await processes.start())
    await web.refund("r1", "o1", 1_000)
    await web.pay("o1", 1_000)

    async def parked() -> bool:
        return len(await view.select("select from webhook_inbox where status = 'parked'")) == 2

    await view.until(parked, "both webhooks are parked")
    await web.order("o1", 1_000, anna=900)
    await view.until(lambda: all_done(view, 2), "both webhooks are done")
    (row,) = await view.transfers("o1")
    if row.status != "cancelled":  # either may be handled first
        await view.reached("o1", "reversed")
    net = sum(
        theirs["amount"] - theirs["amount_reversed"]
        for theirs in (await stripe.ledger())["transfers"]
    )
    assert net == 0
