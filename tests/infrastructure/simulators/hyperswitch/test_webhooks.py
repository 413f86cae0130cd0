"""Webhooks as Hyperswitch sends them: the same bytes and signature on each retry, each state
announced once, in no order."""

import asyncio
from collections.abc import Awaitable, Callable

import httpx
import pytest

from application.webhooks.hyperswitch.events import PAYMENT_EVENT, REFUND_EVENT
from infrastructure.hyperswitch.signature import verify
from infrastructure.signature_comparison import BadSignature
from infrastructure.simulators.hyperswitch import HyperswitchControl
from infrastructure.simulators.hyperswitch.webhooks import RETRY_SCHEDULE, WRONG_KEY
from tests.infrastructure.simulators.hyperswitch.conftest import MakePayment, MakeRefund
from tests.support.json_types import Json
from tests.support.webhook_receiver import WebhookReceiver

SECRET = "payment_response_hash_key"


@pytest.fixture
async def hook(
    control: HyperswitchControl, receiver: WebhookReceiver
) -> Callable[..., Awaitable[Json]]:
    """Register the receiver as the profile's webhook; return the function that changes it."""
    await control.webhook(url=receiver.url, secret=SECRET)
    return control.webhook


@pytest.fixture
async def paid(
    control: HyperswitchControl, hook: Callable[..., Awaitable[Json]], receiver: WebhookReceiver
) -> None:
    """Order o1 is paid, and its webhook has come."""
    await control.take_payment("o1", 5000, "USD", metadata={"order_id": "o1"})
    await control.webhooks_quiet()
    receiver.received.clear()


@pytest.fixture
async def refunded(api: httpx.AsyncClient, paid: None, refund_body: MakeRefund) -> None:
    """A refund r1 of order o1 is pending."""
    assert (await api.post("/refunds", json=refund_body())).status_code == 200


async def test_payment_event_has_envelope_of_intake(
    api: httpx.AsyncClient,
    hook: Callable[..., Awaitable[Json]],
    receiver: WebhookReceiver,
    payment_body: MakePayment,
) -> None:
    shown = (await api.post("/payments", json=payment_body(confirm=True))).json()
    events = {event["event_type"]: event for event in await receiver.has(2)}
    assert set(events) == {"payment_processing", "payment_succeeded"}
    event = events["payment_succeeded"]
    assert event["content"] == {"type": "payment_details", "object": shown}
    assert (event["merchant_id"], event["event_id"][:4]) == ("merchant_sim", "evt_")
    read = PAYMENT_EVENT.validate_python(event)
    assert (read.content.object.amount_received, read.content.object.named_orders) == (5000, ["o1"])


async def test_refund_event_has_envelope_of_intake(
    control: HyperswitchControl, refunded: None, receiver: WebhookReceiver
) -> None:
    shown = await control.settle_refund("r1", "succeeded")
    (event,) = await receiver.has(1)
    assert event["content"] == {"type": "refund_details", "object": shown}
    read = REFUND_EVENT.validate_python(event)
    assert (
        read.content.object.refund_id,
        read.content.object.status,
        read.content.object.named_order,
    ) == (
        "r1",
        "succeeded",
        "o1",
    )


async def test_signature_covers_exact_bytes(
    control: HyperswitchControl, refunded: None, receiver: WebhookReceiver
) -> None:
    await control.settle_refund("r1", "succeeded")
    await receiver.has(1)
    (heard,) = receiver.received
    verify(heard.body, heard.signature, [SECRET])
    with pytest.raises(BadSignature):
        verify(heard.body + b" ", heard.signature, [SECRET])


def test_retries_are_sixteen_over_a_day() -> None:
    minutes = [seconds / 60 for seconds in RETRY_SCHEDULE]
    assert minutes == [1, 5, 5, 10, 10, 10, 10, 10, 60, 60, 60, 60, 60, 360, 360, 360]
    assert 24 * 60 <= sum(minutes) < 24 * 60 + 2


async def test_retries_send_same_bytes_then_stop(
    control: HyperswitchControl,
    hook: Callable[..., Awaitable[Json]],
    refunded: None,
    receiver: WebhookReceiver,
) -> None:
    await hook(knobs={"retry_factor": 1e-7})
    receiver.answers = [500] * 99
    await control.settle_refund("r1", "succeeded")
    await control.webhooks_quiet()
    assert len(receiver.received) == 17
    assert len(set(receiver.received)) == 1
    outcomes = [
        delivery["outcome"]
        for delivery in await control.deliveries()
        if delivery["type"] == "refund_succeeded"
    ]
    assert outcomes == ["failed"] * 16 + ["given_up"]


