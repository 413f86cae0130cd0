"""Reports of payments that end in other ways than succeeded and failed: none that changes the
collected amount of a known order is ignored."""

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from application.commands import commands_on
from application.webhooks.handler import (
    DONE,
    Ignored,
    Parked,
    StoredEvent,
    WebhookAlarm,
    WebhookHandler,
    WebhookResult,
)
from application.webhooks.hyperswitch.disputes import STATUSES as DISPUTE_EVENTS
from application.webhooks.hyperswitch.payments_refunds import HyperswitchPaymentsRefunds
from domain.order.aggregate import Order
from domain.order.state import Share
from domain.provider_call.payment_status import EVENTS, HARMLESS, POLLED, STATUSES, Collected
from domain.provider_call.psp_objects import PaymentAtPsp
from infrastructure.clock import DatabaseClock
from tests.support.storage import Storage, in_memory

LEASE = timedelta(seconds=10)
SHARES = [Share(seller_id="anna", destination="acct_anna", amount=9_000)]
EVENT_TYPES = """
    payment_succeeded payment_failed payment_processing payment_cancelled
    payment_cancelled_post_capture payment_authorized payment_partially_authorized payment_captured
    payment_expired action_required refund_succeeded refund_failed refund_review dispute_opened
    dispute_expired dispute_accepted dispute_cancelled dispute_challenged dispute_won dispute_lost
    mandate_active mandate_revoked payout_success payout_failed payout_initiated payout_processing
    payout_cancelled payout_expired payout_reversed payout_not_permitted invoice_paid
    surcharge_payment_succeeded surcharge_refund_succeeded
""".split()  # noqa: SIM905 - the list of Hyperswitch's `EventType`
INTENT_STATUSES = """
    requires_payment_method requires_confirmation requires_customer_action
    requires_merchant_action requires_capture processing succeeded failed cancelled
    cancelled_post_capture partially_captured partially_captured_and_capturable
    partially_authorized_and_requires_capture partially_captured_and_processing conflicted expired
""".split()  # noqa: SIM905 - the list of Hyperswitch's `IntentStatus`


class Psp:
    """A payment provider that shows one payment, or none."""

    def __init__(self) -> None:
        self.shown: PaymentAtPsp | None = None

    async def payment(self, payment_id: str) -> PaymentAtPsp | None:
        return self.shown


class Shop:
    """A ledger with the order o1 of 10000 EUR, of which Anna has 9000, paid by `pay_1`."""

    def __init__(self, storage: Storage) -> None:
        self._storage, self._events, self.psp = storage, 0, Psp()
        self.commands = commands_on(storage.ledger, storage.directory, DatabaseClock())
        handlers = HyperswitchPaymentsRefunds(
            self.commands,
            storage.directory,
            self.psp,  # type: ignore[arg-type]  # only `payment` is called
        ).handlers()
        self.handler = WebhookHandler(hyperswitch=handlers)

    async def sells(self) -> None:
        await self.commands.orders.register(
            order_id="o1", currency="EUR", amount=10_000, shares=SHARES, payment_id="pay_1"
        )

    async def hears(
        self, event_type: str, status: str, received: int | None, **more: object
    ) -> WebhookResult:
        self._events += 1
        payment = {
            "payment_id": "pay_1",
            "status": status,
            "amount": 10_000,
            "amount_received": received,
            "currency": "EUR",
            "metadata": {"order_id": "o1"},
            **more,
        }
        event_id = f"evt_{self._events}"
        envelope = {"event_id": event_id, "event_type": event_type, "content": {"object": payment}}
        return await self.again(event_id, event_type, json.dumps(envelope).encode())

    async def again(self, event_id: str, event_type: str, body: bytes) -> WebhookResult:
        await self._storage.inbox.put(
            "hyperswitch", event_id, event_type, body, await self._storage.now()
        )
        (event,) = (await self._storage.inbox.claim("w", 1, LEASE)).events
        return await self.handler.handle(
            StoredEvent(event.inbox_id, "hyperswitch", event_id, event_type, body)
        )

    async def order(self) -> Order:
        return await self.commands.orders.order("o1")


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    async with in_memory() as storage:
        shop = Shop(storage)
        await shop.sells()
        yield shop


def assert_alarm(result: WebhookResult, *words: str) -> None:
    assert isinstance(result, Parked), result
    assert result.alarm is WebhookAlarm.PAYMENT_DISAGREES
    for word in ("'o1'", *words):
        assert word in result.reason


def test_tables_know_every_event_and_status() -> None:
    known = {*EVENTS, *HARMLESS, *DISPUTE_EVENTS}
    known |= {"refund_succeeded", "refund_failed", "refund_review"}
    known |= {"surcharge_payment_succeeded", "surcharge_refund_succeeded"}
    assert len(EVENT_TYPES) == 33
    assert known == set(EVENT_TYPES)
    assert set(STATUSES) == set(INTENT_STATUSES)
    moved = {s for s, meaning in STATUSES.items() if meaning not in ("nothing_yet", "ended")}
    assert set(POLLED) == moved, "the poller tells every status after which money has moved"


