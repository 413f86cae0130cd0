"""Paying a seller: what Stripe's answers do to a transfer that is pending or failed."""

from datetime import timedelta
from typing import Any

import pytest

from domain.errors import CallInFlight, NothingToRetry
from domain.lifecycle import TransferStatus
from domain.provider_call.operation import TRANSFER
from domain.provider_call.outcome import Succeeded
from domain.provider_call.steps import Send
from domain.provider_call.stripe_objects import TransferAtStripe
from domain.seller_transfer.manual_resolution import resolve

S = TransferStatus
HOUR = timedelta(hours=1)


def exhaust(story: Any, answers: Any) -> None:
    for _ in range(6):
        story.call(answers.outage)
    story.news()


# --- the happy path -------------------------------------------------------------------------------------------------


def test_a_transfer_that_succeeds_is_completed(story: Any) -> None:
    story.news()
    story.call(Succeeded("tr_1", 10_000, "req_1"))
    assert story.told() == ["CallStarted", "Completed"]
    assert (story.status, story.transfer.stripe_transfer_id) == (S.COMPLETED, "tr_1")
    assert story.transfer.next_retry_at is None
    assert story.transfer.operation is None


# --- definite refusals ----------------------------------------------------------------------------------------------


def test_a_refusal_is_failed_and_tried_again_under_the_next_key(story: Any, answers: Any) -> None:
    first = story.call(answers.refused)
    assert story.status is S.FAILED
    assert story.operation.retry_count == 1
    assert story.waits == story.policy.delay(0)
    assert (first.key[-3:], story.send().key[-3:]) == (":e1", ":e2")


def test_a_refusal_that_stripe_did_not_store_keeps_its_key(story: Any, answers: Any) -> None:
    first = story.call(answers.invalid)
    assert story.status is S.FAILED
    assert not story.operation.open
    assert story.send().key == first.key


def test_the_sixth_refusal_straight_from_the_start_ends_permanently(story: Any, answers: Any) -> None:
    keys = [story.call(answers.refused).key for _ in range(6)]
    assert len(set(keys)) == 6
    assert story.status is S.PERMANENTLY_FAILED
    assert story.transfer.next_retry_at is None


def test_a_definite_end_straight_from_pending_is_two_facts_and_no_ninth_arrow(story: Any, answers: Any) -> None:
    exhaust(story, answers)
    assert story.status is S.PENDING
    story.find()
    assert story.told() == ["Failed", "PermanentlyFailed"]
    assert story.status is S.PERMANENTLY_FAILED


# --- waiting for money, for the account -----------------------------------------------------------------------------


def test_where_the_platform_has_too_little_it_waits_and_consumes_no_attempt(story: Any, answers: Any) -> None:
    keys = []
    for _ in range(20):
        keys.append(story.call(answers.too_little).key)
        fact = story.news()[-1]
        assert (fact.reason, fact.waiting_for, fact.retry_count) == ("awaiting_funds", "funds", 0)
        assert story.waits == story.policy.funds_interval
    assert len(set(keys)) == 20, "Stripe keeps answering a refused key with the refusal"
    story.call(Succeeded("tr_1", 10_000))
    assert story.status is S.COMPLETED


def test_after_45_days_without_funds_a_person_is_needed(story: Any, answers: Any) -> None:
    story.call(answers.too_little)
    since = story.now
    while story.status is S.FAILED:
        story.call(answers.too_little)
    fact = story.news()[-1]
    assert (type(fact).__name__, fact.reason) == ("PermanentlyFailed", "funds_deadline")
    assert story.now - since == story.policy.funds_deadline


def test_an_outage_in_between_does_not_restart_the_deadline(story: Any, answers: Any) -> None:
    story.call(answers.too_little)
    since = story.operation.awaiting_since
    story.call(answers.outage)
    story.call(answers.rate_limited)
    story.call(answers.too_little)
    assert story.operation.awaiting_since == since


def test_another_refusal_does_restart_it(story: Any, answers: Any) -> None:
    story.call(answers.too_little)
    story.call(answers.refused)
    assert story.operation.awaiting_since is None


def test_where_the_account_is_not_ready_it_waits_for_the_account_and_is_not_tried_again(story: Any, answers: Any) -> None:
    story.call(answers.on_hold)
    fact = story.news()[-1]
    assert (fact.reason, fact.waiting_for, fact.next_retry_at) == ("on_hold", "account", None)
    story.passes(10_000 * HOUR)
    assert story.step()[0] == "nothing is due"

    story.transfer.retry("ops", "capability granted", story.now)

    assert story.send().key.endswith(":e2")


# --- look-ups -------------------------------------------------------------------------------------------------------


def test_exhausted_and_absent_from_stripes_books_ends_permanently(story: Any, answers: Any) -> None:
    exhaust(story, answers)
    story.find()
    fact = story.news()[-1]
    assert (fact.reason, story.status) == ("exhausted", S.PERMANENTLY_FAILED)


