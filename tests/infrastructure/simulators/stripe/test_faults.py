"""Injected faults: their place, time and number, and the books that they leave."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable

import httpx
import pytest

from infrastructure.simulators.common import http_server
from infrastructure.simulators.stripe import (
    KIND,
    ControlRefused,
    RunningSimulator,
    SimulatorConfig,
    SimulatorControl,
    running_simulator,
)
from tests.infrastructure.simulators.stripe.conftest import (
    ErrorOf,
    OpenCaller,
    StripeCaller,
    WaitFor,
)
from tests.support.json_types import Json

CONNECTION_LOST = (httpx.RemoteProtocolError, httpx.ReadError)
KINDS_OF_LOSS = {
    "reset_on_arrival": 0,
    "reset_before_commit": 0,
    "reset_after_commit": 1,
    "timeout_before_commit": 0,
    "timeout_after_commit": 1,
    "cut_body": 1,
    "partial_headers": 1,
}


async def count(control: SimulatorControl) -> int:
    return len((await control.ledger())["transfers"])


@pytest.mark.parametrize(("kind", "made"), KINDS_OF_LOSS.items(), ids=KINDS_OF_LOSS)
async def test_lost_answer_is_settled_by_same_key(
    api: StripeCaller, control: SimulatorControl, kind: str, made: int
) -> None:
    settings: Json = {"seconds": 0.01} if kind.startswith("timeout") else {}
    await control.fault(kind, "transfers.create", times=1, **settings)
    with pytest.raises(CONNECTION_LOST):
        await api.transfer(key="k1")
    assert await count(control) == made
    again = await api.transfer(key="k1")
    assert (again.status_code, "idempotent-replayed" in again.headers) == (200, bool(made))
    assert await count(control) == 1


async def test_reset_fault_is_a_tcp_reset(
    simulator: RunningSimulator, control: SimulatorControl
) -> None:
    await control.fault("reset_before_commit")
    reader, writer = await asyncio.open_connection("127.0.0.1", simulator.port)
    writer.write(b"GET /v1/balance HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer sk_1\r\n\r\n")
    with pytest.raises(ConnectionResetError):
        await reader.read()
    writer.close()


async def test_read_can_be_lost(api: StripeCaller, control: SimulatorControl) -> None:
    await control.fault("reset_after_commit", "transfers.list", times=1)
    with pytest.raises(CONNECTION_LOST):
        await api.get("/v1/transfers")
    assert (await api.get("/v1/transfers")).status_code == 200


async def test_replayed_answer_can_be_lost(api: StripeCaller, control: SimulatorControl) -> None:
    await control.fault("reset_after_commit", "transfers.create", times=2)
    for _ in range(2):
        with pytest.raises(CONNECTION_LOST):
            await api.transfer(key="k1")
    assert (await api.transfer(key="k1")).headers["idempotent-replayed"] == "true"


async def test_truncated_json_arrives_as_complete_answer(
    api: StripeCaller, control: SimulatorControl
) -> None:
    await control.fault("truncate_body", times=1)
    answer = await api.transfer(key="k1")
    assert answer.status_code == 200
    with pytest.raises(ValueError, match=r"Expecting|Unterminated"):
        answer.json()


async def test_slow_drip_arrives_whole(api: StripeCaller, control: SimulatorControl) -> None:
    await control.fault("slow_drip", times=1, seconds=0.2)
    began = time.monotonic()
    assert (await api.transfer()).json()["amount"] == 2000
    assert time.monotonic() - began >= 0.2


STATUSES = {
    "rate limit": ({"status": 429}, "rate_limit", None, "endpoint-rate"),
    "global limit": ({"status": 429, "reason": "global-rate"}, "rate_limit", None, "global-rate"),
    "lock": ({"status": 429, "lock": True}, "lock_timeout", "true", None),
    "500": ({"status": 500}, None, None, None),
    "503": ({"status": 503, "should_retry": True}, None, "true", None),
    "504": ({"status": 504, "should_retry": False}, None, "false", None),
}


@pytest.mark.parametrize(("settings", "code", "retry", "reason"), STATUSES.values(), ids=STATUSES)
async def test_injected_status_is_not_stored_under_key(
    api: StripeCaller,
    control: SimulatorControl,
    settings: Json,
    code: str | None,
    retry: str | None,
    reason: str | None,
) -> None:
    await control.fault("status", "transfers.create", times=1, **settings)
    answer = await api.transfer(key="k1")
    assert answer.status_code == settings["status"]
    assert answer.json()["error"].get("code") == code
    assert answer.headers.get("stripe-should-retry") == retry
    assert answer.headers.get("stripe-rate-limited-reason") == reason
    assert await count(control) == 0
    assert (await api.transfer(key="k1")).status_code == 200


async def test_bad_gateway_answers_html(api: StripeCaller, control: SimulatorControl) -> None:
    await control.fault("status", times=1, status=502, html=True)
    answer = await api.transfer()
    assert (answer.status_code, answer.headers["content-type"]) == (502, "text/html")
    assert b"<html>" in answer.content


async def test_injected_error_repeats_only_if_stored(
    api: StripeCaller, control: SimulatorControl, refused: ErrorOf
) -> None:
    await control.fault(
        "error",
        key="kept",
        times=1,
        status=402,
        code="card_declined",
        param="amount",
        message="No.",
    )
    await control.fault("error", key="lost", times=1, code="account_invalid", stored=False)
    kept = [await api.transfer(key="kept") for _ in range(2)]
    assert {refused(answer) for answer in kept} == {
        (402, "invalid_request_error", "card_declined", "amount")
    }
    assert kept[1].headers["idempotent-replayed"] == "true"
    lost = [await api.transfer(key="lost") for _ in range(2)]
    assert [answer.status_code for answer in lost] == [400, 200]
    assert "stripe-should-retry" not in lost[0].headers


async def test_stored_500_may_hide_made_transfer(
    api: StripeCaller, control: SimulatorControl
) -> None:
    await control.fault("stored_500_then_created", "transfers.create", times=1)
    answers = [await api.transfer(key="k1") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [500, 500]
    assert answers[1].headers["idempotent-replayed"] == "true"
    assert await count(control) == 1
    events = (await api.get("/v1/events")).json()["data"]
    assert events[0]["request"]["idempotency_key"] == "k1"


async def test_transfer_of_500_may_appear_later(
    api: StripeCaller, control: SimulatorControl, eventually: WaitFor
) -> None:
    await control.fault("stored_500_then_created", "transfers.create", times=1, seconds=0.05)
    assert (await api.transfer(key="k1")).status_code == 500
    assert await count(control) == 0
    await eventually(lambda: count(control))
    assert (await api.transfer(key="k1")).status_code == 500


async def test_stored_500_may_have_made_nothing(
    api: StripeCaller, control: SimulatorControl
) -> None:
    await control.fault("stored_500_not_created", "transfers.create", times=1)
    assert [(await api.transfer(key="k1")).status_code for _ in range(2)] == [500, 500]
    assert await count(control) == 0
    assert (await api.transfer(key="k2")).status_code == 200


async def test_ignored_or_forgotten_keys_pay_twice(
    api: StripeCaller, control: SimulatorControl
) -> None:
    for kind in ("duplicate_ignoring_key", "drop_key"):
        before = await count(control)
        await api.transfer(key=kind)
        await control.fault(kind, key=kind, times=1)
        assert "idempotent-replayed" not in (await api.transfer(key=kind)).headers
        assert await count(control) == before + 2


async def test_latency_is_slept_fixed_or_as_recorded(
    api: StripeCaller, control: SimulatorControl
) -> None:
    await control.fault("latency", "transfers.retrieve", ms=60)
    await control.fault("latency", "transfers.create", recorded=True, scale=0.1)
    began = time.monotonic()
    transfer = await api.made()
    assert time.monotonic() - began >= 0.06
    began = time.monotonic()
    await api.get(f"/v1/transfers/{transfer['id']}")
    assert time.monotonic() - began >= 0.06


# --- matching -------------------------------------------------------------------------------------


async def statuses(api: StripeCaller, keys: Iterable[str]) -> list[int]:
    return [(await api.transfer(key=key)).status_code for key in keys]


async def test_nth_selects_exactly_that_call(api: StripeCaller, control: SimulatorControl) -> None:
    await control.fault("status", "transfers.create", nth=3, status=500)
    assert await statuses(api, ["a", "b", "c", "d"]) == [200, 200, 500, 200]


async def test_times_limits_the_hits(api: StripeCaller, control: SimulatorControl) -> None:
    await control.fault("status", "transfers.create", times=2, status=500)
    assert await statuses(api, "abcd") == [500, 500, 200, 200]


async def test_fault_filters_select_calls(api: StripeCaller, control: SimulatorControl) -> None:
    first, second = await api.made(), await api.made()
    await control.fault("status", key="order-1:*", status=500)
    await control.fault("status", destination="acct_unlucky", status=501)
    await control.fault("status", "reversals.*", transfer=second["id"], status=502)
    assert (await api.transfer(key="order-1:a")).status_code == 500
    assert (await api.transfer(key="order-2:a")).status_code == 200
    assert (await api.transfer(destination="acct_unlucky")).status_code == 501
    assert (await api.reverse(first["id"])).status_code == 200
    assert (await api.reverse(second["id"])).status_code == 502


async def test_probability_with_seed_is_repeatable(
    api: StripeCaller, control: SimulatorControl
) -> None:
    found = []
    for _ in range(2):
        await control.reset()
        await control.fault("status", probability=0.5, seed=7, status=500)
        found.append(await statuses(api, "abcdefghijklmnop"))
    assert found[0] == found[1]
    assert set(found[0]) == {200, 500}


async def test_fault_with_unreached_point_waits_for_next_call(
    api: StripeCaller, control: SimulatorControl
) -> None:
    await control.fault("reset_before_commit", "transfers.create", times=1)
    assert (await api.transfer(amount=0)).status_code == 400
    with pytest.raises(CONNECTION_LOST):
        await api.transfer()


async def test_faults_are_listed_with_hits_and_cleared(
    api: StripeCaller, control: SimulatorControl
) -> None:
    first = await control.fault("status", times=1, status=500)
    await control.fault("latency", ms=0)
    await api.transfer()
    await api.transfer()
    listed = await control.faults()
    assert [(fault["seen"], fault["hits"]) for fault in listed] == [(2, 1), (2, 1)]
    assert await control.clear_faults(first) == 1
    assert await control.clear_faults() == 1
    assert await control.faults() == []


async def test_senseless_fault_is_refused_with_reason(control: SimulatorControl) -> None:
    for settings in (
        {"kind": "meteor"},
        {"kind": "status"},
        {"kind": "latency", "ms": -1},
        {"kind": "hold", "at": 1},
    ):
        with pytest.raises(ControlRefused):
            await control.fault(**settings)


def nothing_is_held(control: SimulatorControl) -> Callable[[], Awaitable[bool]]:
    async def holds() -> bool:
        return not await control.held()

    return holds


# --- holding --------------------------------------------------------------------------------------


async def test_hold_before_commit_is_signalled(
    api: StripeCaller, control: SimulatorControl
) -> None:
    await control.hold("transfers.create", "before_commit")
    call = asyncio.create_task(api.transfer(key="k1"))
    (held,) = await control.wait_until_held("transfers.create")
    assert (held["operation"], held["point"], held["key"]) == (
        "transfers.create",
        "before_commit",
        "k1",
    )
    assert await count(control) == 0
    assert await control.release("transfers.create") == 1
    assert (await call).status_code == 200
    assert await count(control) == 1


async def test_hold_after_commit_is_signalled(
    api: StripeCaller, control: SimulatorControl, refused: ErrorOf
) -> None:
    await control.hold("transfers.create", "after_commit")
    call = asyncio.create_task(api.transfer(key="k1"))
    await control.wait_until_held("transfers.create")
    assert await count(control) == 1
    assert refused(await api.transfer(key="k1"))[0] == 409
    await control.release()
    assert (await call).status_code == 200


async def test_reversal_held_after_commit_blocks_no_other(
    api: StripeCaller, control: SimulatorControl
) -> None:
    transfer = await api.made()
    await control.hold("reversals.create", "after_commit")
    call = asyncio.create_task(api.reverse(transfer["id"], 5))
    await control.wait_until_held()
    assert (await api.reverse(transfer["id"], 5)).status_code == 200
    await control.release()
    await call


DEATHS = {"abandon": 0, "execute": 1}


@pytest.mark.parametrize(("choice", "made"), DEATHS.items(), ids=DEATHS)
async def test_client_death_before_commit_abandons_or_executes_call(
    api: StripeCaller,
    control: SimulatorControl,
    choice: str,
    made: int,
    eventually: WaitFor,
) -> None:
    await control.hold("transfers.create", on_disconnect=choice)
    call = asyncio.create_task(api.transfer(key="k1"))
    await control.wait_until_held()
    call.cancel()
    await asyncio.wait([call])
    await eventually(nothing_is_held(control))
    assert await count(control) == made
    assert ("idempotent-replayed" in (await api.transfer(key="k1")).headers) == bool(made)


async def test_patient_hold_keeps_key_in_use_after_client_death(
    api: StripeCaller,
    control: SimulatorControl,
    refused: ErrorOf,
    eventually: WaitFor,
) -> None:
    await control.hold("transfers.create", on_disconnect="wait")
    call = asyncio.create_task(api.transfer(key="k1"))
    await control.wait_until_held()
    call.cancel()
    await asyncio.wait([call])
    assert refused(await api.transfer(key="k1"))[0] == 409
    await control.release()
    await eventually(nothing_is_held(control))
    assert (await api.transfer(key="k1")).headers["idempotent-replayed"] == "true"


async def test_timeout_ends_when_client_gives_up(
    api: StripeCaller, control: SimulatorControl, eventually: WaitFor
) -> None:
    await control.fault("timeout_before_commit", "transfers.create", times=1)
    with pytest.raises(httpx.ReadTimeout):
        await api.http.post(
            "/v1/transfers",
            data={"amount": 1, "currency": "usd", "destination": "acct_1"},
            headers={"Idempotency-Key": "k1"},
            timeout=0.05,
        )
    assert (await api.transfer(key="k1")).status_code == 200
    await eventually(nothing_is_held(control))


async def test_call_of_gone_client_and_reset_world_ends_silently(
    api: StripeCaller,
    control: SimulatorControl,
    eventually: WaitFor,
    caplog: pytest.LogCaptureFixture,
) -> None:
    await control.hold("transfers.create", on_disconnect="wait")
    call = asyncio.create_task(api.transfer(key="k1"))
    await control.wait_until_held()
    call.cancel()
    await asyncio.wait([call])
    await control.reset()
    await eventually(nothing_is_held(control))
    assert caplog.records == []


async def test_silent_call_can_be_released_without_answer(
    api: StripeCaller, control: SimulatorControl
) -> None:
    await control.fault("timeout_after_commit", "transfers.create", times=1)
    call = asyncio.create_task(api.transfer(key="k1"))
    await control.wait_until_held()
    await control.release()
    with pytest.raises(CONNECTION_LOST):
        await call
    assert await count(control) == 1


async def test_wait_for_hits_times_out_with_the_count(control: SimulatorControl) -> None:
    with pytest.raises(TimeoutError, match="0 requests"):
        await control.wait_until_held(timeout=0.02)


async def test_reset_drops_held_calls_without_effect(
    api: StripeCaller, control: SimulatorControl
) -> None:
    await control.hold("transfers.create")
    call = asyncio.create_task(api.transfer(key="k1"))
    await control.wait_until_held()
    await control.reset()
    with pytest.raises(CONNECTION_LOST):
        await call
    assert await count(control) == 0


async def test_stop_does_not_wait_for_held_calls(
    api_at: OpenCaller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "GRACE", 60.0)
    async with running_simulator(SimulatorConfig(manners=KIND)) as (simulator, control):
        api = api_at(simulator.url)
        await control.hold("transfers.create")
        await control.fault("latency", "transfers.list", ms=60_000)
        calls = [asyncio.create_task(api.transfer()), asyncio.create_task(api.get("/v1/transfers"))]
        await control.wait_until_held()
        began = time.monotonic()
        await simulator.stop()
        assert time.monotonic() - began < 30
        await asyncio.wait(calls)
        assert isinstance(calls[0].exception(), CONNECTION_LOST)


# --- Stripe's own limits --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "config", [SimulatorConfig(manners=KIND, virtual_start=1.8e9, endpoint_rate=3)]
)
async def test_endpoint_has_its_own_rate(
    api: StripeCaller, control: SimulatorControl, refused: ErrorOf
) -> None:
    answers = [await api.transfer(key=f"k{n}") for n in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert refused(answers[3])[1:3] == ("invalid_request_error", "rate_limit")
    assert answers[3].headers["stripe-rate-limited-reason"] == "endpoint-rate"
    assert "stripe-should-retry" not in answers[3].headers
    assert (await api.get("/v1/transfers")).status_code == 200
    await control.advance_clock(0.4)
    assert (await api.transfer(key="k3")).status_code == 200


@pytest.mark.parametrize(
    "config", [SimulatorConfig(manners=KIND, virtual_start=1.8e9, global_rate=2)]
)
async def test_endpoints_share_global_rate(api: StripeCaller, control: SimulatorControl) -> None:
    answers = [await api.transfer(), await api.get("/v1/transfers"), await api.get("/v1/balance")]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[2].headers["stripe-rate-limited-reason"] == "global-rate"
    await control.advance_clock(1)


@pytest.mark.parametrize("config", [SimulatorConfig(manners=KIND, endpoint_concurrency=1)])
async def test_excess_concurrent_calls_are_refused(
    api: StripeCaller, control: SimulatorControl
) -> None:
    await control.hold("transfers.create")
    first = asyncio.create_task(api.transfer())
    await control.wait_until_held()
    answer = await api.transfer()
    assert (answer.status_code, answer.headers["stripe-rate-limited-reason"]) == (
        429,
        "endpoint-concurrency",
    )
    await control.release()
    await first
    assert (await api.transfer()).status_code == 200


@pytest.mark.parametrize(
    "config", [SimulatorConfig(manners=KIND, virtual_start=1.8e9, endpoint_rate=1)]
)
async def test_reset_restores_every_limit(api: StripeCaller, control: SimulatorControl) -> None:
    await control.advance_clock(3600)
    assert [(await api.transfer()).status_code for _ in range(2)] == [200, 429]
    await control.reset()
    assert [(await api.transfer()).status_code for _ in range(2)] == [200, 429]
