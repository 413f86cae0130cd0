"""Reversals that Stripe shows with a status: only `succeeded` has moved money. Pending ones are
looked up until Stripe has decided, and never sent again."""

from datetime import timedelta

import pytest

from domain.errors import EvidenceDiffers, NothingToResolve
from domain.lifecycle import TransferStatus
from domain.provider_call.outcome import Pending, Rejected
from domain.provider_call.stripe_objects import ReversalAtStripe
from domain.seller_transfer import facts
from domain.seller_transfer.external_reversals import record_external
from domain.seller_transfer.manual_resolution import resolve, resolve_by_reversal
from tests.support.domain_story import Answers, Story

S = TransferStatus
FAILED = Rejected(200, "reversal_failed", "Stripe's trr_1 is failed", stored=True)
NO_MONEY = Rejected(
    200,
    "reversal_failed",
    "Stripe's trr_1 is failed: insufficient_funds",
    stored=True,
    says_no_funds=True,
)
CANCELED = Rejected(200, "reversal_canceled", "Stripe's trr_1 is canceled", stored=True)


@pytest.fixture
def pending(story: Story) -> Story:
    """Return a story whose reversal of 40.00 is pending at Stripe."""
    story.reversing()
    story.call(Pending("trr_1", 4_000))
    story.news()
    return story


def shown(story: Story, status: str, refusal: Rejected | None = None) -> ReversalAtStripe:
    return story.ours()._replace(status=status, refusal=refusal)


def test_pending_reversal_waits_for_stripe_and_takes_nothing(story: Story) -> None:
    story.reversing()
    story.call(Pending("trr_1", 4_000))
    fact = story.last(facts.AttemptDeferred)
    assert (fact.why, fact.waiting_for, fact.retry_count, fact.epoch) == ("pending", "stripe", 0, 1)
    assert fact.open, "nothing may be changed or given up"
    assert (story.status, story.transfer.amount_reversed) == (S.REVERSAL_PENDING, 0)


def test_pending_reversal_is_only_looked_up_for_45_days(pending: Story) -> None:
    since, key = pending.now, pending.operation.key(pending.transfer.id)
    while pending.now - since < timedelta(days=1):
        pending.see(pending.books(shown(pending, "pending")))
    assert set(pending.told()) == {"AttemptDeferred"}
    assert pending.waits == pending.policy.maximum, "the looks become rarer"
    pending.passes(timedelta(days=44)).see(pending.books(shown(pending, "pending")))
    assert pending.operation.key(pending.transfer.id) == key
    pending.news()
    pending.see(pending.books(shown(pending, "succeeded")))
    assert pending.only(facts.PartiallyReversed).stripe_reversal_id == "trr_1"


@pytest.mark.parametrize("refusal", [FAILED, CANCELED], ids=["failed", "canceled"])
def test_refused_pending_reversal_is_sent_under_a_new_key(
    pending: Story, refusal: Rejected
) -> None:
    before = pending.operation.key(pending.transfer.id)
    status = (refusal.code or "").removeprefix("reversal_")
    refused = shown(pending, status, refusal)
    pending.see(pending.books(refused))
    fact = pending.only(facts.AttemptDeferred)
    assert (fact.why, fact.retry_count, fact.open) == ("rejected", 1, False)
    assert fact.detail == refusal.message
    assert pending.send().key != before
    pending.news()


def test_pending_reversal_that_fails_for_funds_waits_for_funds(pending: Story) -> None:
    pending.see(pending.books(shown(pending, "failed", NO_MONEY)))
    fact = pending.only(facts.AttemptDeferred)
    assert (fact.why, fact.waiting_for, fact.retry_count) == ("awaiting_funds", "funds", 0)


def test_failed_reversals_need_a_person_after_six_calls(story: Story) -> None:
    story.reversing()
    keys = []
    made: list[ReversalAtStripe] = []
    while story.status is S.REVERSAL_PENDING:
        send = story.send()
        keys.append(send.key)
        one = shown(story, "failed", FAILED)._replace(stripe_reversal_id=f"trr_{len(made)}")
        made.append(one)
        story.answer(send, FAILED, story.books(*made))
    assert story.last(facts.PermanentlyFailed).reason == "rejected"
    assert len(set(keys)) == 6