def test_exhausted_and_found_in_stripes_books_is_completed(story: Any, answers: Any) -> None:
    exhaust(story, answers)
    story.find(story.books())
    assert (story.status, story.transfer.stripe_transfer_id) == (S.COMPLETED, "tr_1")


def test_aged_and_absent_goes_out_under_the_next_key_and_needs_no_second_look(story: Any, answers: Any) -> None:
    story.call(answers.timeout)
    story.passes(24 * HOUR).find()
    assert story.status is S.PENDING
    assert not story.operation.open
    assert story.send().key.endswith(":e2")


def test_a_seller_who_was_paid_twice_is_evidence_that_is_held_once(story: Any, answers: Any) -> None:
    story.call(answers.timeout)
    story.passes(24 * HOUR).find(story.books(), story.books(tr="tr_2"))
    assert story.told()[-2:] == ["Completed", "EvidenceHeld"]
    assert story.transfer.stripe_transfer_id == "tr_1"

    story.answer(Send(TRANSFER, 1, "", {}), Succeeded("tr_2", 10_000))  # type: ignore[typeddict-item]

    assert story.told() == []


def test_a_second_transfer_that_comes_back_late_is_evidence_and_never_a_second_payment(story: Any) -> None:
    older, newer = story.send(), story.send()
    story.answer(newer, Succeeded("tr_1", 10_000))
    story.news()
    story.answer(older, Succeeded("tr_2", 10_000))
    (fact,) = story.news()
    assert (type(fact).__name__, fact.stripe_id, fact.amount) == ("EvidenceHeld", "tr_2", 10_000)
    assert story.transfer.stripe_transfer_id == "tr_1"


def test_success_after_a_cancellation_is_evidence_and_nothing_is_sent_any_more(story: Any, answers: Any) -> None:
    send = story.call(answers.refused)
    story.refunded(amount=10_000)
    assert story.status is S.CANCELLED
    story.news()

    for _ in range(3):
        story.answer(send, Succeeded("tr_1", 10_000))

    assert story.told() == ["EvidenceHeld"], "however often it is heard"
    assert story.status is S.CANCELLED
    assert story.passes(1_000 * HOUR).step()[0] == "nothing is due"


def given_up(story: Any, answers: Any) -> Any:
    """All six calls refused; answers the last of them."""
    send = story.call(answers.refused)
    for _ in range(5):
        send = story.call(answers.refused)
    assert story.status is S.PERMANENTLY_FAILED
    story.news()
    return send


def test_stripes_object_reopens_what_was_given_up_and_nothing_is_sent_for_it(story: Any, answers: Any) -> None:
    send = given_up(story, answers)

    story.answer(send, Succeeded("tr_1", 10_000)).answer(send, Succeeded("tr_1", 10_000))

    reopened, completed = story.news()
    assert (type(reopened).__name__, reopened.actor) == ("Reopened", "stripe:tr_1")
    assert (type(completed).__name__, completed.stripe_transfer_id) == ("Completed", "tr_1")
    assert story.status is S.COMPLETED
    assert story.step()[0] == "nothing is due"


def test_what_a_refund_had_reduced_meanwhile_is_owed_again_when_stripe_turns_out_to_have_paid_it_all(
    story: Any, answers: Any
) -> None:
    send = given_up(story, answers)
    story.refunded(amount=4_000)
    reduced = dict(story.transfer.reductions)

    story.answer(send, Succeeded("tr_1", 10_000))

    assert story.transfer.undone_since(reduced) == ["refund-1"]
    assert (story.transfer.amount, story.transfer.taken, story.transfer.room) == (10_000, 0, 10_000)


def test_whoever_was_paid_outside_of_stripe_is_not_reopened_by_stripes_object(story: Any, answers: Any) -> None:
    send = given_up(story, answers)
    resolve(story.transfer, "ops", "paid by bank transfer", "ticket 7", story.now)
    story.news()

    story.answer(send, Succeeded("tr_1", 10_000))

    assert story.told() == ["EvidenceHeld"]
    assert story.status is S.PERMANENTLY_FAILED


def test_what_was_sent_in_full_is_not_counted_as_reduced(story: Any, answers: Any) -> None:
    """The amount was lowered after a refusal, and then Stripe turns out to hold the whole: the refund is still owed."""
    story.call(answers.refused)
    story.refunded(amount=4_000)
    assert story.transfer.taken == 4_000
    story.call(answers.timeout)
    full = TransferAtStripe("tr_1", 10_000, 0, "EUR", "acct_ada", str(story.transfer.id))
    story.passes(24 * HOUR).find(full)
    assert (story.transfer.amount, story.transfer.taken) == (10_000, 0)


# --- refunds that come before the money left ------------------------------------------------------------------------


def test_a_refund_before_anything_was_sent_lowers_what_is_sent(story: Any) -> None:
    story.refunded(amount=4_000)
    assert story.told() == ["Created", "AmountReduced"]
    send = story.send()
    assert (send.body["amount"], send.key[-3:]) == (6_000, ":e1")


