"""Amounts of the ledger and of Stripe, converted by one table, and divided in steps that Stripe can
move."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.allocation import Portion, allocate, targets
from domain.currency import (
    LEDGER,
    STRIPE,
    UNKNOWN_TO_STRIPE,
    Unit,
    from_stripe,
    in_major_units,
    require_payable,
    step,
    to_stripe,
    whole_from_stripe,
)
from domain.errors import BadMoney
from domain.money import CURRENCIES, LARGEST
from domain.order.aggregate import Order
from tests.support.domain_story import START


@pytest.mark.parametrize(
    ("currency", "ours", "theirs"),
    [
        ("UGX", 342_000, 34_200_000),
        ("ISK", 5_000, 500_000),
        ("JPY", 5_000, 5_000),
        ("MGA", 5_000, 5_000),
        ("KRW", 1, 1),
        ("KWD", 12_340, 12_340),
        ("EUR", 1_234, 1_234),
        ("HUF", 1_234, 1_234),
        ("usd", -1_356, -1_356),
        ("ugx", -3, -300),
    ],
)
def test_amount_is_converted_both_ways(currency: str, ours: int, theirs: int) -> None:
    assert to_stripe(currency, ours) == theirs
    assert from_stripe(currency, theirs) == ours


@given(currency=st.sampled_from(sorted(CURRENCIES)), amount=st.integers(-LARGEST, LARGEST))
def test_law_conversion_there_and_back_changes_nothing(currency: str, amount: int) -> None:
    assert from_stripe(currency, to_stripe(currency, amount)) == amount
    in_steps = amount * step(currency)
    assert to_stripe(currency, in_steps) % STRIPE.get(currency, Unit()).step == 0


@pytest.mark.parametrize(
    ("amount", "currency", "shown"),
    [
        (7_500, "EUR", "75.00 EUR"),
        (5, "usd", "0.05 USD"),
        (500, "JPY", "500 JPY"),
        (12_345, "KWD", "12.345 KWD"),
        (-77, "EUR", "-0.77 EUR"),
    ],
)
def test_amount_for_a_reader_has_the_currencys_decimals(
    amount: int, currency: str, shown: str
) -> None:
    assert in_major_units(amount, currency) == shown


def test_stripe_counts_no_currency_in_larger_units_than_the_ledger() -> None:
    assert {code for code in STRIPE if STRIPE[code].decimals < LEDGER[code].decimals} == set()
    assert set(STRIPE) == set(LEDGER) <= CURRENCIES
    assert UNKNOWN_TO_STRIPE <= CURRENCIES


@pytest.mark.parametrize("amount", [1, 99, 34_200_001])
def test_fraction_of_a_whole_unit_is_no_amount(amount: int) -> None:
    with pytest.raises(BadMoney, match="multiple of 100"):
        from_stripe("ugx", amount)


@pytest.mark.parametrize("currency", ["BHD", "JOD", "KWD", "OMR", "TND"])
def test_share_out_of_step_is_refused_at_registration(currency: str) -> None:
    require_payable(currency, 1_230)
    shares = [{"seller_id": "ada", "destination": "acct_1", "amount": 1_234}]
    with pytest.raises(BadMoney, match=r"1234.*multiple of 10"):
        Order.register(START, order_id="o", currency=currency, amount=2_000, shares=shares)  # type: ignore[arg-type]


@pytest.mark.parametrize("currency", sorted(UNKNOWN_TO_STRIPE))
def test_currency_unknown_to_stripe_is_refused(currency: str) -> None:
    with pytest.raises(BadMoney, match="no transfers"):
        require_payable(currency, 1_000)


def test_retired_currency_is_left_to_stripe() -> None:
    require_payable("BGN", 1_234)


TENS = st.integers(1, 100_000).map(lambda tens: 10 * tens)


@given(ada=TENS, bob=st.integers(1, 100_000), fee=st.integers(0, 999), data=st.data())
def test_law_targets_in_steps_are_exact_monotone_and_bounded(
    ada: int, bob: int, fee: int, data: st.DataObject
) -> None:
    shares, steps, amount = {"ada": ada, "bob": bob}, {"ada": 10}, ada + bob + fee
    cuts = sorted(data.draw(st.lists(st.integers(0, amount), max_size=5)))
    before = dict.fromkeys(shares, 0)
    for refunded in [*cuts, amount]:
        now = allocate(shares, amount, refunded, steps)
        assert now["ada"] % 10 == 0
        assert all(before[seller] <= now[seller] <= shares[seller] for seller in shares)
        assert now["bob"] == bob * refunded // amount, "without a step as before"
        before = now
    assert before == shares


@given(ada=TENS, part=st.integers(0, 100_000), later=st.integers(0, 100_000))
def test_law_explicit_part_keeps_the_step(ada: int, part: int, later: int) -> None:
    taken = min(10 * part, ada)
    portions = [Portion(taken or 1, {"ada": taken}), Portion(min(later, ada - taken))]
    target = targets({"ada": ada}, ada + 1, portions, None, {"ada": 10})["ada"]
    assert target % 10 == 0
    assert taken <= target <= ada


def test_explicit_part_out_of_step_is_refused() -> None:
    shares = [{"seller_id": "ada", "destination": "acct_1", "amount": 1_230}]
    order = Order.register(START, order_id="o", currency="KWD", amount=2_000, shares=shares)  # type: ignore[arg-type]
    why = order.allocate_refund("r1", 500, "KWD", {"ada": 123}, START)
    assert why == "its allocation takes 123 from 'ada', and Stripe moves KWD in steps of 10"
    assert order.allocate_refund("r2", 500, "KWD", {"ada": 120}, START) is None


@pytest.mark.parametrize(
    ("currency", "at_stripe", "whole"),
    [("EUR", 199, 199), ("UGX", 199, 1), ("ISK", 200, 2), ("KWD", 1_999, 1_999), ("JPY", 3, 3)],
)
def test_whole_units_cover_no_fraction(currency: str, at_stripe: int, whole: int) -> None:
    assert whole_from_stripe(currency, at_stripe) == whole
