"""Webhooks as Stripe sends them: signed, at least once, in no promised order, and as badly as a
test wants."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, cast

import pytest
import stripe

from infrastructure.simulators.stripe import (
    KIND,
    ControlRefused,
    SimulatorConfig,
    SimulatorControl,
)
from tests.infrastructure.simulators.stripe.conftest import StripeCaller, WaitFor
from tests.support.webhook_receiver import WebhookReceiver

SECRET = "whsec_now"


@pytest.fixture
async def receiver() -> AsyncIterator[WebhookReceiver]:
    receiver = WebhookReceiver("Stripe-Signature")
    await receiver.start()
    yield receiver
    await receiver.stop()


@pytest.fixture
def listen(control: SimulatorControl, receiver: WebhookReceiver) -> Callable[..., Awaitable[str]]:
    """Register the listener with settings and knobs; returns the endpoint's id."""

    async def register(
        secrets: Sequence[str] = (SECRET,),
        types: list[str] | None = None,
        connect: bool = False,
        payload: str = "snapshot",
        **knobs: object,
    ) -> str:
        return await control.add_webhook_endpoint(
            receiver.url, list(secrets), types, connect, payload=payload, knobs=knobs
        )

    return register


@pytest.fixture
def config() -> SimulatorConfig:
    """Signatures are checked against real time."""
    return SimulatorConfig(manners=KIND)


async def test_transfer_event_has_key_of_its_call(
    api: StripeCaller, receiver: WebhookReceiver, listen: Callable[..., Awaitable[str]]
) -> None:
    await listen()
    made = await api.transfer(key="k1")
    (event,) = await receiver.has(1)
    assert event["type"] == "transfer.created"
    assert event["data"] == {"object": made.json()}
    assert event["request"] == {"id": made.headers["request-id"], "idempotency_key": "k1"}
    assert (event["object"], event["livemode"], event["pending_webhooks"]) == ("event", False, 1)
    assert event["api_version"] == "2026-10-28.endive"
    assert "account" not in event


async def test_signature_is_accepted_by_sdk(
    api: StripeCaller, receiver: WebhookReceiver, listen: Callable[..., Awaitable[str]]
) -> None:
    await listen()
    await api.made()
    await receiver.has(1)
    (heard,) = receiver.received
    event = stripe.Webhook.construct_event(heard.body, heard.signature, SECRET)
    assert event.type == "transfer.created"
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.Webhook.construct_event(heard.body, heard.signature, "whsec_other")


async def test_rotation_signs_with_each_secret(
    api: StripeCaller, receiver: WebhookReceiver, listen: Callable[..., Awaitable[str]]
) -> None:
    await listen(secrets=["whsec_old", "whsec_new"])
    await api.made()
    await receiver.has(1)
    (heard,) = receiver.received
    for secret in ("whsec_old", "whsec_new"):
        assert stripe.WebhookSignature.verify_header(
            heard.body.decode(), heard.signature, secret, 300
        )


async def test_reversal_event_shows_previous_attributes(
    api: StripeCaller, receiver: WebhookReceiver, listen: Callable[..., Awaitable[str]]
) -> None:
    await listen(types=["transfer.reversed"])
    transfer = await api.made()
    reversal = (await api.reverse(transfer["id"], 400, key="r1")).json()
    (event,) = await receiver.has(1)
    assert (event["data"]["object"]["object"], event["data"]["object"]["amount_reversed"]) == (
        "transfer",
        400,
    )
    assert event["data"]["object"]["reversals"]["data"] == [reversal]
    assert event["data"]["previous_attributes"] == {"amount_reversed": 0}


async def test_update_event_shows_old_metadata(
    api: StripeCaller, receiver: WebhookReceiver, listen: Callable[..., Awaitable[str]]
) -> None:
    await listen(types=["transfer.updated"])
    transfer = await api.made(**{"metadata[a]": "1"})
    for value in ("1", "2"):
        await api.post(f"/v1/transfers/{transfer['id']}", {"metadata[a]": value})
    (event,) = await receiver.has(1)
    assert event["data"]["previous_attributes"] == {"metadata": {"a": "1"}}


async def test_event_shows_its_object_of_that_time(
    api: StripeCaller,
    control: SimulatorControl,
    receiver: WebhookReceiver,
    listen: Callable[..., Awaitable[str]],
) -> None:
    await listen(paused=True)
    transfer = await api.made()
    await api.reverse(transfer["id"])
    await control.flush_webhooks()
    events = {event["type"]: event for event in await receiver.has(2)}
    assert events["transfer.created"]["data"]["object"]["amount_reversed"] == 0
    assert events["transfer.reversed"]["data"]["object"]["amount_reversed"] == 2000