def test_older_failed_object_does_not_hide_the_newer_reversal(story: Story) -> None:
    story.reversing()
    story.call(FAILED, story.books(shown(story, "failed", FAILED)))
    story.call(Pending("trr_2", 4_000))
    failed = shown(story, "failed", FAILED)
    newer = shown(story, "succeeded")._replace(stripe_reversal_id="trr_2")
    story.see(story.books(failed, newer))
    assert story.transfer.amount_reversed == 4_000


def test_lost_answer_of_a_pending_reversal_is_found_and_awaited(
    story: Story, answers: type[Answers]
) -> None:
    """The key is not used again: its answer of that time would say `pending` for ever."""
    story.reversing()
    for _ in range(6):
        story.call(answers.timeout)
    story.news()
    story.see(story.books(shown(story, "pending")))
    assert story.told()[-1] == "AttemptDeferred"
    assert story.operation.pending
    assert not story.operation.exhausted
    story.see(story.books(shown(story, "succeeded")))
    assert story.status is S.PARTIALLY_REVERSED


def test_refund_that_fails_meanwhile_contests_the_pending_reversal(pending: Story) -> None:
    """Its outcome decides how much has to be given back."""
    assert pending.transfer.withdraw(pending.reversal, 4_000, "refund-1", pending.now) == 0
    assert pending.told() == ["ReversalContested"]
    with pytest.raises(NothingToResolve, match="read first"):
        resolve(pending.transfer, "mia", "paid by bank", "ticket 7", pending.now)


def test_retry_of_a_pending_reversal_looks_and_sends_nothing(pending: Story) -> None:
    pending.transfer.retry("ops", "is it done?", pending.now)
    pending.look()


def test_pending_answer_for_a_given_up_reversal_is_kept(
    story: Story, answers: type[Answers]
) -> None:
    story.reversing()
    send = story.call(answers.not_found)
    story.news()
    story.answer(send, Pending("trr_1", 4_000))
    assert story.told() == ["EvidenceHeld"]


# --- reversals of others --------------------------------------------------------------------------


def test_pending_external_reversal_does_not_count(story: Story) -> None:
    story.paid()
    theirs = story.theirs(3_000)._replace(status="pending")
    record_external(story.transfer, story.books(theirs), story.now)
    assert story.told() == []
    record_external(story.transfer, story.books(story.theirs(3_000)), story.now)
    assert story.transfer.amount_reversed == 3_000


def test_reversal_waits_while_others_pending_ones_leave_too_little(story: Story) -> None:
    """Asking for the rest would take too little if theirs fails."""
    story.reversing()
    theirs = story.theirs(8_000)._replace(status="pending")
    above = Rejected(400, None, "Reversal amount is greater than unreversed amount", stored=True)
    story.call(above, story.books(theirs))
    fact = story.last(facts.AttemptDeferred)
    assert (fact.why, fact.waiting_for, fact.open, fact.epoch) == ("pending", "stripe", False, 2)
    story.see(story.books(theirs))
    story.see(story.books(theirs._replace(status="failed", refusal=FAILED)))
    assert story.send().body["amount"] == 4_000


def test_reversal_takes_the_rest_once_theirs_has_succeeded(story: Story) -> None:
    story.reversing()
    theirs = story.theirs(8_000)._replace(status="pending")
    above = Rejected(400, None, "Reversal amount is greater than unreversed amount", stored=True)
    story.call(above, story.books(theirs))
    story.see(story.books(story.theirs(8_000)))
    assert story.send().body["amount"] == 2_000
    assert story.transfer.amount_reversed == 8_000


def test_pending_reversal_is_no_evidence(story: Story, answers: type[Answers]) -> None:
    story.reversing()
    story.call(answers.not_found)
    books = story.books(story.theirs(4_000)._replace(status="pending"))
    with pytest.raises(EvidenceDiffers, match="status"):
        resolve_by_reversal(story.transfer, books, "trr_dashboard", "mia", "made", story.now)


def test_pending_reversal_missing_in_the_list_is_not_sent_again(pending: Story) -> None:
    pending.see(pending.books())
    fact = pending.only(facts.AttemptDeferred)
    assert (fact.why, fact.open, fact.epoch) == ("pending", True, 1)
    pending.passes(timedelta(days=45)).see(pending.books())
    assert pending.send().key.endswith(":e2"), "Stripe would have decided by now"
