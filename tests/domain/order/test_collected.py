"""Collected amounts: refunds and disputes are divided over what the payment received."""

from datetime import timedelta
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.errors import AwaitsPayment, CollectedDiffers, ContentDiffers, PaymentVoided, Refused
from domain.identity import dispute_cause
from domain.order.aggregate import Order
from domain.order.collected import (
    correct_collected,
    learn_collected,
    leave_uncounted,
    require_collected,
    require_covered,
    require_not_voided,
)
from domain.order.disputes import count_dispute, reduce_dispute, revoke_dispute
from domain.order.facts import Paid
from domain.order.recovery import pay_sellers
from domain.order.set_aside import counted_by_default
from domain.order.state import SetAsideDecision, UncountedPayment
from tests.support.domain_story import START, Sale

SECOND = timedelta(seconds=1)


def paid(sale: Sale, received: int | None) -> Sale:
    sale.now += SECOND
    assert sale.order.pay("pay-1", "ch_1", "hyperswitch:evt_1", sale.now, amount_received=received)
    sale.transfers = pay_sellers(sale.order, sale.now)
    return sale


def an_order(shares: dict[str, int], amount: int, received: int) -> Order:
    order = Order.register(
        START,
        order_id="o1",
        currency="EUR",
        amount=amount,
        shares=[{"seller_id": s, "destination": s, "amount": a} for s, a in shares.items()],
    )
    order.pay("pay-1", None, "api", START, amount_received=received)
    return order


@pytest.mark.parametrize(("refund", "net"), [(10_300, 0), (5_150, 4_500), (1, 9_000), (103, 8_910)])
def test_refund_is_divided_over_the_collected_amount(
    sale: type[Sale], refund: int, net: int
) -> None:
    story = paid(sale(10_000, {"ada": 9_000}, paid=False), 10_300).all_go_through()
    assert story.order.refundable == 10_300
    assert story.is_refunded("r1", refund) is None
    story.all_go_through()
    assert story.net("ada") == net
    assert story.order.refundable == 10_300 - refund


def test_refund_above_the_collected_amount_is_set_aside(sale: type[Sale]) -> None:
    story = paid(sale(10_000, {"ada": 9_000}, paid=False), 10_300)
    assert story.is_refunded("r1", 10_301) == (
        "it is 10301, but only 10300 of the order is not refunded yet"
    )


def test_dispute_takes_up_to_the_collected_amount(sale: type[Sale]) -> None:
    story = paid(sale(10_000, {"ada": 9_000}, paid=False), 10_300).all_go_through()
    assert count_dispute(story.order, "dp_1", 10_300, "EUR", story.now) is None
    story.recover_shares(dispute_cause("dp_1"))
    story.all_go_through()
    assert story.net("ada") == 0


def test_decision_may_count_up_to_the_collected_amount(sale: type[Sale]) -> None:
    story = paid(sale(10_000, {"ada": 9_000}, paid=False), 10_300)
    assert story.is_refunded("r1", 10_300, currency="USD") is not None
    whole = SetAsideDecision(10_300, {"ada": 9_000})
    assert story.order.objection_to_decision(whole, "r1") is None
    above = SetAsideDecision(10_301, {"ada": 9_000})
    assert story.order.objection_to_decision(above, "r1") is not None
    counted = counted_by_default(story.order, "r1", 10_300, "EUR", {"ada": 9_000})
    assert counted == 10_300


def test_payment_without_an_amount_collects_the_order(sale: type[Sale]) -> None:
    story = paid(sale(10_000, {"ada": 9_000}, paid=False), None)
    assert (story.order.amount_received, story.order.collected) == (None, 10_000)


@pytest.mark.parametrize("received", [None, 10_000])
def test_payment_of_the_ordered_amount_records_no_targets(
    sale: type[Sale], received: int | None
) -> None:
    story = sale(10_000, {"ada": 9_000}, paid=False)
    story.is_refunded("r1", 5_000)
    paid(story, received)
    fact = story.order.pending_events[-1]
    assert isinstance(fact, Paid)
    assert fact.targets is None


def test_refund_before_the_payment_is_divided_again(sale: type[Sale]) -> None:
    story = sale(10_000, {"ada": 9_000}, paid=False)
    story.is_refunded("r1", 5_150)
    assert story.order.seller_targets == {"ada": 4_635}, "over the order, as long as that is known"
    paid(story, 10_300)
    assert story.order.seller_targets == {"ada": 4_500}
    assert story.of("ada").reductions == {"r1": 4_500}
    story.is_refunded("r2", 5_150)
    story.all_go_through()
    assert story.net("ada") == 0


