"""Registration and payment of an order: each member is compared, each name is recorded once."""

from typing import TypedDict, Unpack

import pytest

from domain.errors import BadMoney, ContentDiffers, ExceedsOrder, Refused
from domain.fact import Fact
from domain.order.aggregate import Order
from domain.order.facts import ConnectorPaymentNamed, OrderOpening, Paid, PaymentNamed
from domain.order.state import Share
from domain.provider_call.psp_objects import ConnectorPayment
from tests.support.domain_story import START, FactStorage, state_of

ADA: Share = {"seller_id": "ada", "destination": "acct_ada", "amount": 600}
BOB: Share = {"seller_id": "bob", "destination": "acct_bob", "amount": 400}
YEN: Share = {"seller_id": "yen", "destination": "acct_yen", "amount": 9_999, "currency": "JPY"}
AT_STRIPE = ConnectorPayment("stripe", "pi_1")


class Opened(TypedDict, total=False):
    """Members of a registration that a test changes."""

    amount: int
    shares: list[Share]
    payment_id: str | None
    source_transaction: str | None


class Repeated(TypedDict, total=False):
    """Members of a repeated registration that a test changes."""

    currency: str
    amount: int
    shares: list[Share]
    payment_id: str | None
    source_transaction: str | None


def registered(**changed: Unpack[Opened]) -> Order:
    opening: OrderOpening = {
        "order_id": "o1",
        "currency": "EUR",
        "amount": 1_000,
        "shares": [ADA, BOB, YEN],
        **changed,
    }
    return Order.register(START, **opening)


def last(order: Order, facts: int = 1) -> Fact:
    *_, fact = order.pending_events
    assert len(order.pending_events) == facts
    assert isinstance(fact, Fact)
    return fact


def test_shares_of_the_orders_currency_fit_into_its_amount() -> None:
    assert set(registered().shares) == {"ada", "bob", "yen"}
    assert registered(amount=1_001).amount == 1_001
    with pytest.raises(ExceedsOrder, match="1000 EUR"):
        registered(amount=999)


def test_share_that_stripe_cannot_transfer_is_refused() -> None:
    dinar: Share = {**YEN, "currency": "KWD", "amount": 5}
    with pytest.raises(BadMoney):
        registered(shares=[ADA, dinar])


def test_seller_has_one_share() -> None:
    with pytest.raises(Refused, match="twice"):
        registered(shares=[ADA, {**ADA, "amount": 1}])


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({}, None),
        ({"payment_id": None, "source_transaction": None}, None),
        ({"currency": "USD"}, "currency"),
        ({"amount": 1_001}, "amount"),
        ({"shares": [ADA, BOB]}, "shares"),
        ({"payment_id": "pay_2"}, "payment_id"),
        ({"source_transaction": "ch_2"}, "source_transaction"),
        ({"amount": 1, "currency": "USD"}, "currency, amount"),
    ],
)
def test_repeated_registration_is_compared_in_each_member(
    changed: Repeated, named: str | None
) -> None:
    order = registered(payment_id="pay_1", source_transaction="ch_1")
    same: Repeated = {
        "currency": "EUR",
        "amount": 1_000,
        "shares": [ADA, BOB, YEN],
        "payment_id": "pay_1",
        "source_transaction": "ch_1",
    }
    told: Repeated = {**same, **changed}
    if named is None:
        order.agree(**told)
        return
    with pytest.raises(ContentDiffers, match=f"another {named};"):
        order.agree(**told)


def test_payment_records_its_names_and_reads_the_charge() -> None:
    order = registered()
    assert order.pay("pay_1", None, "hyperswitch:evt_1", START, AT_STRIPE, 1_000)
    paid = last(order, 2)
    assert isinstance(paid, Paid)
    assert (paid.payment_id, paid.source_transaction, paid.source) == (
        "pay_1",
        None,
        "hyperswitch:evt_1",
    )
    assert (paid.connector, paid.connector_payment, paid.read_charge_at) == (
        "stripe",
        "pi_1",
        START,
    )
    assert (paid.amount_received, paid.targets) == (1_000, None)
    assert (order.paid, order.paid_by, order.payment_id) == (True, "hyperswitch:evt_1", "pay_1")
    assert (order.connector_payment, order.read_charge_at) == ("pi_1", START)
    assert order.amount_received == 1_000


