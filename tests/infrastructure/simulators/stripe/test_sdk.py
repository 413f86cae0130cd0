"""The real Stripe SDK on the simulator, over real HTTP: the same results and errors as from
Stripe."""

from typing import NamedTuple, cast

import aiohttp
import pytest
import stripe
from stripe.params import TransferCreateParams

from infrastructure.simulators.stripe import SimulatorControl
from tests.support.json_types import Json

BODY: TransferCreateParams = {
    "amount": 2000,
    "currency": "usd",
    "destination": "acct_seller",
    "transfer_group": "o1",
    "metadata": {"transfer_id": "t1"},
}


async def create(sdk: stripe.StripeClient, key: str = "k1", **changes: object) -> stripe.Transfer:
    body = cast(TransferCreateParams, {**BODY, **changes})
    return await sdk.v1.transfers.create_async(body, {"idempotency_key": key})


async def test_sdk_makes_reads_updates_and_lists_transfers(sdk: stripe.StripeClient) -> None:
    made = await create(sdk)
    assert (made.amount, made.metadata["transfer_id"], made.reversals.data) == (2000, "t1", [])
    assert made.last_response is not None
    assert made.last_response.headers["original-request"] == made.last_response.request_id
    await sdk.v1.transfers.update_async(made.id, {"metadata": {"transfer_id": "t1", "seen": "yes"}})
    assert (await sdk.v1.transfers.retrieve_async(made.id)).metadata["seen"] == "yes"
    listed = await sdk.v1.transfers.list_async(
        {"transfer_group": "o1", "created": {"gte": made.created}}
    )
    assert [transfer.id for transfer in listed.data] == [made.id]


async def test_sdk_makes_reads_updates_and_lists_reversals(sdk: stripe.StripeClient) -> None:
    transfer = await create(sdk)
    reversals = sdk.v1.transfers.reversals
    made = await reversals.create_async(
        transfer.id, {"amount": 400, "metadata": {"r": "1"}}, {"idempotency_key": "r1"}
    )
    again = await reversals.create_async(
        transfer.id, {"amount": 400, "metadata": {"r": "1"}}, {"idempotency_key": "r1"}
    )
    assert again.last_response is not None
    assert (again.id, again.last_response.headers["idempotent-replayed"]) == (made.id, "true")
    assert (await reversals.retrieve_async(transfer.id, made.id)).amount == 400
    updated = await reversals.update_async(transfer.id, made.id, {"metadata": {"r": "2"}})
    assert updated.metadata is not None
    assert updated.metadata["r"] == "2"
    assert [row.id for row in (await reversals.list_async(transfer.id)).data] == [made.id]


async def test_sdk_pages_through_several_pages(sdk: stripe.StripeClient) -> None:
    made = [(await create(sdk, f"k{n}")).id for n in range(7)]
    first = await sdk.v1.transfers.list_async({"limit": 3})
    assert [transfer.id async for transfer in first.auto_paging_iter()] == made[::-1]


async def test_sdk_reads_balances_accounts_and_events(sdk: stripe.StripeClient) -> None:
    transfer = await create(sdk)
    seller = await sdk.v1.balance.retrieve_async({}, {"stripe_account": "acct_seller"})
    assert seller.available[0].amount == 2000
    capabilities = (await sdk.v1.accounts.retrieve_async("acct_seller")).capabilities
    assert capabilities is not None
    assert capabilities.transfers == "active"
    event = (await sdk.v1.events.list_async({"type": "transfer.created"})).data[0]
    assert event.request is not None
    assert (event.data.object.id, event.request.idempotency_key) == (transfer.id, "k1")
    assert (await sdk.v1.events.retrieve_async(event.id)).id == event.id
    assert (await sdk.v1.balance_transactions.list_async({"type": "transfer"})).data[
        0
    ].source == transfer.id


class SdkError(NamedTuple):
    """The error that the SDK raises for a fault."""

    fault: Json
    error: type[stripe.StripeError]
    status: int | None
    code: str | None
    """`e.code`."""
    body_code: str | None
    """`e.error.code`."""
    calls: int = 1
    """How often the SDK asks when it may retry twice."""