def test_collected_amount_learned_later_divides_again(sale: type[Sale]) -> None:
    story = paid(sale(10_000, {"ada": 9_000}, paid=False), None).all_go_through()
    story.is_refunded("r1", 5_150)
    story.all_go_through()
    assert story.net("ada") == 9_000 - 4_635
    assert learn_collected(story.order, 10_300, "hyperswitch:evt_2", story.now)
    story.recover_shares("r1")
    story.all_go_through()
    assert story.net("ada") == 4_500
    assert not learn_collected(story.order, 10_400, "hyperswitch:evt_3", story.now), "once"


def test_collected_amount_is_corrected_by_a_caller_only_upwards(sale: type[Sale]) -> None:
    story = paid(sale(10_000, {"ada": 9_000}, paid=False), 10_300)
    assert correct_collected(story.order, 10_400, "api", story.now)
    assert not correct_collected(story.order, 10_400, "api", story.now)
    story.is_refunded("r1", 10_200)
    with pytest.raises(Refused, match="at least 10200"):
        correct_collected(story.order, 10_100, "api", story.now)
    with pytest.raises(Refused, match="at least 10200"):
        correct_collected(story.order, 9_999, "api", story.now)


@pytest.mark.parametrize(
    ("amount", "currency", "pays"),
    [
        (10_000, "EUR", True),
        (10_300, "EUR", True),
        (9_999, "EUR", False),
        (0, "EUR", False),
        (10_000, "USD", False),
    ],
)
def test_payment_pays_if_it_received_the_order(
    sale: type[Sale], amount: int, currency: str, pays: bool
) -> None:
    order = sale(10_000, {"ada": 9_000}, paid=False).order
    if pays:
        require_collected(order, "pay_1", amount, currency)
        return
    with pytest.raises(CollectedDiffers) as refused:
        require_collected(order, "pay_1", amount, currency)
    for part in ("'pay_1'", "'order-1'", f"{amount} {currency}", "10000 EUR were ordered"):
        assert part in str(refused.value)


@pytest.mark.parametrize("amount", [10_299, 10_301, 10_000])
def test_other_amount_after_the_payment_names_both(sale: type[Sale], amount: int) -> None:
    order = paid(sale(10_000, {"ada": 9_000}, paid=False), 10_300).order
    with pytest.raises(CollectedDiffers, match=f"{amount} EUR.*10300 EUR are recorded"):
        require_collected(order, "pay-1", amount, "EUR")
    require_collected(order, "pay-1", 10_300, "EUR")


def test_voided_payment_pays_no_order(sale: type[Sale]) -> None:
    order = sale(10_000, {"ada": 9_000}, paid=False).order
    voided = UncountedPayment("pay_1", "cancelled_post_capture", 0, "EUR")
    assert leave_uncounted(order, voided, "hyperswitch:evt_1", START)
    assert not leave_uncounted(order, voided, "hyperswitch:evt_2", START)
    with pytest.raises(PaymentVoided, match="cancelled after its capture"):
        require_not_voided(order, "pay_1")
    require_not_voided(order, "pay_2")


MONEY = st.integers(1, 1_000_000)
SHARES = st.dictionaries(st.sampled_from(["ada", "bob", "eve"]), MONEY, min_size=1)


@given(shares=SHARES, fee=st.integers(0, 1_000), tip=st.integers(0, 100_000), data=st.data())
def test_law_division_is_exact_monotone_and_bounded(
    shares: dict[str, int], fee: int, tip: int, data: st.DataObject
) -> None:
    amount = sum(shares.values()) + fee
    order = an_order(shares, amount, amount + tip)
    before = dict.fromkeys(shares, 0)
    number = 0
    while left := order.collected - order.refunded:
        refund = data.draw(st.integers(1, left)) if number < 5 else left
        assert order.allocate_refund(f"r{number}", refund, "EUR", None, START) is None
        for seller, target in order.seller_targets.items():
            assert before[seller] <= target <= shares[seller]
            assert target == shares[seller] * order.refunded // order.collected
        before, number = order.seller_targets, number + 1
    assert order.seller_targets == shares, "exact at the full refund"


