"""Refunds that Stripe shows for an order of the PSP: made by the PSP, or in Stripe's dashboard."""

from collections.abc import AsyncIterator, Mapping
from datetime import timedelta

import pytest

from application.commands.decisions import Decision
from tests.support.told_ledger import ToldLedger, told_ledger

A_DAY = timedelta(hours=24, minutes=1)
STRIPES: Mapping[str, object] = {
    "id": "re_1", "object": "refund", "amount": 400, "currency": "eur", "status": "succeeded",
    "charge": "ch_1", "payment_intent": "pi_1", "metadata": {"order_id": "o1"},
}  # fmt: skip
PSPS = {
    "refund_id": "ref_1", "payment_id": "pay_1", "amount": 400, "currency": "EUR",
    "status": "succeeded",
}  # fmt: skip


@pytest.fixture
async def ledger() -> AsyncIterator[ToldLedger]:
    async with told_ledger() as ledger:
        await ledger.sells(payment_id="pay_1")
        yield ledger


async def later(ledger: ToldLedger, time: timedelta = A_DAY) -> None:
    await ledger.handles()
    await ledger.storage.let_pass(time)
    await ledger.handles()


async def test_refund_in_the_dashboard_raises_an_alarm_after_a_day(ledger: ToldLedger) -> None:
    for event_type in ("refund.created", "refund.updated"):
        assert await ledger.stripe_tells(event_type, STRIPES) == "ignored"
    await later(ledger, timedelta(hours=23))
    assert (await ledger.alarms(), await ledger.taken()) == ([], 0)
    await later(ledger, timedelta(hours=2))
    (alarm,) = await ledger.storage.alarms.raised()
    assert alarm.kind == "refund_unknown_to_psp"
    named = ("re_1", "'o1'", "4.00 EUR", "inbox discard")
    assert [part for part in named if part not in alarm.detail] == []


async def test_refund_that_the_psp_reports_in_time_raises_none(ledger: ToldLedger) -> None:
    assert await ledger.stripe_tells("refund.created", STRIPES) == "ignored"
    assert await ledger.psp_tells("refund_succeeded", PSPS) == "done"
    await later(ledger)
    assert (await ledger.alarms(), await ledger.taken()) == ([], 360)


async def test_refund_that_the_psp_has_reported_before_raises_none(ledger: ToldLedger) -> None:
    assert await ledger.psp_tells("refund_succeeded", PSPS) == "done"
    assert await ledger.stripe_tells("refund.created", STRIPES) == "ignored"
    await later(ledger)
    assert await ledger.alarms() == []


async def test_alarm_ends_when_the_psp_reports_the_refund(ledger: ToldLedger) -> None:
    await ledger.stripe_tells("refund.created", STRIPES)
    await later(ledger)
    assert await ledger.alarms() == ["refund_unknown_to_psp"]
    assert await ledger.psp_tells("refund_succeeded", PSPS) == "done"
    await later(ledger)
    assert await ledger.alarms() == []


async def test_second_refund_of_the_same_amount_is_told_by_the_charge(ledger: ToldLedger) -> None:
    """The PSP has refunded 400, and somebody 400 more in the dashboard."""
    ledger.stripe.objects["/v1/charges/ch_1"] = {"id": "ch_1", "amount_refunded": 800}
    assert await ledger.psp_tells("refund_succeeded", PSPS) == "done"
    await ledger.stripe_tells("refund.created", {**STRIPES, "id": "re_2"})
    await later(ledger)
    assert await ledger.alarms() == ["refund_unknown_to_psp"]


async def test_refund_that_failed_at_stripe_since_raises_none(ledger: ToldLedger) -> None:
    await ledger.stripe_tells("refund.created", STRIPES)
    ledger.stripe.objects["/v1/refunds/re_1"] = {**STRIPES, "status": "failed"}
    await later(ledger)
    assert await ledger.alarms() == []


async def test_dispute_that_was_set_aside_explains_no_refund(ledger: ToldLedger) -> None:
    """The dispute is in another currency, and waits for a person; the refund is another one."""
    told = {**PSPS, "dispute_id": "dp_1", "currency": "USD"}
    assert await ledger.psp_tells("dispute_lost", told) == "done"
    assert (await ledger.commands.orders.order("o1")).set_aside == {"dispute dp_1": 400}
    await ledger.stripe_tells("refund.created", STRIPES)
    await later(ledger)
    assert "refund_unknown_to_psp" in await ledger.alarms()


async def test_refund_that_a_person_dismissed_is_known(ledger: ToldLedger) -> None:
    assert await ledger.psp_tells("refund_succeeded", {**PSPS, "currency": "USD"}) == "done"
    assert await ledger.commands.decisions.refund("ref_1", Decision(None, "mia", "ours", 400))
    await ledger.stripe_tells("refund.created", STRIPES)
    await later(ledger)
    assert await ledger.alarms() == []
