"""Laws of the allocation in every currency, alone and mixed in one order: amounts that Stripe can
move, exact at the full refund, monotone, fair within one step."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import accumulate, pairwise
from math import floor
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.money import CURRENCIES
from domain.order.aggregate import Order
from domain.order.state import Share
from tests.support.domain_story import START
from tests.support.effort import examples

# docs.stripe.com/currencies, written out once more: decimals by ISO 4217 (MGA as both providers
# count it), decimals on Stripe's wire, and the step there
NO_DECIMALS = [
    "BIF",
    "CLP",
    "DJF",
    "GNF",
    "JPY",
    "KMF",
    "KRW",
    "MGA",
    "PYG",
    "RWF",
    "VND",
    "VUV",
    "XAF",
    "XOF",
    "XPF",
]
WHOLE_IN_HUNDREDTHS = ["ISK", "UGX"]
THREE_DECIMALS_IN_TENS = ["BHD", "JOD", "KWD", "OMR", "TND"]
NEVER_AT_STRIPE = [
    "BTN",
    "CUP",
    "ERN",
    "IQD",
    "IRR",
    "KPW",
    "LYD",
    "SDG",
    "SSP",
    "SYP",
    "TMT",
    "ZWG",
]
PAYABLE = sorted(CURRENCIES.difference(NEVER_AT_STRIPE))
SPECIAL = [*NO_DECIMALS[:4], *WHOLE_IN_HUNDREDTHS, *THREE_DECIMALS_IN_TENS, "HUF", "TWD", "EUR"]

SELLERS = "abcd"
LARGEST = 10**7


def step_of(currency: str) -> int:
    """Return the number of which each amount is a multiple, as the ledger counts."""
    return 10 if currency in THREE_DECIMALS_IN_TENS else 1


def at_stripe(currency: str, amount: int) -> int:
    return amount * 100 if currency in WHOLE_IN_HUNDREDTHS else amount


def movable(currency: str, amount: int) -> bool:
    """Return whether Stripe moves this amount, given as Stripe counts it."""
    step = 100 if currency in WHOLE_IN_HUNDREDTHS else step_of(currency)
    return amount % step == 0


class Basket(NamedTuple):
    """An order to draw: its currency and amount, and per seller a currency and a share."""

    currency: str
    amount: int
    shares: Mapping[str, tuple[str, int]]

    def order(self) -> Order:
        shares = [
            Share(seller_id=seller, destination=f"acct_{seller}", amount=share)
            if currency == self.currency
            else Share(
                seller_id=seller, destination=f"acct_{seller}", amount=share, currency=currency
            )
            for seller, (currency, share) in self.shares.items()
        ]
        return Order.register(
            START, order_id="o1", currency=self.currency, amount=self.amount, shares=shares
        )

    def native(self, targets: Mapping[str, int]) -> int:
        """Return the sum of these amounts in the order's own currency."""
        return sum(
            amount for seller, amount in targets.items() if self.shares[seller][0] == self.currency
        )


