"""From the payment to the reversal over HTTP, as `serve` runs it: calls to the payment provider and
its webhooks."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from domain.identity import order_stream
from domain.order.facts import Paid
from domain.refund.facts import Succeeded
from infrastructure.simulators.hyperswitch import (
    HyperswitchConfig,
    HyperswitchControl,
    running_hyperswitch,
)
from tests.e2e.conftest import Processes
from tests.support.json_types import Json
from tests.support.ledger_process import SECRET, LedgerClient, LedgerProcess
from tests.support.ledger_view import LedgerView
from tests.support.refund_view import ASK, CREATE_PAYMENT, CREATE_REFUND, RefundView

NEVER = "1h"
"""Whatever is not told by a webhook stays unknown while the test lasts."""


@pytest.fixture
async def psp(psp_config: HyperswitchConfig) -> AsyncIterator[HyperswitchControl]:
    """Never may more be refunded than was received."""
    async with running_hyperswitch(psp_config) as (_, control):
        yield control
        assert (await control.ledger())["violations"] == []


@pytest.fixture
def refund_view(psp: HyperswitchControl, view: LedgerView) -> RefundView:
    return RefundView(psp, view)


class Shop:
    """The marketplace, on one serving ledger."""

    def __init__(
        self, process: LedgerProcess, web: LedgerClient, psp: HyperswitchControl, view: LedgerView
    ) -> None:
        self.process, self.web, self.psp, self.view = process, web, psp, view

    async def order(self, order_id: str = "o1", amount: int = 1_000, **shares: int) -> None:
        named = [
            {"seller_id": s, "destination": f"acct_1{s}", "amount": a}
            for s, a in (shares or {"anna": 900}).items()
        ]
        body = {"order_id": order_id, "currency": "EUR", "amount": amount, "shares": named}
        (await self.web.http.post("/v1/orders", json=body)).raise_for_status()

    async def pay(self, order_id: str = "o1") -> httpx.Response:
        return await self.web.http.post(f"/v1/orders/{order_id}/payment")

    async def buyer_confirms(self, payment_id: str = "o1") -> None:
        async with httpx.AsyncClient(
            base_url=self.psp.url, headers={"api-key": "snd_checkout"}, trust_env=False
        ) as browser:
            (await browser.post(f"/payments/{payment_id}/confirm")).raise_for_status()

    async def paid(self, order_id: str = "o1", **shares: int) -> None:
        await self.order(order_id, **shares)
        (await self.pay(order_id)).raise_for_status()
        await self.buyer_confirms(order_id)
        await self.view.reached(order_id, *["completed"] * len(shares or "1"))

    async def refund(
        self, refund_id: str = "r1", order_id: str = "o1", **more: object
    ) -> httpx.Response:
        return await self.web.http.post(
            "/v1/refunds", json={"refund_id": refund_id, "order_id": order_id, **more}
        )


@pytest.fixture
async def shop(processes: Processes, psp: HyperswitchControl, view: LedgerView) -> Shop:
    process = await processes.start(
        HYPERSWITCH_BASE_URL=psp.url,
        TRANSFER_RETRY_BACKOFF_BASE=NEVER,
        TRANSFER_RETRY_BACKOFF_MAX=NEVER,
    )
    await psp.webhook(url=f"{process.url}/webhooks/hyperswitch", secret=SECRET)
    return Shop(process, await processes.talk(process), psp, view)


# --- the payment ----------------------------------------------------------------------------------


async def test_payment_request_has_the_documented_form(shop: Shop, refund_view: RefundView) -> None:
    await shop.order()
    answer = await shop.pay()
    assert answer.status_code == 200, answer.text
    assert {
        name: answer.json()[name]
        for name in ("order_id", "payment_id", "status", "amount", "currency")
    } == {
        "order_id": "o1",
        "payment_id": "o1",
        "status": "requires_confirmation",
        "amount": 1_000,
        "currency": "EUR",
    }
    assert answer.json()["client_secret"]
    (call,) = await refund_view.calls(CREATE_PAYMENT)
    assert call["headers"]["idempotency-key"] == "o1"
    assert call["sent"] == {
        "payment_id": "o1",
        "amount": 1_000,
        "currency": "EUR",
        "metadata": {"order_id": "o1"},
        "merchant_order_reference_id": "o1",
    }


async def test_repeated_payment_request_reads_it_back(shop: Shop, refund_view: RefundView) -> None:
    await shop.order()
    first = await shop.pay()
    many = await asyncio.gather(*(shop.pay() for _ in range(4)))
    assert [answer.status_code for answer in (first, *many)] == [200] * 5
    assert {answer.json()["payment_id"] for answer in many} == {"o1"}
    await shop.buyer_confirms()
    await shop.view.reached("o1", "completed")
    assert (await shop.pay()).json()["status"] == "succeeded"
    assert len((await refund_view.psp.ledger())["payments"]) == 1


async def test_lost_payment_answer_is_a_repeatable_503(shop: Shop, refund_view: RefundView) -> None:
    await shop.order()
    await refund_view.psp.fault("reset_after_commit", CREATE_PAYMENT, times=1)
    lost, again = await shop.pay(), await shop.pay()
    assert (lost.status_code, lost.json()["code"]) == (503, "psp_silent")
    assert "send the same request again" in lost.json()["detail"]
    assert (again.status_code, again.json()["payment_id"]) == (200, "o1")
    assert len((await refund_view.psp.ledger())["payments"]) == 1
    assert {call["key"] for call in await refund_view.calls(CREATE_PAYMENT)} == {"o1"}


async def test_payment_webhook_may_precede_the_answer(shop: Shop, refund_view: RefundView) -> None:
    await shop.order()
    await refund_view.psp.hold(CREATE_PAYMENT, "after_commit")
    asking = asyncio.create_task(shop.pay())
    await refund_view.psp.wait_until_held(CREATE_PAYMENT)
    await shop.buyer_confirms()
    await shop.view.reached("o1", "completed")
    await refund_view.psp.release()
    assert (await asking).status_code == 200
    paid = await shop.view.happened(order_stream("o1"), Paid)
    assert (paid.payment_id, paid.source.split(":")[0]) == ("o1", "hyperswitch")


async def test_payment_with_lost_webhook_is_found_at_next_request(
    shop: Shop, refund_view: RefundView
) -> None:
    await shop.order()
    await shop.pay()
    await refund_view.psp.webhook(knobs={"drop": ["*"]})
    await shop.buyer_confirms()
    assert (await shop.pay()).json()["status"] == "succeeded"
    await shop.view.reached("o1", "completed")


async def test_order_with_payment_gets_no_second_one(shop: Shop, refund_view: RefundView) -> None:
    await shop.web.order("o1", 1_000, anna=900)  # paid by pay_o1
    answer = await shop.pay()
    assert (answer.status_code, answer.json()["code"]) == (409, "refused")
    assert (await shop.pay("nobody")).status_code == 404
    assert await refund_view.calls(CREATE_PAYMENT) == []


async def test_provider_refusal_names_its_reason(shop: Shop, refund_view: RefundView) -> None:
    await shop.order()
    await refund_view.psp.fault(
        "error", CREATE_PAYMENT, code="IR_16", message="The account is closed", times=1
    )
    answer = await shop.pay()
    assert (answer.status_code, answer.json()["code"]) == (409, "psp_refused")
    assert "The account is closed" in answer.json()["detail"]


# --- refunds --------------------------------------------------------------------------------------


async def test_payment_to_reversal_runs_without_manual_reports(
    shop: Shop, refund_view: RefundView
) -> None:
    await shop.paid(anna=500, bert=300)
    wanted = await shop.refund(amount=500)
    assert (wanted.status_code, wanted.json()["status"], wanted.json()["allocation"]) == (
        202,
        "requested",
        [],
    )
    await refund_view.reached("submitted")
    again, other = await shop.refund(amount=500), await shop.refund(amount=501)
    assert (again.status_code, again.json()["status"], again.json()["psp_refund_id"]) == (
        200,
        "submitted",
        "r1",
    )
    assert (other.status_code, other.json()["code"]) == (409, "content_differs")
    await refund_view.psp.settle_refund("r1", "succeeded")
    rows = await shop.view.reached("o1", "partially_reversed", "partially_reversed")
    assert [row.amount_reversed for row in rows] == [250, 150]
    assert (await shop.web.get("/v1/refunds/r1"))["status"] == "succeeded"
    assert await refund_view.calls(ASK) == [], "its webhook said it"


async def test_pending_refund_reduces_refundable_amount(
    shop: Shop, refund_view: RefundView
) -> None:
    await shop.paid()
    assert (await shop.refund("r1", amount=600)).status_code == 202
    over = await shop.refund("r2", amount=401)
    assert (over.status_code, over.json()["code"]) == (409, "exceeds_order")
    await refund_view.reached("submitted", "r1")
    assert (await shop.refund("r2")).json()["amount"] == 400
    await refund_view.psp.settle_refund("r1", "failed")
    await refund_view.reached("failed", "r1")
    assert (await shop.refund("r3", amount=600)).status_code == 202


async def test_refund_of_unknown_or_unpaid_order_is_refused(shop: Shop) -> None:
    assert (await shop.refund(order_id="nobody")).status_code == 404
    await shop.order("unpaid")
    unpaid = await shop.refund(order_id="unpaid")
    assert (unpaid.status_code, unpaid.json()["code"]) == (409, "order_not_paid")
    await shop.order("cash")
    (await shop.web.http.post("/v1/orders/cash/paid", json={})).raise_for_status()
    cash = await shop.refund("r2", "cash")
    assert (cash.status_code, cash.json()["code"]) == (409, "refused")
    assert "does not know" in cash.json()["detail"]


async def test_refund_webhook_may_precede_the_answer(shop: Shop, refund_view: RefundView) -> None:
    await shop.paid()
    name = "a-refund-with-a-name-that-is-too-long-for-the-provider"
    await refund_view.psp.hold(CREATE_REFUND, "after_commit")
    await shop.refund(name, amount=1_000)
    await refund_view.psp.wait_until_held(CREATE_REFUND)
    (made,) = await refund_view.made()
    assert len(made["refund_id"]) == 30
    await refund_view.psp.settle_refund(made["refund_id"], "succeeded")
    await shop.view.reached("o1", "reversed")
    await refund_view.psp.release()
    row = await refund_view.reached("succeeded", name)
    assert row["psp_refund_id"] == made["refund_id"]
    assert len(await shop.view.reversals("o1")) == 1
    assert len(await shop.view.select("select from refunds")) == 1, "one refund under all its names"


async def test_refund_reported_by_provider_and_caller_is_one(
    shop: Shop, refund_view: RefundView
) -> None:
    await shop.paid()
    await shop.refund(amount=400)
    await refund_view.reached("submitted")
    told, _ = await asyncio.gather(
        shop.refund(amount=400, settled=True), refund_view.psp.settle_refund("r1", "succeeded")
    )
    assert told.status_code == 200
    rows = await shop.view.reached("o1", "partially_reversed")
    assert rows[0].amount_reversed == 360
    await refund_view.psp.webhooks_quiet()
    assert len(await shop.view.select("select from refunds")) == 1


# --- words that contradict each other -------------------------------------------------------------


async def test_refund_failing_after_success_returns_money(
    shop: Shop, refund_view: RefundView
) -> None:
    await shop.paid()
    await shop.refund()
    await refund_view.reached("submitted")
    await refund_view.psp.settle_refund("r1", "succeeded")
    await shop.view.reached("o1", "reversed")
    await refund_view.psp.settle_refund(
        "r1", "failed", error_code="refused", error_message="The bank refused"
    )
    rows = await shop.view.reached("o1", "reversed", "completed")
    assert [(row.amount, row.amount_reversed) for row in rows] == [(900, 900), (900, 0)]
    assert "The bank refused" in (await refund_view.row())["last_error"]


async def test_mistaken_refund_failure_is_corrected_by_look_up(
    shop: Shop, refund_view: RefundView
) -> None:
    await shop.paid()
    await shop.refund()
    await refund_view.reached("submitted")
    await refund_view.psp.settle_refund("r1", "failed")
    await refund_view.reached("failed")
    await refund_view.psp.settle_refund("r1", "succeeded")
    await shop.view.reached("o1", "reversed")
    assert (await refund_view.happened(Succeeded)).source == "hyperswitch:read"


async def test_contradiction_stays_parked_when_provider_is_silent(
    shop: Shop, refund_view: RefundView
) -> None:
    await shop.paid()
    await shop.refund()
    await refund_view.reached("submitted")
    await refund_view.psp.settle_refund("r1", "failed")
    await refund_view.reached("failed")
    await refund_view.psp.fault("status", ASK, status=503)
    await refund_view.psp.settle_refund("r1", "succeeded")

    async def parked() -> bool:
        return bool(await shop.view.select("select from webhook_inbox where status = 'parked'"))

    await shop.view.until(parked, "it is parked")
    assert "refund_disagrees" in await shop.view.alarms()
    assert (await refund_view.row())["status"] == "failed"


@pytest.mark.parametrize(
    ("fault", "how"),
    [("status", {"status": 503}), ("error", {"code": "IR_16", "message": "Not today"})],
    ids=["away", "says no"],
)
async def test_undecided_refund_failure_gives_nothing_back(
    shop: Shop, refund_view: RefundView, fault: str, how: Json
) -> None:
    await shop.paid()
    await shop.refund()
    await refund_view.reached("submitted")
    await refund_view.psp.settle_refund("r1", "succeeded")
    await shop.view.reached("o1", "reversed")
    await refund_view.psp.fault(fault, ASK, times=1, **how)
    await refund_view.psp.settle_refund("r1", "failed")

    async def parked() -> list[Json]:
        return await shop.view.select("select inbox_id from webhook_inbox where status = 'parked'")

    (event,) = await shop.view.until(parked, "it is parked")
    assert "refund_disagrees" in await shop.view.alarms()
    assert [row.status for row in await shop.view.transfers("o1")] == ["reversed"]
    await shop.view.select(
        "update webhook_inbox set due_at = now() where inbox_id = %s returning 1", event["inbox_id"]
    )
    await shop.view.select("select pg_notify('webhook_inbox', '')")
    await shop.view.reached("o1", "reversed", "completed")
    assert "refund_disagrees" not in await shop.view.alarms()


async def test_late_old_refund_failure_changes_nothing(shop: Shop, refund_view: RefundView) -> None:
    await shop.paid()
    await shop.refund()
    await refund_view.reached("submitted")
    await refund_view.psp.webhook(knobs={"drop": ["refund_failed"]})
    await refund_view.psp.settle_refund("r1", "failed")
    await refund_view.psp.settle_refund("r1", "succeeded")
    await shop.view.reached("o1", "reversed")
    late = next(
        event for event in await refund_view.psp.events() if event["event_type"] == "refund_failed"
    )
    await refund_view.psp.resend(late["event_id"])

    async def handled() -> bool:
        rows = await shop.view.select(
            "select status from webhook_inbox where event_type = 'refund_failed'"
        )
        return [row["status"] for row in rows] == ["done"]

    await shop.view.until(handled, "the late event is handled")
    assert (await refund_view.row())["status"] == "succeeded"
    assert [row.status for row in await shop.view.transfers("o1")] == ["reversed"]