@pytest.mark.parametrize(
    ("event_type", "status"),
    [
        ("payment_captured", "partially_captured"),
        ("payment_captured", "partially_captured_and_capturable"),
        ("payment_processing", "partially_captured_and_processing"),
        ("payment_partially_authorized", "partially_authorized_and_requires_capture"),
        ("payment_conflicted", "conflicted"),
        ("payment_succeeded", "succeeded"),
        ("payment_sung", "partially_captured"),
        ("payment_sung", "sung"),
    ],
)
async def test_part_of_the_money_pays_nothing_and_alarms(
    shop: Shop, event_type: str, status: str
) -> None:
    assert_alarm(
        await shop.hears(event_type, status, 6_000), "6000 EUR", "10000 EUR were ordered", "'pay_1'"
    )
    assert not (await shop.order()).paid


@pytest.mark.parametrize("currency", ["USD", "usd"])
async def test_other_currency_pays_nothing_and_alarms(shop: Shop, currency: str) -> None:
    parked = await shop.hears("payment_succeeded", "succeeded", 10_000, currency=currency)
    assert_alarm(parked, "10000 USD", "10000 EUR were ordered")


@pytest.mark.parametrize("status", ["partially_captured", "partially_captured_and_capturable"])
async def test_capture_of_at_least_the_order_pays(shop: Shop, status: str) -> None:
    assert await shop.hears("payment_captured", status, 10_000) == DONE
    assert (await shop.order()).paid


@pytest.mark.parametrize("event_type", ["payment_partially_authorized", "payment_conflicted"])
async def test_unclear_payment_pays_nothing_whatever_it_says(shop: Shop, event_type: str) -> None:
    assert_alarm(await shop.hears(event_type, "conflicted", 10_000), "10000 EUR")
    assert not (await shop.order()).paid


async def test_whole_capture_after_a_part_pays_and_ends_the_wait(shop: Shop) -> None:
    part = ("payment_captured", "partially_captured_and_capturable", 6_000)
    assert_alarm(await shop.hears(*part), "6000 EUR")
    assert await shop.hears("payment_captured", "succeeded", 10_000) == DONE
    order = await shop.order()
    assert (order.paid, order.collected) == (True, 10_000)
    assert isinstance(await shop.hears(*part), Ignored), "what was parked is old now"


async def test_surcharge_pays_and_is_recorded(shop: Shop) -> None:
    assert await shop.hears("payment_succeeded", "succeeded", 10_300) == DONE
    assert (await shop.order()).collected == 10_300


async def test_surcharge_after_payment_by_api_is_learned(shop: Shop) -> None:
    await shop.commands.orders.record_payment("o1", "pay_1", None, "api")
    assert await shop.hears("payment_succeeded", "succeeded", 10_300) == DONE
    assert (await shop.order()).collected == 10_300


@pytest.mark.parametrize(
    ("event_type", "status", "received"),
    [
        ("payment_captured", "partially_captured", 6_000),
        ("payment_succeeded", "succeeded", 10_300),
        ("payment_succeeded", "succeeded", 10_199),
    ],
)
async def test_other_amount_after_payment_names_both_amounts(
    shop: Shop, event_type: str, status: str, received: int
) -> None:
    await shop.hears("payment_succeeded", "succeeded", 10_200)
    result = await shop.hears(event_type, status, received)
    assert_alarm(result, f"{received} EUR", "10200 EUR are recorded")
    assert (await shop.order()).collected == 10_200


async def test_other_amount_is_old_if_the_psp_shows_the_recorded(shop: Shop) -> None:
    await shop.hears("payment_succeeded", "succeeded", 10_200)
    shop.psp.shown = PaymentAtPsp("pay_1", 10_000, "EUR", "succeeded", amount_received=10_200)
    assert isinstance(await shop.hears("payment_captured", "partially_captured", 6_000), Ignored)


@pytest.mark.parametrize("received", [6_000, 10_000, 10_300])
async def test_second_payment_of_a_paid_order_is_never_taken_for_the_first(
    shop: Shop, received: int
) -> None:
    await shop.hears("payment_succeeded", "succeeded", 10_000)
    shop.psp.shown = PaymentAtPsp("pay_2", 10_000, "EUR", "succeeded", amount_received=10_000)
    second = await shop.hears("payment_captured", "succeeded", received, payment_id="pay_2")
    assert_alarm(second, "payment_id")
    unclear = await shop.hears("payment_conflicted", "conflicted", received, payment_id="pay_2")
    assert isinstance(unclear, Parked)