@st.composite
def baskets(draw: st.DrawFn, currencies: Sequence[str] = PAYABLE) -> Basket:
    currency = draw(st.sampled_from(currencies))
    amount = draw(st.integers(1, LARGEST))
    left, shares = amount, {}
    for seller in SELLERS[: draw(st.integers(1, len(SELLERS)))]:
        paid_in = draw(st.one_of(st.just(currency), st.sampled_from(SPECIAL)))
        step = step_of(paid_in)
        share = step * draw(st.integers(0, (left if paid_in == currency else LARGEST) // step))
        left -= share if paid_in == currency else 0
        shares[seller] = paid_in, share
    return Basket(currency, amount, shares)


@st.composite
def parts_of_all(draw: st.DrawFn, amount: int) -> list[int]:
    """Cut an amount into up to six refunds."""
    cuts = draw(st.lists(st.integers(1, amount), max_size=5))
    edges = sorted({0, *cuts, amount})
    return [high - low for low, high in pairwise(edges)]


def refund(order: Order, parts: Sequence[int]) -> list[dict[str, int]]:
    """Refund these parts; return the targets after each."""
    after = []
    for part in parts:
        name = f"r{len(order.refunds) + 1}"
        assert order.allocate_refund(name, part, order.currency, None, START) is None
        after.append(dict(order.seller_targets))
    return after


@pytest.mark.parametrize("currency", PAYABLE)
def test_law_refund_in_thirds_is_exact_in_every_currency(currency: str) -> None:
    step = step_of(currency)
    shares = {"a": (currency, 401 * step), "b": (currency, 299 * step), "c": ("EUR", 77)}
    order = Basket(currency, 1_001 * step, shares).order()
    targets = refund(order, [333 * step, 334 * step + 1, 334 * step - 1])
    assert targets[0] == {"a": 133 * step, "b": 99 * step, "c": 25}
    assert targets[2] == {"a": 401 * step, "b": 299 * step, "c": 77}
    assert all(movable(currency, at_stripe(currency, taken["a"])) for taken in targets)


@examples(60)
@given(baskets(), st.data())
def test_law_parts_of_a_full_refund_return_exactly_all(basket: Basket, data: st.DataObject) -> None:
    parts = data.draw(parts_of_all(basket.amount))
    order, before = basket.order(), dict.fromkeys(basket.shares, 0)
    for refunded, targets in zip(accumulate(parts), refund(order, parts), strict=True):
        for seller, (currency, share) in basket.shares.items():
            step, target = step_of(currency), targets[seller]
            exact = Fraction(share * refunded, basket.amount)
            assert before[seller] <= target <= share, "monotone, and never above the share"
            assert target == floor(exact / step) * step, "fair within one step, never too much"
            assert movable(currency, at_stripe(currency, target))
        assert basket.native(targets) <= refunded, "sellers never pay more than the buyer gets"
        before = targets
    assert before == {seller: share for seller, (_, share) in basket.shares.items()}
    assert order.refundable == 0


@examples(40)
@given(baskets(SPECIAL), st.data())
def test_law_order_of_proportional_refunds_is_irrelevant(
    basket: Basket, data: st.DataObject
) -> None:
    parts = data.draw(parts_of_all(basket.amount))[:-1]
    shuffled = data.draw(st.permutations(parts))
    order, other = basket.order(), basket.order()
    refund(order, parts)
    refund(other, shuffled)
    assert order.seller_targets == other.seller_targets


@examples(40)
@given(baskets(SPECIAL), st.data())
def test_law_failed_refund_leaves_no_trace(basket: Basket, data: st.DataObject) -> None:
    """The targets after a refund that failed are those of an order that never had it."""
    parts = data.draw(parts_of_all(basket.amount))
    failed = data.draw(st.integers(0, len(parts) - 1))
    order, other = basket.order(), basket.order()
    refund(order, parts)
    order.revoke_refund(f"r{failed + 1}", START)
    kept = [part for n, part in enumerate(parts) if n != failed]
    refund(other, kept)
    assert order.seller_targets == (other.seller_targets or dict.fromkeys(basket.shares, 0))
    assert order.refundable == parts[failed]


@examples(40)
@given(baskets(SPECIAL), st.data())
def test_law_explicit_parts_are_exact_and_the_rest_is_divided(
    basket: Basket, data: st.DataObject
) -> None:
    """An explicit allocation is taken as it is; what a refund may add later never exceeds it."""
    order = basket.order()
    first = data.draw(st.integers(1, basket.amount))
    explicit, left = {}, first
    for seller, (currency, share) in basket.shares.items():
        step, most = step_of(currency), share
        if currency == basket.currency:
            most = min(share, left)
        explicit[seller] = step * data.draw(st.integers(0, most // step))
        left -= explicit[seller] if currency == basket.currency else 0
    assert order.allocate_refund("x", first, basket.currency, explicit, START) is None
    assert order.seller_targets == explicit
    before = explicit
    rest = basket.amount - first
    for targets in refund(order, data.draw(parts_of_all(rest)) if rest else []):
        for seller, (currency, share) in basket.shares.items():
            assert before[seller] <= targets[seller] <= share
            assert targets[seller] % step_of(currency) == 0
        assert basket.native(targets) <= order.refunded
        before = targets
    parts = order.parts_by_cause()
    for seller in basket.shares:
        assert sum(part[seller] for part in parts.values()) == before[seller]
