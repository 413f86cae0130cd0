"""Calls to Stripe: when a call is made, under which key, and which step its outcome allows next.

Laws that hold for transfers and reversals alike are tested for both.
"""

from collections.abc import Mapping
from datetime import timedelta

import pytest

from domain.lifecycle import TransferStatus
from domain.provider_call.operation import TRANSFER, LookFirst
from domain.provider_call.outcome import Hindrance, NotExecuted, Succeeded, Unknown
from domain.provider_call.reasons import DeferralReason
from domain.provider_call.retry_policy import LATEST_CALL
from domain.provider_call.steps import LOST_IN_A_ROW, LookUp, Rest, Send
from domain.seller_transfer.facts import AttemptDeferred, CallStarted
from domain.seller_transfer.stripe_call import begin, forgive, give_back, postpone
from tests.support.domain_story import Answers, Story

SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
HINDERED = ["rate_limited", "key_in_use", "unauthorized", "forbidden"]
NO_ANSWER = ["timeout", "outage", "idempotency_error"]


@pytest.fixture(params=["transfer", "reversal"])
def due(request: pytest.FixtureRequest, story: Story) -> Story:
    """Return a story with one operation due: a transfer or a reversal."""
    if request.param == "reversal":
        story.reversing()
    story.news()
    return story


def succeed(story: Story, send: Send) -> None:
    story.answer(send, Succeeded("tr_9" if send.what == TRANSFER else "trr_9", send.body["amount"]))


# --- intent ---------------------------------------------------------------------------------------


def test_intent_is_a_fact_before_the_call(due: Story) -> None:
    send = due.send()

    intent = due.only(CallStarted)
    assert (intent.what, intent.attempt, intent.key, intent.body) == (
        send.what,
        send.attempt,
        send.key,
        send.body,
    )
    assert due.operation.in_call
    assert due.operation.open, "from here on money may move"


def test_key_names_operation_and_epoch_but_no_amount(story: Story) -> None:
    assert story.send().key == f"transfer:{story.transfer.id}:e1"
    story.answer(story.first_send(), Succeeded("tr_1", 10_000))
    story.refunded(amount=4_000)
    assert story.send().key == f"reversal:{story.reversal.reversal_id}:e1"


def test_transfer_metadata_carries_our_ids(story: Story) -> None:
    body: Mapping[str, object] = story.send().body
    assert body["metadata"] == {
        "transfer_id": str(story.transfer.id),
        "order_id": "order-1",
        "seller_id": "ada",
    }
    assert (body["amount"], body["currency"], body["destination"]) == (10_000, "eur", "acct_ada")
    assert body["transfer_group"] == "order-1"


def test_reversal_metadata_names_refund_and_transfer(story: Story) -> None:
    story.reversing(amount=4_000)
    body: Mapping[str, object] = story.send().body
    assert body["metadata"] == {
        "reversal_id": story.reversal.reversal_id,
        "transfer_id": str(story.transfer.id),
        "order_id": "order-1",
        "refund_id": "refund-1",
    }
    assert (body["stripe_transfer_id"], body["amount"]) == ("tr_1", 4_000)


def test_call_is_not_sent_before_it_is_due(due: Story, answers: type[Answers]) -> None:
    due.call(answers.outage)
    due.news()
    due.passes(due.waits - timedelta(microseconds=1))
    assert isinstance(due.step(), Rest)
    assert due.told() == []
    assert isinstance(due.passes(timedelta(microseconds=1)).step(), Send)


def test_idle_transfer_takes_no_step(story: Story) -> None:
    assert isinstance(story.paid().passes(1000 * HOUR).step(), Rest)
    assert story.told() == []


# --- unknown --------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", NO_ANSWER)
def test_unanswered_call_is_repeated_under_its_key(
    due: Story, answers: type[Answers], word: str
) -> None:
    status = due.status
    first = due.call(getattr(answers, word))
    assert due.status is status
    assert due.operation.open

    second = due.send()

    assert (second.key, second.body) == (first.key, first.body)
    assert second.attempt == first.attempt + 1