@given(shares=SHARES, tip=st.integers(0, 1_000), cuts=st.lists(MONEY, min_size=1, max_size=4))
def test_law_division_does_not_depend_on_the_order(
    shares: dict[str, int], tip: int, cuts: list[int]
) -> None:
    amount = sum(shares.values())
    refunds = [(amount + tip) * cut // (sum(cuts) + 1) for cut in cuts]
    seen = set()
    for turn in permutations(range(len(refunds))):
        order = an_order(shares, amount, amount + tip)
        for number in turn:
            if refunds[number]:
                order.allocate_refund(f"r{number}", refunds[number], "EUR", None, START)
        seen.add(tuple(order.seller_targets.items()))
    assert len(seen) == 1


@given(shares=SHARES, tip=st.integers(0, 1_000), part=st.integers(0, 1_000_000), data=st.data())
def test_law_explicit_allocation_exceeds_no_share(
    shares: dict[str, int], tip: int, part: int, data: st.DataObject
) -> None:
    """An explicit allocation opens a segment over the rest of the collected amount."""
    amount = sum(shares.values())
    order = an_order(shares, amount, amount + tip)
    seller = data.draw(st.sampled_from(sorted(shares)))
    taken = min(part, shares[seller])
    refund = data.draw(st.integers(max(1, taken), order.collected))
    assert order.allocate_refund("r1", refund, "EUR", {seller: taken}, START) is None
    assert order.seller_targets[seller] == taken
    if left := order.collected - order.refunded:
        assert order.allocate_refund("r2", left, "EUR", None, START) is None
    for name, target in order.seller_targets.items():
        assert target <= shares[name]


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["refund", "revoke", "dispute", "reduce", "win", "learn", "send"]),
        st.integers(0, 3),
        st.integers(1, 1_300),
    ),
    max_size=12,
)


@settings(max_examples=200)
@given(steps=STEPS, received=st.sampled_from([None, 1_000, 1_300]))
def test_law_net_is_the_share_less_the_target(
    steps: list[tuple[str, int, int]], received: int | None
) -> None:
    """Refunds, disputes, their ends, decisions about a part and a collected amount that is learned
    late, in any order and at any moment of the calls."""
    story = Sale(1_000, {"ada": 611, "bob": 307}, paid=False)
    paid(story, received)
    for what, number, amount in steps:
        _happens(story, what, str(number), amount)
    story.all_go_through()
    order = story.order
    assert order.seller_targets == order.targets_for(order.refunds, order.disputes)
    for seller, share in order.shares.items():
        assert story.net(seller) == share["amount"] - order.seller_targets[seller]
        assert 0 <= order.seller_targets[seller] <= share["amount"]


def _happens(story: Sale, what: str, name: str, amount: int) -> None:
    story.now += SECOND
    order, cause = story.order, dispute_cause(name)
    match what:
        case "refund" if name not in order.refunds:
            story.is_refunded(name, min(amount, order.collected - order.refunded))
        case "revoke":
            story.is_revoked(name)
        case "dispute":
            count_dispute(order, name, amount, "EUR", story.now)
            story.recover_shares(cause)
        case "reduce" if name in order.disputes and order.disputes[name].effective:
            if reduce_dispute(order, name, amount % order.disputes[name].amount, story.now):
                story.recover_shares(cause)
        case "win":
            if revoke_dispute(order, name, story.now):
                story.recover_shares(cause)
        case "learn" if order.causes:
            if learn_collected(order, 1_000 + amount, "hyperswitch:evt_2", story.now):
                story.recover_shares(order.causes[-1])
        case "send":
            due = [transfer for transfer in story.transfers if transfer.operation is not None]
            if due:
                first = due[0]
                prefix = "trr" if first.paid else "tr"
                story.goes_through(first, f"{prefix}_{name}_{len(first.pending_events)}")


def test_refund_above_an_unpaid_order_waits_for_the_payment(sale: type[Sale]) -> None:
    story = sale(10_000, {"ada": 9_000}, paid=False)
    story.is_refunded("r1", 4_000)
    require_covered(story.order, "r2", 6_000, "EUR")
    require_covered(story.order, "r2", 6_001, "USD")
    with pytest.raises(AwaitsPayment, match=r"'r2' is over 6001 .* 6000 left"):
        require_covered(story.order, "r2", 6_001, "EUR")
    paid(story, None)
    require_covered(story.order, "r2", 6_001, "EUR")


def test_stated_amount_is_at_least_what_was_ordered_and_refunded(sale: type[Sale]) -> None:
    story = paid(sale(10_000, {"ada": 9_000}, paid=False), 12_000)
    story.is_refunded("r1", 10_500)
    for below in (10_499, 9_999):
        with pytest.raises(Refused, match="at least 10500"):
            correct_collected(story.order, below, "api", story.now)
    assert correct_collected(story.order, 10_500, "api", story.now)
    assert not correct_collected(story.order, 10_500, "api", story.now)
    assert (story.order.collected, story.order.refundable) == (10_500, 0)


def test_unpaid_order_may_be_paid_by_another_payment(sale: type[Sale]) -> None:
    story = sale(10_000, {"ada": 9_000}, paid=False)
    story.order.payment_id = "pay-2"
    require_collected(story.order, "pay-1", 10_000, "EUR")
    story.order.payment_id = None
    paid(story, None)
    require_collected(story.order, None, 10_000, "EUR")
    require_collected(story.order, "pay-1", 10_000, "EUR")
    with pytest.raises(ContentDiffers, match="payment_id"):
        require_collected(story.order, "pay-2", 10_000, "EUR")