async def test_seller_events_go_to_connect_endpoints(
    api: StripeCaller,
    control: SimulatorControl,
    receiver: WebhookReceiver,
    listen: Callable[..., Awaitable[str]],
) -> None:
    await listen(connect=True)
    await api.made()
    await control.change_account("acct_seller", transfers_capability="inactive")
    await control.pay_out("acct_seller", "usd")
    events = await receiver.has(4)
    assert sorted(event["type"] for event in events) == [
        "account.updated",
        "capability.updated",
        "payout.created",
        "payout.paid",
    ]
    assert {event["account"] for event in events} == {"acct_seller"}


async def test_arriving_funds_and_leaving_seller_are_announced(
    control: SimulatorControl, receiver: WebhookReceiver, listen: Callable[..., Awaitable[str]]
) -> None:
    await listen()
    await listen(connect=True)
    await control.fund("usd", 5)
    await control.change_account("acct_seller")
    await control.change_account("acct_seller", revoked=True)
    types = {event["type"] for event in await receiver.has(3)}
    assert {"balance.available", "account.application.deauthorized"} <= types


async def test_any_event_can_be_announced(
    control: SimulatorControl, receiver: WebhookReceiver, listen: Callable[..., Awaitable[str]]
) -> None:
    await listen()
    dispute = {"id": "dp_1", "object": "dispute", "amount": 1000}
    await control.announce(
        "charge.dispute.funds_withdrawn", dispute, previous_attributes={"status": "x"}
    )
    (event,) = await receiver.has(1)
    assert event["data"] == {"object": dispute, "previous_attributes": {"status": "x"}}


async def test_refused_delivery_is_retried_until_taken(
    api: StripeCaller,
    control: SimulatorControl,
    receiver: WebhookReceiver,
    listen: Callable[..., Awaitable[str]],
) -> None:
    receiver.answers = [500, 302, 404]
    await listen(retry_factor=1e-5)
    await api.made()
    events = await receiver.has(4)
    assert len({event["id"] for event in events}) == 1
    await control.webhooks_quiet()
    outcomes = [
        (each["attempt"], each["outcome"], each["status"]) for each in await control.deliveries()
    ]
    assert outcomes == [
        (1, "failed", 500),
        (2, "failed", 302),
        (3, "failed", 404),
        (4, "delivered", 200),
    ]


async def test_event_is_given_up_after_last_retry(
    api: StripeCaller,
    control: SimulatorControl,
    receiver: WebhookReceiver,
    listen: Callable[..., Awaitable[str]],
) -> None:
    receiver.answers = [500] * 3
    await listen(retry_schedule=[0.001, 0.001])
    await api.made()
    await control.webhooks_quiet()
    assert [each["outcome"] for each in await control.deliveries()] == [
        "failed",
        "failed",
        "given_up",
    ]


async def test_unreachable_endpoint_is_retried(
    api: StripeCaller,
    control: SimulatorControl,
    receiver: WebhookReceiver,
    listen: Callable[..., Awaitable[str]],
    eventually: WaitFor,
) -> None:
    await listen(retry_schedule=[0.05] * 5)
    await receiver.stop()
    await api.made()
    await eventually(control.deliveries)
    assert (await control.deliveries())[0]["status"] is None
    await control.remove_webhook_endpoint("we_1Qsim00000001")


async def test_duplicates_repeat_event_and_twins_repeat_change(
    api: StripeCaller, receiver: WebhookReceiver, listen: Callable[..., Awaitable[str]]
) -> None:
    await listen(duplicates=2, twin_events=True)
    transfer = await api.made()
    events = await receiver.has(6)
    assert len({event["id"] for event in events}) == 2
    assert {event["data"]["object"]["id"] for event in events} == {transfer["id"]}


async def test_dropped_event_never_arrives(
    api: StripeCaller,
    control: SimulatorControl,
    receiver: WebhookReceiver,
    listen: Callable[..., Awaitable[str]],
) -> None:
    await listen(drop=["transfer.created"])
    transfer = await api.made()
    await api.reverse(transfer["id"])
    assert [event["type"] for event in await receiver.has(1)] == ["transfer.reversed"]
    assert [each["outcome"] for each in await control.deliveries()] == ["dropped", "delivered"]