def test_failed_attempts_wait_twice_as_long_up_to_10_s(due: Story, answers: type[Answers]) -> None:
    waited = []
    for count in range(5):
        assert due.operation.retry_count == count
        due.call(answers.outage)
        waited.append(due.waits / SECOND)
    assert waited == [1, 2, 4, 8, 10]
    assert due.operation.retry_count == 5


def test_six_failed_calls_lead_to_a_look_up(due: Story, answers: type[Answers]) -> None:
    calls = [due.call(answers.outage) for _ in range(6)]
    assert len({call.key for call in calls}) == 1
    last_call = due.now
    assert due.operation.exhausted

    look = due.look()

    assert isinstance(look, LookUp)
    assert look.since == due.transfer.begun_at
    assert due.now >= last_call + due.policy.call_timeout, (
        "a call still under way could arrive after the reading"
    )
    assert due.operation.open, "the outcome is still unknown"


def test_look_up_begins_with_the_first_fact_despite_a_clock_ahead(
    due: Story, answers: type[Answers]
) -> None:
    """The call was recorded by a process whose clock was two hours ahead, and its answer is
    lost."""
    right = due.now
    due.now += 2 * HOUR
    for _ in range(6):
        due.call(answers.outage)
    assert due.operation.first_began is not None
    assert due.operation.first_began > right
    look = due.look()
    assert isinstance(look, LookUp)
    assert look.since <= right


def test_look_up_waits_for_the_end_of_a_running_call(due: Story, answers: type[Answers]) -> None:
    for _ in range(6):
        due.call(answers.outage)
    assert due.operation.last_began is not None
    ended = due.operation.last_began + due.policy.call_timeout
    due.transfer.retry("ops", "now please", due.now)

    assert isinstance(due.step(), Rest)

    assert due.transfer.next_retry_at == ended
    assert due.operation.open
    assert due.operation.exhausted
    assert isinstance(due.comes_due().step(), LookUp)


def test_look_up_waits_for_a_call_that_began_late(due: Story) -> None:
    """The process died right after its call, which had begun as late after its intent as it may.
    Meanwhile the key has become too old to be sent again."""
    due.send()
    due.passes(due.policy.key_lifetime - SECOND)
    due.send()
    ends_by = due.now + LATEST_CALL + due.policy.call_timeout

    due.passes(due.policy.call_timeout)
    assert isinstance(due.step(), Rest)

    assert due.transfer.next_retry_at == ends_by
    assert isinstance(due.comes_due().step(), LookUp)


def test_failed_look_up_is_repeated_and_ends_nothing(due: Story, answers: type[Answers]) -> None:
    for _ in range(6):
        due.call(answers.outage)
    status = due.status
    for _ in range(10):
        due.look()
        postpone(
            due.transfer,
            DeferralReason.LOOK_UP_FAILED,
            "Stripe's books could not be read.",
            due.now + SECOND,
            due.now,
        )
    assert due.status is status
    assert due.operation.exhausted
    assert due.operation.open


def test_stored_500_counts_as_one_attempt(due: Story, answers: type[Answers]) -> None:
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


def test_key_older_than_23_hours_requires_a_look_up(due: Story, answers: type[Answers]) -> None:
    first = due.call(answers.timeout)
    began = due.now
    due.now = began + 23 * HOUR - MINUTE
    assert due.send().key == first.key
    due.answer(Send(first.what, 2, first.key, first.body), answers.timeout)

    due.now = began + 23 * HOUR
    look = due.step()

    assert look == LookUp(first.what, began, 2, begun_at=due.now)


@pytest.mark.parametrize(("age", "epoch"), [(HOUR, 1), (23 * HOUR, 2)])
def test_absent_call_keeps_its_key_while_stripe_remembers_it(
    due: Story, answers: type[Answers], age: timedelta, epoch: int
) -> None:
    """Its first call may arrive all the same, from a process that was frozen: then Stripe
    recognises one of the two. Found by `simulate-faults`: see docs/simulation.md."""
    first = due.call(answers.timeout)
    due.passes(age)
    look = begin(due.transfer, due.now, due.policy, LookFirst(due.now, due.now))
    assert isinstance(look, LookUp)

    due.see_nothing(look)

    again = due.send()
    assert again.key == first.key.replace(":e1", f":e{epoch}")
    assert again.body == first.body


