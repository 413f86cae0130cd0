"""Decisions of a person about refunds and disputes that were set aside."""

from datetime import timedelta

import pytest

from domain.errors import ContentDiffers, Refused
from domain.identity import dispute_cause
from domain.order.aggregate import Order
from domain.order.disputes import count_dispute
from domain.order.facts import SetAsideDecided, SetAsideEnded
from domain.order.set_aside import counted_by_default, decide, end_set_aside, repeats
from tests.support.domain_story import START

MIA = ("mia", "agreed with the seller")
NOW = START + timedelta(hours=1)


@pytest.fixture
def order() -> Order:
    """Return a paid order with two refunds and a dispute in another currency."""
    order = Order.register(
        START,
        order_id="o1",
        currency="EUR",
        amount=1_000,
        shares=[
            {"seller_id": "ada", "destination": "acct_ada", "amount": 500},
            {"seller_id": "bob", "destination": "acct_bob", "amount": 300, "currency": "USD"},
        ],
    )
    order.pay("pay-1", None, "api", START)
    for name in ("r1", "r2"):
        assert order.allocate_refund(name, 70, "USD", None, START) is not None
    assert count_dispute(order, "dp", 90, "USD", START) is not None
    return order


def decided(order: Order) -> SetAsideDecided:
    fact = order.pending_events[-1]
    assert isinstance(fact, SetAsideDecided)
    return fact


def test_decision_names_actor_parts_and_other_causes(order: Order) -> None:
    assert decide(order, "r1", {"ada": 40}, 60, MIA, NOW) == (60, {"ada": 40})
    fact = decided(order)
    assert (fact.order_id, fact.cause_id, fact.amount) == ("o1", "r1", 60)
    assert (fact.explicit, fact.actor, fact.reason) == ({"ada": 40}, *MIA)
    assert fact.remaining == ["r2", dispute_cause("dp")]
    assert fact.timestamp == NOW


def test_repeated_decision_is_recognised(order: Order) -> None:
    assert repeats(order, "r1", {"ada": 40}, 60) is False, "nothing is decided"
    decide(order, "r1", {"ada": 40}, 60, MIA, NOW)
    assert repeats(order, "r1", {"ada": 40}, 60) is True
    assert repeats(order, "r1", {"ada": 40}, None) is True
    assert repeats(order, "r2", {"ada": 40}, 60) is False


@pytest.mark.parametrize(
    ("allocation", "amount", "named"),
    [
        ({"ada": 41}, 60, "allocation;"),
        (None, 60, "allocation;"),
        ({"ada": 40}, 61, "amount;"),
        ({"ada": 41}, 61, "allocation, amount;"),
    ],
)
def test_other_decision_is_refused_and_named(
    order: Order, allocation: dict[str, int] | None, amount: int, named: str
) -> None:
    cause = dispute_cause("dp")
    decide(order, cause, {"ada": 40}, 60, MIA, NOW)
    with pytest.raises(ContentDiffers, match=f"decision 'dp' is already .* another {named}"):
        repeats(order, cause, allocation, amount)


def test_dismissal_is_repeated_only_by_a_dismissal(order: Order) -> None:
    decide(order, "r1", None, 60, MIA, NOW)
    assert repeats(order, "r1", None, 60) is True
    with pytest.raises(ContentDiffers):
        repeats(order, "r1", {}, 60)
    assert order.allocate_refund("r1", 70, "USD", None, NOW) is None
    assert order.seller_targets == {"ada": 0, "bob": 0}, "it takes nothing"


def test_decision_above_the_share_changes_nothing(order: Order) -> None:
    version = order.version
    with pytest.raises(Refused, match="'dp' of order 'o1' cannot be decided"):
        decide(order, dispute_cause("dp"), {"ada": 501}, 600, MIA, NOW)
    assert order.version == version


def test_decided_dispute_takes_the_parts_of_the_decision(order: Order) -> None:
    decide(order, dispute_cause("dp"), {"ada": 40, "bob": 5}, 60, MIA, NOW)
    assert count_dispute(order, "dp", 90, "USD", NOW) is None
    assert order.seller_targets == {"ada": 40, "bob": 5}
    assert order.disputes["dp"].amount == 60
    assert dispute_cause("dp") not in order.set_aside


def test_dismissed_dispute_takes_nothing(order: Order) -> None:
    decide(order, dispute_cause("dp"), None, 60, MIA, NOW)
    assert count_dispute(order, "dp", 90, "USD", NOW) is None
    assert (order.seller_targets, order.disputes) == ({"ada": 0, "bob": 0}, {})


def test_decided_dispute_that_no_longer_fits_is_set_aside_again(order: Order) -> None:
    decide(order, dispute_cause("dp"), {"ada": 500}, 600, MIA, NOW)
    order.allocate_refund("r3", 500, "EUR", {"ada": 1}, NOW)
    why = count_dispute(order, "dp", 90, "USD", NOW)
    assert why == "it counts as 600, but 500 of the order is not refunded yet"
    assert order.set_aside[dispute_cause("dp")] == 90


def test_end_of_a_set_aside_cause_is_recorded_once(order: Order) -> None:
    end_set_aside(order, "r1", "the refund has failed", NOW)
    fact = order.pending_events[-1]
    assert isinstance(fact, SetAsideEnded)
    assert (fact.cause_id, fact.why, fact.order_id) == ("r1", "the refund has failed", "o1")
    assert fact.remaining == ["r2", dispute_cause("dp")]
    version = order.version
    end_set_aside(order, "r1", "again", NOW)
    assert order.version == version


def test_decision_counts_its_amount_or_its_parts_in_the_currency(order: Order) -> None:
    order.allocate_refund("r3", 900, "EUR", None, NOW)
    order.allocate_refund("r4", 20, "EUR", None, NOW)
    order.revoke_refund("r4", NOW)
    parts = {"ada": 40, "bob": 5, "eve": 7}
    assert counted_by_default(order, "r1", 70, "EUR", parts) == 70
    assert counted_by_default(order, "r1", 70, "USD", parts) == 40
    assert counted_by_default(order, "r1", 170, "EUR", parts) == 100, "the rest of the order"
    assert counted_by_default(order, "r3", 170, "EUR", parts) == 170, "its own part is free"


def test_decided_refund_takes_the_parts_of_the_decision(order: Order) -> None:
    decide(order, "r1", {"ada": 40}, 60, MIA, NOW)
    assert order.allocate_refund("r1", 70, "USD", None, NOW) is None
    assert order.seller_targets == {"ada": 40, "bob": 0}
    assert (order.refunds["r1"].amount, order.refunds["r1"].explicit) == (60, {"ada": 40})
