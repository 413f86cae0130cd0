"""Intent, effect, outcome: when a call is made, under which key, and what an outcome allows next.

What holds for a transfer and for a reversal alike is told for both.
"""

from datetime import timedelta
from typing import Any

import pytest

from domain.lifecycle import TransferStatus
from domain.provider_call.operation import TRANSFER, LookFirst
from domain.provider_call.outcome import Hindrance, NotExecuted, Succeeded, Unknown
from domain.provider_call.steps import LOST_IN_A_ROW, LookUp, Rest, Send
from domain.seller_transfer.stripe_call import begin, forgive, give_back, postpone

SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
HINDERED = ["rate_limited", "key_in_use", "unauthorized", "forbidden"]
NO_ANSWER = ["timeout", "outage", "idempotency_error"]


@pytest.fixture(params=["transfer", "reversal"])
def due(request: pytest.FixtureRequest, story: Any) -> Any:
    """A story with one operation due, whichever it is."""
    if request.param == "reversal":
        story.reversing()
    story.news()
    return story


def succeed(story: Any, send: Send) -> None:
    story.answer(send, Succeeded("tr_9" if send.what == TRANSFER else "trr_9", send.body["amount"]))


# --- intent ---------------------------------------------------------------------------------------------------------


def test_the_intent_is_a_fact_before_the_call_with_key_and_body_frozen(due: Any) -> None:
    send = due.send()

    (intent,) = due.news()
    assert type(intent).__name__ == "CallStarted"
    assert (intent.what, intent.attempt, intent.key, intent.body) == (send.what, send.attempt, send.key, send.body)
    assert due.operation.in_call
    assert due.operation.open, "from here on money may move"


def test_the_key_names_the_operation_and_its_epoch_and_no_amount(story: Any) -> None:
    assert story.send().key == f"transfer:{story.transfer.id}:e1"
    story.answer(Send(TRANSFER, 1, "", {}), Succeeded("tr_1", 10_000))  # type: ignore[typeddict-item]
    story.refunded(amount=4_000)
    assert story.send().key == f"reversal:{story.reversal.reversal_id}:e1"


def test_our_own_ids_travel_in_the_metadata(story: Any) -> None:
    body = story.send().body
    assert body["metadata"] == {"transfer_id": str(story.transfer.id), "order_id": "order-1", "seller_id": "ada"}
    assert (body["amount"], body["currency"], body["destination"]) == (10_000, "eur", "acct_ada")
    assert body["transfer_group"] == "order-1"


def test_a_reversal_names_its_refund_and_its_transfer(story: Any) -> None:
    story.reversing(amount=4_000)
    body = story.send().body
    assert body["metadata"] == {
        "reversal_id": story.reversal.reversal_id,
        "transfer_id": str(story.transfer.id),
        "order_id": "order-1",
        "refund_id": "refund-1",
    }
    assert (body["stripe_transfer_id"], body["amount"]) == ("tr_1", 4_000)


def test_nothing_is_sent_before_it_is_due(due: Any, answers: Any) -> None:
    due.call(answers.outage)
    due.news()
    due.passes(due.waits - timedelta(microseconds=1))
    assert isinstance(due.step(), Rest)
    assert due.told() == []
    assert isinstance(due.passes(timedelta(microseconds=1)).step(), Send)


def test_where_nothing_is_due_nothing_happens(story: Any) -> None:
    assert isinstance(story.paid().passes(1000 * HOUR).step(), Rest)
    assert story.told() == []


# --- unknown --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", NO_ANSWER)
def test_without_an_answer_the_same_call_is_repeated_under_the_same_key(due: Any, answers: Any, word: str) -> None:
    status = due.status
    first = due.call(getattr(answers, word))
    assert due.status is status
    assert due.operation.open

    second = due.send()

    assert (second.key, second.body) == (first.key, first.body)
    assert second.attempt == first.attempt + 1


def test_each_failed_attempt_waits_twice_as_long_up_to_ten_seconds(due: Any, answers: Any) -> None:
    waited = []
    for count in range(5):
        assert due.operation.retry_count == count
        due.call(answers.outage)
        waited.append(due.waits / SECOND)
    assert waited == [1, 2, 4, 8, 10]
    assert due.operation.retry_count == 5