async def test_delivery_stops_after_2xx(
    control: HyperswitchControl,
    hook: Callable[..., Awaitable[Json]],
    refunded: None,
    receiver: WebhookReceiver,
) -> None:
    await hook(knobs={"retry_factor": 1e-7})
    receiver.answers = [500, 302, 204]
    await control.settle_refund("r1", "succeeded")
    await control.webhooks_quiet()
    assert len(receiver.received) == 3


async def test_silent_receiver_has_five_seconds(
    control: HyperswitchControl,
    hook: Callable[..., Awaitable[Json]],
    refunded: None,
    receiver: WebhookReceiver,
) -> None:
    assert (await hook())["knobs"]["timeout"] == 5
    await hook(knobs={"timeout": 0.05, "retry_factor": 1e-7})
    receiver.answers = [None, 200]
    await control.settle_refund("r1", "succeeded")
    await control.webhooks_quiet()
    assert len(receiver.received) == 2


async def test_rotated_key_signs_only_new_events(
    control: HyperswitchControl,
    hook: Callable[..., Awaitable[Json]],
    refunded: None,
    receiver: WebhookReceiver,
) -> None:
    receiver.answers = [500]
    await control.settle_refund("r1", "succeeded")
    await receiver.has(1)
    await hook(secret="the_new_key", knobs={"retry_factor": 1e-7})
    await control.settle_refund("r1", "failed")
    await receiver.has(2)
    await (
        control.flush_webhooks()
    )  # the retry waits a minute otherwise: it was queued before the factor changed
    await receiver.has(3)
    by_type = {heard.event["event_type"]: heard for heard in receiver.received}
    verify(by_type["refund_succeeded"].body, by_type["refund_succeeded"].signature, [SECRET])
    verify(by_type["refund_failed"].body, by_type["refund_failed"].signature, ["the_new_key"])


async def test_object_state_is_announced_once(
    control: HyperswitchControl, refunded: None, receiver: WebhookReceiver
) -> None:
    for status in ("succeeded", "failed", "succeeded", "review", "failed"):
        await control.settle_refund("r1", status)
    await control.webhooks_quiet()
    assert sorted(receiver.types) == ["refund_failed", "refund_review", "refund_succeeded"]


async def test_pending_state_is_not_announced(
    control: HyperswitchControl, refunded: None, receiver: WebhookReceiver
) -> None:
    await control.settle_refund("r1", "pending")
    await control.webhooks_quiet()
    assert receiver.received == []


async def test_webhook_can_precede_the_answer(
    api: httpx.AsyncClient,
    control: HyperswitchControl,
    paid: None,
    receiver: WebhookReceiver,
    refund_body: MakeRefund,
) -> None:
    await control.let("refunds", "succeeded")
    await control.hold("refunds.create", "after_commit")
    call = asyncio.create_task(api.post("/refunds", json=refund_body()))
    (event,) = await receiver.has(1)
    assert (event["event_type"], call.done()) == ("refund_succeeded", False)
    await control.release()
    assert (await call).json()["status"] == "succeeded"


async def test_lost_webhook_is_found_only_by_look_up(
    api: httpx.AsyncClient,
    control: HyperswitchControl,
    hook: Callable[..., Awaitable[Json]],
    refunded: None,
    receiver: WebhookReceiver,
) -> None:
    await hook(knobs={"drop": ["refund_*"]})
    await control.settle_refund("r1", "succeeded")
    await control.webhooks_quiet()
    assert receiver.received == []
    assert (await control.deliveries())[-1]["outcome"] == "dropped"
    assert (await api.get("/refunds/r1?force_sync=true")).json()["status"] == "succeeded"


async def test_lost_webhook_can_be_sent_later(
    control: HyperswitchControl,
    hook: Callable[..., Awaitable[Json]],
    refunded: None,
    receiver: WebhookReceiver,
) -> None:
    await hook(knobs={"drop": ["refund_*"]})
    await control.settle_refund("r1", "succeeded")
    await control.resend((await control.events())[-1]["event_id"])
    await receiver.has(1)
    verify(receiver.received[0].body, receiver.received[0].signature, [SECRET])


async def test_refund_can_succeed_without_webhook(
    api: httpx.AsyncClient, control: HyperswitchControl, refunded: None
) -> None:
    await control.settle_refund("r1", "succeeded", announce=False)
    assert (await api.get("/refunds/r1")).json()["status"] == "succeeded"
    assert [event["event_type"] for event in await control.events()] == ["payment_succeeded"]


