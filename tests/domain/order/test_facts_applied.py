"""Facts of an order: each field arrives in the fact and in the state."""

from datetime import timedelta

import pytest

from domain.errors import Refused
from domain.fact import Fact
from domain.identity import dispute_cause
from domain.order import facts
from domain.order.aggregate import Order
from domain.order.collected import leave_uncounted, require_not_voided
from domain.order.disputes import count_dispute, reduce_dispute, revoke_dispute
from domain.order.state import (
    CountedDispute,
    MadeTransfer,
    SetAsideDecision,
    Share,
    UncountedPayment,
)
from tests.support.domain_story import START

LATER = START + timedelta(hours=1)
NAMES = {"psp_payment": "pay-1"}


@pytest.fixture
def order() -> Order:
    shares: list[Share] = [
        {"seller_id": "ada", "destination": "acct_ada", "amount": 500},
        {"seller_id": "bob", "destination": "acct_bob", "amount": 200, "currency": "USD"},
    ]
    return Order.register(START, order_id="o1", currency="EUR", amount=1_000, shares=shares)


def last(order: Order) -> Fact:
    fact = order.pending_events[-1]
    assert isinstance(fact, Fact)
    return fact


def test_dispute_keeps_its_names_and_place_when_it_is_reduced(order: Order) -> None:
    count_dispute(order, "dp_1", 600, "EUR", START, NAMES)
    count_dispute(order, "dp_2", 600, "EUR", START)
    fact = last(order)
    assert isinstance(fact, facts.DisputeCounted)
    assert (fact.dispute_id, fact.amount, fact.counted, fact.payment) == ("dp_2", 600, 400, None)
    assert reduce_dispute(order, "dp_1", 1, START)
    reduced = last(order)
    assert isinstance(reduced, facts.DisputeReduced)
    assert (reduced.before, reduced.amount, reduced.counted) == (600, 1, 1)
    assert reduced.targets == order.seller_targets == {"ada": 300, "bob": 120}
    assert list(order.disputes) == ["dp_1", "dp_2"]
    assert order.disputes["dp_1"] == CountedDispute(1, True, payment=NAMES)
    assert reduce_dispute(order, "dp_1", 0, START)
    assert order.disputes["dp_1"] == CountedDispute(0, False, payment=NAMES)
    ended = last(order)
    assert isinstance(ended, facts.DisputeReduced)
    assert (ended.before, ended.amount, ended.counted) == (1, 0, 0)
    assert not reduce_dispute(order, "dp_1", 0, START)
    with pytest.raises(Refused, match="takes 0 EUR"):
        reduce_dispute(order, "dp_1", 1, START)


def test_unknown_dispute_may_take_a_part_of_the_order(order: Order) -> None:
    assert reduce_dispute(order, "dp_1", 100, START)
    assert order.disputes == {"dp_1": CountedDispute(100, True)}
    assert order.seller_targets == {"ada": 50, "bob": 20}
    assert not reduce_dispute(order, "dp_1", 100, START)
    assert not reduce_dispute(order, "dp_2", 0, START), "it takes nothing already"


def test_revoked_dispute_counts_again_at_the_end(order: Order) -> None:
    count_dispute(order, "dp_1", 600, "EUR", START, NAMES)
    count_dispute(order, "dp_2", 600, "EUR", START)
    assert revoke_dispute(order, "dp_1", START)
    revoked = last(order)
    assert isinstance(revoked, facts.DisputeRevoked)
    assert (revoked.dispute_id, revoked.amount, revoked.targets["ada"]) == ("dp_1", 600, 300)
    assert not revoke_dispute(order, "dp_1", START)
    assert not revoke_dispute(order, "unknown", START)
    count_dispute(order, "dp_1", 500, "EUR", START)
    assert (list(order.disputes), order.disputes["dp_1"].amount) == (["dp_2", "dp_1"], 500)
    version = order.version
    assert count_dispute(order, "dp_1", 500, "EUR", START) is None
    assert order.version == version


def test_dispute_in_another_currency_is_set_aside_once(order: Order) -> None:
    why = count_dispute(order, "dp_1", 600, "USD", START)
    assert why == "it is in USD, the order in EUR"
    fact = last(order)
    assert isinstance(fact, facts.DisputeSetAside)
    assert (fact.dispute_id, fact.amount, fact.currency, fact.why) == ("dp_1", 600, "USD", why)
    assert fact.order_id == "o1"
    assert count_dispute(order, "dp_1", 600, "USD", START) == why
    assert last(order) is fact
    with pytest.raises(Refused, match="set aside"):
        reduce_dispute(order, "dp_1", 0, START)


