"""Lost webhooks of payments: the poller looks the order up at the payment provider, and the sellers
are paid once."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from application.missed_webhooks import psp_payments
from infrastructure.simulators.hyperswitch import (
    HyperswitchConfig,
    HyperswitchControl,
    running_hyperswitch,
)
from infrastructure.simulators.stripe import SimulatorControl
from tests.support import ledger_process
from tests.support.ledger_view import LedgerView
from tests.support.missed_webhooks import (
    AFTER_GRACE,
    PSP,
    LedgerWithoutWebhooks,
    deliver_webhook,
    ledger_without_webhooks,
    with_both_providers,
)
from tests.support.service import CREATE, CURRENCY, SystemUnderTest

DAY = timedelta(days=1)
READ = "payments.retrieve"


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


async def bought(
    psp: HyperswitchControl, order_id: str = "o1", amount: int = 1_000, currency: str = CURRENCY
) -> None:
    """Make an order that the buyer has paid, without a webhook."""
    await psp.take_payment(f"pay_{order_id}", amount, currency, metadata={"order_id": order_id})


async def _all_done(ledger: LedgerWithoutWebhooks) -> bool:
    return all(status == "done" for _, _, status in await ledger.inbox())


async def test_missed_payment_pays_sellers_once_despite_late_webhook(
    ledger: LedgerWithoutWebhooks,
    psp: HyperswitchControl,
    system: SystemUnderTest,
    view: LedgerView,
) -> None:
    await ledger.register()
    await bought(psp)
    found = await ledger.check(PSP)
    assert (found.sentence, dict(found.types), found.failure) == (
        "missed 1, replayed 1",
        {"payment_succeeded": 1},
        None,
    )
    await view.reached("o1", "completed")
    (row,) = await view.select("select event_id, source from webhook_inbox")
    assert row["event_id"].startswith("polled:payment_succeeded:pay_o1:")
    assert row["source"] == "poller"
    assert (await ledger.check(PSP, 2 * AFTER_GRACE)).missed == 0

    head = await ledger.service.store.head()
    await deliver_webhook(
        ledger, "evt_late", "payment_succeeded", ledger_process.payment("o1", 1_000)
    )
    await view.until(lambda: _all_done(ledger), "the late webhook is handled")
    assert await ledger.service.store.head() == head
    assert len(await system.posts(CREATE)) == 1


async def test_payment_created_through_ledger_is_found_by_id(
    ledger: LedgerWithoutWebhooks, psp: HyperswitchControl, view: LedgerView
) -> None:
    order = {"order_id": "o1", "currency": CURRENCY, "amount": 1_000}
    share = {"seller_id": "anna", "destination": "acct_1anna", "amount": 900}
    (await ledger.http.post("/v1/orders", json=order | {"shares": [share]})).raise_for_status()
    (await ledger.http.post("/v1/orders/o1/payment")).raise_for_status()
    assert (await ledger.check(PSP)).missed == 0, "the buyer has not paid yet"
    await psp.settle_payment("o1", "succeeded")
    assert (await ledger.check(PSP, DAY)).missed == 1
    await view.reached("o1", "completed")


async def test_recent_payment_is_not_missed(
    ledger: LedgerWithoutWebhooks, psp: HyperswitchControl, view: LedgerView
) -> None:
    await ledger.register()
    await bought(psp)
    for ahead in (timedelta(0), timedelta(minutes=9)):
        assert (await ledger.check(PSP, ahead)).missed == 0
    assert (await ledger.check(PSP)).missed == 1
    await view.reached("o1", "completed")


async def test_recent_payment_of_old_order_is_not_missed(
    ledger: LedgerWithoutWebhooks, psp: HyperswitchControl, view: LedgerView
) -> None:
    await ledger.register()
    await psp.advance_clock(AFTER_GRACE.total_seconds())
    await bought(psp)
    assert (await ledger.check(PSP)).missed == 0
    assert (await ledger.check(PSP, 3 * AFTER_GRACE)).missed == 1
    await view.reached("o1", "completed")


async def test_payment_days_later_is_found_at_twice_the_age(
    ledger: LedgerWithoutWebhooks, psp: HyperswitchControl, view: LedgerView
) -> None:
    await ledger.register()
    hours = 1
    while hours <= 48:
        assert (await ledger.check(PSP, timedelta(hours=hours))).missed == 0
        hours += 6
    await psp.advance_clock(timedelta(hours=hours).total_seconds())
    await bought(psp)
    found = 0
    while not found:
        hours += 6
        assert hours <= 2 * 48 + 12
        found = (await ledger.check(PSP, timedelta(hours=hours))).missed
    await view.reached("o1", "completed")


@pytest.mark.parametrize(("amount", "currency"), [(999, CURRENCY), (1_000, "USD")])
async def test_payment_of_other_amount_or_currency_alarms_once(
    ledger: LedgerWithoutWebhooks,
    psp: HyperswitchControl,
    view: LedgerView,
    amount: int,
    currency: str,
) -> None:
    await ledger.register()
    await bought(psp, amount=amount, currency=currency)
    assert (await ledger.check(PSP)).missed == 1
    await view.until(lambda: _disagrees(ledger), "a person is told")
    assert await view.transfers("o1") == []
    assert (await ledger.check(PSP, DAY)).missed == 0, "it waits in the inbox"


async def test_missed_partial_capture_alarms_until_the_rest(
    ledger: LedgerWithoutWebhooks, psp: HyperswitchControl, view: LedgerView
) -> None:
    await ledger.register()
    await bought(psp)
    part = {"amount_received": 600, "announce": False}
    await psp.settle_payment("pay_o1", "partially_captured_and_capturable", **part)
    assert dict((await ledger.check(PSP)).types) == {"payment_captured": 1}
    await view.until(lambda: _disagrees(ledger), "a person is told")
    assert "600 EUR" in (await ledger.alarms())["payment_disagrees"]
    assert (await ledger.check(PSP, 3 * AFTER_GRACE)).missed == 0, "it waits in the inbox"
    await psp.settle_payment("pay_o1", "succeeded", amount_received=1_000, announce=False)
    assert (await ledger.check(PSP, DAY)).missed == 1
    await view.reached("o1", "completed")

    async def quiet() -> bool:
        return not await _disagrees(ledger)

    await view.until(quiet, "the part is old")


@pytest.mark.parametrize("status", ["cancelled_post_capture", "conflicted"])
async def test_missed_void_or_conflict_pays_nothing(
    ledger: LedgerWithoutWebhooks, psp: HyperswitchControl, view: LedgerView, status: str
) -> None:
    await ledger.register()
    await bought(psp)
    await psp.settle_payment("pay_o1", status, amount_received=1_000, announce=False)
    assert (await ledger.check(PSP)).missed == 1
    await view.until(lambda: _not_counted(view), "it is recorded")
    assert await view.transfers("o1") == []


async def _not_counted(view: LedgerView) -> bool:
    topic = "ledger.order.payment_not_counted"
    return bool(await view.select("select from ledger_events where topic = %s", topic))


async def _disagrees(ledger: LedgerWithoutWebhooks) -> bool:
    return "payment_disagrees" in await ledger.alarms()


async def test_payment_in_inbox_is_not_missed(
    system: SystemUnderTest, psp: HyperswitchControl, view: LedgerView
) -> None:
    async with ledger_without_webhooks(
        with_both_providers(system.settings, psp.url), loops=False
    ) as ledger:
        await ledger.register()
        await bought(psp)
        await deliver_webhook(
            ledger, "evt_1", "payment_succeeded", ledger_process.payment("o1", 1_000)
        )
        assert (await ledger.check(PSP)).missed == 0
    async with system.at_work():
        await view.reached("o1", "completed")


async def test_absent_payment_delays_no_other_order(
    ledger: LedgerWithoutWebhooks, psp: HyperswitchControl, view: LedgerView
) -> None:
    await ledger.register("o0")
    await ledger.register("o:1")  # nor can it have such a name
    await ledger.register("o2")
    await bought(psp, "o2")
    assert (await ledger.check(PSP)).sentence == "missed 1, replayed 1"
    await view.reached("o2", "completed")


async def test_provider_outage_skips_no_order(
    ledger: LedgerWithoutWebhooks, psp: HyperswitchControl, view: LedgerView
) -> None:
    await ledger.register()
    await bought(psp)
    await psp.fault("status", READ, status=503, times=1)
    assert "its payments" in str((await ledger.check(PSP)).failure)
    assert (await ledger.check(PSP)).missed == 1
    await view.reached("o1", "completed")


async def test_paid_order_is_never_looked_up(
    ledger: LedgerWithoutWebhooks, psp: HyperswitchControl, view: LedgerView
) -> None:
    await ledger.order(psp)
    await view.reached("o1", "completed")
    await ledger.check(PSP, 10 * DAY)
    assert await psp.requests(READ) == []


async def test_look_up_limit_postpones_orders_to_next_age(
    ledger: LedgerWithoutWebhooks,
    psp: HyperswitchControl,
    view: LedgerView,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Orders of buyers who never pay must not use up all look-ups."""
    monkeypatch.setattr(psp_payments, "MOST_READ", 2)
    names = {f"o{n}" for n in range(5)}
    for name in names:
        await ledger.register(name)
    await ledger.check(PSP)
    asked = {
        str(call["target"]["payment_id"]).removeprefix("pay_") for call in await psp.requests(READ)
    }
    assert len(asked) == 2
    for name in names - asked:
        await bought(psp, name)
    await ledger.check(PSP, 30 * DAY)
    for name in names - asked:
        await view.reached(name, "completed")


async def test_unpaid_order_is_looked_up_once_per_age(
    ledger: LedgerWithoutWebhooks, psp: HyperswitchControl
) -> None:
    await ledger.register()
    for minutes in range(11, 46, 5):
        await ledger.check(PSP, timedelta(minutes=minutes))
    assert len(await psp.requests(READ)) == 2, (
        "ten minutes after it was registered, and again after twenty more"
    )


async def test_missed_payment_funds_its_transfers(
    ledger: LedgerWithoutWebhooks,
    psp: HyperswitchControl,
    stripe: SimulatorControl,
    view: LedgerView,
) -> None:
    """The poller's event names the PaymentIntent, so an empty platform can pay."""
    await stripe.drain("eur")
    await ledger.register()
    await bought(psp)
    await ledger.check(PSP)
    (row,) = await view.reached("o1", "completed")
    assert row.source_transaction is not None
    assert await view.alarms() <= {"webhooks_missed"}
