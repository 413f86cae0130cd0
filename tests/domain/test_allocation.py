"""Allocation of a refund: integers, cumulative floors, and segments where the caller divided a
refund explicitly."""

from collections.abc import Callable
from itertools import pairwise, permutations, product
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.allocation import Portion, allocate, targets
from domain.errors import ExceedsOrder, Refused
from domain.money import LARGEST
from domain.order.aggregate import Order
from domain.order.state import Share
from tests.support.domain_story import Sale, Story

Shares = dict[str, int]


@st.composite
def orders(draw: st.DrawFn, largest: int = 10_000) -> tuple[Shares, int]:
    """Draw an order with up to five sellers; the platform keeps the rest of the amount."""
    amount = draw(st.integers(1, largest))
    left, shares = amount, {}
    for seller in "abcde"[: draw(st.integers(1, 5))]:
        shares[seller] = draw(st.integers(0, left))
        left -= shares[seller]
    return shares, amount


# --- proportional ---------------------------------------------------------------------------------


@settings(derandomize=True, max_examples=300)
@given(orders(LARGEST), st.data())
def test_target_never_falls_or_exceeds_the_share(
    order: tuple[Shares, int], data: st.DataObject
) -> None:
    shares, amount = order
    less = data.draw(st.integers(0, amount))
    more = data.draw(st.integers(less, amount))
    low, high = allocate(shares, amount, less), allocate(shares, amount, more)
    assert all(0 <= low[s] <= high[s] <= shares[s] for s in shares)
    assert sum(high.values()) <= more, "sellers never give back more than the buyer gets"


@settings(derandomize=True, max_examples=300)
@given(orders(LARGEST))
def test_full_refund_takes_each_share_exactly(order: tuple[Shares, int]) -> None:
    shares, amount = order
    assert allocate(shares, amount, amount) == shares
    assert allocate(shares, amount, 0) == dict.fromkeys(shares, 0)


@settings(derandomize=True, max_examples=200)
@given(orders(LARGEST), st.data())
def test_target_is_within_one_minor_unit_of_proportion(
    order: tuple[Shares, int], data: st.DataObject
) -> None:
    shares, amount = order
    refunded = data.draw(st.integers(0, amount))
    for seller, target in allocate(shares, amount, refunded).items():
        assert target * amount <= shares[seller] * refunded < (target + 1) * amount