def test_a_full_refund_before_anything_was_sent_cancels(story: Any) -> None:
    story.refunded("refund-1", 4_000).refunded("refund-2", 6_000)
    assert story.told()[1:] == ["AmountReduced", "Cancelled"]
    assert story.status is S.CANCELLED
    assert story.transfer.room == 0
    assert story.transfer.taken == 10_000
    assert story.step()[0] == "nothing is due"


@pytest.mark.parametrize("word", ["refused", "invalid", "too_little", "on_hold", "rate_limited"])
def test_another_amount_never_goes_out_under_a_key_that_was_used(story: Any, answers: Any, word: str) -> None:
    used = story.call(getattr(answers, word))
    story.refunded(amount=4_000)
    if story.transfer.next_retry_at is None:
        story.transfer.retry("ops", "now", story.now)
    send = story.send()
    assert send.body["amount"] == 6_000
    assert send.key != used.key


def test_a_refund_during_the_call_waits_for_its_outcome(story: Any) -> None:
    send = story.send()
    story.news()
    story.refunded(amount=4_000)
    (fact,) = story.news()
    assert (type(fact).__name__, fact.waiting_for, story.status) == ("ReversalQueued", "transfer", S.PENDING)

    story.answer(send, Succeeded("tr_1", 10_000))

    assert story.told() == ["Completed", "ReversalRequested"]
    assert story.reversal.amount == 4_000


@pytest.mark.parametrize("word", ["refused", "invalid", "too_little", "on_hold"])
def test_refused_after_all_the_waiting_reversal_becomes_less_to_send(story: Any, answers: Any, word: str) -> None:
    send = story.send()
    story.refunded("refund-1", 4_000).refunded("refund-2", 1_000)
    story.news()
    story.answer(send, getattr(answers, word))
    assert story.told() == ["Failed", *2 * ["ReversalWithdrawn", "AmountReduced"]]
    assert (story.transfer.amount, story.transfer.queue, story.transfer.taken) == (5_000, [], 5_000)
    assert story.status is S.FAILED


def test_refused_after_all_with_all_of_it_refunded_it_is_cancelled(story: Any, answers: Any) -> None:
    send = story.send()
    story.refunded("refund-1", 4_000).refunded("refund-2", 6_000)
    story.news()
    story.answer(send, answers.refused)
    assert story.told() == ["Failed", "ReversalWithdrawn", "AmountReduced", "ReversalWithdrawn", "Cancelled"]
    assert story.status is S.CANCELLED


def test_absent_after_all_the_waiting_reversal_becomes_less_to_send(story: Any, answers: Any) -> None:
    story.call(answers.timeout)
    story.refunded(amount=4_000)
    story.passes(24 * HOUR).find()
    send = story.send()
    assert (send.body["amount"], send.key[-3:]) == (6_000, ":e2")
    assert story.transfer.queue == []


def test_given_up_after_all_nothing_waits_any_more(story: Any, answers: Any) -> None:
    exhaust(story, answers)
    story.refunded(amount=4_000)
    story.find()
    assert story.status is S.PERMANENTLY_FAILED
    assert story.transfer.queue == []
    assert (story.transfer.amount, story.transfer.taken) == (6_000, 4_000)


def test_given_up_with_all_of_it_refunded_is_cancelled_and_needs_nobody(story: Any, answers: Any) -> None:
    exhaust(story, answers)
    story.refunded(amount=10_000)
    story.find()
    assert story.status is S.CANCELLED


# --- operators ------------------------------------------------------------------------------------------------------


def test_reopening_looks_first_and_sends_what_is_due_now(story: Any, answers: Any) -> None:
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


def test_reopening_takes_in_what_stripe_has_had_all_along(story: Any, answers: Any) -> None:
    for _ in range(6):
        story.call(answers.refused)
    story.transfer.retry("ops", "looks paid to me", story.now)
    story.find(story.books())
    assert story.status is S.COMPLETED


def test_with_nothing_due_reopening_is_refused_and_says_why(story: Any, answers: Any) -> None:
    for _ in range(6):
        story.call(answers.refused)
    story.refunded(amount=10_000)
    assert story.status is S.PERMANENTLY_FAILED
    with pytest.raises(NothingToRetry, match="unnecessary"):
        story.transfer.retry("ops", "again", story.now)


def test_nothing_is_retried_during_a_call(story: Any) -> None:
    story.send()
    with pytest.raises(CallInFlight):
        story.transfer.retry("ops", "faster", story.now)


def test_nothing_is_retried_that_is_not_due(story: Any) -> None:
    story.paid()
    with pytest.raises(NothingToRetry, match="completed"):
        story.transfer.retry("ops", "again", story.now)


def test_a_retry_while_money_may_have_moved_keeps_the_key(story: Any, answers: Any) -> None:
    first = story.call(answers.timeout)
    story.transfer.retry("ops", "now please", story.now)
    assert story.waits == timedelta(0)
    assert story.send().key == first.key


def test_a_retry_of_what_is_exhausted_looks_and_does_not_send(story: Any, answers: Any) -> None:
    exhaust(story, answers)
    story.transfer.retry("ops", "now please", story.now)
    story.look()
    assert "CallStarted" not in story.told()
