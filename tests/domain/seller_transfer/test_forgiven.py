"""Attempts that an outage has consumed: given back once, with the doubt and the due time kept."""

import pytest

from domain.provider_call.operation import TRANSFER
from domain.provider_call.reasons import DeferralReason
from domain.seller_transfer import facts
from domain.seller_transfer.stripe_call import forgive, give_back, postpone
from tests.support.domain_story import SECOND, Answers, Story


def test_attempt_is_given_back_once(story: Story, answers: type[Answers]) -> None:
    story.call(answers.timeout)
    due = story.transfer.next_retry_at
    story.news()
    forgive(story.transfer, TRANSFER, 1, story.now)
    fact = story.last(facts.AttemptDeferred)
    assert (fact.why, fact.open, fact.given_back) == ("outage", True, 1)
    assert (fact.retry_count, fact.next_retry_at) == (0, due)
    assert due == story.now + SECOND
    forgive(story.transfer, TRANSFER, 1, story.now)
    assert story.told() == []
    story.call(answers.timeout)
    story.news()
    forgive(story.transfer, TRANSFER, 2, story.now)
    assert story.last(facts.AttemptDeferred).given_back == 2


def test_attempt_that_waits_for_nothing_is_due_at_once(
    story: Story, answers: type[Answers]
) -> None:
    story.call(answers.timeout)
    story.transfer.next_retry_at = None
    forgive(story.transfer, TRANSFER, 1, story.now)
    assert story.last(facts.AttemptDeferred).next_retry_at == story.now


@pytest.mark.parametrize(
    ("answer", "what", "attempt"),
    [
        ("timeout", TRANSFER, 2),
        ("timeout", "rev-1", 1),
        ("rate_limited", TRANSFER, 1),
        ("replayed_outage", TRANSFER, 1),
    ],
)
def test_attempt_that_no_outage_consumed_stays(
    story: Story, answers: type[Answers], answer: str, what: str, attempt: int
) -> None:
    story.call(getattr(answers, answer))
    story.news()
    forgive(story.transfer, what, attempt, story.now)
    assert story.told() == []


def test_attempt_without_outcome_is_not_given_back(story: Story, answers: type[Answers]) -> None:
    send = story.send()
    story.news()
    forgive(story.transfer, TRANSFER, send.attempt, story.now)
    assert story.told() == []
    story.answer(send, answers.timeout)
    again = story.send()
    story.news()
    forgive(story.transfer, TRANSFER, again.attempt, story.now)
    assert story.told() == [], "the second call is under way"


def test_paid_transfer_has_no_attempt_to_give_back(story: Story) -> None:
    story.paid()
    forgive(story.transfer, TRANSFER, 1, story.now)
    assert story.told() == []


def test_intent_is_taken_back_for_the_last_call_only(story: Story) -> None:
    send = story.send()
    story.news()
    give_back(story.transfer, TRANSFER, send.attempt + 1, "no lease", story.now)
    assert story.told() == []
    give_back(story.transfer, TRANSFER, send.attempt, "no lease", story.now)
    fact = story.last(facts.AttemptDeferred)
    assert (fact.why, fact.detail, fact.open) == ("given_back", "no lease", False)
    give_back(story.transfer, TRANSFER, send.attempt, "no lease", story.now)
    assert story.told() == []


def test_permanent_failure_is_not_postponed(story: Story, answers: type[Answers]) -> None:
    later = story.now + SECOND
    postpone(story.transfer, DeferralReason.LOOK_UP_LATER, "later", later, story.now)
    fact = story.last(facts.AttemptDeferred)
    assert (fact.why, fact.detail, fact.next_retry_at) == ("look_up_later", "later", later)
    for _ in range(6):
        story.call(answers.refused)
    story.news()
    postpone(story.transfer, DeferralReason.LOOK_UP_LATER, "later", later, story.now)
    assert story.told() == []
