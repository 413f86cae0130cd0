"""Operations of the simulated Hyperswitch: accepted and refused calls, the order of its checks, and
the results."""

import asyncio

import httpx
import pytest

from infrastructure.simulators.hyperswitch import (
    Behaviour,
    HyperswitchConfig,
    HyperswitchControl,
    running_hyperswitch,
)
from infrastructure.simulators.stripe import ControlRefused
from tests.infrastructure.simulators.hyperswitch.conftest import MakePayment, MakeRefund
from tests.support.json_types import Json
from tests.support.webhook_receiver import WebhookReceiver


@pytest.fixture
async def paid(control: HyperswitchControl) -> None:
    await control.take_payment("o1", 5000, "USD", metadata={"order_id": "o1"})


def said(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


async def test_payment_goes_from_confirmation_to_success(
    api: httpx.AsyncClient, payment_body: MakePayment
) -> None:
    made = (await api.post("/payments", json=payment_body())).json()
    assert (made["status"], made["amount_received"], made["connector_transaction_id"]) == (
        "requires_confirmation",
        None,
        None,
    )
    confirmed = (await api.post("/payments/o1/confirm", json={})).json()
    assert (confirmed["status"], confirmed["amount_received"]) == ("succeeded", 5000)
    assert (await api.get("/payments/o1")).json() == confirmed


async def test_payment_can_be_confirmed_at_creation(
    api: httpx.AsyncClient, payment_body: MakePayment
) -> None:
    assert (await api.post("/payments", json=payment_body(confirm=True))).json()[
        "status"
    ] == "succeeded"


async def test_payment_is_captured_manually_whole_or_in_part(
    api: httpx.AsyncClient, payment_body: MakePayment
) -> None:
    for name, amount, status in (("o1", None, "succeeded"), ("o2", 4000, "partially_captured")):
        held = (
            await api.post(
                "/payments", json=payment_body(name, confirm=True, capture_method="manual")
            )
        ).json()
        assert (held["status"], held["amount_capturable"]) == ("requires_capture", 5000)
        captured = (
            await api.post(f"/payments/{name}/capture", json={"amount_to_capture": amount})
        ).json()
        assert (captured["status"], captured["amount_received"]) == (status, amount or 5000)
    assert said(await api.post("/payments/o1/capture")) == (400, "IR_14")


async def test_payment_can_be_cancelled_only_unfinished(
    api: httpx.AsyncClient, paid: None, payment_body: MakePayment
) -> None:
    await api.post("/payments", json=payment_body("o2"))
    assert (await api.post("/payments/o2/cancel", json={})).json()["status"] == "cancelled"
    assert said(await api.post("/payments/o1/cancel", json={})) == (400, "IR_14")
    assert said(await api.post("/payments/o2/confirm", json={})) == (400, "IR_14")


async def test_id_is_used_once(
    api: httpx.AsyncClient,
    paid: None,
    payment_body: MakePayment,
    refund_body: MakeRefund,
) -> None:
    assert said(await api.post("/payments", json=payment_body())) == (400, "HE_01")
    assert (await api.post("/refunds", json=refund_body())).status_code == 200
    assert said(await api.post("/refunds", json=refund_body())) == (400, "HE_01")


async def test_idempotency_header_changes_nothing(
    api: httpx.AsyncClient, paid: None, refund_body: MakeRefund
) -> None:
    for name in ("r1", "r2"):
        answer = await api.post(
            "/refunds", json=refund_body(name), headers={"Idempotency-Key": "the same"}
        )
        assert answer.json()["refund_id"] == name


async def test_refundable_amount_is_checked_before_id(
    api: httpx.AsyncClient, paid: None, refund_body: MakeRefund
) -> None:
    assert (await api.post("/refunds", json=refund_body(amount=5000))).status_code == 200
    assert said(await api.post("/refunds", json=refund_body(amount=5000))) == (400, "IR_13")


async def test_refund_without_amount_takes_whole_payment(
    api: httpx.AsyncClient, paid: None
) -> None:
    answer = await api.post("/refunds", json={"payment_id": "o1"})
    assert (answer.json()["amount"], answer.json()["status"]) == (5000, "pending")
    assert answer.json()["refund_id"].startswith("ref_")


async def test_failed_refund_returns_its_amount(
    api: httpx.AsyncClient, control: HyperswitchControl, paid: None, refund_body: MakeRefund
) -> None:
    await api.post("/refunds", json=refund_body(amount=5000))
    await control.settle_refund("r1", "failed")
    assert (await api.post("/refunds", json=refund_body("r2", amount=5000))).status_code == 200


async def test_refund_requires_paid_payment(
    api: httpx.AsyncClient, payment_body: MakePayment, refund_body: MakeRefund
) -> None:
    assert said(await api.post("/refunds", json=refund_body())) == (404, "HE_02")
    await api.post("/payments", json=payment_body())
    assert said(await api.post("/refunds", json=refund_body())) == (400, "IR_14")


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"surprise": 1}, (400, "IR_06")),
        ({"payment_id": None}, (400, "IR_06")),
        ({"amount": "1000"}, (400, "IR_06")),
        ({"amount": 1.5}, (400, "IR_06")),
        ({"amount": 0}, (422, "IR_05")),
        ({"refund_id": "a b"}, (422, "IR_05")),
        ({"refund_id": "x" * 65}, (422, "IR_05")),
    ],
)
async def test_refund_body_is_checked_strictly(
    api: httpx.AsyncClient,
    control: HyperswitchControl,
    paid: None,
    refund_body: MakeRefund,
    wrong: Json,
    expected: tuple[int, str],
) -> None:
    assert said(await api.post("/refunds", json={**refund_body(), **wrong})) == expected
    assert (await control.ledger())["refunds"] == []


