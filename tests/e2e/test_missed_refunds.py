"""Lost webhooks of refunds, found by the poller at the payment provider."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest

from infrastructure.hyperswitch import gateway as hyperswitch
from infrastructure.hyperswitch.signature import HEADER, sign
from infrastructure.simulators.hyperswitch import (
    HyperswitchConfig,
    HyperswitchControl,
    running_hyperswitch,
)
from infrastructure.simulators.stripe import SimulatorControl
from tests.e2e.conftest import Processes
from tests.support import ledger_process
from tests.support.json_types import Json
from tests.support.ledger_view import LedgerView
from tests.support.missed_webhooks import (
    AFTER_GRACE,
    PSP,
    SECRET,
    LedgerWithoutWebhooks,
    deliver_webhook,
    ledger_without_webhooks,
    make_refund_at_psp,
    with_both_providers,
)
from tests.support.service import CURRENCY, SystemUnderTest

DAY = timedelta(days=1)


@pytest.fixture
async def psp(psp_config: HyperswitchConfig) -> AsyncIterator[HyperswitchControl]:
    async with running_hyperswitch(psp_config) as (_, control):
        yield control


@pytest.fixture
async def ledger(
    system: SystemUnderTest, psp: HyperswitchControl
) -> AsyncIterator[LedgerWithoutWebhooks]:
    async with ledger_without_webhooks(with_both_providers(system.settings, psp.url)) as ledger:
        yield ledger


async def test_lost_refund_webhook_is_found_and_share_reversed(
    processes: Processes, psp: HyperswitchControl, view: LedgerView
) -> None:
    given = {"HYPERSWITCH_API_KEY": "snd_a_test", "HYPERSWITCH_BASE_URL": psp.url}
    served = await processes.start(
        **given,
        MISSED_WEBHOOKS_CHECK_INTERVAL="1s",
        MISSED_WEBHOOKS_GRACE="1s",
        STRIPE_WEBHOOK_SECRETS=SECRET,
    )
    await processes.start(
        "worker", **given, MISSED_WEBHOOKS_CHECK_INTERVAL="1s", MISSED_WEBHOOKS_GRACE="1s"
    )
    web = await processes.talk(served)
    await web.order("o1", 1_000, anna=900)
    hook = f"{served.url}/webhooks/hyperswitch"
    await psp.webhook(url=hook, secret=ledger_process.SECRET, knobs={"drop": ["refund_*"]})
    await psp.take_payment("pay_o1", 1_000, CURRENCY, metadata={"order_id": "o1"})
    await view.reached("o1", "completed")
    name = await make_refund_at_psp(psp)
    await view.reached("o1", "reversed")
    assert [call["outcome"] for call in await psp.deliveries()] == ["delivered", "dropped"]
    (found,) = await view.select(
        "select event_id, source from webhook_inbox where event_type = 'refund_succeeded'"
    )
    assert found["event_id"].startswith(f"polled:refund_succeeded:{name}:")
    assert found["source"] == "poller"
    metrics = (await web.http.get("/metrics")).text
    assert 'ledger_webhooks_missed_total{provider="hyperswitch"} 1.0' in metrics


async def test_found_refund_is_stored_once_despite_late_webhook(
    ledger: LedgerWithoutWebhooks, psp: HyperswitchControl, view: LedgerView
) -> None:
    await ledger.order(psp)
    await view.reached("o1", "completed")
    name = await make_refund_at_psp(psp, amount=500)
    found = await ledger.check(PSP)
    assert (found.sentence, found.failure) == ("missed 1, replayed 1", None)
    await view.reached("o1", "partially_reversed")
    head = await ledger.service.store.head()
    again = await ledger.check(PSP, 2 * AFTER_GRACE)
    assert again.sentence == "missed 0, replayed 0"

    shown = ledger_process.refund(name, "o1", 500)
    body, headers = signed("evt_late", "refund_succeeded", shown)
    assert (
        await ledger.http.post("/webhooks/hyperswitch", content=body, headers=headers)
    ).status_code == 200
    await view.until(lambda: _all_done(ledger), "the late webhook is handled")
    assert await ledger.service.store.head() == head
    assert await ledger.inbox() == [
        ("refund_succeeded", "poller", "done"),
        ("refund_succeeded", "webhook", "done"),
    ]


async def _all_done(ledger: LedgerWithoutWebhooks) -> bool:
    return all(status == "done" for _, _, status in await ledger.inbox())


def signed(event_id: str, event_type: str, shown: Json) -> tuple[bytes, dict[str, str]]:
    envelope = {
        "event_id": event_id,
        "event_type": event_type,
        "content": {"type": "refund_details", "object": shown},
    }
    body = json.dumps(envelope).encode()
    return body, {HEADER: sign(body, SECRET)}


async def test_recent_refund_is_not_missed(
    ledger: LedgerWithoutWebhooks, psp: HyperswitchControl, view: LedgerView
) -> None:
    await ledger.order(psp)
    await make_refund_at_psp(psp)
    for ahead in (timedelta(0), timedelta(minutes=9)):
        assert (await ledger.check(PSP, ahead)).missed == 0
    assert (await ledger.check(PSP)).missed == 1
    await view.until(lambda: _all_done(ledger), "it is handled")


async def test_refund_decided_days_later_is_found_at_twice_the_age(
    ledger: LedgerWithoutWebhooks, psp: HyperswitchControl, view: LedgerView
) -> None:
    await ledger.order(psp)
    await view.reached("o1", "completed")
    name = await make_refund_at_psp(psp, status="pending")
    hours = 1
    while hours <= 48:
        assert (await ledger.check(PSP, timedelta(hours=hours))).missed == 0
        hours += 6
    await psp.advance_clock(timedelta(hours=hours).total_seconds())
    await psp.settle_refund(name, "succeeded")
    found = 0
    while not found:
        hours += 6
        assert hours <= 2 * 48 + 12
        found = (await ledger.check(PSP, timedelta(hours=hours))).missed
    await view.reached("o1", "reversed")


async def test_refund_failed_after_success_is_found(
    ledger: LedgerWithoutWebhooks, psp: HyperswitchControl, view: LedgerView
) -> None:
    await ledger.order(psp)
    await view.reached("o1", "completed")
    name = await make_refund_at_psp(psp)
    await ledger.check(PSP)
    await view.reached("o1", "reversed")
    await psp.settle_refund(name, "failed", error_message="account closed")
    assert (await ledger.check(PSP, DAY)).types == {"refund_failed": 1}
    await view.reached("o1", "reversed", "completed")
    assert "refund_failed_after_success" in await ledger.alarms()


async def test_third_turn_of_a_refund_is_found(
    ledger: LedgerWithoutWebhooks, psp: HyperswitchControl, view: LedgerView
) -> None:
    """It succeeded, the bank reported a failure by mistake, and corrected the report."""
    await ledger.order(psp)
    await view.reached("o1", "completed")
    name = await make_refund_at_psp(psp)
    ages = iter((AFTER_GRACE, DAY, 3 * DAY))
    for status in ("succeeded", "failed", "succeeded"):
        await psp.advance_clock(60)
        await psp.settle_refund(name, status)
        assert (await ledger.check(PSP, next(ages))).types == {f"refund_{status}": 1}
        await view.until(lambda: _all_done(ledger), "it is handled")
        (row,) = await view.select("select status from refunds")
        assert row["status"] == status
    assert (await ledger.check(PSP, 9 * DAY)).missed == 0


async def test_refund_of_unknown_order_waits_for_it(
    ledger: LedgerWithoutWebhooks, psp: HyperswitchControl, view: LedgerView
) -> None:
    await psp.take_payment("pay_o1", 1_000, CURRENCY, metadata={"order_id": "o1"})
    await make_refund_at_psp(psp)
    assert (await ledger.check(PSP)).missed == 1
    await view.until(lambda: _is(ledger, "parked"), "it is parked")
    assert (await ledger.check(PSP, 2 * AFTER_GRACE)).missed == 0
    await ledger.register()
    await view.until(lambda: _all_done(ledger), "its order has released it")
    await ledger.service.commands.orders.record_payment("o1", "pay_o1", None, "test")
    await view.reached("o1", "cancelled")


async def _is(ledger: LedgerWithoutWebhooks, status: str) -> bool:
    return [row[2] for row in await ledger.inbox()] == [status]


async def test_unhandled_refund_in_inbox_is_not_missed(
    system: SystemUnderTest, psp: HyperswitchControl, view: LedgerView
) -> None:
    async with ledger_without_webhooks(with_both_providers(system.settings, psp.url)) as ledger:
        await ledger.order(psp)
        await view.reached("o1", "completed")
    async with ledger_without_webhooks(
        with_both_providers(system.settings, psp.url), loops=False
    ) as ledger:
        body, headers = signed(
            "evt_1",
            "refund_succeeded",
            ledger_process.refund(await make_refund_at_psp(psp), "o1", 1_000),
        )
        await ledger.http.post("/webhooks/hyperswitch", content=body, headers=headers)
        assert (await ledger.check(PSP)).missed == 0
        assert (await ledger.inbox()) == [("refund_succeeded", "webhook", "stored")]
        ((event,), _) = await ledger.service.inbox.claim("a test", 1, timedelta(seconds=1))
        await ledger.service.inbox.bury(event.inbox_id, "a test")
        assert (await ledger.check(PSP, 2 * AFTER_GRACE)).missed == 0, (
            "what was given up is for a person, not for the poller"
        )
        await ledger.service.inbox.replay(event.inbox_id)
    async with system.at_work():
        await view.reached("o1", "reversed")


async def test_refund_parked_with_an_alarm_is_not_missed(
    ledger: LedgerWithoutWebhooks, psp: HyperswitchControl, view: LedgerView
) -> None:
    await psp.take_payment("pay_o1", 1_000, CURRENCY, metadata={"order_id": "o1"})
    await ledger.register(amount=900)
    name = await make_refund_at_psp(psp)
    body, headers = signed("evt_1", "refund_succeeded", ledger_process.refund(name, "o1", 1_000))
    await ledger.http.post("/webhooks/hyperswitch", content=body, headers=headers)

    async def disagrees() -> bool:
        return "refund_disagrees" in await ledger.alarms()

    await view.until(disagrees, "the refund above the unpaid order is parked")
    assert "refund_succeeded" not in (await ledger.check(PSP)).types


@pytest.mark.parametrize(("end", "status"), [("succeeded", "reversed"), ("failed", "completed")])
async def test_refund_under_review_is_looked_up_until_decided(
    ledger: LedgerWithoutWebhooks, psp: HyperswitchControl, view: LedgerView, end: str, status: str
) -> None:
    await ledger.order(psp)
    await view.reached("o1", "completed")
    name = await make_refund_at_psp(psp, status="review")
    await deliver_webhook(
        ledger,
        "evt_1",
        "refund_review",
        ledger_process.refund(name, "o1", 1_000) | {"status": "review"},
    )
    await view.until(lambda: _all_done(ledger), "it is under review here")
    assert (await ledger.check(PSP)).missed == 0, "and there as well"
    await psp.settle_refund(name, end)
    assert (await ledger.check(PSP, DAY)).types == {f"refund_{end}": 1}
    await view.until(lambda: _all_done(ledger), "it is handled")
    await view.reached("o1", status)
    ((decided,),) = [tuple(row.values()) for row in await view.select("select status from refunds")]
    assert decided == end
    assert (await ledger.check(PSP, 3 * DAY)).missed == 0


async def test_provider_outage_skips_no_refund(
    ledger: LedgerWithoutWebhooks, psp: HyperswitchControl, view: LedgerView
) -> None:
    await ledger.order(psp)
    await make_refund_at_psp(psp)
    fault = await psp.fault("status", "refunds.list", status=503)
    failed = await ledger.check(PSP)
    assert failed.failure is not None
    assert "webhooks_unchecked" not in await ledger.alarms(), "not for an hour yet"
    await psp.clear_faults(fault)
    await psp.fault("status", "refunds.retrieve", status=503, times=1)
    assert (await ledger.check(PSP)).failure is not None
    assert (await ledger.check(PSP)).sentence == "missed 1, replayed 1"
    await view.until(lambda: _all_done(ledger), "it is handled")


async def test_slice_above_list_limit_is_split(
    ledger: LedgerWithoutWebhooks,
    psp: HyperswitchControl,
    view: LedgerView,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hyperswitch, "PAGE", 1)
    monkeypatch.setattr(hyperswitch, "MOST_LISTED", 2)
    await ledger.order(psp)
    for _ in range(5):
        await make_refund_at_psp(psp, amount=100)
        await psp.advance_clock(120)
    assert (await ledger.check(PSP, 3 * AFTER_GRACE)).sentence == "missed 5, replayed 5"
    await view.until(lambda: _all_done(ledger), "they are handled")


async def test_unreadable_refund_does_not_delay_others(
    ledger: LedgerWithoutWebhooks, psp: HyperswitchControl, view: LedgerView
) -> None:
    await ledger.order(psp)
    for _ in range(2):
        await make_refund_at_psp(psp, amount=100)
    await psp.fault("error", "refunds.retrieve", status=404, code="HE_02", times=1)
    assert (await ledger.check(PSP)).sentence == "missed 1, replayed 1"
    assert (await ledger.check(PSP, 2 * AFTER_GRACE)).missed == 1, "and is looked at again"
    await view.until(lambda: _all_done(ledger), "they are handled")


async def test_refused_api_key_alarms_until_next_full_round(
    ledger: LedgerWithoutWebhooks, psp: HyperswitchControl
) -> None:
    fault = await psp.fault("status", "refunds.list", status=401)
    await ledger.check(PSP)
    assert "webhooks_unchecked" in await ledger.alarms()
    await psp.clear_faults(fault)
    await ledger.check(PSP)
    assert await ledger.alarms() == {}


async def test_overdue_event_alarms_until_its_order_arrives(
    system: SystemUnderTest, psp: HyperswitchControl, view: LedgerView
) -> None:
    settings = replace(
        with_both_providers(system.settings, psp.url), parked_deadline=timedelta(microseconds=1)
    )
    async with ledger_without_webhooks(settings) as ledger:
        body, headers = signed(
            "evt_1", "refund_succeeded", ledger_process.refund("r1", "o1", 1_000)
        )
        await ledger.http.post("/webhooks/hyperswitch", content=body, headers=headers)
        await view.until(lambda: _alarmed(ledger), "its deadline is over")
        assert await _is(ledger, "parked")
        await ledger.register()
        await view.until(lambda: _all_done(ledger), "it is handled")
        await view.until(lambda: _calm(ledger), "nobody has to look any more")


async def _alarmed(ledger: LedgerWithoutWebhooks) -> bool:
    return "webhook_parked_too_long" in await ledger.alarms()


async def _calm(ledger: LedgerWithoutWebhooks) -> bool:
    return not await ledger.alarms()


async def test_missed_refund_alarm_ends_after_clean_round(
    ledger: LedgerWithoutWebhooks,
    psp: HyperswitchControl,
    view: LedgerView,
    stripe: SimulatorControl,
) -> None:
    await ledger.order(psp)
    await make_refund_at_psp(psp)
    await ledger.check(PSP)
    assert (await ledger.alarms())["webhooks_missed"].startswith(
        "missed 1, replayed 1: 1 refund_succeeded."
    )
    await ledger.check(PSP, 2 * AFTER_GRACE)
    assert await ledger.alarms() == {}
    await view.until(lambda: _all_done(ledger), "it is handled")
