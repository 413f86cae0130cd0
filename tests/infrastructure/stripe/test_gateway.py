"""The gateway to Stripe: requests, successes, and connections."""

import asyncio
from urllib.parse import parse_qsl

import pytest
import stripe as sdk

from domain.provider_call.outcome import (
    Pending,
    Rejected,
    ReversalOutcome,
    Succeeded,
    Unknown,
)
from domain.provider_call.request_body import TransferBody
from infrastructure.stripe.gateway import StripeGateway
from tests.infrastructure.stripe.conftest import OpenGateway
from tests.support.fault_server import FaultServer
from tests.support.json_types import Json

BODY: TransferBody = {
    "amount": 2000,
    "currency": "usd",
    "destination": "acct_1",
    "transfer_group": "o1",
    "metadata": {"transfer_id": "t1", "order_id": "o1", "seller_id": "s1"},
    "source_transaction": "ch_1",
}
TRANSFER = {
    "id": "tr_1",
    "object": "transfer",
    "amount": 2000,
    "currency": "usd",
    "destination": "acct_1",
}
REVERSAL = {
    "id": "trr_1",
    "object": "transfer_reversal",
    "amount": 400,
    "currency": "usd",
    "transfer": "tr_1",
}


async def test_transfer_is_sent_as_frozen(stripe: FaultServer, gateway: StripeGateway) -> None:
    stripe.answers(200, TRANSFER)
    assert await gateway.create(BODY, "transfer:t1:e1") == Succeeded("tr_1", 2000, "req_1")
    [request] = stripe.requests
    assert (request.method, request.path) == ("POST", "/v1/transfers")
    assert dict(parse_qsl(request.body)) == {
        "amount": "2000",
        "currency": "usd",
        "destination": "acct_1",
        "transfer_group": "o1",
        "metadata[transfer_id]": "t1",
        "metadata[order_id]": "o1",
        "metadata[seller_id]": "s1",
        "source_transaction": "ch_1",
    }
    assert request.headers["idempotency-key"] == "transfer:t1:e1"
    assert request.headers["stripe-version"] == sdk.api_version


async def test_sdk_telemetry_is_not_sent(
    stripe: FaultServer, gateway_at: OpenGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sdk, "enable_telemetry", True)  # as it is when the SDK is imported
    gateway = await gateway_at(stripe.url)
    stripe.answers(200, TRANSFER)
    for number in range(2):  # the second call would report on the first
        await gateway.create(BODY, f"k{number}")
    for request in stripe.requests:
        assert "x-stripe-client-telemetry" not in request.headers
        assert "telemetry_id" not in request.headers["x-stripe-client-user-agent"]


async def test_reversal_is_sent_to_its_transfer(
    stripe: FaultServer, gateway: StripeGateway
) -> None:
    stripe.answers(200, REVERSAL)
    outcome = await gateway.reverse(
        "tr_1", 400, "broken cup", "reversal:r1:e2", {"reversal_id": "r1"}
    )
    assert outcome == Succeeded("trr_1", 400, "req_1")
    [request] = stripe.requests
    assert (request.method, request.path) == ("POST", "/v1/transfers/tr_1/reversals")
    assert dict(parse_qsl(request.body)) == {
        "amount": "400",
        "description": "broken cup",
        "metadata[reversal_id]": "r1",
    }
    assert request.headers["idempotency-key"] == "reversal:r1:e2"


async def test_reason_refused_by_stripe_is_omitted_or_cut(
    stripe: FaultServer, gateway: StripeGateway
) -> None:
    stripe.answers(200, REVERSAL)
    await gateway.reverse("tr_1", 400, "", "k")
    await gateway.reverse("tr_1", 400, "é" * 5001, "k")
    empty, long = [dict(parse_qsl(request.body)) for request in stripe.requests]
    assert empty == {"amount": "400"}
    assert long["description"] == "é" * 5000


@pytest.mark.parametrize("key", ["", "k" * 256])
async def test_call_without_usable_key_is_not_sent(
    stripe: FaultServer, gateway: StripeGateway, key: str
) -> None:
    with pytest.raises(ValueError, match="idempotency key"):
        await gateway.create(BODY, key)
    with pytest.raises(ValueError, match="idempotency key"):
        await gateway.reverse("tr_1", 400, "refund", key)
    assert stripe.requests == []


async def test_call_without_transfer_is_not_sent(
    stripe: FaultServer, gateway: StripeGateway
) -> None:
    with pytest.raises(ValueError, match="empty"):
        await gateway.reverse("", 400, "refund", "k")
    with pytest.raises(ValueError, match="empty"):
        await gateway.get_transfer("")
    assert stripe.requests == []