async def test_unknown_member_is_named(
    api: httpx.AsyncClient, paid: None, refund_body: MakeRefund
) -> None:
    answer = await api.post("/refunds", json=refund_body(surprise=1))
    assert answer.json()["error"]["message"] == "Json deserialize error: unknown field `surprise`"


@pytest.mark.parametrize("body", [b"{", b"[]", b"\xff", b"1"])
async def test_body_that_is_no_object_is_refused(api: httpx.AsyncClient, body: bytes) -> None:
    assert said(await api.post("/payments", content=body)) == (400, "IR_06")


async def test_payment_requires_amount_and_currency(api: httpx.AsyncClient) -> None:
    assert said(await api.post("/payments", json={"currency": "USD"})) == (400, "IR_04")
    assert said(await api.post("/payments", json={"amount": 5, "currency": "usd"})) == (
        422,
        "IR_05",
    )


@pytest.mark.parametrize("key", ["", "pk_snd_1"])
async def test_call_requires_secret_key(api: httpx.AsyncClient, key: str) -> None:
    assert said(await api.get("/payments/o1", headers={"api-key": key})) == (401, "IR_01")


async def test_unknown_object_has_its_own_wording(api: httpx.AsyncClient) -> None:
    absent = await api.get("/payments/o9")
    assert said(absent) == (404, "HE_02")
    assert absent.json()["error"]["type"] == "invalid_request"
    assert said(await api.get("/refunds/r9")) == (404, "HE_02")
    assert said(await api.get("/nothing")) == (404, "IR_02")
    assert said(await api.delete("/refunds")) == (405, "IR_03")


@pytest.mark.parametrize("limit", [0, 101])
async def test_page_size_is_one_to_a_hundred(api: httpx.AsyncClient, limit: int) -> None:
    assert said(await api.post("/refunds/list", json={"limit": limit})) == (422, "IR_06")


async def test_list_shows_page_and_total_count(
    api: httpx.AsyncClient, paid: None, refund_body: MakeRefund
) -> None:
    for number in range(3):
        await api.post("/refunds", json=refund_body(f"r{number}"))
    page = (await api.post("/refunds/list", json={"limit": 2, "offset": 1, "unknown": 1})).json()
    assert (page["count"], page["total_count"]) == (2, 3)
    assert [refund["refund_id"] for refund in page["data"]] == ["r1", "r0"]


