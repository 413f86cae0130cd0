"""Refunds and disputes of another payment than the one that paid the order."""

import pytest

from domain.fact import Fact
from domain.identity import dispute_cause
from domain.order.aggregate import Order
from domain.order.disputes import count_dispute
from domain.order.facts import DisputeSetAside, RefundSetAside
from domain.order.surplus import revoke_surplus
from tests.support.domain_story import START

OTHER, OWN = {"psp_payment": "pay-2"}, {"psp_payment": "pay-1"}


@pytest.fixture
def order() -> Order:
    order = Order.register(
        START,
        order_id="o1",
        currency="EUR",
        amount=1_000,
        shares=[{"seller_id": "ada", "destination": "acct_ada", "amount": 900}],
    )
    for name, payment in (("mine", OWN), ("theirs", OTHER), ("unnamed", None), ("failed", OTHER)):
        assert order.allocate_refund(name, 100, "EUR", None, START, payment) is None
    order.revoke_refund("failed", START)
    for name, payment in (("dp_mine", OWN), ("dp_theirs", OTHER), ("dp_unnamed", None)):
        assert count_dispute(order, name, 50, "EUR", START, payment) is None
    assert order.seller_targets == {"ada": 405}
    order.pay("pay-1", None, "hyperswitch:evt_1", START)
    return order


def set_aside(order: Order, *, before: int) -> list[Fact]:
    return [
        fact
        for fact in order.pending_events[before:]
        if isinstance(fact, RefundSetAside | DisputeSetAside)
    ]


def test_surplus_is_taken_back_and_the_rest_stays(order: Order) -> None:
    before = len(order.pending_events)
    assert revoke_surplus(order, START) == ["theirs", dispute_cause("dp_theirs")]
    assert order.causes == [
        "mine",
        "unnamed",
        dispute_cause("dp_mine"),
        dispute_cause("dp_unnamed"),
    ]
    assert order.seller_targets == {"ada": 270}
    refund, dispute = set_aside(order, before=before)
    assert isinstance(refund, RefundSetAside)
    assert isinstance(dispute, DisputeSetAside)
    assert (refund.refund_id, refund.amount, refund.currency) == ("theirs", 100, "EUR")
    assert (dispute.dispute_id, dispute.amount, dispute.currency) == ("dp_theirs", 50, "EUR")
    assert refund.order_id == dispute.order_id == "o1"
    for why in (refund.why, dispute.why):
        assert "surplus payment pay-2" in why
        assert why.endswith("was paid by payment pay-1")
    assert order.set_aside == {"theirs": 100, dispute_cause("dp_theirs"): 50}


def test_surplus_is_revoked_once(order: Order) -> None:
    revoke_surplus(order, START)
    version = order.version
    assert revoke_surplus(order, START) == []
    assert order.version == version
