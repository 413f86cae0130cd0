"""Targets of sellers: the recorded ones equal the computed ones, and the parts of all causes add up
to them."""

from datetime import UTC, datetime

from domain.allocation import Portion, cumulative_targets, targets
from domain.identity import dispute_cause
from domain.order.aggregate import Order
from domain.order.disputes import count_dispute, revoke_dispute
from domain.order.state import Share

NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
SHARES = [
    Share(seller_id="ada", destination="acct_1", amount=801),
    Share(seller_id="bob", destination="acct_2", amount=99),
]


def assert_targets_agree(order: Order) -> None:
    computed = order.targets_for(order.refunds, order.disputes)
    parts = order.parts_by_cause()
    assert order.seller_targets == computed
    assert list(parts) == order.causes
    assert {
        seller: sum(part[seller] for part in parts.values()) for seller in order.shares
    } == computed


def test_recorded_targets_equal_computed_targets_after_each_command() -> None:
    order = Order.register(NOW, order_id="o1", currency="EUR", amount=1_000, shares=SHARES)
    assert_targets_agree(order)
    assert order.allocate_refund("r1", 333, "EUR", None, NOW) is None
    assert_targets_agree(order)
    assert count_dispute(order, "dp_1", 900, "EUR", NOW) is None
    assert_targets_agree(order)
    assert order.allocate_refund("r2", 200, "EUR", {"ada": 150}, NOW) is None
    assert_targets_agree(order)
    assert order.causes == ["r1", "r2", dispute_cause("dp_1")]
    assert order.revoke_refund("r1", NOW)
    assert_targets_agree(order)
    assert revoke_dispute(order, "dp_1", NOW)
    assert_targets_agree(order)
    assert order.seller_targets == {"ada": 150, "bob": 0}


def test_cumulative_targets_equal_the_targets_of_each_prefix() -> None:
    shares, portions = (
        {"ada": 801, "bob": 99},
        [Portion(333), Portion(200, {"ada": 150}), Portion(101)],
    )
    prefixes = [targets(shares, 1_000, portions[:count]) for count in range(len(portions) + 1)]
    assert cumulative_targets(shares, 1_000, portions) == prefixes