def test_six_calls_are_made_and_then_stripes_books_are_read(due: Any, answers: Any) -> None:
    calls = [due.call(answers.outage) for _ in range(6)]
    assert len({call.key for call in calls}) == 1
    last_call = due.now
    assert due.operation.exhausted

    look = due.look()

    assert isinstance(look, LookUp)
    assert look.since <= due.operation.first_began
    assert due.now >= last_call + due.policy.call_timeout, "a call still under way could arrive after the reading"
    assert due.operation.open, "still nobody knows"


def test_no_look_is_begun_while_a_call_may_still_be_under_way_however_impatient_the_operator(due: Any, answers: Any) -> None:
    for _ in range(6):
        due.call(answers.outage)
    ended = due.operation.last_began + due.policy.call_timeout
    due.transfer.retry("ops", "now please", due.now)

    assert isinstance(due.step(), Rest)

    assert due.transfer.next_retry_at == ended
    assert due.operation.open
    assert due.operation.exhausted
    assert isinstance(due.comes_due().step(), LookUp)


def test_a_look_up_that_failed_is_repeated_and_ends_nothing(due: Any, answers: Any) -> None:
    for _ in range(6):
        due.call(answers.outage)
    status = due.status
    for _ in range(10):
        due.look()
        postpone(due.transfer, "look_up_failed", "Stripe's books could not be read.", due.now + SECOND, due.now)
    assert due.status is status
    assert due.operation.exhausted
    assert due.operation.open


def test_a_stored_500_heard_again_is_the_same_attempt_and_the_books_are_read_instead_of_hearing_it_for_a_day(
    due: Any, answers: Any
) -> None:
    first = due.call(answers.outage)
    due.call(answers.replayed_outage)
    assert due.operation.retry_count == 1
    assert due.operation.open

    look = due.look()

    assert not due.operation.exhausted
    due.see_nothing(look)
    send = due.send()
    assert send.key == first.key.replace(":e1", ":e2")
    assert due.operation.retry_count == 1


def test_after_23_hours_the_books_are_read_before_anything_is_sent(due: Any, answers: Any) -> None:
    first = due.call(answers.timeout)
    began = due.now
    due.now = began + 23 * HOUR - MINUTE
    assert due.send().key == first.key
    due.answer(Send(first.what, 2, first.key, first.body), answers.timeout)

    due.now = began + 23 * HOUR
    look = due.step()

    assert look == LookUp(first.what, began, 2)


def test_the_age_of_a_key_begins_with_its_own_first_call(story: Any, answers: Any) -> None:
    story.call(answers.too_little)  # a stored refusal: the next epoch
    story.passes(30 * HOUR)
    send = story.send()
    assert send.key.endswith(":e2")
    story.answer(send, answers.timeout).passes(HOUR)
    assert isinstance(story.step(), Send)


# --- not executed ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", HINDERED)
def test_what_stripe_did_not_begin_consumes_no_attempt_and_keeps_its_key(due: Any, answers: Any, word: str) -> None:
    keys = {due.call(getattr(answers, word)).key for _ in range(40)}
    assert len(keys) == 1
    assert due.operation.retry_count == 0
    assert not due.operation.exhausted
    assert due.waits <= due.policy.maximum


def test_a_key_in_use_means_that_somebodys_call_is_still_under_way(due: Any, answers: Any) -> None:
    due.call(answers.key_in_use)
    assert due.operation.open


@pytest.mark.parametrize("word", ["rate_limited", "unauthorized", "forbidden"])
def test_the_other_hindrances_leave_nothing_open(due: Any, answers: Any, word: str) -> None:
    due.call(getattr(answers, word))
    assert not due.operation.open


# --- sticky ---------------------------------------------------------------------------------------------------------

LATER = [*HINDERED, *NO_ANSWER, "invalid", "not_found", "too_little_unstored"]


@pytest.mark.parametrize("word", LATER)
def test_once_unknown_it_stays_open_whatever_is_answered_later(due: Any, answers: Any, word: str) -> None:
    first = due.call(answers.timeout)
    status = due.status

    due.call(getattr(answers, word), seen=due.books())

    assert due.operation.open
    assert due.status is status, "nothing is given up while money may have moved"
    again = due.send()
    assert (again.key, again.body) == (first.key, first.body)