@pytest.mark.parametrize(("value", "replayed"), [("true", True), ("false", False)])
async def test_replayed_success_is_marked(
    stripe: FaultServer, gateway: StripeGateway, value: str, replayed: bool
) -> None:
    stripe.answers(200, TRANSFER, {"Idempotent-Replayed": value})
    assert await gateway.create(BODY, "k") == Succeeded("tr_1", 2000, "req_1", replayed)


@pytest.mark.parametrize(
    "body", [BODY, {**BODY, "currency": "USD"}], ids=["lower case", "upper case"]
)
async def test_currency_case_is_ignored(
    stripe: FaultServer, gateway: StripeGateway, body: TransferBody
) -> None:
    stripe.answers(200, TRANSFER)
    assert isinstance(await gateway.create(body, "k"), Succeeded)


DISAGREEMENTS = {
    "prefix": {"id": "trr_1"},
    "nothing but a prefix": {"id": "tr_"},
    "no id": {"id": None},
    "id too long": {"id": "tr_" + "x" * 253},
    "id with a control character": {"id": "tr_\x00"},
    "object": {"object": "payout"},
    "amount": {"amount": 1999},
    "amount as text": {"amount": "2000"},
    "amount as fraction": {"amount": 2000.0},
    "currency": {"currency": "eur"},
    "destination": {"destination": "acct_2"},
    "expanded destination": {"destination": {"id": "acct_1"}},
    "status": {"status": "pending"},
}


@pytest.mark.parametrize("change", DISAGREEMENTS.values(), ids=DISAGREEMENTS)
async def test_disagreeing_transfer_is_no_success(
    stripe: FaultServer, gateway: StripeGateway, change: Json
) -> None:
    stripe.answers(200, {**TRANSFER, **change})
    outcome = await gateway.create(BODY, "k")
    assert isinstance(outcome, Unknown)
    assert (outcome.why, outcome.status, outcome.request_id) == ("disagrees", 200, "req_1")
    assert f" {next(iter(change))} " in outcome.message


@pytest.mark.parametrize("field", ["id", "object", "amount", "currency", "destination"])
async def test_transfer_lacking_a_field_is_no_success(
    stripe: FaultServer, gateway: StripeGateway, field: str
) -> None:
    stripe.answers(200, {name: value for name, value in TRANSFER.items() if name != field})
    outcome = await gateway.create(BODY, "k")
    assert isinstance(outcome, Unknown)
    assert outcome.why == "disagrees"


@pytest.mark.parametrize(
    "change",
    [
        {"id": "tr_1"},
        {"object": "transfer"},
        {"amount": 399},
        {"transfer": "tr_2"},
    ],
    ids=lambda change: next(iter(change)),
)
async def test_disagreeing_reversal_is_no_success(
    stripe: FaultServer, gateway: StripeGateway, change: Json
) -> None:
    stripe.answers(200, {**REVERSAL, **change})
    outcome = await gateway.reverse("tr_1", 400, "refund", "k")
    assert isinstance(outcome, Unknown)
    assert outcome.why == "disagrees"


async def test_disagreement_names_field_expected_and_received(
    stripe: FaultServer, gateway: StripeGateway
) -> None:
    stripe.answers(200, {**TRANSFER, "amount": 1999})
    outcome = await gateway.create(BODY, "k")
    assert isinstance(outcome, Unknown)
    assert outcome.message == (
        "Stripe's answer disagrees with the request: amount of tr_1 should be 2000, but is 1999."
    )