def test_largest_amounts_lose_no_cent() -> None:
    shares = {"a": LARGEST - 2, "b": 1, "c": 1}
    assert allocate(shares, LARGEST, LARGEST - 1) == {"a": LARGEST - 3, "b": 0, "c": 0}
    assert allocate(shares, LARGEST, LARGEST) == shares
    assert allocate({"a": LARGEST}, LARGEST, LARGEST // 3) == {"a": LARGEST // 3}


@pytest.mark.parametrize(("order_amount", "refunded"), [(0, 0), (-1, 0), (10, 11), (10, -1)])
def test_impossible_amounts_are_refused(order_amount: int, refunded: int) -> None:
    with pytest.raises(ValueError, match="refunded of"):
        allocate({"a": 1}, order_amount, refunded)


@settings(derandomize=True, max_examples=150)
@given(orders(1_000), st.data())
def test_targets_depend_only_on_the_refunded_sum(
    order: tuple[Shares, int], data: st.DataObject
) -> None:
    shares, amount = order
    parts = _cut(amount, data.draw(st.lists(st.integers(0, amount), max_size=6)))
    shuffled = data.draw(st.permutations(parts))
    assert targets(shares, amount, [Portion(p) for p in shuffled]) == allocate(
        shares, amount, sum(parts)
    )


def _cut(amount: int, cuts: list[int]) -> list[int]:
    edges = sorted({0, *cuts})
    return [high - low for low, high in pairwise(edges)]


# --- the tempting alternatives --------------------------------------------------------------------


def _largest_remainder(shares: Shares, order_amount: int, refunded: int) -> Shares:
    floors = allocate(shares, order_amount, refunded)
    left = sum(shares.values()) * refunded // order_amount - sum(floors.values())
    by_remainder = sorted(shares, key=lambda s: (-(shares[s] * refunded % order_amount), s))
    return {s: floors[s] + (s in by_remainder[:left]) for s in shares}


def _prefix_rounding(shares: Shares, order_amount: int, refunded: int) -> Shares:
    before, given_so_far, result = 0, 0, {}
    for seller, share in shares.items():
        before += share
        now = (2 * before * refunded + order_amount) // (2 * order_amount)
        result[seller], given_so_far = now - given_so_far, now
    return result


def test_floors_never_fall_where_largest_remainders_do() -> None:
    shares = {"a": 1, "b": 2, "c": 3}
    assert [_largest_remainder(shares, 8, cum)["a"] for cum in (4, 5)] == [1, 0], (
        "a would be paid back by a refund"
    )

    steps = [allocate(shares, 8, cum) for cum in range(9)]
    assert [step["a"] for step in steps] == [0, 0, 0, 0, 0, 0, 0, 0, 1]
    assert [step["b"] for step in steps] == [0, 0, 0, 0, 1, 1, 1, 1, 2]
    assert [step["c"] for step in steps] == [0, 0, 0, 1, 1, 1, 2, 2, 3]


@pytest.mark.parametrize(
    ("method", "falls"), [(allocate, False), (_largest_remainder, True), (_prefix_rounding, True)]
)
def test_only_floors_never_ask_for_a_negative_reversal(
    method: Callable[[Shares, int, int], Shares], falls: bool
) -> None:
    found = False
    for a, b, c in product(range(1, 7), repeat=3):
        shares = {"a": a, "b": b, "c": c}
        for amount in range(sum(shares.values()), sum(shares.values()) + 4):
            steps = [method(shares, amount, cum) for cum in range(amount + 1)]
            found = found or any(y[s] < x[s] for x, y in pairwise(steps) for s in shares)
    assert found is falls


# --- ten refunds, three sellers, three currencies -------------------------------------------------

BASKETS = {
    "JPY": (10_000, {"a": 3_333, "b": 3_333, "c": 2_000}),
    "USD": (10_000, {"a": 9_001, "b": 500, "c": 1}),
    "KWD": (1_234_567, {"a": 411_522, "b": 411_522, "c": 411_523}),
}


@pytest.mark.parametrize("currency", BASKETS)
@pytest.mark.parametrize("seed", range(20))
def test_ten_refunds_end_exact_and_give_nothing_back(currency: str, seed: int) -> None:
    amount, shares = BASKETS[currency]
    random = Random(f"{currency}{seed}")
    parts = _cut(amount, [*sorted(random.sample(range(1, amount), 9)), amount])
    assert len(parts) == 10
    taken, cum = dict.fromkeys(shares, 0), 0

    for part in parts:
        cum += part
        goal = allocate(shares, amount, cum)
        assert all(goal[s] >= taken[s] for s in shares)
        taken = goal

    assert taken == shares


def test_floor_per_refund_would_keep_a_cent() -> None:
    """9,001 of 10,000 is refunded in three parts: floors of each part alone add up to 9,000."""
    parts = (3_334, 3_333, 3_333)
    assert sum(9_001 * part // 10_000 for part in parts) == 9_000
    assert targets({"a": 9_001}, 10_000, [Portion(part) for part in parts]) == {"a": 9_001}


# --- explicit -------------------------------------------------------------------------------------


def test_explicit_division_is_taken_as_given() -> None:
    assert targets({"a": 50, "b": 50}, 100, [Portion(30, {"b": 30})]) == {"a": 0, "b": 30}


def test_explicit_division_may_leave_a_part_to_platform() -> None:
    assert targets({"a": 50, "b": 50}, 100, [Portion(30, {"b": 10})]) == {"a": 0, "b": 10}
    assert targets({"a": 50, "b": 50}, 100, [Portion(30, {})]) == {"a": 0, "b": 0}


def test_proportional_refund_divides_the_remainder() -> None:
    """b has given all of its 50, so the remaining 50 of the order are a's alone."""
    portions = [Portion(50, {"b": 50}), Portion(25)]
    assert targets({"a": 50, "b": 50}, 100, portions) == {"a": 25, "b": 50}
    assert targets({"a": 50, "b": 50}, 100, [*portions, Portion(25)]) == {"a": 50, "b": 50}


def test_platform_paid_refund_limits_the_rest_of_order() -> None:
    """The order has 80 left and its shares 100: dividing by 80 would take 100 for a refund of
    80."""
    portions = [Portion(20, {}), Portion(80)]
    assert targets({"a": 60, "b": 40}, 100, portions) == {"a": 48, "b": 32}


def test_mixing_without_segments_would_over_collect() -> None:
    """By the cumulative formula alone, a would owe 20 for the explicit refund and its proportion of
    both."""
    naive = 20 + 50 * (20 + 80) // 100
    assert naive > 50
    assert targets({"a": 50, "b": 30}, 100, [Portion(20, {"a": 20}), Portion(80)]) == {
        "a": 50,
        "b": 30,
    }


@st.composite
def histories(draw: st.DrawFn) -> tuple[Shares, int, list[Portion]]:
    """Draw refunds as an order would admit them: never above the remainder of the order or of a
    share."""
    shares, amount = draw(orders(300))
    portions: list[Portion] = []
    for _ in range(draw(st.integers(1, 6))):
        left = amount - sum(p.amount for p in portions)
        if left == 0:
            break
        size = draw(st.integers(1, left))
        explicit = draw(_division(shares, amount, portions, size)) if draw(st.booleans()) else None
        portions.append(Portion(size, explicit))
    return shares, amount, portions


@st.composite
def _division(
    draw: st.DrawFn, shares: Shares, amount: int, portions: list[Portion], size: int
) -> Shares:
    taken = targets(shares, amount, portions)
    explicit: Shares = {}
    for seller in shares:
        explicit[seller] = draw(
            st.integers(0, min(shares[seller] - taken[seller], size - sum(explicit.values())))
        )
    return explicit


@settings(derandomize=True, max_examples=600)
@given(histories())
def test_mixed_refunds_never_over_collect_or_give_back(
    history: tuple[Shares, int, list[Portion]],
) -> None:
    shares, amount, portions = history
    before = dict.fromkeys(shares, 0)
    for n in range(1, len(portions) + 1):
        now = targets(shares, amount, portions[:n])
        assert all(before[s] <= now[s] <= shares[s] for s in shares)
        assert sum(now.values()) <= sum(p.amount for p in portions[:n])
        explicit = portions[n - 1].explicit
        if explicit is not None:
            assert {s: now[s] - before[s] for s in shares} == explicit, (
                "an explicit division is taken exactly"
            )
        before = now


@settings(derandomize=True, max_examples=300)
@given(histories())
def test_proportional_refunds_take_all_there_is(history: tuple[Shares, int, list[Portion]]) -> None:
    """After the last explicit division exactly the rest of each share is taken, unless the shares
    exceed the order."""
    shares, amount, portions = history
    left = amount - sum(p.amount for p in portions)
    explicit = [n for n, p in enumerate(portions, 1) if p.explicit is not None]
    segment = portions[: max(explicit, default=0)]
    begun, order_left = targets(shares, amount, segment), amount - sum(p.amount for p in segment)

    end = (
        targets(shares, amount, [*portions, Portion(left)])
        if left
        else targets(shares, amount, portions)
    )

    assert (end == shares) == (sum(shares.values()) - sum(begun.values()) <= order_left)


@settings(derandomize=True, max_examples=300)
@given(histories(), st.data())
def test_remaining_refunds_never_over_collect_after_failure(
    history: tuple[Shares, int, list[Portion]], data: st.DataObject
) -> None:
    shares, amount, portions = history
    kept = [p for p in portions if data.draw(st.booleans())]
    now = targets(shares, amount, kept)
    assert all(0 <= now[s] <= shares[s] for s in shares)
    assert sum(now.values()) <= sum(p.amount for p in kept)


def test_shares_in_another_currency_follow_by_proportion() -> None:
    """Seller a is paid 5,000 JPY of an order of 100.00 EUR; the allocation converts no currency."""
    shares, euros = {"a": 5_000, "b": 4_000}, frozenset({"b"})
    assert targets(shares, 10_000, [Portion(2_500)], euros) == {"a": 1_250, "b": 1_000}
    explicit = [Portion(4_000, {"b": 4_000}), Portion(6_000)]
    assert targets(shares, 10_000, explicit, euros) == {"a": 5_000, "b": 4_000}


@pytest.mark.parametrize(
    "arrival", list(permutations([("r1", 3_334), ("r2", 3_333), ("r3", 3_333)]))
)
def test_refunds_in_any_order_leave_the_same_targets(
    sale: type[Sale], arrival: tuple[tuple[str, int], ...]
) -> None:
    story = sale(10_000, {"a": 9_001, "b": 7})
    for refund_id, amount in arrival[:2]:
        story.is_refunded(refund_id, amount)
    assert sum(story.order.seller_targets.values()) in (6_000, 6_001, 6_004, 6_005)
    story.is_refunded(*arrival[2])
    assert story.order.seller_targets == {"a": 9_001, "b": 7}


# --- the order's own door -------------------------------------------------------------------------


def test_shares_never_exceed_the_order(sale: type[Sale]) -> None:
    with pytest.raises(ExceedsOrder):
        sale(100, {"a": 60, "b": 41})


def test_foreign_currency_share_is_not_counted(story: Story) -> None:
    order = Order.register(
        order_id="o",
        currency="EUR",
        amount=100,
        shares=[
            {"seller_id": "a", "destination": "acct_a", "amount": 100},
            {"seller_id": "b", "destination": "acct_b", "amount": 9_000, "currency": "JPY"},
        ],
        now=story.now,
    )
    assert (order.share_currency("a"), order.share_currency("b")) == ("EUR", "JPY")


def test_seller_occurs_once_per_order(story: Story) -> None:
    share = Share(seller_id="a", destination="acct_a", amount=10)
    with pytest.raises(Refused, match="twice"):
        Order.register(
            order_id="o", currency="EUR", amount=100, shares=[share, share], now=story.now
        )


REFUSED: dict[str, tuple[int, str, Shares | None, str]] = {
    "another currency": (10, "USD", None, "in USD"),
    "more than the order": (101, "EUR", None, "only 100"),
    "nothing": (0, "EUR", None, "no amount"),
    "a negative amount": (-5, "EUR", None, "no amount"),
    "an unknown seller": (10, "EUR", {"mallory": 10}, "mallory"),
    "more than the share": (60, "EUR", {"a": 51}, "left of that share"),
    "more than the refund": (10, "EUR", {"a": 6, "b": 5}, "more than the refund"),
    "a negative part": (10, "EUR", {"a": 20, "b": -10}, "negative"),
}


@pytest.mark.parametrize(("amount", "currency", "explicit", "why"), REFUSED.values(), ids=REFUSED)
def test_indivisible_refund_is_set_aside_once(
    sale: type[Sale], amount: int, currency: str, explicit: Shares | None, why: str
) -> None:
    story = sale(100, {"a": 50, "b": 40})
    for _ in range(2):
        objection = story.is_refunded("r", amount, explicit, currency)
        assert objection is not None
        assert why in objection

    assert story.order.seller_targets == {"a": 0, "b": 0}
    assert [type(f).__name__ for f in story.order.pending_events] == [
        "Registered",
        "Paid",
        "RefundSetAside",
    ]


def test_set_aside_refund_is_admitted_once_room_exists(sale: type[Sale]) -> None:
    story = sale(100, {"a": 50})
    story.is_refunded("r1", 60)
    assert story.is_refunded("r2", 60) is not None

    story.is_revoked("r1")

    assert story.is_refunded("r2", 60) is None
    assert story.order.set_aside == {}
    assert story.order.seller_targets == {"a": 30}


def test_repeated_refund_counts_once(sale: type[Sale]) -> None:
    story = sale(100, {"a": 50})
    story.is_refunded("r1", 40)
    facts = len(story.order.pending_events)
    assert story.is_refunded("r1", 40) is None
    assert len(story.order.pending_events) == facts
    assert story.order.refunded == 40
