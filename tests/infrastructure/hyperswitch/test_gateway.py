"""The gateway to the payment provider on the simulated Hyperswitch, over real HTTP: ids, keys, lost
answers, reads."""

import asyncio
import json
from dataclasses import replace

import pytest

from domain.provider_call.outcome import Hindrance, NotExecuted, Rejected, Unknown
from domain.provider_call.psp_objects import PaymentAtPsp, RefundAtPsp, name_at_psp
from infrastructure.hyperswitch.gateway import HyperswitchGateway
from infrastructure.simulators.common.http_server import LoopbackServer
from infrastructure.simulators.hyperswitch import HyperswitchControl
from tests.infrastructure.hyperswitch.conftest import OpenGateway
from tests.infrastructure.simulators.hyperswitch.conftest import MakePayment, MakeRefund


@pytest.fixture
async def paid(control: HyperswitchControl) -> None:
    """Order o1 was paid with 50.00 USD."""
    await control.take_payment("o1", 5000, "USD", metadata={"order_id": "o1"})


async def test_payment_is_posted_under_order_id(
    gateway: HyperswitchGateway, control: HyperswitchControl, payment_body: MakePayment
) -> None:
    answer = await gateway.create_payment("o1", payment_body())
    assert answer == PaymentAtPsp(
        "o1",
        5000,
        "USD",
        "requires_confirmation",
        order_id="o1",
        client_secret="o1_secret_simulated",
    )
    (posted,) = await control.requests("payments.create")
    assert posted["headers"]["idempotency-key"] == "o1"
    assert posted["headers"]["api-key"] == "snd_SecretOfThisTestSuite"
    assert json.loads(posted["body"]) == payment_body()


async def test_refund_is_posted_under_its_own_id(
    gateway: HyperswitchGateway, control: HyperswitchControl, paid: None, refund_body: MakeRefund
) -> None:
    answer = await gateway.create_refund("r1", refund_body(reason="requested_by_customer"), "USD")
    assert answer == RefundAtPsp("r1", "o1", 1000, "USD", "pending", order_id="o1")
    (posted,) = await control.requests("refunds.create")
    assert posted["headers"]["idempotency-key"] == "r1"
    assert json.loads(posted["body"]) == refund_body(reason="requested_by_customer")


async def test_unfitting_id_is_sent_as_key_with_provider_id_in_body(
    gateway: HyperswitchGateway, control: HyperswitchControl, paid: None, refund_body: MakeRefund
) -> None:
    name = name_at_psp("refund:2026/07#1")
    answer = await gateway.create_refund("refund:2026/07#1", refund_body(name), "USD")
    assert isinstance(answer, RefundAtPsp)
    assert answer.refund_id == name
    (posted,) = await control.requests("refunds.create")
    assert posted["key"] == "refund:2026/07#1"


@pytest.mark.parametrize("key", ["", "two words", "a\r\nb", "é", "x" * 256])
async def test_call_without_usable_key_is_not_sent(
    gateway: HyperswitchGateway,
    control: HyperswitchControl,
    paid: None,
    payment_body: MakePayment,
    refund_body: MakeRefund,
    key: str,
) -> None:
    with pytest.raises(ValueError, match="idempotency key"):
        await gateway.create_payment(key, payment_body("o2"))
    with pytest.raises(ValueError, match="idempotency key"):
        await gateway.create_refund(key, refund_body(), "USD")
    assert await control.requests() == []


@pytest.mark.parametrize("name", ["", "..", "a/b", "a?b", "x" * 65, "é"])
async def test_id_that_would_change_the_path_is_not_sent(
    gateway: HyperswitchGateway,
    control: HyperswitchControl,
    payment_body: MakePayment,
    refund_body: MakeRefund,
    name: str,
) -> None:
    for call in (
        gateway.create_payment("k", payment_body(name)),
        gateway.create_refund("k", refund_body(name), "USD"),
        gateway.payment(name),
        gateway.refund(name),
    ):
        with pytest.raises(ValueError, match="cannot be a payment_id or refund_id"):
            await call
    assert await control.requests() == []


async def test_lost_answer_and_repeat_are_one_refund(
    gateway: HyperswitchGateway, control: HyperswitchControl, paid: None, refund_body: MakeRefund
) -> None:
    await control.fault("reset_after_commit", "refunds.create", times=1)
    lost = await gateway.create_refund("r1", refund_body(), "USD")
    assert isinstance(lost, Unknown)
    assert lost.why == "connection"
    again = await gateway.create_refund("r1", refund_body(), "USD")
    assert again == RefundAtPsp("r1", "o1", 1000, "USD", "pending", order_id="o1")
    assert [refund["amount"] for refund in (await control.ledger())["refunds"]] == [1000]
    posts = await control.requests("refunds.create")
    assert [post["key"] for post in posts] == ["r1", "r1"]
    assert posts[0]["body"] == posts[1]["body"]
    assert [(post["status"]) for post in posts] == [None, 400]