@pytest.mark.parametrize("word", LATER)
def test_once_unknown_no_refund_changes_the_body(due: Any, answers: Any, word: str) -> None:
    first = due.call(answers.timeout)
    due.call(getattr(answers, word), seen=due.books())

    due.refunded("refund-2", 1_000)

    assert due.told()[-1] == "ReversalQueued"
    assert due.send().body == first.body


def test_a_stored_refusal_under_the_same_key_closes_what_was_unknown(due: Any, answers: Any) -> None:
    first = due.call(answers.timeout)
    due.call(answers.refused, seen=due.books())
    assert not due.operation.open
    assert due.send().key == first.key.replace(":e1", ":e2")


def test_the_answer_to_the_repetition_settles_what_was_unknown(due: Any, answers: Any) -> None:
    due.call(answers.timeout)
    succeed(due, due.send())
    assert due.transfer.operation is None
    assert due.status in (TransferStatus.COMPLETED, TransferStatus.PARTIALLY_REVERSED)


# --- vanished callers, late answers ---------------------------------------------------------------------------------


def test_a_call_found_without_an_outcome_is_repeated_under_the_same_key(due: Any) -> None:
    first = due.send()
    second = due.send()
    assert (second.key, second.body) == (first.key, first.body)
    assert due.operation.retry_count == 0, "a deployment is no failure of Stripe's"
    assert due.operation.open


@pytest.mark.parametrize("word", ["rate_limited", "unauthorized", "forbidden", "invalid", "not_found"])
def test_what_a_vanished_caller_may_have_done_stays_unknown_whatever_the_next_one_hears(
    due: Any, answers: Any, word: str
) -> None:
    first = due.send()
    second = due.call(getattr(answers, word), seen=due.books())
    assert second.key == first.key
    assert due.operation.open
    assert due.send().key == first.key


def test_callers_that_vanish_for_ever_come_to_an_end(due: Any) -> None:
    """Call, vanish, call, vanish, …: the third vanished caller and each one after it is a failed attempt."""
    sent, counted = 0, []
    for _ in range(20):
        step = due.comes_due().step()
        if isinstance(step, Send):
            sent += 1
        elif isinstance(step, Rest) and "vanished" in step.why:
            counted.append(sent)
        if isinstance(step, LookUp):
            break
    assert counted == [LOST_IN_A_ROW + n for n in range(6)] == [3, 4, 5, 6, 7, 8]
    assert sent == 8
    assert due.operation.exhausted


def test_an_answer_ends_the_row_of_vanished_callers(due: Any, answers: Any) -> None:
    due.send()
    due.send()
    due.call(answers.rate_limited)
    assert due.operation.lost == 0
    due.send()
    due.send()
    assert due.operation.retry_count == 0


def test_the_late_outcome_of_an_older_attempt_changes_nothing(due: Any, answers: Any) -> None:
    older, newer = due.send(), due.send()
    due.news()
    before = due.operation
    for word in ("timeout", "rate_limited", "refused", "not_found", "already", "invalid"):
        due.answer(older, getattr(answers, word), due.books())
    assert due.told() == []
    assert due.operation == before
    succeed(due, newer)
    assert due.transfer.operation is None


def test_an_outcome_heard_twice_counts_once(due: Any, answers: Any) -> None:
    send = due.call(answers.outage)
    due.news()
    due.answer(send, answers.outage)
    assert due.told() == []
    assert due.operation.retry_count == 1


def test_success_counts_however_late_it_comes(due: Any, answers: Any) -> None:
    older = due.send()
    due.call(answers.timeout)
    succeed(due, older)
    assert due.transfer.operation is None
    assert due.status in (TransferStatus.COMPLETED, TransferStatus.PARTIALLY_REVERSED)


def test_success_heard_twice_is_one_success(due: Any) -> None:
    send = due.send()
    succeed(due, send)
    due.news()
    succeed(due, send)
    assert due.told() == []


def test_a_call_that_was_not_made_after_all_is_given_back(due: Any) -> None:
    send = due.send()
    give_back(due.transfer, send.attempt, "too late", due.now)
    assert not due.operation.open
    assert due.operation.retry_count == 0
    assert due.send().key == send.key