async def test_corrected_amount_ends_the_wait(shop: Shop) -> None:
    await shop.hears("payment_succeeded", "succeeded", 10_000)
    assert_alarm(await shop.hears("payment_succeeded", "succeeded", 10_300))
    await shop.commands.orders.correct_collected("o1", 10_300, "api")
    assert await shop.hears("payment_succeeded", "succeeded", 10_300) == DONE


async def test_void_after_payment_holds_unsent_transfers(shop: Shop) -> None:
    await shop.hears("payment_succeeded", "succeeded", 10_300)
    shop.psp.shown = PaymentAtPsp("pay_1", 10_000, "EUR", "succeeded", amount_received=10_300)
    void = ("payment_cancelled_post_capture", "cancelled_post_capture", 10_300)
    assert await shop.hears(*void) == DONE
    order = await shop.order()
    assert order.doubt is not None
    assert "103.00 EUR" in order.doubt
    (transfer_id,) = order.transfer_ids()
    transfer = await shop.commands.operator.transfer(transfer_id)
    assert transfer.held == order.doubt
    version = order.version
    assert await shop.hears(*void) == DONE
    assert (await shop.order()).version == version, "a repetition does nothing"


async def test_void_after_a_failure_is_told_again(shop: Shop) -> None:
    await shop.hears("payment_succeeded", "succeeded", 10_000)
    await shop.hears("payment_failed", "failed", 0)
    await shop.hears("payment_cancelled_post_capture", "cancelled_post_capture", 0)
    assert (await shop.order()).doubted_as == {"failed", "cancelled_post_capture"}


async def test_void_before_the_report_of_success_pays_nothing(shop: Shop) -> None:
    void = ("payment_cancelled_post_capture", "cancelled_post_capture", 0)
    assert await shop.hears(*void) == DONE
    assert_alarm(await shop.hears("payment_succeeded", "succeeded", 10_000), "cancelled after its")
    assert not (await shop.order()).paid
    part = ("payment_captured", "partially_captured", 6_000)
    assert isinstance(await shop.hears(*part), Ignored)


@pytest.mark.parametrize("ended", ["cancelled", "expired", "failed"])
async def test_end_without_money_holds_a_paid_order_only(shop: Shop, ended: str) -> None:
    assert isinstance(await shop.hears(f"payment_{ended}", ended, 0), Ignored)
    await shop.hears("payment_succeeded", "succeeded", 10_000)
    assert await shop.hears(f"payment_{ended}", ended, 0) == DONE
    doubt = (await shop.order()).doubt
    assert doubt is not None
    assert f"reported as {ended}" in doubt


@pytest.mark.parametrize("event_type", sorted(HARMLESS))
async def test_harmless_event_is_ignored(shop: Shop, event_type: str) -> None:
    assert isinstance(await shop.hears(event_type, "processing", 10_000), Ignored)
    assert isinstance(await shop.again("evt_x", event_type, b'{"content": {}}'), Ignored)


@pytest.mark.parametrize("status", sorted(STATUSES))
async def test_other_payment_event_counts_by_its_status(shop: Shop, status: str) -> None:
    result = await shop.hears("payment_sung", status, 6_000)
    silent = isinstance(result, Ignored)
    assert silent == (STATUSES[status] in (Collected.NOTHING_YET, Collected.ENDED))


async def test_surcharge_events_alarm_for_a_known_order_only(shop: Shop) -> None:
    surcharge = ("surcharge_payment_succeeded", "succeeded", 300)
    assert_alarm(await shop.hears(*surcharge), "a surcharge of 300 EUR")
    foreign: dict[str, Any] = {"metadata": {"order_id": "another"}, "payment_id": "pay_2"}
    assert isinstance(await shop.hears("surcharge_payment_succeeded", "", 300, **foreign), Ignored)
    refund = {"refund_id": "ref_1"}
    result = await shop.hears("surcharge_refund_succeeded", "succeeded", None, **refund)
    assert isinstance(result, Parked)
    assert result.alarm is WebhookAlarm.REFUND_DISAGREES


async def test_part_of_an_unknown_order_waits_for_the_order(shop: Shop) -> None:
    foreign: dict[str, Any] = {"metadata": {"order_id": "another"}, "payment_id": "pay_2"}
    parked = await shop.hears("payment_captured", "partially_captured", 6_000, **foreign)
    assert isinstance(parked, Parked)
    assert (parked.subject, parked.alarm) == ("order:another", None)


async def test_refund_above_an_unpaid_order_waits_for_the_payment(shop: Shop) -> None:
    refund = {"refund_id": "ref_1", "amount": 10_300}
    waits = await shop.hears("refund_succeeded", "succeeded", None, **refund)
    assert isinstance(waits, Parked)
    assert waits.subject == "order:o1"
    await shop.hears("payment_succeeded", "succeeded", 10_300)
    assert await shop.hears("refund_succeeded", "succeeded", None, **refund) == DONE
    assert (await shop.order()).seller_targets == {"anna": 9_000}