async def test_full_refund_with_lost_answer_is_found(
    gateway: HyperswitchGateway, control: HyperswitchControl, paid: None, refund_body: MakeRefund
) -> None:
    await control.fault("timeout_after_commit", "refunds.create", times=1, seconds=0)
    await gateway.create_refund("r1", refund_body(amount=5000), "USD")
    again = await gateway.create_refund("r1", refund_body(amount=5000), "USD")
    assert again == RefundAtPsp("r1", "o1", 5000, "USD", "pending", order_id="o1")
    assert (await control.requests("refunds.retrieve"))[-1]["query"] == "force_sync=true"


async def test_lost_answer_and_repeat_are_one_payment(
    gateway: HyperswitchGateway, control: HyperswitchControl, payment_body: MakePayment
) -> None:
    await control.fault("reset_after_commit", "payments.create", times=1)
    assert isinstance(await gateway.create_payment("o1", payment_body()), Unknown)
    await control.settle_payment("o1", "succeeded")
    again = await gateway.create_payment("o1", payment_body())
    assert isinstance(again, PaymentAtPsp)
    assert (again.status, again.amount_received) == ("succeeded", 5000)
    assert len((await control.ledger())["payments"]) == 1


async def test_equal_partial_refunds_stay_two(
    gateway: HyperswitchGateway, control: HyperswitchControl, paid: None, refund_body: MakeRefund
) -> None:
    first = await gateway.create_refund("r1", refund_body("r1"), "USD")
    second = await gateway.create_refund("r2", refund_body("r2"), "USD")
    assert isinstance(first, RefundAtPsp)
    assert second == replace(first, refund_id="r2")
    assert [refund["refund_id"] for refund in (await control.ledger())["refunds"]] == ["r1", "r2"]


async def test_refund_above_the_rest_is_rejected(
    gateway: HyperswitchGateway, control: HyperswitchControl, paid: None, refund_body: MakeRefund
) -> None:
    await gateway.create_refund("r1", refund_body("r1", 4001), "USD")
    answer = await gateway.create_refund("r2", refund_body("r2", 1000), "USD")
    assert isinstance(answer, Rejected)
    assert (answer.status, answer.code, answer.stored) == (400, "IR_13", False)
    failed_first = await control.settle_refund("r1", "failed")
    assert failed_first["status"] == "failed"
    assert isinstance(
        await gateway.create_refund("r2", refund_body("r2", 1000), "USD"), RefundAtPsp
    )


async def test_id_of_another_object_is_no_success(
    gateway: HyperswitchGateway,
    control: HyperswitchControl,
    paid: None,
    refund_body: MakeRefund,
    payment_body: MakePayment,
) -> None:
    await control.take_payment("o2", 5000, "EUR")
    await gateway.create_refund("r1", refund_body(), "USD")
    for body, currency in (
        (refund_body(amount=999), "USD"),
        (refund_body(payment_id="o2"), "EUR"),
        (refund_body(), "EUR"),
    ):
        answer = await gateway.create_refund("r1", body, currency)
        assert isinstance(answer, Unknown)
        assert answer.why == "disagrees"
    paid_as = await gateway.create_payment("o1", payment_body(amount=1))
    assert isinstance(paid_as, Unknown)
    assert paid_as.why == "disagrees"


async def test_unreadable_duplicate_is_unknown(
    gateway: HyperswitchGateway, control: HyperswitchControl, paid: None, refund_body: MakeRefund
) -> None:
    await gateway.create_refund("r1", refund_body(), "USD")
    await control.fault("status", "refunds.retrieve", status=503)
    answer = await gateway.create_refund("r1", refund_body(), "USD")
    assert isinstance(answer, Unknown)
    assert answer.why == "look_up_failed"


async def test_refusal_with_failed_look_up_is_not_definite(
    gateway: HyperswitchGateway, control: HyperswitchControl, paid: None, refund_body: MakeRefund
) -> None:
    await control.fault("status", "refunds.retrieve", status=503)
    answer = await gateway.create_refund("r1", refund_body(amount=9000), "USD")
    assert isinstance(answer, Unknown)
    assert answer.why == "look_up_failed"


async def test_connector_failure_shows_state_stored_under_the_id(
    gateway: HyperswitchGateway, control: HyperswitchControl, paid: None, refund_body: MakeRefund
) -> None:
    await gateway.create_refund("r1", refund_body(), "USD")
    await control.settle_refund(
        "r1", "failed", error_code="card_gone", error_message="The card is gone"
    )
    await control.fault(
        "error", "refunds.create", code="CE_06", message="Refund failed while processing"
    )
    answer = await gateway.create_refund("r1", refund_body(), "USD")
    assert isinstance(answer, RefundAtPsp)
    assert (answer.status, answer.error_code, answer.error_message) == (
        "failed",
        "card_gone",
        "The card is gone",
    )
    absent = await gateway.create_refund("r2", refund_body("r2"), "USD")
    assert isinstance(absent, Rejected)
    assert absent.code == "CE_06"


