"""Outcome of a transfer: Stripe's answers to a transfer that is pending or failed."""

from datetime import timedelta

import pytest

from domain.errors import CallInFlight, NothingToRetry
from domain.lifecycle import TransferStatus
from domain.provider_call.outcome import Succeeded
from domain.provider_call.steps import Send
from domain.provider_call.stripe_objects import TransferAtStripe
from domain.seller_transfer.facts import (
    Completed,
    EvidenceHeld,
    Failed,
    PermanentlyFailed,
    Reopened,
)
from domain.seller_transfer.manual_resolution import resolve
from domain.seller_transfer.reversal_facts import ReversalQueued
from domain.seller_transfer.transfer_outcome import complete
from tests.support.domain_story import Answers, Story

S = TransferStatus
HOUR = timedelta(hours=1)


def exhaust(story: Story, answers: type[Answers]) -> None:
    for _ in range(6):
        story.call(answers.outage)
    story.news()


# --- the happy path -------------------------------------------------------------------------------


def test_success_completes_the_transfer(story: Story) -> None:
    story.news()
    story.call(Succeeded("tr_1", 10_000, "req_1"))
    assert story.told() == ["CallStarted", "Completed"]
    assert (story.status, story.transfer.stripe_transfer_id) == (S.COMPLETED, "tr_1")
    assert story.transfer.next_retry_at is None
    assert story.transfer.operation is None


# --- definite refusals ----------------------------------------------------------------------------


def test_refusal_fails_and_retries_under_the_next_key(story: Story, answers: type[Answers]) -> None:
    first = story.call(answers.refused)
    assert story.status is S.FAILED
    assert story.operation.retry_count == 1
    assert story.waits == story.policy.delay(0)
    assert (first.key[-3:], story.send().key[-3:]) == (":e1", ":e2")


def test_unstored_refusal_keeps_its_key(story: Story, answers: type[Answers]) -> None:
    first = story.call(answers.invalid)
    assert story.status is S.FAILED
    assert not story.operation.open
    assert story.send().key == first.key


def test_sixth_refusal_ends_permanently(story: Story, answers: type[Answers]) -> None:
    keys = [story.call(answers.refused).key for _ in range(6)]
    assert len(set(keys)) == 6
    assert story.status is S.PERMANENTLY_FAILED
    assert story.transfer.next_retry_at is None


def test_permanent_end_from_pending_is_two_facts(story: Story, answers: type[Answers]) -> None:
    exhaust(story, answers)
    assert story.status is S.PENDING
    story.find()
    assert (story.told(), story.status) == (["Failed", "PermanentlyFailed"], S.PERMANENTLY_FAILED)


# --- waiting for money, for the account -----------------------------------------------------------


def test_missing_funds_wait_without_consuming_an_attempt(
    story: Story, answers: type[Answers]
) -> None:
    keys = []
    for _ in range(20):
        keys.append(story.call(answers.too_little).key)
        fact = story.last(Failed)
        assert (fact.reason, fact.waiting_for, fact.retry_count) == ("awaiting_funds", "funds", 0)
        assert story.waits == story.policy.funds_interval
    assert len(set(keys)) == 20, "Stripe keeps answering a refused key with the refusal"
    story.call(Succeeded("tr_1", 10_000))
    assert story.status is S.COMPLETED


def test_missing_funds_need_a_person_after_45_days(story: Story, answers: type[Answers]) -> None:
    story.call(answers.too_little)
    since = story.now
    while story.status is S.FAILED:
        story.call(answers.too_little)
    assert story.last(PermanentlyFailed).reason == "funds_deadline"
    assert story.now - since == story.policy.funds_deadline


def test_outage_does_not_restart_the_funds_deadline(story: Story, answers: type[Answers]) -> None:
    story.call(answers.too_little)
    since = story.operation.awaiting_since
    story.call(answers.outage)
    story.call(answers.rate_limited)
    story.call(answers.too_little)
    assert story.operation.awaiting_since == since


def test_another_refusal_restarts_the_funds_deadline(story: Story, answers: type[Answers]) -> None:
    story.call(answers.too_little)
    story.call(answers.refused)
    assert story.operation.awaiting_since is None