HEARD = {
    "400 with a code": SdkError(
        {"kind": "error", "code": "balance_insufficient"},
        stripe.InvalidRequestError,
        400,
        "balance_insufficient",
        "balance_insufficient",
    ),
    "400 idempotency_error": SdkError(
        {"kind": "error", "type": "idempotency_error"}, stripe.IdempotencyError, 400, None, None
    ),
    "401": SdkError({"kind": "error", "status": 401}, stripe.AuthenticationError, 401, None, None),
    "403": SdkError({"kind": "error", "status": 403}, stripe.PermissionError, 403, None, None),
    "402": SdkError(
        {"kind": "error", "status": 402, "type": "card_error", "code": "card_declined"},
        stripe.CardError,
        402,
        "card_declined",
        "card_declined",
    ),
    "404": SdkError(
        {"kind": "error", "status": 404, "code": "resource_missing"},
        stripe.InvalidRequestError,
        404,
        "resource_missing",
        "resource_missing",
    ),
    "409 key in use": SdkError(
        {"kind": "error", "status": 409, "code": "idempotency_key_in_use", "stored": False},
        stripe.APIError,
        409,
        None,
        "idempotency_key_in_use",
        3,
    ),
    "429 rate limit": SdkError(
        {"kind": "status", "status": 429}, stripe.RateLimitError, 429, None, "rate_limit"
    ),
    "429 lock": SdkError(
        {"kind": "status", "status": 429, "lock": True},
        stripe.RateLimitError,
        429,
        None,
        "lock_timeout",
        3,
    ),
    "500": SdkError({"kind": "status", "status": 500}, stripe.APIError, 500, None, None, 3),
    "stored 500": SdkError({"kind": "stored_500_not_created"}, stripe.APIError, 500, None, None),
    "502 in HTML": SdkError(
        {"kind": "status", "status": 502, "html": True}, stripe.APIError, 502, None, None, 3
    ),
    "502 in JSON that is not Stripe's": SdkError(
        {"kind": "status", "status": 502, "bare": True}, stripe.APIError, 502, None, None, 3
    ),
    "503 to be retried": SdkError(
        {"kind": "status", "status": 503, "should_retry": True}, stripe.APIError, 503, None, None, 3
    ),
    "503": SdkError(
        {"kind": "status", "status": 503, "should_retry": False}, stripe.APIError, 503, None, None
    ),
    "200 with half the JSON": SdkError({"kind": "truncate_body"}, stripe.APIError, 200, None, None),
    "reset before": SdkError(
        {"kind": "reset_before_commit"}, stripe.APIConnectionError, None, None, None, 3
    ),
    "reset after": SdkError(
        {"kind": "reset_after_commit"}, stripe.APIConnectionError, None, None, None, 3
    ),
    "half a header": SdkError(
        {"kind": "partial_headers"}, stripe.APIConnectionError, None, None, None, 3
    ),
    "slower than the client": SdkError(
        {"kind": "timeout_before_commit"}, stripe.APIConnectionError, None, None, None, 3
    ),
}


@pytest.mark.parametrize("heard", HEARD.values(), ids=HEARD)
async def test_sdk_raises_same_errors_as_for_stripe(
    sdk: stripe.StripeClient, control: SimulatorControl, heard: SdkError
) -> None:
    await control.fault(operation="transfers.create", times=1, **heard.fault)
    with pytest.raises(heard.error) as raised:
        await create(sdk)
    error = raised.value
    assert type(error) is heard.error
    assert (error.http_status, error.code) == (heard.status, heard.code)
    assert getattr(error.error, "code", None) == heard.body_code


@pytest.fixture
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK waits half a second or more before each retry."""
    monkeypatch.setattr(stripe.HTTPClient, "INITIAL_DELAY", 0.001)
    monkeypatch.setattr(stripe.HTTPClient, "MAX_DELAY", 0.001)


@pytest.mark.parametrize("heard", HEARD.values(), ids=HEARD)
async def test_sdk_repeats_same_calls_as_to_stripe(
    sdk: stripe.StripeClient, control: SimulatorControl, quick_retries: None, heard: SdkError
) -> None:
    await control.fault(operation="transfers.create", **heard.fault)
    options: stripe.RequestOptions = {"idempotency_key": "k1", "max_network_retries": 2}
    with pytest.raises(heard.error):
        await sdk.v1.transfers.create_async(BODY, options)
    (fault,) = await control.faults()
    assert fault["seen"] == heard.calls
    assert {call["key"] for call in await control.requests()} <= {"k1"}, (
        "each time with the same key"
    )


@pytest.mark.parametrize("fault", [{"status": 500}, {"status": 429, "lock": True}], ids=str)
async def test_sdk_retries_make_object_once(
    sdk: stripe.StripeClient, control: SimulatorControl, quick_retries: None, fault: Json
) -> None:
    await control.fault("status", "transfers.create", times=2, **fault)
    await sdk.v1.transfers.create_async(BODY, {"idempotency_key": "k1", "max_network_retries": 2})
    assert [call["status"] for call in await control.requests()] == [fault["status"]] * 2 + [200]
    assert len((await control.ledger())["transfers"]) == 1


async def test_cut_body_leaks_raw_transport_error(
    sdk: stripe.StripeClient, control: SimulatorControl
) -> None:
    await control.fault("cut_body", "transfers.create", times=1)
    with pytest.raises(aiohttp.ClientPayloadError):
        await create(sdk)


async def test_reset_reaches_sdk_as_connection_reset(
    sdk: stripe.StripeClient, control: SimulatorControl
) -> None:
    await create(sdk, "warm")  # on a connection that was kept alive, too
    await control.fault("reset_after_commit", "transfers.create", times=1)
    with pytest.raises(stripe.APIConnectionError) as raised:
        await create(sdk)
    assert isinstance(raised.value.__cause__, ConnectionResetError | aiohttp.ClientOSError)


async def test_sdk_retries_lock_timeout_but_no_rate_limit(
    sdk: stripe.StripeClient, control: SimulatorControl
) -> None:
    options: stripe.RequestOptions = {"idempotency_key": "k1", "max_network_retries": 1}
    await control.fault("status", "transfers.create", times=1, status=429, lock=True)
    assert (await sdk.v1.transfers.create_async(BODY, options)).amount == 2000
    await control.fault("status", "transfers.create", times=1, status=429)
    with pytest.raises(stripe.RateLimitError):
        await sdk.v1.transfers.create_async(BODY, options)
    assert [call["status"] for call in await control.requests("transfers.create")] == [
        429,
        200,
        429,
    ]


async def test_error_request_id_is_in_simulator_log(
    sdk: stripe.StripeClient, control: SimulatorControl
) -> None:
    with pytest.raises(stripe.InvalidRequestError) as raised:
        await create(sdk, destination="acct_missing")
    (call,) = await control.requests()
    assert raised.value.request_id == call["request_id"]
    assert raised.value.param == "destination"
