"""Authority over an order: the provider that took the payment, or the first to report where that is
unknown."""

from datetime import UTC, datetime

import pytest

from domain.order.aggregate import Order
from domain.order.authority import authority_of, claim_authority
from domain.order.facts import AuthorityFound

NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)


def an_order(order_id: str = "o1") -> Order:
    share = {"seller_id": "ada", "destination": "acct_ada", "amount": 50}
    return Order.register(order_id=order_id, currency="EUR", amount=100, shares=[share], now=NOW)  # type: ignore[list-item]


def test_unpaid_order_has_no_authority() -> None:
    assert authority_of(an_order()) is None


@pytest.mark.parametrize(
    ("payment_id", "charge", "source", "whose"),
    [
        ("pay_1", None, "hyperswitch:evt_1", "hyperswitch"),
        ("pay_1", "ch_1", "hyperswitch:evt_1", "hyperswitch"),
        ("pay_1", "ch_1", "api", None),  # the charge may be behind the PSP's connector: unknown
        ("pi_1", None, "api", "stripe"),
        ("ch_1", "ch_1", "api", "stripe"),
        (None, "ch_1", "api", None),
        (None, None, "api", None),
        ("pay_1", None, "api", "hyperswitch"),
    ],
)
def test_authority_follows_the_payments_reporter_and_names(
    payment_id: str | None, charge: str | None, source: str, whose: str | None
) -> None:
    order = an_order()
    order.pay(payment_id, charge, source, NOW)
    assert authority_of(order) == whose


@pytest.mark.parametrize("order_id", ["o1", "ch_1001"])
@pytest.mark.parametrize("charge", [None, "ch_1"])
def test_requested_payment_makes_provider_the_authority(order_id: str, charge: str | None) -> None:
    order = an_order(order_id)
    order.request_payment(NOW)
    assert authority_of(order) is None
    order.pay(None, charge, "api", NOW)
    assert authority_of(order) == "hyperswitch"


def test_first_reporting_provider_stays_authority() -> None:
    order = an_order()
    assert claim_authority(order, "hyperswitch", "hyperswitch:evt_1", NOW) == "hyperswitch"
    order.pay("pi_1", "ch_1", "api", NOW)
    assert (
        claim_authority(order, "stripe", "stripe:evt_2", NOW)
        == authority_of(order)
        == "hyperswitch"
    )
    assert sum(isinstance(fact, AuthorityFound) for fact in order.pending_events) == 1


def test_authority_known_from_payment_is_not_recorded() -> None:
    order = an_order()
    order.pay("pi_1", None, "api", NOW)
    assert claim_authority(order, "hyperswitch", "hyperswitch:evt_1", NOW) == "stripe"
    assert not any(isinstance(fact, AuthorityFound) for fact in order.pending_events)