async def test_duplicate_is_recognised_by_code_not_words(
    gateway: HyperswitchGateway, control: HyperswitchControl, paid: None, refund_body: MakeRefund
) -> None:
    await gateway.create_refund("r1", refund_body(), "USD")
    await control.reword("duplicate_refund", message="We have met before", type="whatever")
    assert isinstance(await gateway.create_refund("r1", refund_body(), "USD"), RefundAtPsp)


async def test_reads_return_current_state(
    gateway: HyperswitchGateway, control: HyperswitchControl, paid: None, refund_body: MakeRefund
) -> None:
    await gateway.create_refund("r1", refund_body(), "USD")
    await control.settle_refund("r1", "review")
    refund = await gateway.refund("r1")
    assert isinstance(refund, RefundAtPsp)
    assert refund.status == "review"
    payment = await gateway.payment("o1")
    assert isinstance(payment, PaymentAtPsp)
    assert (payment.status, payment.amount_received, payment.order_id) == ("succeeded", 5000, "o1")
    assert payment.connector_transaction_id is not None
    asked = [
        *await control.requests("payments.retrieve"),
        *await control.requests("refunds.retrieve"),
    ]
    assert {entry["query"] for entry in asked} == {"force_sync=true"}


async def test_absent_object_is_rejected_with_404(gateway: HyperswitchGateway) -> None:
    for answer in (await gateway.payment("o9"), await gateway.refund("r9")):
        assert isinstance(answer, Rejected)
        assert (answer.status, answer.code) == (404, "HE_02")


async def test_unknown_status_is_passed_on(
    gateway: HyperswitchGateway, control: HyperswitchControl, paid: None, refund_body: MakeRefund
) -> None:
    await gateway.create_refund("r1", refund_body(), "USD")
    await control.settle_refund("r1", "awaiting_the_moon")
    refund = await gateway.refund("r1")
    assert isinstance(refund, RefundAtPsp)
    assert refund.status == "awaiting_the_moon"


async def test_wrong_key_is_not_executed(
    simulator: LoopbackServer,
    control: HyperswitchControl,
    gateway_at: OpenGateway,
    payment_body: MakePayment,
) -> None:
    gateway = await gateway_at(simulator.url, api_key="pk_publishable")
    answer = await gateway.create_payment("o1", payment_body())
    assert isinstance(answer, NotExecuted)
    assert answer.why is Hindrance.UNAUTHORIZED
    assert (await control.ledger())["payments"] == []


async def test_lock_and_rate_limit_are_not_executed(
    gateway: HyperswitchGateway, control: HyperswitchControl, paid: None, refund_body: MakeRefund
) -> None:
    await control.fault("status", "refunds.create", status=429, lock=True, times=1)
    locked = await gateway.create_refund("r1", refund_body(), "USD")
    await control.fault("status", "refunds.create", status=429, times=1)
    limited = await gateway.create_refund("r1", refund_body(), "USD")
    assert isinstance(locked, NotExecuted)
    assert isinstance(limited, NotExecuted)
    assert (locked.why, limited.why) == (Hindrance.LOCK_TIMEOUT, Hindrance.RATE_LIMITED)
    assert (await control.ledger())["refunds"] == []


@pytest.mark.parametrize(
    "kind",
    ["truncate_body", "cut_body", "partial_headers", "reset_before_commit", "reset_after_commit"],
)
async def test_spoilt_answer_is_unknown(
    gateway: HyperswitchGateway,
    control: HyperswitchControl,
    paid: None,
    refund_body: MakeRefund,
    kind: str,
) -> None:
    await control.fault(kind, "refunds.create", times=1)
    answer = await gateway.create_refund("r1", refund_body(), "USD")
    assert isinstance(answer, Unknown)
    assert answer.why in ("unreadable", "connection")


async def test_time_limit_covers_whole_answer(
    simulator: LoopbackServer, control: HyperswitchControl, gateway_at: OpenGateway, paid: None
) -> None:
    gateway = await gateway_at(simulator.url, timeout=1)
    await control.fault(
        "slow_drip", "payments.retrieve", seconds=6
    )  # in twenty drips, each well within the limit
    answer = await gateway.payment("o1")
    assert isinstance(answer, Unknown)
    assert answer.why == "timeout"


async def test_cancelled_call_is_cancelled(
    gateway: HyperswitchGateway, control: HyperswitchControl, paid: None, refund_body: MakeRefund
) -> None:
    await control.hold("refunds.create")
    call = asyncio.create_task(gateway.create_refund("r1", refund_body(), "USD"))
    await control.wait_until_held()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call


async def test_client_secret_is_never_shown(
    gateway: HyperswitchGateway, payment_body: MakePayment
) -> None:
    answer = await gateway.create_payment("o1", payment_body())
    assert "secret_simulated" not in repr(answer)