def test_unready_account_waits_for_its_event(story: Story, answers: type[Answers]) -> None:
    story.call(answers.on_hold)
    fact = story.last(Failed)
    assert (fact.reason, fact.waiting_for, fact.next_retry_at) == ("on_hold", "account", None)
    story.passes(10_000 * HOUR)
    assert story.step()[0] == "nothing is due"

    story.transfer.retry("ops", "capability granted", story.now)

    assert story.send().key.endswith(":e2")


# --- look-ups -------------------------------------------------------------------------------------


def test_exhausted_absent_transfer_ends_permanently(story: Story, answers: type[Answers]) -> None:
    exhaust(story, answers)
    story.find()
    fact = story.last(PermanentlyFailed)
    assert (fact.reason, story.status) == ("exhausted", S.PERMANENTLY_FAILED)


def test_exhausted_found_transfer_is_completed(story: Story, answers: type[Answers]) -> None:
    exhaust(story, answers)
    story.find(story.books())
    assert (story.status, story.transfer.stripe_transfer_id) == (S.COMPLETED, "tr_1")


def test_aged_absent_transfer_is_sent_under_the_next_key(
    story: Story, answers: type[Answers]
) -> None:
    story.call(answers.timeout)
    story.passes(24 * HOUR).find()
    assert story.status is S.PENDING
    assert not story.operation.open
    assert story.send().key.endswith(":e2")


def test_second_payment_is_kept_as_evidence_once(story: Story, answers: type[Answers]) -> None:
    story.call(answers.timeout)
    story.passes(24 * HOUR).find(story.books(), story.books(tr="tr_2"))
    assert story.told()[-2:] == ["Completed", "EvidenceHeld"]
    assert story.transfer.stripe_transfer_id == "tr_1"

    story.answer(story.first_send(), Succeeded("tr_2", 10_000))

    assert story.told() == []


def test_late_second_transfer_is_kept_as_evidence(story: Story) -> None:
    older, newer = story.send(), story.send()
    story.answer(newer, Succeeded("tr_1", 10_000))
    story.news()
    story.answer(older, Succeeded("tr_2", 10_000))
    fact = story.only(EvidenceHeld)
    assert (fact.stripe_id, fact.amount) == ("tr_2", 10_000)
    assert story.transfer.stripe_transfer_id == "tr_1"


def test_success_after_cancellation_is_kept_as_evidence(
    story: Story, answers: type[Answers]
) -> None:
    send = story.call(answers.refused)
    story.refunded(amount=10_000)
    assert story.status is S.CANCELLED
    story.news()

    for _ in range(3):
        story.answer(send, Succeeded("tr_1", 10_000))

    assert story.told() == ["EvidenceHeld"], "however often it is heard"
    assert story.status is S.CANCELLED
    assert story.passes(1_000 * HOUR).step()[0] == "nothing is due"


def given_up(story: Story, answers: type[Answers]) -> Send:
    """Let all six calls be refused; return the last of them."""
    send = story.call(answers.refused)
    for _ in range(5):
        send = story.call(answers.refused)
    assert story.status is S.PERMANENTLY_FAILED
    story.news()
    return send


def test_stripe_object_reopens_a_given_up_transfer(story: Story, answers: type[Answers]) -> None:
    send = given_up(story, answers)

    story.answer(send, Succeeded("tr_1", 10_000)).answer(send, Succeeded("tr_1", 10_000))

    reopened, completed = story.two(Reopened, Completed)
    assert (reopened.actor, completed.stripe_transfer_id) == ("stripe:tr_1", "tr_1")
    assert story.status is S.COMPLETED
    assert story.step()[0] == "nothing is due"


def test_refund_is_owed_again_when_all_was_paid(story: Story, answers: type[Answers]) -> None:
    send = given_up(story, answers)
    story.refunded(amount=4_000)
    reduced = dict(story.transfer.reductions)

    story.answer(send, Succeeded("tr_1", 10_000))

    assert story.transfer.undone_since(reduced) == ["refund-1"]
    assert (story.transfer.amount, story.transfer.taken, story.transfer.room) == (10_000, 0, 10_000)


def test_transfer_paid_elsewhere_is_not_reopened(story: Story, answers: type[Answers]) -> None:
    send = given_up(story, answers)
    resolve(story.transfer, "ops", "paid by bank transfer", "ticket 7", story.now)
    story.news()

    story.answer(send, Succeeded("tr_1", 10_000))

    assert story.told() == ["EvidenceHeld"]
    assert story.status is S.PERMANENTLY_FAILED