async def test_refund_can_fail_after_success(
    control: HyperswitchControl, refunded: None, receiver: WebhookReceiver
) -> None:
    await control.settle_refund("r1", "succeeded")
    await receiver.has(1)
    await control.settle_refund("r1", "failed", error_code="bank", error_message="The bank refused")
    _, failed = await receiver.has(2)
    assert failed["event_type"] == "refund_failed"
    assert failed["content"]["object"]["error_message"] == "The bank refused"


async def test_payment_webhook_can_follow_refund_webhooks(
    api: httpx.AsyncClient,
    control: HyperswitchControl,
    hook: Callable[..., Awaitable[Json]],
    receiver: WebhookReceiver,
    refund_body: MakeRefund,
) -> None:
    await hook(knobs={"paused": True})
    await control.take_payment("o1", 5000, "USD")
    await control.let("refunds", "succeeded")
    await api.post("/refunds", json=refund_body())
    assert await control.flush_webhooks(types="refund_*") == 1
    await receiver.has(1)
    assert await control.flush_webhooks() == 1
    await receiver.has(2)
    assert receiver.types == ["refund_succeeded", "payment_succeeded"]


async def test_unknown_event_type_is_signed(
    control: HyperswitchControl, hook: Callable[..., Awaitable[Json]], receiver: WebhookReceiver
) -> None:
    await control.announce("refund_reconsidered", "refund_details", {"refund_id": "r1"}, "r1")
    (event,) = await receiver.has(1)
    assert (event["event_type"], event["content"]["object"]) == (
        "refund_reconsidered",
        {"refund_id": "r1"},
    )
    verify(receiver.received[0].body, receiver.received[0].signature, [SECRET])
    assert await control.announce("refund_reconsidered", "refund_details", {}, "r1") is None


async def test_members_of_later_version_are_ignored_by_intake(
    control: HyperswitchControl,
    hook: Callable[..., Awaitable[Json]],
    refunded: None,
    receiver: WebhookReceiver,
) -> None:
    await hook(knobs={"extra_fields": True})
    await control.settle_refund("r1", "succeeded")
    (event,) = await receiver.has(1)
    assert "a_member_of_a_later_version" in event["content"]["object"]
    assert REFUND_EVENT.validate_python(event).content.object.refund_id == "r1"


async def test_signature_can_be_missing_or_foreign(
    control: HyperswitchControl,
    hook: Callable[..., Awaitable[Json]],
    refunded: None,
    receiver: WebhookReceiver,
) -> None:
    await hook(knobs={"unsigned": 1})
    await control.settle_refund("r1", "review")
    await receiver.has(1)
    await hook(knobs={"bad_signatures": 1})
    await control.settle_refund("r1", "failed")
    await receiver.has(2)
    await control.settle_refund("r1", "succeeded")
    await receiver.has(3)
    unsigned, forged, good = receiver.received
    assert unsigned.signature is None
    verify(forged.body, forged.signature, [WRONG_KEY])
    verify(good.body, good.signature, [SECRET])


async def test_event_without_key_is_unsigned(
    control: HyperswitchControl,
    hook: Callable[..., Awaitable[Json]],
    refunded: None,
    receiver: WebhookReceiver,
) -> None:
    await hook(secret=None)
    await control.settle_refund("r1", "succeeded")
    await receiver.has(1)
    assert receiver.received[0].signature is None


async def test_event_can_be_sent_twice(
    control: HyperswitchControl,
    hook: Callable[..., Awaitable[Json]],
    refunded: None,
    receiver: WebhookReceiver,
) -> None:
    await hook(knobs={"duplicates": 1})
    await control.settle_refund("r1", "succeeded")
    await receiver.has(2)
    assert receiver.received[0] == receiver.received[1]


@pytest.mark.parametrize("end", ["won", "lost", "accepted", "expired", "cancelled"])
async def test_dispute_is_announced_from_opening_to_end(
    control: HyperswitchControl, paid: None, receiver: WebhookReceiver, end: str
) -> None:
    dispute = await control.open_dispute("o1", 2000)
    await receiver.has(1)
    await control.settle_dispute(dispute, "challenged")
    await receiver.has(2)
    await control.settle_dispute(dispute, end)
    *_, last = await receiver.has(3)
    assert receiver.types == ["dispute_opened", "dispute_challenged", f"dispute_{end}"]
    assert last["content"]["type"] == "dispute_details"
    assert (last["content"]["object"]["payment_id"], last["content"]["object"]["amount"]) == (
        "o1",
        "2000",
    )
    assert last["content"]["object"]["dispute_status"] == f"dispute_{end}"