def test_giving_back_a_call_does_not_make_known_what_was_unknown(due: Any, answers: Any) -> None:
    due.call(answers.timeout)
    give_back(due.transfer, due.send().attempt, "too late", due.now)
    assert due.operation.open


def test_giving_back_an_older_call_changes_nothing(due: Any) -> None:
    older, _ = due.send(), due.send()
    due.news()
    give_back(due.transfer, older.attempt, "too late", due.now)
    assert due.told() == []


# --- a look that is older than the last call ------------------------------------------------------------------------


def test_what_a_look_did_not_find_proves_nothing_about_a_call_that_began_after_it(due: Any, answers: Any) -> None:
    for _ in range(6):
        due.call(answers.outage)
    early = due.look()
    due.see_nothing(early)  # somebody else's look was quicker: absent, hence the next epoch or the end
    if due.status is TransferStatus.PERMANENTLY_FAILED:
        due.transfer.retry("ops", "try again", due.now)
        due.see_nothing(due.look())
    newer = due.send()
    due.news()

    due.see_nothing(early)

    assert due.told() == []
    assert due.operation.in_call
    assert due.operation.key(due.transfer.id) == newer.key


def test_a_look_that_comes_after_the_end_changes_nothing(due: Any, answers: Any) -> None:
    for _ in range(6):
        due.call(answers.outage)
    look = due.look()
    due.see_nothing(look)
    assert due.status is TransferStatus.PERMANENTLY_FAILED
    due.news()
    due.see_nothing(look)
    assert due.told() == []
    assert due.transfer.next_retry_at is None


# --- outages and restores -------------------------------------------------------------------------------------------


def test_an_attempt_that_an_outage_spent_is_given_back_once_and_stays_unknown(due: Any) -> None:
    send = due.call(Unknown("http_503", "down", 503))
    assert due.operation.retry_count == 1
    for _ in range(2):
        forgive(due.transfer, send.what, send.attempt, due.now)
    assert (due.operation.retry_count, due.operation.unknown) == (0, True)
    assert due.send().key == send.key


def test_the_last_attempt_is_given_back_as_well(due: Any) -> None:
    for _ in range(due.policy.max_retries + 1):
        send = due.call(Unknown("http_503", "down", 503))
    assert due.operation.exhausted
    forgive(due.transfer, send.what, send.attempt, due.now)
    assert (due.operation.exhausted, due.operation.retry_count) == (False, due.policy.max_retries)
    assert due.send().key == send.key


def test_what_was_answered_since_is_not_given_back(due: Any, answers: Any) -> None:
    send = due.call(Unknown("http_503", "down", 503))
    due.call(Unknown("timeout", "no answer"))
    due.news()
    forgive(due.transfer, send.what, send.attempt, due.now)
    assert due.told() == []


def test_after_a_restore_nothing_is_sent_before_it_was_looked_up_first_sends_included(due: Any) -> None:
    restored = LookFirst(due.now + SECOND, due.now - timedelta(hours=3))
    due.passes(2 * SECOND)
    look = begin(due.transfer, due.now, due.policy, restored)
    assert isinstance(look, LookUp)
    assert look.since == restored.lost_since
    due.see_nothing(look)
    send = begin(due.transfer, due.now, due.policy, restored)
    assert isinstance(send, Send)
    assert send.key.endswith(":e1"), "the first key is as good as new, and Stripe would recognise it"


def test_what_was_looked_up_before_the_restore_is_looked_up_again(due: Any) -> None:
    first = LookFirst(due.now, due.now)
    look = begin(due.transfer, due.now, due.policy, first)
    assert isinstance(look, LookUp)
    due.see_nothing(look)
    second = LookFirst(due.now + SECOND, due.now)
    due.passes(2 * SECOND)
    assert isinstance(begin(due.transfer, due.now, due.policy, second), LookUp)


def test_what_is_hindered_knows_since_when(due: Any) -> None:
    began = due.comes_due().now
    due.call(NotExecuted(Hindrance.RATE_LIMITED, "slow down"))
    due.call(NotExecuted(Hindrance.RATE_LIMITED, "slow down"))
    fact = due.news()[-1]
    assert (fact.hindered, fact.hindered_since) == (2, began)
    assert due.operation.retry_count == 0