def test_fully_sent_transfer_is_not_counted_as_reduced(
    story: Story, answers: type[Answers]
) -> None:
    """The amount is lowered after a refusal, but Stripe holds the whole: the refund is still
    owed."""
    story.call(answers.refused)
    story.refunded(amount=4_000)
    assert story.transfer.taken == 4_000
    story.call(answers.timeout)
    full = TransferAtStripe("tr_1", 10_000, 0, "EUR", "acct_ada", str(story.transfer.id))
    story.passes(24 * HOUR).find(full)
    assert (story.transfer.amount, story.transfer.taken) == (10_000, 0)


# --- refunds that come before the money left ------------------------------------------------------


def test_refund_before_the_send_lowers_the_amount(story: Story) -> None:
    story.refunded(amount=4_000)
    assert story.told() == ["Created", "AmountReduced"]
    send = story.send()
    assert (send.body["amount"], send.key[-3:]) == (6_000, ":e1")


def test_full_refund_before_the_send_cancels(story: Story) -> None:
    story.refunded("refund-1", 4_000).refunded("refund-2", 6_000)
    assert story.told()[1:] == ["AmountReduced", "Cancelled"]
    assert story.status is S.CANCELLED
    assert story.transfer.room == 0
    assert story.transfer.taken == 10_000
    assert story.step()[0] == "nothing is due"


@pytest.mark.parametrize("word", ["refused", "invalid", "too_little", "on_hold", "rate_limited"])
def test_used_key_never_carries_another_amount(
    story: Story, answers: type[Answers], word: str
) -> None:
    used = story.call(getattr(answers, word))
    story.refunded(amount=4_000)
    if story.transfer.next_retry_at is None:
        story.transfer.retry("ops", "now", story.now)
    send = story.send()
    assert send.body["amount"] == 6_000
    assert send.key != used.key


def test_refund_during_a_call_waits_for_its_outcome(story: Story) -> None:
    send = story.send()
    story.news()
    story.refunded(amount=4_000)
    assert (story.only(ReversalQueued).waiting_for, story.status) == ("transfer", S.PENDING)

    story.answer(send, Succeeded("tr_1", 10_000))

    assert story.told() == ["Completed", "ReversalRequested"]
    assert story.reversal.amount == 4_000


@pytest.mark.parametrize("word", ["refused", "invalid", "too_little", "on_hold"])
def test_refusal_reduces_by_the_waiting_reversal(
    story: Story, answers: type[Answers], word: str
) -> None:
    send = story.send()
    story.refunded("refund-1", 4_000).refunded("refund-2", 1_000)
    story.news()
    story.answer(send, getattr(answers, word))
    assert story.told() == ["Failed", *2 * ["ReversalWithdrawn", "AmountReduced"]]
    assert (story.transfer.amount, story.transfer.queue, story.transfer.taken) == (5_000, [], 5_000)
    assert story.status is S.FAILED


def test_refusal_cancels_a_fully_refunded_transfer(story: Story, answers: type[Answers]) -> None:
    send = story.send()
    story.refunded("refund-1", 4_000).refunded("refund-2", 6_000)
    story.news()
    story.answer(send, answers.refused)
    assert story.told() == [
        "Failed",
        "ReversalWithdrawn",
        "AmountReduced",
        "ReversalWithdrawn",
        "Cancelled",
    ]
    assert story.status is S.CANCELLED


def test_absence_reduces_by_the_waiting_reversal(story: Story, answers: type[Answers]) -> None:
    story.call(answers.timeout)
    story.refunded(amount=4_000)
    story.passes(24 * HOUR).find()
    send = story.send()
    assert (send.body["amount"], send.key[-3:]) == (6_000, ":e2")
    assert story.transfer.queue == []


def test_given_up_transfer_leaves_no_reversal_waiting(story: Story, answers: type[Answers]) -> None:
    exhaust(story, answers)
    story.refunded(amount=4_000)
    story.find()
    assert story.status is S.PERMANENTLY_FAILED
    assert story.transfer.queue == []
    assert (story.transfer.amount, story.transfer.taken) == (6_000, 4_000)


