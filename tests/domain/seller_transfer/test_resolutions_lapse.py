"""Resolutions that lapse and count again: each amount once, and none above its bound."""

import pytest

from domain.seller_transfer import facts
from domain.seller_transfer.aggregate import SellerTransfer
from domain.seller_transfer.resolutions import lapse, lapse_uncovered, reinstate, tell_owed
from domain.seller_transfer.reversal import Reversal, ReversalStatus
from tests.support.domain_story import START, Story

R = ReversalStatus


def closed(refund_id: str, amount: int, lapsed: int = 0) -> Reversal:
    name = f"rev-{refund_id}"
    return Reversal(name, refund_id, amount, "refund", R.RESOLVED, lapsed=lapsed)


def settled(refund_id: str, amount: int) -> Reversal:
    return closed(refund_id, amount)._replace(state=R.REVERSED, settled=amount)


def holding(story: Story, *held: Reversal) -> SellerTransfer:
    transfer = story.paid().transfer
    transfer.reversals = {one.reversal_id: one for one in held}
    return transfer


def compensating(amount: int) -> SellerTransfer:
    return SellerTransfer.create(
        now=START,
        order_id="order-1",
        seller_id="ada",
        destination="acct_ada",
        amount=amount,
        currency="EUR",
        cause="a compensation",
    )


@pytest.mark.parametrize(
    ("excess", "causes", "lapsed"),
    [
        (50, {"r1"}, {"r1": 30, "r2": 0}),
        (50, {"r1", "r2"}, {"r1": 30, "r2": 20}),
        (31, {"r1", "r2"}, {"r1": 30, "r2": 1}),
        (30, {"r1", "r2"}, {"r1": 30, "r2": 0}),
        (0, {"r1"}, {"r1": 0, "r2": 0}),
        (-5, {"r1"}, {"r1": 0, "r2": 0}),
        (9, set(), {"r1": 0, "r2": 0}),
    ],
)
def test_resolution_lapses_up_to_the_excess(
    story: Story, excess: int, causes: set[str], lapsed: dict[str, int]
) -> None:
    transfer = holding(story, closed("r1", 30), closed("r2", 25, lapsed=0)._replace(amount=20))
    assert lapse([transfer], excess, causes, story.now) == sum(lapsed.values())
    found = {one.refund_id: one.lapsed for one in transfer.reversals.values()}
    assert found == lapsed


def test_lapse_tells_the_person_the_whole_amount(story: Story) -> None:
    transfer = holding(story, closed("r1", 30, lapsed=4))
    assert lapse([transfer], 5, {"r1"}, story.now) == 5
    fact = story.only(facts.ResolutionLapsed)
    assert (fact.reversal_id, fact.refund_id, fact.amount, fact.total) == ("rev-r1", "r1", 5, 9)
    assert (fact.order_id, fact.seller_id, fact.currency) == ("order-1", "ada", "EUR")


@pytest.mark.parametrize(
    ("at_stripe", "given_back", "lapsed"), [(0, 0, 45), (10, 0, 35), (10, 4, 39), (3, 9, 45)]
)
def test_only_what_stripe_has_taken_may_be_paid_back(
    story: Story, at_stripe: int, given_back: int, lapsed: int
) -> None:
    held = [closed("r1", 30), closed("r2", 20)]
    if at_stripe:
        held.append(settled("r3", at_stripe))
    transfers = [holding(story, *held)]
    if given_back:
        transfers.append(compensating(given_back))
    assert lapse_uncovered(transfers, 45, {"r2", "r3"}, story.now) == lapsed
    found = {one.refund_id: one.lapsed for one in transfers[0].lapsed}
    assert found.get("r1") == 30
    assert found.get("r2", 0) == lapsed - 30


@pytest.mark.parametrize(("due", "again"), [(0, 0), (-1, 0), (3, 3), (4, 4), (9, 4)])
def test_lapsed_resolution_counts_again_up_to_what_is_due(
    story: Story, due: int, again: int
) -> None:
    transfer = holding(story, closed("r1", 30, lapsed=4), closed("r2", 20, lapsed=7))
    assert reinstate([transfer], "r1", due, story.now) == again
    assert [one.lapsed for one in transfer.reversals.values()] == [4 - again, 7]
    if again:
        fact = story.only(facts.ResolutionReinstated)
        assert (fact.reversal_id, fact.refund_id) == ("rev-r1", "r1")
        assert (fact.amount, fact.total) == (again, 11 - again)


def test_amount_owed_of_a_settled_transfer_is_told_when_it_changes(story: Story) -> None:
    waiting = closed("r1", 30)._replace(state=R.QUEUED)
    transfer = holding(story, waiting, closed("r2", 20))
    tell_owed(transfer, story.now)
    assert story.told() == [], "it was paid by Stripe"
    transfer.settled_outside = "mia paid it"
    tell_owed(transfer, story.now)
    fact = story.only(facts.OwedOutside)
    assert (fact.amount, fact.settled, fact.currency) == (30, "mia paid it", "EUR")
    assert (fact.order_id, fact.seller_id) == ("order-1", "ada")
    tell_owed(transfer, story.now)
    assert story.told() == []
    transfer.reversals.clear()
    tell_owed(transfer, story.now)
    assert story.only(facts.OwedOutside).amount == 0


def test_resolution_without_a_known_cause_never_lapses(story: Story) -> None:
    transfer = holding(story, closed("r1", 30)._replace(refund_id=None))
    assert lapse_uncovered([transfer], 45, set(), story.now) == 0
    assert transfer.lapsed == []
