"""Comparison of payments by names of one kind; names of different kinds say nothing."""

from datetime import UTC, datetime

import pytest

from domain.errors import OtherPayment
from domain.order.aggregate import Order
from domain.order.charge import find
from domain.order.payment_match import (
    Match,
    match,
    payments_of,
    psp_payment,
    require_payment_of,
    stripe_payment,
)
from domain.order.state import Share
from domain.provider_call.psp_objects import ConnectorPayment
from domain.provider_call.stripe_objects import ChargeAtStripe

NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)


def an_order(
    payment_id: str | None,
    charge: str | None,
    source: str = "api",
    connector: ConnectorPayment | None = None,
) -> Order:
    order = Order.register(
        order_id="o1",
        currency="EUR",
        amount=1_000,
        shares=[Share(seller_id="anna", destination="acct_anna", amount=900)],
        now=NOW,
    )
    order.pay(payment_id, charge, source, NOW, connector or ConnectorPayment())
    return order


@pytest.mark.parametrize(
    ("payment_id", "charge", "told", "result"),
    [
        ("pay_1", None, psp_payment("pay_1"), Match.SAME),
        ("pay_1", None, psp_payment("pay_2"), Match.OTHER),
        ("pay_1", None, stripe_payment("pi_1", "ch_1"), Match.UNKNOWN),
        ("pay_1", "ch_1", stripe_payment("pi_1", "ch_1"), Match.SAME),
        ("pay_1", "ch_1", stripe_payment("pi_1", "ch_2"), Match.OTHER),
        ("pay_1", "ch_1", stripe_payment("pi_1", None), Match.UNKNOWN),
        ("pay_1", "ch_1", psp_payment("pay_2"), Match.OTHER),
        ("pi_1", None, stripe_payment("pi_1", "ch_1"), Match.SAME),
        ("pi_1", None, stripe_payment("pi_2", None), Match.OTHER),
        ("pi_1", None, stripe_payment(None, "ch_1"), Match.UNKNOWN),
        ("pi_1", None, psp_payment("pay_1"), Match.UNKNOWN),
        ("pi_1", "ch_1", stripe_payment("pi_1", "ch_2"), Match.SAME),
        ("ch_1", None, stripe_payment("pi_1", "ch_2"), Match.OTHER),
        ("py_1", "ch_1", stripe_payment("pi_1", "ch_1"), Match.SAME),
        (None, "py_1", stripe_payment(None, "py_1"), Match.SAME),
        (None, None, stripe_payment("pi_1", "ch_1"), Match.UNKNOWN),
        ("pay_1", "ch_1", {}, Match.UNKNOWN),
    ],
)
def test_payments_are_compared_by_names_of_one_kind(
    payment_id: str | None, charge: str | None, told: dict[str, str], result: Match
) -> None:
    assert match(payments_of(an_order(payment_id, charge)), told) is result


@pytest.mark.parametrize(
    ("told", "result"),
    [
        (stripe_payment("pi_1", "ch_0"), Match.SAME),
        (stripe_payment("pi_1", None), Match.SAME),
        (stripe_payment(None, "ch_1"), Match.SAME),
        (stripe_payment("pi_2", None), Match.OTHER),
        (stripe_payment("pi_2", "ch_2"), Match.OTHER),
        (psp_payment("pay_1"), Match.SAME),
        (psp_payment("pay_2"), Match.OTHER),
    ],
)
def test_names_learned_at_the_connector_are_names_of_the_payment(
    told: dict[str, str], result: Match
) -> None:
    order = an_order("pay_1", None, "hyperswitch:evt_1", ConnectorPayment("stripe", "pi_1"))
    find(order, [], ChargeAtStripe("ch_1", 1_000, "EUR", "succeeded"), NOW)
    assert match(payments_of(order), told) is result


def test_name_at_another_connector_is_compared_with_nothing() -> None:
    order = an_order("pay_1", None, "hyperswitch:evt_1", ConnectorPayment("adyen", "psp_77"))
    assert match(payments_of(order), psp_payment("psp_77")) is Match.OTHER
    assert match(payments_of(order), stripe_payment("pi_1", "ch_1")) is Match.UNKNOWN


def test_name_of_the_psp_may_look_like_one_of_stripe() -> None:
    """The PSP's webhook paid the order, so its payment id is the PSP's, whatever it looks like."""
    order = an_order("pi_77", None, source="hyperswitch:evt_1")
    assert match(payments_of(order), psp_payment("pi_78")) is Match.OTHER
    assert match(payments_of(order), stripe_payment("pi_78", None)) is Match.UNKNOWN


def test_report_about_another_payment_names_both() -> None:
    order = an_order("pay_1", "ch_1")
    require_payment_of(order, psp_payment("pay_1"))
    with pytest.raises(
        OtherPayment, match=r"pay_2, but order 'o1' was paid by payment ch_1 / pay_1"
    ):
        require_payment_of(order, psp_payment("pay_2"))