def test_given_up_fully_refunded_transfer_takes_late_evidence(
    story: Story, answers: type[Answers]
) -> None:
    """After an answer 500 Stripe may make the transfer later than any look-up."""
    exhaust(story, answers)
    story.refunded(amount=10_000)
    story.find()
    assert (story.status, story.transfer.amount) == (S.PERMANENTLY_FAILED, 0)
    assert story.transfer.unsent, "nothing is sent any more"
    with pytest.raises(NothingToRetry):
        story.transfer.retry("ops", "again", story.now)
    complete(story.transfer, "tr_late", 10_000, None, story.now)
    assert (story.status, story.transfer.amount) == (S.COMPLETED, 10_000)
    assert story.transfer.taken == 0, "the refund is recovered again, by a reversal"


def doubted(story: Story, answers: type[Answers], way: str) -> Story:
    """Let a call have no answer, and look the transfer up, which Stripe does not hold yet."""
    story.call(answers.outage)
    match way:
        case "stored 500":
            story.call(answers.replayed_outage)
        case "old key":
            story.passes(24 * HOUR)
        case "retry after the end":
            while not story.operation.exhausted:
                story.call(answers.outage)
            story.find().transfer.retry("ops", "again", story.now)
    return story.find()


@pytest.mark.parametrize("way", ["stored 500", "old key", "retry after the end"])
@pytest.mark.parametrize("refused", [False, True])
def test_full_refund_of_a_doubtful_transfer_takes_late_evidence(
    story: Story, answers: type[Answers], way: str, *, refused: bool
) -> None:
    """Stripe may make the transfer after an unknown answer and after the look-up; a cancelled one
    could not be reversed."""
    doubted(story, answers, way)
    if refused:
        story.call(answers.refused)
    story.refunded(amount=10_000)
    assert (story.status, story.transfer.amount) == (S.PERMANENTLY_FAILED, 0)
    assert story.passes(1_000 * HOUR).step()[0] == "nothing is due"
    complete(story.transfer, "tr_late", 10_000, None, story.now)
    assert (story.status, story.transfer.taken) == (S.COMPLETED, 0)


def test_refund_that_waited_for_a_doubtful_transfer_does_not_cancel_it(
    story: Story, answers: type[Answers]
) -> None:
    story.call(answers.outage)
    story.call(answers.replayed_outage)
    story.refunded(amount=10_000).find()
    assert (story.status, story.transfer.amount) == (S.PERMANENTLY_FAILED, 0)


# --- operators ------------------------------------------------------------------------------------


def test_reopened_transfer_looks_up_and_sends_the_due_part(
    story: Story, answers: type[Answers]
) -> None:
    for _ in range(6):
        story.call(answers.refused)
    story.refunded(amount=4_000)

    story.transfer.retry("ops", "account fixed", story.now)

    assert story.status is S.FAILED
    story.find()
    send = story.send()
    assert send.body["amount"] == 6_000
    assert send.key[-3:] not in (":e1", ":e6")
    assert story.operation.retry_count == 0


def test_reopened_transfer_takes_in_stripes_object(story: Story, answers: type[Answers]) -> None:
    for _ in range(6):
        story.call(answers.refused)
    story.transfer.retry("ops", "looks paid to me", story.now)
    story.find(story.books())
    assert story.status is S.COMPLETED


def test_reopening_is_refused_when_no_amount_is_due(story: Story, answers: type[Answers]) -> None:
    for _ in range(6):
        story.call(answers.refused)
    story.refunded(amount=10_000)
    assert story.status is S.PERMANENTLY_FAILED
    with pytest.raises(NothingToRetry, match="unnecessary"):
        story.transfer.retry("ops", "again", story.now)


def test_retry_is_refused_during_a_call(story: Story) -> None:
    story.send()
    with pytest.raises(CallInFlight):
        story.transfer.retry("ops", "faster", story.now)


def test_retry_is_refused_when_no_step_is_due(story: Story) -> None:
    story.paid()
    with pytest.raises(NothingToRetry, match="completed"):
        story.transfer.retry("ops", "again", story.now)


def test_retry_of_an_unknown_operation_keeps_the_key(story: Story, answers: type[Answers]) -> None:
    first = story.call(answers.timeout)
    story.transfer.retry("ops", "now please", story.now)
    assert story.waits == timedelta(0)
    assert story.send().key == first.key


def test_retry_of_an_exhausted_operation_looks_up_first(
    story: Story, answers: type[Answers]
) -> None:
    exhaust(story, answers)
    story.transfer.retry("ops", "now please", story.now)
    story.look()
    assert "CallStarted" not in story.told()