async def test_hundred_calls_run_concurrently(stripe: FaultServer, gateway_at: OpenGateway) -> None:
    gateway = await gateway_at(stripe.url, max_concurrency=100)
    go = asyncio.Event()
    for _ in range(100):
        stripe.waits_for(go, b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n")
    calls = [asyncio.create_task(gateway.create(BODY, f"k{number}")) for number in range(100)]
    await stripe.saw(100)
    go.set()
    outcomes = await asyncio.gather(*calls)
    assert [outcome.why for outcome in outcomes if isinstance(outcome, Unknown)] == [
        "http_500"
    ] * 100


@pytest.mark.usefixtures("without_collector")
async def test_cancelled_call_returns_its_connection(
    stripe: FaultServer, gateway: StripeGateway
) -> None:
    stripe.hangs()
    call = asyncio.create_task(gateway.create(BODY, "k"))
    await stripe.saw(1)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await stripe.hung_up()


@pytest.mark.usefixtures("without_collector")
@pytest.mark.parametrize(
    "after", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{"], ids=["no answer", "half"]
)
async def test_endless_answer_times_out_and_returns_connection(
    stripe: FaultServer, gateway_at: OpenGateway, after: bytes
) -> None:
    gateway = await gateway_at(stripe.url, timeout=0.2)
    stripe.hangs(after)
    outcome = await gateway.create(BODY, "k")
    assert isinstance(outcome, Unknown)
    assert outcome.why == "timeout"
    await stripe.hung_up()


async def test_call_in_flight_is_unknown_when_gateway_closes(
    stripe: FaultServer, gateway: StripeGateway
) -> None:
    stripe.hangs()
    call = asyncio.create_task(gateway.create(BODY, "k"))
    await stripe.saw(1)
    await gateway.aclose()
    outcome = await call
    assert isinstance(outcome, Unknown)
    assert outcome.why == "connection"


async def test_gateway_may_be_closed_twice(gateway: StripeGateway) -> None:
    await gateway.aclose()
    await gateway.aclose()


async def test_connections_are_kept_and_cookies_are_not(
    stripe: FaultServer, gateway_at: OpenGateway
) -> None:
    gateway = await gateway_at(
        stripe.url.replace("127.0.0.1", "localhost")
    )  # cookies are never kept for bare addresses
    stripe.answers(200, TRANSFER, {"Set-Cookie": "a=b"})
    for number in range(3):
        await gateway.create(BODY, f"k{number}")
    assert stripe.connections == 1
    assert all("cookie" not in request.headers for request in stripe.requests)


@pytest.mark.parametrize(
    "arguments",
    [
        ("", "https://a", 1.0, 1),
        ("sk_x", "api.stripe.com", 1.0, 1),
        ("sk_x", "https://a", 0.0, 1),
        ("sk_x", "http://a", 1.0, 0),
    ],
    ids=["key", "url", "timeout", "concurrency"],
)
async def test_unusable_argument_is_refused_at_once(arguments: tuple[str, str, float, int]) -> None:
    with pytest.raises(ValueError, match="StripeGateway needs"):
        StripeGateway(*arguments)


async def test_base_url_may_end_with_slash(stripe: FaultServer, gateway_at: OpenGateway) -> None:
    gateway = await gateway_at(stripe.url + "/")
    stripe.answers(200, TRANSFER)
    assert isinstance(await gateway.create(BODY, "k"), Succeeded)
    assert stripe.requests[0].path == "/v1/transfers"


@pytest.mark.parametrize("name", ["transfer_id", "reversal_id", "ledger_id"])
async def test_answer_with_another_id_of_ours_is_no_success(
    stripe: FaultServer, gateway: StripeGateway, name: str
) -> None:
    """As when another ledger used the same key."""
    stripe.answers(200, {**REVERSAL, "metadata": {name: "another"}})
    outcome = await gateway.reverse("tr_1", 400, "refund", "k", {name: "ours"})
    assert isinstance(outcome, Unknown)
    assert (outcome.why, f"metadata {name}" in outcome.message) == ("disagrees", True)


@pytest.mark.parametrize("metadata", [{"ledger_id": "ours"}, {}, None, {"ledger_id": None}])
async def test_answer_without_metadata_is_not_compared(
    stripe: FaultServer, gateway: StripeGateway, metadata: Json | None
) -> None:
    stripe.answers(200, {**REVERSAL, "metadata": metadata})
    outcome = await gateway.reverse("tr_1", 400, "refund", "k", {"ledger_id": "ours"})
    assert isinstance(outcome, Succeeded)


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        ({"status": "succeeded"}, Succeeded("trr_1", 400, "req_1")),
        ({"status": None}, Succeeded("trr_1", 400, "req_1")),
        ({"status": "pending"}, Pending("trr_1", 400, "req_1")),
        ({"status": "invented_tomorrow"}, Pending("trr_1", 400, "req_1")),
        (
            {"status": "failed", "failure_reason": "insufficient_funds"},
            Rejected(
                200,
                "reversal_failed",
                "Stripe's trr_1 is failed: insufficient_funds",
                True,
                request_id="req_1",
                says_no_funds=True,
            ),
        ),
        (
            {"status": "canceled"},
            Rejected(
                200, "reversal_canceled", "Stripe's trr_1 is canceled", True, request_id="req_1"
            ),
        ),
    ],
    ids=lambda one: str(one.get("status")) if isinstance(one, dict) else "",
)
async def test_status_of_a_reversal_decides_its_outcome(
    stripe: FaultServer, gateway: StripeGateway, shown: Json, expected: ReversalOutcome
) -> None:
    stripe.answers(200, {**REVERSAL, **shown})
    assert await gateway.reverse("tr_1", 400, "refund", "k") == expected