def test_refund_is_recorded_with_names_parts_and_total(order: Order) -> None:
    order.reserve_refund("r1", 100, {"ada": 10}, START)
    reserved = last(order)
    assert isinstance(reserved, facts.RefundReserved)
    assert (reserved.amount, reserved.explicit) == (100, {"ada": 10})
    assert order.refundable == 900
    order.allocate_refund("r0", 50, "EUR", None, START)
    order.allocate_refund("r1", 100, "EUR", {"ada": 10}, START, NAMES)
    fact = last(order)
    assert isinstance(fact, facts.RefundAllocated)
    assert (fact.refund_id, fact.amount, fact.explicit) == ("r1", 100, {"ada": 10})
    assert (fact.refunded, fact.payment) == (150, NAMES)
    assert fact.targets == order.seller_targets == {"ada": 35, "bob": 10}
    assert order.reserved == {}
    version = order.version
    assert order.allocate_refund("r1", 100, "EUR", None, START) is None
    order.release_refund("r1", START)
    assert order.version == version
    assert order.revoke_refund("r1", START)
    revoked = last(order)
    assert isinstance(revoked, facts.RefundRevoked)
    assert (revoked.amount, revoked.refunded, revoked.targets["ada"]) == (100, 50, 25)
    assert not order.revoke_refund("r1", START)
    assert not order.revoke_refund("unknown", START)


def test_refund_that_cannot_be_divided_is_set_aside_once(order: Order) -> None:
    why = order.allocate_refund("r1", 1_001, "EUR", None, START)
    fact = last(order)
    assert isinstance(fact, facts.RefundSetAside)
    assert (fact.refund_id, fact.amount, fact.currency, fact.why) == ("r1", 1_001, "EUR", why)
    assert fact.order_id == "o1"
    order.allocate_refund("r1", 1_001, "EUR", None, START)
    assert last(order) is fact
    assert order.set_aside == {"r1": 1_001}
    order.allocate_refund("r1", 1_000, "EUR", None, START)
    assert order.set_aside == {}


@pytest.mark.parametrize(
    ("amount", "currency", "explicit", "why"),
    [
        (1_000, "EUR", None, None),
        (1_000, "EUR", {"ada": 500, "bob": 200}, None),
        (1, "USD", None, "it is in USD, the order in EUR"),
        (0, "EUR", None, "it is 0, which is no amount to divide"),
        (1_001, "EUR", None, "it is 1001, but only 1000 of the order is not refunded yet"),
        (9, "EUR", {"ada": -1}, "its allocation names a negative amount"),
        (9, "EUR", {"eve": 1}, "its allocation names 'eve', who has no share in the order"),
        (
            600,
            "EUR",
            {"ada": 501},
            "its allocation takes more from 'ada' than is left of that share",
        ),
        (9, "EUR", {"bob": 201}, "its allocation takes more from 'bob' than is left of that share"),
        (9, "EUR", {"ada": 10}, "its allocation adds up to more than the refund"),
        (9, "EUR", {"ada": 9, "bob": 200}, None),
    ],
)
def test_objection_to_a_refund_names_the_first_fault(
    order: Order, amount: int, currency: str, explicit: dict[str, int] | None, why: str | None
) -> None:
    assert order.objection_to_refund(amount, currency, explicit) == why


def test_explicit_parts_leave_the_rest_to_the_sellers_of_the_currency(order: Order) -> None:
    """Shares in other currencies do not add to the rest of the order."""
    order.allocate_refund("r1", 400, "EUR", {"ada": 0}, START)
    order.allocate_refund("r2", 300, "EUR", None, START)
    assert order.seller_targets == {"ada": 250, "bob": 100}
    order.allocate_refund("r3", 200, "EUR", {"ada": 0}, START)
    order.allocate_refund("r4", 50, "EUR", None, START)
    assert order.seller_targets == {"ada": 300, "bob": 120}, "250 are left of ada, 100 of the order"


def test_payment_that_pays_no_seller_is_kept_until_the_order_is_paid(order: Order) -> None:
    voided = UncountedPayment("pay-1", "cancelled_post_capture", 1_000, "EUR")
    assert leave_uncounted(order, voided, "psp:1", START)
    fact = last(order)
    assert isinstance(fact, facts.PaymentNotCounted)
    assert (fact.payment_id, fact.status, fact.amount_received, fact.currency, fact.source) == (
        "pay-1",
        "cancelled_post_capture",
        1_000,
        "EUR",
        "psp:1",
    )
    assert not leave_uncounted(order, voided, "psp:2", START)
    with pytest.raises(Refused, match="'pay-1' of order 'o1'"):
        require_not_voided(order, "pay-1")
    require_not_voided(order, "pay-2")
    require_not_voided(order, None)
    order.payment_id = "pay-1"
    with pytest.raises(Refused):
        require_not_voided(order, None)
    order.payment_id = None
    order.pay("pay-1", None, "api", START)
    require_not_voided(order, "pay-1")
    assert not leave_uncounted(order, voided._replace(payment_id="pay-3"), "psp:3", START)