async def test_bad_signature_or_old_timestamp_is_refused_by_sdk(
    api: StripeCaller,
    control: SimulatorControl,
    receiver: WebhookReceiver,
    listen: Callable[..., Awaitable[str]],
) -> None:
    endpoint = await listen(bad_signatures=1, concurrency=1)
    await api.made()
    await receiver.has(1)
    await control.change_webhook_endpoint(endpoint, knobs={"old_timestamps": 1})
    await api.made()
    await receiver.has(2)
    await api.made()
    await receiver.has(3)
    for heard in receiver.received[:2]:
        with pytest.raises(stripe.SignatureVerificationError):
            stripe.Webhook.construct_event(heard.body, heard.signature, SECRET)
    stripe.Webhook.construct_event(
        receiver.received[1].body, receiver.received[1].signature, SECRET, tolerance=0
    )
    stripe.Webhook.construct_event(
        receiver.received[2].body, receiver.received[2].signature, SECRET
    )


async def test_shuffled_flush_follows_its_seed(
    api: StripeCaller,
    control: SimulatorControl,
    receiver: WebhookReceiver,
    listen: Callable[..., Awaitable[str]],
) -> None:
    await listen(paused=True, concurrency=1)
    orders = []
    for seed in (3, 3, 4):
        made = [(await api.made())["id"] for _ in range(6)]
        receiver.received.clear()
        await control.flush_webhooks(shuffle_seed=seed)
        heard = [event["data"]["object"]["id"] for event in await receiver.has(6)]
        orders.append([made.index(id_) for id_ in heard])
    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[2]) == list(range(6))


async def test_paused_endpoint_stays_paused_after_flush(
    api: StripeCaller,
    control: SimulatorControl,
    receiver: WebhookReceiver,
    listen: Callable[..., Awaitable[str]],
) -> None:
    await listen(paused=True)
    assert await control.flush_webhooks() == 0
    await api.made()
    with pytest.raises(TimeoutError, match="1 deliveries"):
        await control.webhooks_quiet(timeout=0.05)
    assert receiver.received == []


async def test_reorder_window_and_delay_postpone_deliveries(
    api: StripeCaller,
    control: SimulatorControl,
    receiver: WebhookReceiver,
    listen: Callable[..., Awaitable[str]],
) -> None:
    await listen(delay=0.05, reorder_window=0.05)
    began = asyncio.get_running_loop().time()
    for _ in range(5):
        await api.made()
    await receiver.has(5)
    assert asyncio.get_running_loop().time() - began >= 0.05
    await control.webhooks_quiet()


async def test_thin_event_names_object_readable_by_sdk(
    api: StripeCaller,
    sdk: stripe.StripeClient,
    receiver: WebhookReceiver,
    listen: Callable[..., Awaitable[str]],
) -> None:
    await listen(payload="thin")
    transfer = (await api.transfer(key="k1")).json()
    await receiver.has(1)
    (heard,) = receiver.received
    notification = sdk.parse_event_notification(heard.body, heard.signature, SECRET)
    shown = cast(Any, notification)  # the SDK has no class for this type of event
    assert (shown.type, shown.related_object.id) == ("v1.transfer.created", transfer["id"])
    assert shown.reason.request.idempotency_key == "k1"


async def test_thin_event_without_request_has_no_reason(
    control: SimulatorControl, receiver: WebhookReceiver, listen: Callable[..., Awaitable[str]]
) -> None:
    await listen(payload="thin", concurrency=1)
    await listen(payload="thin", connect=True, types=["capability.updated"])
    await control.fund("usd", 5)
    await receiver.has(1)
    await control.change_account("acct_seller", transfers_capability="inactive")
    events = await receiver.has(2)
    assert [event["reason"] for event in events] == [None, None]
    assert [event["related_object"]["url"] for event in events] == [
        "/v1/balance",
        "/v1/accounts/acct_seller/capabilities/transfers",
    ]


async def test_call_without_change_announces_nothing(
    api: StripeCaller,
    control: SimulatorControl,
    receiver: WebhookReceiver,
    listen: Callable[..., Awaitable[str]],
) -> None:
    await listen()
    await api.transfer(key="k1")
    await api.transfer(key="k1")
    await api.transfer(amount=0)
    await control.drain("usd")
    await api.transfer(key="k2")
    await control.webhooks_quiet()
    assert len(receiver.received) == 1


async def test_endpoints_are_listed_changed_and_removed(
    api: StripeCaller,
    control: SimulatorControl,
    receiver: WebhookReceiver,
    listen: Callable[..., Awaitable[str]],
) -> None:
    endpoint = await listen()
    await control.change_webhook_endpoint(endpoint, types=["payout.*"])
    await api.made()
    await control.webhooks_quiet()
    await control.remove_webhook_endpoint(endpoint)
    with pytest.raises(ControlRefused, match="there is no"):
        await control.change_webhook_endpoint(endpoint, types=["*"])
    with pytest.raises(ControlRefused):
        await listen(volume=11)
    assert receiver.received == []
