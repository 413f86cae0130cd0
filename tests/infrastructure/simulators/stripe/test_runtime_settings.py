"""Keys, limits and latency that change while the simulator runs, and the log of the calls."""

import asyncio
import time
from collections import Counter

import pytest
import stripe
from stripe.params import TransferCreateParams

from infrastructure.simulators.stripe import KIND, ControlRefused, SimulatorConfig, SimulatorControl
from tests.infrastructure.simulators.stripe.conftest import ErrorOf, StripeCaller
from tests.support.json_types import Json

BODY: TransferCreateParams = {"amount": 2000, "currency": "usd", "destination": "acct_seller"}


# --- keys -----------------------------------------------------------------------------------------


async def test_rolled_key_is_refused_and_stores_nothing(
    api: StripeCaller,
    sdk: stripe.StripeClient,
    control: SimulatorControl,
    refused: ErrorOf,
) -> None:
    await sdk.v1.transfers.create_async(BODY, {"idempotency_key": "k1"})
    await control.tune(expired_keys=["sk_test_1"])
    answer = await api.transfer(key="k2")
    assert refused(answer) == (401, "invalid_request_error", "api_key_expired", None)
    assert "sk_test_1" not in answer.text
    with pytest.raises(stripe.AuthenticationError):
        await sdk.v1.transfers.create_async(BODY, {"idempotency_key": "k1"})
    new: stripe.RequestOptions = {"idempotency_key": "k1", "api_key": "sk_test_2"}
    replayed = (await sdk.v1.transfers.create_async(BODY, new)).last_response
    assert replayed is not None
    assert replayed.headers["idempotent-replayed"] == "true"


async def test_accepted_keys_are_exclusive_until_reset(
    api: StripeCaller, control: SimulatorControl
) -> None:
    await control.tune(accepted_keys=["sk_test_new"])
    assert (await api.get("/v1/balance")).status_code == 401
    assert (await api.get("/v1/balance", Authorization="Bearer sk_test_new")).status_code == 200
    await control.reset()
    assert (await api.get("/v1/balance")).status_code == 200


async def test_restricted_key_is_forbidden_other_operations(
    api: StripeCaller, sdk: stripe.StripeClient, control: SimulatorControl
) -> None:
    transfer = await api.made()
    await control.tune(forbidden={"sk_test_1": ["reversals.*"]})
    with pytest.raises(stripe.PermissionError):
        await sdk.v1.transfers.reversals.create_async(transfer["id"], {"amount": 5})
    assert (await api.get(f"/v1/transfers/{transfer['id']}")).json()["amount_reversed"] == 0
    assert (await api.reverse(transfer["id"], 5)).status_code == 403
    await control.tune(forbidden={})
    assert (await api.reverse(transfer["id"], 5)).status_code == 200


# --- the other mode -------------------------------------------------------------------------------

LIVE = {"Authorization": "Bearer sk_live_1"}
ELSEWHERE = (
    "; a similar object exists in test mode, but a live mode key was used to make this request."
)


async def test_key_of_other_mode_finds_nothing_and_is_told_why(
    api: StripeCaller, control: SimulatorControl, refused: ErrorOf
) -> None:
    transfer = await api.made()
    path = f"/v1/transfers/{transfer['id']}"
    for answer in (
        await api.get(path, **LIVE),
        await api.post(path + "/reversals", {"amount": 5}, "k1", **LIVE),
    ):
        assert refused(answer) == (404, "invalid_request_error", "resource_missing", "id")
        assert (
            answer.json()["error"]["message"] == f"No such transfer: '{transfer['id']}'{ELSEWHERE}"
        )
    answer = await api.post("/v1/transfers", {**BODY}, "k2", **LIVE)
    assert refused(answer) == (400, "invalid_request_error", "resource_missing", "destination")
    assert answer.json()["error"]["message"].endswith(ELSEWHERE)
    unknown = await api.get("/v1/transfers/tr_nothing", **LIVE)
    assert unknown.json()["error"]["message"] == "No such transfer: 'tr_nothing'"
    for path in ("/v1/transfers", "/v1/events", "/v1/balance_transactions"):
        assert (await api.get(path, **LIVE)).json()["data"] == []
    balance = (await api.get("/v1/balance", **LIVE)).json()
    assert (balance["livemode"], balance["available"][0]["amount"]) == (True, 0)


