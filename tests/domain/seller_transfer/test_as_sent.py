"""Transfers that Stripe does not hold, since a refund had taken all of it before the call."""

from datetime import timedelta

import pytest

from domain.lifecycle import TransferStatus
from domain.provider_call.operation import TRANSFER
from domain.provider_call.steps import LookUp
from domain.seller_transfer import facts
from domain.seller_transfer.transfer_outcome import give_way
from tests.support.domain_story import START, Answers, Story


def look(attempt: int = 0) -> LookUp:
    return LookUp(TRANSFER, START, attempt)


def test_unsent_transfer_gives_way_to_its_compensation(story: Story) -> None:
    give_way(story.transfer, "r1", 4_000, look(), story.now, story.policy)
    fact = story.last(facts.AmountReduced)
    assert (fact.refund_id, fact.by, fact.amount) == ("r1", 4_000, 6_000)
    assert story.transfer.reductions == {"r1": 4_000}


def test_transfer_gives_way_by_at_most_all_of_it(story: Story) -> None:
    give_way(story.transfer, "r1", 10_001, look(), story.now, story.policy)
    assert story.last(facts.Cancelled).by == 10_000
    assert story.status is TransferStatus.CANCELLED
    give_way(story.transfer, "r1", 10_001, look(), story.now, story.policy)
    assert story.told() == []


def test_refund_waiting_for_a_transfer_that_gave_way_is_shortened(
    story: Story, answers: type[Answers]
) -> None:
    story.call(answers.timeout)
    story.refunded("r2", 3_000)
    story.news()
    give_way(story.transfer, "r1", 10_000, look(1), story.now, story.policy)
    assert story.told() == ["ReversalWithdrawn", "Cancelled"]
    assert story.transfer.shortened == {"r2"}


@pytest.mark.parametrize(("what", "attempt"), [(TRANSFER, 0), ("a reversal", 1)])
def test_look_up_before_the_last_call_proves_nothing(
    story: Story, answers: type[Answers], what: str, attempt: int
) -> None:
    story.call(answers.timeout)
    story.news()
    give_way(story.transfer, "r1", 4_000, LookUp(what, START, attempt), story.now, story.policy)
    assert story.told() == []


def test_paid_transfer_does_not_give_way(story: Story) -> None:
    story.paid().passes(timedelta(hours=1))
    give_way(story.transfer, "r1", 4_000, look(1), story.now, story.policy)
    assert story.told() == []
