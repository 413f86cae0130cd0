"""Whose word counts: that of the provider that took the payment."""

from datetime import UTC, datetime

import pytest

from domain.authority import authority_of
from domain.order import Order

NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)


def an_order() -> Order:
    share = {"seller_id": "ada", "destination": "acct_ada", "amount": 50}
    return Order.register(order_id="o1", currency="EUR", amount=100, shares=[share], now=NOW)  # type: ignore[list-item]


def test_nobodys_counts_while_the_order_is_unpaid() -> None:
    assert authority_of(an_order()) is None


@pytest.mark.parametrize(
    ("payment_id", "charge", "source", "whose"),
    [
        ("pay_1", None, "hyperswitch:evt_1", "hyperswitch"),
        ("pay_1", "ch_1", "hyperswitch:evt_1", "hyperswitch"),
        ("pay_1", "ch_1", "api", "stripe"),
        ("pi_1", None, "api", "stripe"),
        (None, "ch_1", "api", "stripe"),
        (None, None, "api", "stripe"),
        ("pay_1", None, "api", "hyperswitch"),
    ],
)
def test_it_is_told_by_who_reported_the_payment_and_by_its_names(
    payment_id: str | None, charge: str | None, source: str, whose: str
) -> None:
    order = an_order()
    order.pay(payment_id, charge, source, NOW)
    assert authority_of(order) == whose