@pytest.mark.parametrize("config", [HyperswitchConfig(rate=2, virtual_start=0.0)])
async def test_call_above_rate_limit_is_not_executed(
    api: httpx.AsyncClient, control: HyperswitchControl, payment_body: MakePayment
) -> None:
    statuses = [
        (await api.post("/payments", json=payment_body(f"o{n}"))).status_code for n in range(3)
    ]
    assert statuses == [200, 200, 429]
    assert len((await control.ledger())["payments"]) == 2
    await control.advance_clock(1)
    assert (await api.post("/payments", json=payment_body("o2"))).status_code == 200


@pytest.mark.parametrize("config", [HyperswitchConfig(lock_wait=0.05)])
async def test_concurrent_calls_on_payment_exclude_each_other(
    api: httpx.AsyncClient, control: HyperswitchControl, paid: None, refund_body: MakeRefund
) -> None:
    await control.hold("refunds.create")
    first = asyncio.create_task(api.post("/refunds", json=refund_body("r1")))
    await control.wait_until_held()
    busy = await api.post("/refunds", json=refund_body("r2"))
    assert said(busy) == (422, "HE_00")
    assert busy.json()["error"]["type"] == "invalid_request"
    await control.release()
    assert (await first).status_code == 200
    assert [refund["refund_id"] for refund in (await control.ledger())["refunds"]] == ["r1"]


async def test_refunds_can_succeed_automatically(
    api: httpx.AsyncClient,
    control: HyperswitchControl,
    receiver: WebhookReceiver,
    paid: None,
    refund_body: MakeRefund,
) -> None:
    await control.let("refunds", "succeeded")
    assert (await api.post("/refunds", json=refund_body("r1"))).json()["status"] == "succeeded"
    await control.webhook(url=receiver.url)
    await control.let("refunds", "failed", after=0.01)
    assert (await api.post("/refunds", json=refund_body("r2"))).json()["status"] == "pending"
    (event,) = await receiver.has(1)
    assert (event["event_type"], event["content"]["object"]["refund_id"]) == ("refund_failed", "r2")


async def test_dashboard_refund_has_its_own_id(
    api: httpx.AsyncClient, control: HyperswitchControl, paid: None
) -> None:
    made = await control.make_refund("o1", 300)
    assert (await api.get(f"/refunds/{made['refund_id']}")).json() == made
    assert made["metadata"] is None


async def test_stored_answer_faults_do_not_exist(control: HyperswitchControl) -> None:
    with pytest.raises(ControlRefused, match="drop_key"):
        await control.fault("drop_key")


async def test_held_call_of_reset_world_changes_nothing(
    api: httpx.AsyncClient, control: HyperswitchControl, paid: None, refund_body: MakeRefund
) -> None:
    await control.hold("refunds.create")
    call = asyncio.create_task(api.post("/refunds", json=refund_body()))
    await control.wait_until_held()
    await control.reset()
    with pytest.raises(httpx.TransportError):
        await call
    ledger = await control.ledger()
    assert (ledger["refunds"], ledger["payments"]) == ([], [])


async def test_log_shows_headers_and_body_as_received(
    api: httpx.AsyncClient, control: HyperswitchControl
) -> None:
    await api.post("/payments", content=b' {"amount" :1}', headers={"X-Mine": "yes"})
    (entry,) = await control.requests()
    assert (entry["body"], entry["headers"]["x-mine"], entry["status"]) == (
        ' {"amount" :1}',
        "yes",
        400,
    )


@pytest.mark.parametrize("becomes", ["succeeded", None])
async def test_initial_behaviour_is_configurable(
    becomes: str | None, refund_body: MakeRefund
) -> None:
    async with running_hyperswitch(HyperswitchConfig(refunds=Behaviour(becomes))) as (
        simulator,
        control,
    ):
        await control.take_payment("o1", 5000, "USD")
        async with httpx.AsyncClient(
            base_url=simulator.url, headers={"api-key": "snd_1"}, trust_env=False
        ) as api:
            answer = await api.post("/refunds", json=refund_body())
    assert answer.json()["status"] == (becomes or "pending")
