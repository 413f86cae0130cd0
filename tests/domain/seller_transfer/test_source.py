"""Source of a transfer: a decision counts from the next key on, and refusals change it only if they
say so."""

from dataclasses import replace
from datetime import timedelta

import pytest

from domain.lifecycle import TransferStatus
from domain.provider_call.outcome import Rejected
from domain.seller_transfer import facts
from domain.seller_transfer.source import decide_source, takes_source
from tests.support.domain_story import Answers, Story

USED_UP = Rejected(400, None, "the charge is used up", stored=True, says_source="used_up")
CURRENCY = replace(USED_UP, says_source="currency")
HOURS = timedelta(hours=6)


@pytest.fixture
def sourced(story: Story) -> Story:
    decide_source(story.transfer, "ch_1", "its charge", story.now)
    fact = story.last(facts.SourceDecided)
    assert (fact.source_transaction, fact.why, fact.epoch, fact.next_retry_at) == (
        "ch_1",
        "its charge",
        1,
        None,
    )
    return story


def test_source_is_decided_once_before_the_first_call(story: Story) -> None:
    assert takes_source(story.transfer)
    decide_source(story.transfer, "ch_1", "", story.now)
    assert not takes_source(story.transfer)
    assert not takes_source(Story().paid().transfer)
    other = Story()
    other.transfer.imported = True
    assert not takes_source(other.transfer)


@pytest.mark.parametrize(
    ("answer", "epoch"), [("rate_limited", 2), ("timeout", 2), ("invalid", 2), ("refused", 2)]
)
def test_used_key_keeps_its_body_without_the_source(
    story: Story, answers: type[Answers], answer: str, epoch: int
) -> None:
    story.call(getattr(answers, answer))
    decide_source(story.transfer, "ch_1", "", story.now)
    assert story.last(facts.SourceDecided).epoch == epoch
    assert story.transfer.source_now == ("ch_1" if answer != "timeout" else None)


@pytest.mark.parametrize(
    ("answer", "due"), [("too_little", True), ("rate_limited", False), ("timeout", False)]
)
def test_transfer_that_waits_for_funds_is_due_with_its_source(
    story: Story, answers: type[Answers], answer: str, due: bool
) -> None:
    story.call(getattr(answers, answer))
    decide_source(story.transfer, "ch_1", "", story.now)
    assert story.last(facts.SourceDecided).next_retry_at == (story.now if due else None)


def test_held_transfer_is_not_due_with_its_source(story: Story) -> None:
    story.transfer.awaits_charge = True
    story.transfer.hold_back("the payment has failed", story.now)
    decide_source(story.transfer, "ch_1", "", story.now)
    assert story.last(facts.SourceDecided).next_retry_at is None


def test_refusal_for_another_reason_keeps_the_source(
    sourced: Story, answers: type[Answers]
) -> None:
    sourced.call(answers.refused)
    assert (sourced.transfer.source_now, sourced.status) == ("ch_1", "failed")
    assert sourced.last(facts.Failed).reason == "rejected"


def test_refusal_of_a_source_that_was_not_named_is_an_ordinary_one(story: Story) -> None:
    story.call(USED_UP)
    fact = story.last(facts.Failed)
    assert (fact.reason, fact.retry_count) == ("rejected", 1)


def test_used_up_charge_is_left_out_at_once_and_costs_nothing(sourced: Story) -> None:
    sourced.call(replace(USED_UP, stored=False))
    failed, decided = sourced.news()[-2:]
    assert isinstance(failed, facts.Failed)
    assert isinstance(decided, facts.SourceDecided)
    assert (failed.reason, failed.retry_count, failed.epoch) == ("source_used_up", 0, 2)
    assert (failed.next_retry_at, failed.detail) == (sourced.now, "the charge is used up")
    assert (decided.source_transaction, decided.why) == (None, "the charge is used up")
    assert sourced.transfer.source_now is None


def test_charge_in_another_currency_is_up_to_a_person(sourced: Story) -> None:
    sourced.call(CURRENCY)
    assert sourced.status is TransferStatus.PERMANENTLY_FAILED
    fact = sourced.last(facts.PermanentlyFailed)
    assert fact.reason == "source_currency"
    assert fact.detail.startswith("the charge is used up Stripe transfers from a charge only")
    assert sourced.transfer.source_now is None


def test_sourced_transfer_waits_for_funds_like_any_other(
    sourced: Story, answers: type[Answers]
) -> None:
    sourced.call(answers.too_little)
    fact = sourced.last(facts.Failed)
    assert fact.next_retry_at == sourced.now + HOURS
    assert (fact.reason, fact.waiting_for, fact.awaiting_since) == (
        "awaiting_funds",
        "funds",
        sourced.now,
    )
    assert (fact.code, fact.retry_count, fact.epoch) == ("balance_insufficient", 0, 2)


def test_transfer_is_sent_again_with_a_source_found_meanwhile(
    story: Story, answers: type[Answers]
) -> None:
    send = story.send()
    decide_source(story.transfer, "ch_1", "", story.now)
    assert story.transfer.source_now is None
    story.answer(send, answers.too_little_unstored)
    fact = story.last(facts.Failed)
    assert (fact.next_retry_at, fact.epoch) == (story.now, 2)
    assert story.transfer.source_now == "ch_1"