async def test_modes_share_no_keys_and_no_sellers(
    api: StripeCaller, control: SimulatorControl
) -> None:
    made = await api.transfer(key="k1")
    assert (await api.post("/v1/transfers", {**BODY}, "k1", **LIVE)).status_code == 400
    assert (await api.transfer(key="k1")).json() == made.json()
    seen = await api.get("/v1/balance", **LIVE, **{"Stripe-Account": "acct_seller"})
    assert seen.status_code == 403


@pytest.mark.parametrize("config", [SimulatorConfig(manners=KIND, livemode=True)])
async def test_live_simulator_treats_test_keys_alike(
    api: StripeCaller, control: SimulatorControl
) -> None:
    transfer = (await api.post("/v1/transfers", {**BODY}, **LIVE)).json()
    assert transfer["livemode"] is True
    message = (await api.get(f"/v1/transfers/{transfer['id']}")).json()["error"]["message"]
    assert "exists in live mode, but a test mode key was used" in message


# --- limits ---------------------------------------------------------------------------------------


async def test_object_has_its_own_limit(api: StripeCaller, control: SimulatorControl) -> None:
    await control.tune(resource_rate=1)
    first, second = [await api.made(destination=f"acct_{n}") for n in range(2)]
    assert (await api.reverse(first["id"], 5)).status_code == 200
    answer = await api.reverse(first["id"], 5, key="k1")
    assert (answer.status_code, answer.headers["stripe-rate-limited-reason"]) == (
        429,
        "resource-specific",
    )
    assert (await api.reverse(second["id"], 5)).status_code == 200
    await control.advance_clock(1)
    assert (await api.reverse(first["id"], 5, key="k1")).status_code == 200, "a 429 is not stored"


async def test_calls_share_global_concurrency(api: StripeCaller, control: SimulatorControl) -> None:
    await control.tune(global_concurrency=1)
    await control.hold("transfers.create")
    first = asyncio.create_task(api.transfer())
    await control.wait_until_held()
    answer = await api.get("/v1/balance")
    assert (answer.status_code, answer.headers["stripe-rate-limited-reason"]) == (
        429,
        "global-concurrency",
    )
    await control.tune(global_concurrency=2)
    assert (await api.get("/v1/balance")).status_code == 200
    await control.tune(global_concurrency=1)
    assert (await api.get("/v1/balance")).status_code == 429, (
        "calls under way still count after a change"
    )
    await control.release()
    assert (await first).status_code == 200


async def test_log_yields_rate_and_share_of_429s(
    api: StripeCaller, control: SimulatorControl
) -> None:
    await control.tune(endpoint_rate=2)
    for second in range(3):
        for _ in range(4):
            await api.transfer(key=f"k{second}")
        await control.advance_clock(1)
    log = await control.requests("transfers.create")
    seconds = Counter(int(call["at"]) for call in log)
    refusals = [call for call in log if call["status"] == 429]
    assert list(seconds.values()) == [4, 4, 4]
    assert (len(refusals), {call["reason"] for call in refusals}) == (6, {"endpoint-rate"})
    assert {call["reason"] for call in log if call["status"] == 200} == {None}


async def test_log_contains_unknown_urls(api: StripeCaller, control: SimulatorControl) -> None:
    await api.get("/v1/moon")
    (call,) = await control.requests()
    assert (call["operation"], call["status"]) == ("none", 404)


# --- latency --------------------------------------------------------------------------------------


async def test_latency_can_be_switched(api: StripeCaller, control: SimulatorControl) -> None:
    assert (await control.tune(latency="recorded", latency_scale=0.05))["latency"] == "recorded"
    began = time.monotonic()
    await api.get("/v1/transfers")
    assert time.monotonic() - began >= 0.012
    assert (await control.tune(latency="none"))["latency_scale"] == 0.05


@pytest.mark.parametrize(
    "changes",
    [
        {"mood": 1},
        {"endpoint_rate": 0},
        {"latency": "much"},
        {"accepted_keys": "sk_1"},
        {"latency_scale": -1},
    ],
    ids=str,
)
async def test_senseless_tuning_is_refused_and_changes_nothing(
    api: StripeCaller, control: SimulatorControl, changes: Json
) -> None:
    before = await control.tune()
    with pytest.raises(ControlRefused):
        await control.tune(**changes)
    assert await control.tune() == before