@pytest.mark.parametrize("reduced", [False, True])
def test_reopened_operation_keeps_its_key_for_the_same_body(
    due: Story, answers: type[Answers], reduced: bool
) -> None:
    """A stopped operation has used its key, so another body needs another one. Found by the model:
    `reopened-other-amount`."""
    keys = [due.call(answers.refused).key]
    while not due.operation.exhausted:
        keys.append(due.call(answers.timeout).key)
    due.see_nothing(due.look())
    assert due.status is TransferStatus.PERMANENTLY_FAILED

    due.transfer.retry("mia", "again", due.now)
    if reduced and due.transfer.paid:
        due.transfer.withdraw(due.reversal, 1_000, "refund-1", due.now)
    elif reduced:
        due.refunded(amount=1_000)
    due.see_nothing(due.look())

    again = due.send().key
    assert again not in keys if reduced else again == keys[-1]


def test_key_age_begins_with_its_own_first_call(story: Story, answers: type[Answers]) -> None:
    story.call(answers.too_little)  # a stored refusal: the next epoch
    story.passes(30 * HOUR)
    send = story.send()
    assert send.key.endswith(":e2")
    story.answer(send, answers.timeout).passes(HOUR)
    assert isinstance(story.step(), Send)


# --- not executed ---------------------------------------------------------------------------------


@pytest.mark.parametrize("word", HINDERED)
def test_not_executed_call_consumes_no_attempt(
    due: Story, answers: type[Answers], word: str
) -> None:
    keys = {due.call(getattr(answers, word)).key for _ in range(40)}
    assert len(keys) == 1
    assert due.operation.retry_count == 0
    assert not due.operation.exhausted
    assert due.waits <= due.policy.maximum


def test_key_in_use_means_a_call_is_still_running(due: Story, answers: type[Answers]) -> None:
    due.call(answers.key_in_use)
    assert due.operation.open


@pytest.mark.parametrize("word", ["rate_limited", "unauthorized", "forbidden"])
def test_other_hindrances_leave_no_operation_open(
    due: Story, answers: type[Answers], word: str
) -> None:
    due.call(getattr(answers, word))
    assert not due.operation.open


# --- sticky ---------------------------------------------------------------------------------------

LATER = [*HINDERED, *NO_ANSWER, "invalid", "not_found", "too_little_unstored"]


@pytest.mark.parametrize("word", LATER)
def test_unknown_operation_stays_open_after_later_answers(
    due: Story, answers: type[Answers], word: str
) -> None:
    first = due.call(answers.timeout)
    status = due.status

    due.call(getattr(answers, word), seen=due.books())

    assert due.operation.open
    assert due.status is status, "nothing is given up while money may have moved"
    again = due.send()
    assert (again.key, again.body) == (first.key, first.body)


@pytest.mark.parametrize("word", LATER)
def test_unknown_operation_keeps_its_body_after_a_refund(
    due: Story, answers: type[Answers], word: str
) -> None:
    first = due.call(answers.timeout)
    due.call(getattr(answers, word), seen=due.books())

    due.refunded("refund-2", 1_000)

    assert due.told()[-1] == "ReversalQueued"
    assert due.send().body == first.body


def test_stored_refusal_closes_an_unknown_operation(due: Story, answers: type[Answers]) -> None:
    first = due.call(answers.timeout)
    due.call(answers.refused, seen=due.books())
    assert not due.operation.open
    assert due.send().key == first.key.replace(":e1", ":e2")


def test_repeated_calls_answer_ends_the_unknown_operation(
    due: Story, answers: type[Answers]
) -> None:
    due.call(answers.timeout)
    succeed(due, due.send())
    assert due.transfer.operation is None
    assert due.status in (TransferStatus.COMPLETED, TransferStatus.PARTIALLY_REVERSED)


# --- vanished callers, late answers ---------------------------------------------------------------