@pytest.mark.parametrize(
    ("charge", "connector", "imported"),
    [
        ("ch_1", AT_STRIPE, False),
        (None, ConnectorPayment(), False),
        (None, ConnectorPayment("adyen", "pi_1"), False),
        (None, AT_STRIPE, True),
    ],
)
def test_charge_is_read_only_if_it_is_needed_and_can_be(
    charge: str | None, connector: ConnectorPayment, imported: bool
) -> None:
    order = registered()
    order.pay("pay_1", charge, "api", START, connector, imported=imported)
    assert (order.source_transaction, order.read_charge_at) == (charge, None)


def test_names_of_the_registration_are_those_of_the_payment() -> None:
    order = registered(payment_id="pay_1", source_transaction="ch_1")
    order.pay(None, None, "api", START, AT_STRIPE)
    assert (order.payment_id, order.source_transaction) == ("pay_1", "ch_1")
    assert order.read_charge_at is None
    given = registered(source_transaction="ch_1")
    given.pay("pay_1", "ch_2", "api", START)
    assert given.source_transaction == "ch_2"


@pytest.mark.parametrize("paid", [True, False])
def test_another_payment_is_refused(paid: bool) -> None:
    order = registered(payment_id="pay_1")
    if paid:
        order.pay("pay_1", None, "api", START)
    with pytest.raises(ContentDiffers, match="payment_id"):
        order.pay("pay_2", None, "api", START)


def test_name_reported_after_the_payment_is_recorded_once() -> None:
    order = registered()
    assert order.pay(None, None, "api", START)
    assert not order.pay(None, None, "psp", START)
    assert not order.pay("pay_1", None, "psp", START)
    named = last(order, 3)
    assert isinstance(named, PaymentNamed)
    assert (named.payment_id, named.source, order.payment_id) == ("pay_1", "psp", "pay_1")
    assert not order.pay("pay_1", None, "psp", START)
    assert not order.pay(None, None, "psp", START)
    assert last(order, 3) is named


def test_connectors_name_is_recorded_once_after_the_payment() -> None:
    order = registered()
    order.pay("pay_1", None, "api", START)
    order.pay("pay_1", None, "psp", START)
    order.pay("pay_1", None, "psp", START, AT_STRIPE)
    named = last(order, 3)
    assert isinstance(named, ConnectorPaymentNamed)
    assert (named.connector, named.connector_payment, named.source) == ("stripe", "pi_1", "psp")
    assert (named.read_charge_at, order.connector_payment) == (START, "pi_1")
    assert (order.read_charge_at, order.charge_reads) == (START, 0)
    order.pay("pay_1", None, "psp", START, ConnectorPayment("stripe", "pi_2"))
    assert last(order, 3) is named


def test_connectors_name_is_not_needed_beside_the_charge() -> None:
    order = registered()
    order.pay("pay_1", "ch_1", "api", START)
    order.pay("pay_1", None, "psp", START, AT_STRIPE)
    assert isinstance(last(order, 2), Paid)


def test_stored_order_reads_back_unchanged(storage: FactStorage) -> None:
    order = registered()
    order.pay(None, None, "api", START)
    order.pay("pay_1", None, "psp", START, AT_STRIPE)
    order.allocate_refund("r1", 100, "EUR", None, START, {"psp_payment": "pay_1"})
    order.revoke_refund("r1", START)
    order.allocate_refund("r1", 100, "EUR", {"ada": 90}, START)
    read = storage.replayed(list(order.collect_events()))
    assert state_of(read) == state_of(order)
    assert order.refunds["r1"].rounds == 2
