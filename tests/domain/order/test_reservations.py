"""Reservations of an order: amounts that the PSP is asked to refund cannot be asked for again."""

import pytest

from domain.errors import Refused
from domain.order.aggregate import Order
from domain.order.facts import PaymentRequested
from domain.order.state import Share
from tests.support.domain_story import Story

SHARE = Share(seller_id="ada", destination="acct_ada", amount=800)


@pytest.fixture
def order(story: Story) -> Order:
    order = Order.register(
        order_id="o1", currency="EUR", amount=1_000, shares=[SHARE], now=story.now
    )
    order.pay("pay_1", None, "api", story.now)
    return order


def test_reserved_amount_is_available_again_after_release(order: Order, story: Story) -> None:
    order.reserve_refund("r1", 600, None, story.now)
    assert order.refundable == 400
    order.release_refund("r1", story.now)
    order.release_refund("r1", story.now)
    assert order.refundable == 1_000


def test_effective_refund_is_no_longer_reserved(order: Order, story: Story) -> None:
    order.reserve_refund("r1", 600, None, story.now)
    order.allocate_refund("r1", 600, "EUR", None, story.now)
    assert (order.refundable, order.refunded, order.reserved) == (400, 600, {})


def test_reservation_does_not_block_a_succeeded_refund(order: Order, story: Story) -> None:
    order.reserve_refund("r1", 600, None, story.now)
    assert order.allocate_refund("dashboard", 1_000, "EUR", None, story.now) is None
    assert order.refundable == 0, "never below zero, although more is spoken for than there is"


def test_allocation_includes_reservations(order: Order, story: Story) -> None:
    order.reserve_refund("r1", 500, {"ada": 500}, story.now)
    assert order.objection_to_request({"ada": 300}, 500) is None
    assert "more from 'ada' than is left" in str(order.objection_to_request({"ada": 301}, 500))


def test_payment_request_keeps_one_body(story: Story) -> None:
    order = Order.register(
        order_id="o1", currency="EUR", amount=1_000, shares=[SHARE], now=story.now
    )
    first = order.request_payment(story.now)
    facts = len(order.pending_events)
    order.pay("o1", None, "hyperswitch:evt", story.now)
    assert order.request_payment(story.now) == first
    assert len(order.pending_events) == facts + 1
    assert first["payment_id"] == order.payment_id == "o1"


def test_order_paid_elsewhere_gets_no_second_payment(order: Order, story: Story) -> None:
    with pytest.raises(Refused, match="names payment 'pay_1'"):
        order.request_payment(story.now)


def test_order_paid_without_id_gets_no_second_payment(story: Story) -> None:
    order = Order.register(
        order_id="o1", currency="EUR", amount=1_000, shares=[SHARE], now=story.now
    )
    order.pay(None, "ch_1", "api", story.now)
    with pytest.raises(Refused, match="is paid already"):
        order.request_payment(story.now)


def test_payment_request_names_the_order_and_is_recorded_once(story: Story) -> None:
    order = Order.register(
        order_id="o1", currency="EUR", amount=1_000, shares=[SHARE], now=story.now
    )
    assert order.request_payment(story.now) == {
        "payment_id": "o1",
        "amount": 1_000,
        "currency": "EUR",
        "metadata": {"order_id": "o1"},
        "merchant_order_reference_id": "o1",
    }
    fact = order.pending_events[-1]
    assert isinstance(fact, PaymentRequested)
    assert (fact.payment_id, fact.key, fact.body) == ("o1", "o1", order.payment_body)
    assert order.request_payment(story.now) == order.payment_body
    assert order.pending_events[-1] is fact