def test_decision_may_take_what_the_others_leave(order: Order) -> None:
    order.allocate_refund("r1", 300, "EUR", {"ada": 100}, START)
    order.allocate_refund("r2", 300, "EUR", {"ada": 100}, START)
    order.revoke_refund("r2", START)
    count_dispute(order, "dp_1", 200, "EUR", START)
    assert order.seller_targets == {"ada": 214, "bob": 57}
    dispute = dispute_cause("dp_1")
    for cause, amount, parts, fits in (
        ("r2", 700, {"ada": 400}, True),
        ("r2", 700, {"ada": 401}, False),
        ("r2", 701, {}, False),
        ("r1", 1_000, {"ada": 500}, True),
        (dispute, 700, {"ada": 400}, True),
        (dispute, 700, {"ada": 401}, False),
        (dispute, -1, {}, False),
        (dispute_cause("dp_2"), 700, {"ada": 286}, True),
        (dispute_cause("dp_2"), 700, {"ada": 287}, False),
    ):
        objection = order.objection_to_decision(SetAsideDecision(amount, parts), cause)
        assert (objection is None) is fits, (cause, amount, parts, objection)


def read_later(order: Order, why: str, reads: int) -> None:
    order.record(
        facts.ChargeReadDeferred(
            **order.next(START),
            connector_payment="pi_1",
            why=why,
            detail="",
            reads=reads,
            since=START,
            read_charge_at=LATER,
        )
    )


def test_reads_of_the_charge_are_counted_until_they_begin_anew(order: Order) -> None:
    read_later(order, "pending", 1)
    read_later(order, "look_up_failed", 2)
    read_later(order, "pending", 3)
    assert (order.charge_reads, order.charge_absences) == (3, 2)
    assert (order.charge_unread_since, order.read_charge_at) == (START, LATER)
    order.record(
        facts.ChargeReadRequested(
            **order.next(START), actor="mia", reason="again", read_charge_at=START
        )
    )
    assert (order.charge_reads, order.charge_absences) == (0, 0)
    assert (order.charge_unread_since, order.read_charge_at) == (None, START)


@pytest.mark.parametrize(("status", "source"), [("succeeded", "ch_1"), ("failed", None)])
def test_failed_charge_funds_no_transfer(order: Order, status: str, source: str | None) -> None:
    read_later(order, "pending", 1)
    order.record(
        facts.ChargeFound(
            **order.next(START),
            connector_payment="pi_1",
            charge="ch_1",
            amount=1_000,
            currency="EUR",
            settled_amount=None,
            settled_currency=None,
            status=status,
            sourced=1,
        )
    )
    assert (order.source_transaction, order.read_charge_at) == (source, None)


def test_movements_of_the_payment_itself_are_kept_by_seller(order: Order) -> None:
    order.record(
        facts.TransferMadeByCharge(
            **order.next(START), seller_id="ada", stripe_transfer_id="tr_1", amount=5, source="s"
        )
    )
    for seller, stripe_id in (("ada", "trr_1"), ("bob", "trr_2")):
        order.record(
            facts.ReversalMadeByRefund(
                **order.next(START),
                refund_id="r1",
                seller_id=seller,
                stripe_reversal_id=stripe_id,
                amount=5,
                source="s",
            )
        )
    assert order.made_by_charge == {"ada": MadeTransfer("tr_1", 5)}
    assert order.reversed_by_refund == {"r1": {"ada": "trr_1", "bob": "trr_2"}}


def test_causes_are_refunds_first_then_disputes(order: Order) -> None:
    count_dispute(order, "dp_1", 10, "EUR", START)
    order.allocate_refund("r1", 10, "EUR", None, START)
    assert order.causes == ["r1", dispute_cause("dp_1")]
    order.revoke_refund("r1", START)
    assert order.causes == [dispute_cause("dp_1")]


def test_revoked_dispute_takes_nothing_before_the_others(order: Order) -> None:
    for name in ("dp_0", "dp_1", "dp_2"):
        count_dispute(order, name, 300, "EUR", START)
    revoke_dispute(order, "dp_0", START)
    assert reduce_dispute(order, "dp_2", 200, START)
    fact = last(order)
    assert isinstance(fact, facts.DisputeReduced)
    assert (fact.before, fact.amount, fact.counted) == (300, 200, 200)
    order.allocate_refund("r1", 900, "EUR", None, START)
    assert reduce_dispute(order, "dp_1", 90, START)
    fact = last(order)
    assert isinstance(fact, facts.DisputeReduced)
    assert fact.counted == 90


def test_parts_in_steps_are_compared_only_if_they_are_named() -> None:
    shares: list[Share] = [
        {"seller_id": "ada", "destination": "acct_ada", "amount": 500},
        {"seller_id": "kim", "destination": "acct_kim", "amount": 200, "currency": "KWD"},
    ]
    order = Order.register(START, order_id="o1", currency="EUR", amount=1_000, shares=shares)
    assert order.objection_to_refund(100, "EUR", {"ada": 50}) is None
    assert order.objection_to_refund(100, "EUR", {"kim": 20}) is None
    why = order.objection_to_refund(100, "EUR", {"kim": 21})
    assert why == "its allocation takes 21 from 'kim', and Stripe moves KWD in steps of 10"