def test_call_without_outcome_is_repeated_under_its_key(due: Story) -> None:
    first = due.send()
    second = due.send()
    assert (second.key, second.body) == (first.key, first.body)
    assert due.operation.retry_count == 0, "a deployment is no failure of Stripe's"
    assert due.operation.open


@pytest.mark.parametrize(
    "word", ["rate_limited", "unauthorized", "forbidden", "invalid", "not_found"]
)
def test_vanished_callers_operation_stays_unknown(
    due: Story, answers: type[Answers], word: str
) -> None:
    first = due.send()
    second = due.call(getattr(answers, word), seen=due.books())
    assert second.key == first.key
    assert due.operation.open
    assert due.send().key == first.key


def test_vanishing_callers_are_bounded(due: Story) -> None:
    """From the third vanished caller in a row, each one counts as a failed attempt."""
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


def test_answer_resets_the_count_of_vanished_callers(due: Story, answers: type[Answers]) -> None:
    due.send()
    due.send()
    due.call(answers.rate_limited)
    assert due.operation.lost == 0
    due.send()
    due.send()
    assert due.operation.retry_count == 0


def test_older_attempts_late_outcome_changes_nothing(due: Story, answers: type[Answers]) -> None:
    older, newer = due.send(), due.send()
    due.news()
    before = due.operation
    for word in ("timeout", "rate_limited", "refused", "not_found", "already", "invalid"):
        due.answer(older, getattr(answers, word), due.books())
    assert due.told() == []
    assert due.operation == before
    succeed(due, newer)
    assert due.transfer.operation is None


def test_repeated_outcome_counts_once(due: Story, answers: type[Answers]) -> None:
    send = due.call(answers.outage)
    due.news()
    due.answer(send, answers.outage)
    assert due.told() == []
    assert due.operation.retry_count == 1


def test_late_success_counts(due: Story, answers: type[Answers]) -> None:
    older = due.send()
    due.call(answers.timeout)
    succeed(due, older)
    assert due.transfer.operation is None
    assert due.status in (TransferStatus.COMPLETED, TransferStatus.PARTIALLY_REVERSED)


def test_repeated_success_is_one_success(due: Story) -> None:
    send = due.send()
    succeed(due, send)
    due.news()
    succeed(due, send)
    assert due.told() == []


def test_call_that_was_not_made_is_given_back(due: Story) -> None:
    send = due.send()
    give_back(due.transfer, send.what, send.attempt, "too late", due.now)
    assert not due.operation.open
    assert due.operation.retry_count == 0
    assert due.send().key == send.key


def test_call_given_back_keeps_its_due_time(due: Story) -> None:
    due_at = due.transfer.next_retry_at
    due.passes(HOUR)
    send = due.send()
    give_back(due.transfer, send.what, send.attempt, "too late", due.now)
    assert due.transfer.next_retry_at == due_at, "it counts as overdue, and comes first"


def test_unknown_operation_stays_unknown_after_give_back(
    due: Story, answers: type[Answers]
) -> None:
    due.call(answers.timeout)
    give_back(due.transfer, "transfer", due.send().attempt, "too late", due.now)
    assert due.operation.open


def test_older_call_given_back_changes_nothing(due: Story) -> None:
    older, _ = due.send(), due.send()
    due.news()
    give_back(due.transfer, older.what, older.attempt, "too late", due.now)
    assert due.told() == []


# --- a look that is older than the last call ------------------------------------------------------


def test_look_up_proves_nothing_about_a_later_call(due: Story, answers: type[Answers]) -> None:
    for _ in range(6):
        due.call(answers.outage)
    early = due.look()
    due.see_nothing(early)  # another look-up was quicker: absent, hence the next epoch or the end
    if due.status is TransferStatus.PERMANENTLY_FAILED:
        due.transfer.retry("ops", "try again", due.now)
        due.see_nothing(due.look())
    newer = due.send()
    due.news()

    due.see_nothing(early)

    assert due.told() == []
    assert due.operation.in_call
    assert due.operation.key(due.transfer.id) == newer.key


def test_late_look_up_after_the_end_changes_nothing(due: Story, answers: type[Answers]) -> None:
    for _ in range(6):
        due.call(answers.outage)
    look = due.look()
    due.see_nothing(look)
    assert due.status is TransferStatus.PERMANENTLY_FAILED
    due.news()
    due.see_nothing(look)
    assert due.told() == []
    assert due.transfer.next_retry_at is None


# --- outages and restores -------------------------------------------------------------------------


def test_outage_attempt_is_forgiven_once_and_stays_unknown(due: Story) -> None:
    send = due.call(Unknown("http_503", "down", 503))
    assert due.operation.retry_count == 1
    for _ in range(2):
        forgive(due.transfer, send.what, send.attempt, due.now)
    assert (due.operation.retry_count, due.operation.unknown) == (0, True)
    assert due.send().key == send.key


def test_last_attempt_of_an_outage_is_forgiven(due: Story) -> None:
    for _ in range(due.policy.max_retries + 1):
        send = due.call(Unknown("http_503", "down", 503))
    assert due.operation.exhausted
    forgive(due.transfer, send.what, send.attempt, due.now)
    assert (due.operation.exhausted, due.operation.retry_count) == (False, due.policy.max_retries)
    assert due.send().key == send.key


def test_answered_attempt_is_not_forgiven(due: Story, answers: type[Answers]) -> None:
    send = due.call(Unknown("http_503", "down", 503))
    due.call(Unknown("timeout", "no answer"))
    due.news()
    forgive(due.transfer, send.what, send.attempt, due.now)
    assert due.told() == []


def test_restored_ledger_looks_up_before_each_first_send(due: Story) -> None:
    restored = LookFirst(due.now + SECOND, due.now - timedelta(hours=3))
    due.passes(2 * SECOND)
    look = begin(due.transfer, due.now, due.policy, restored)
    assert isinstance(look, LookUp)
    assert look.since == restored.lost_since
    due.see_nothing(look)
    send = begin(due.transfer, due.now, due.policy, restored)
    assert isinstance(send, Send)
    assert send.key.endswith(":e1"), (
        "the first key is as good as new, and Stripe would recognise it"
    )


def test_look_up_before_a_restore_is_repeated(due: Story) -> None:
    first = LookFirst(due.now, due.now)
    look = begin(due.transfer, due.now, due.policy, first)
    assert isinstance(look, LookUp)
    due.see_nothing(look)
    second = LookFirst(due.now + SECOND, due.now)
    due.passes(2 * SECOND)
    assert isinstance(begin(due.transfer, due.now, due.policy, second), LookUp)


def test_hindered_operation_records_since_when(due: Story) -> None:
    began = due.comes_due().now
    due.call(NotExecuted(Hindrance.RATE_LIMITED, "slow down"))
    due.call(NotExecuted(Hindrance.RATE_LIMITED, "slow down"))
    fact = due.last(AttemptDeferred)
    assert (fact.hindered, fact.hindered_since) == (2, began)
    assert due.operation.retry_count == 0


def test_ledger_is_part_of_key_and_metadata(story: Story) -> None:
    send = begin(story.transfer, story.now, story.policy, ledger_id="ledger-1")
    assert isinstance(send, Send)
    assert send.key == f"transfer:{story.transfer.id}:e1:ledger-1"
    assert send.body["metadata"]["ledger_id"] == "ledger-1"


def test_key_of_an_open_call_stays_as_it_was_first_used(
    story: Story, answers: type[Answers]
) -> None:
    """A call from before the ledger had an identity could otherwise be made twice."""
    first = story.call(answers.timeout)
    again = begin(story.comes_due().transfer, story.now, story.policy, ledger_id="ledger-1")
    assert isinstance(again, Send)
    assert (again.key, again.body) == (first.key, first.body)
    story.answer(again, answers.refused)
    fresh = begin(story.comes_due().transfer, story.now, story.policy, ledger_id="ledger-1")
    assert isinstance(fresh, Send)
    assert fresh.key.endswith(":e2:ledger-1")


def test_look_up_after_a_restore_says_so(story: Story) -> None:
    restored = LookFirst(begun_at=story.now, lost_since=story.now)
    look = begin(story.transfer, story.now, story.policy, restored, ledger_id="ledger-2")
    assert isinstance(look, LookUp)
    assert look.restored
