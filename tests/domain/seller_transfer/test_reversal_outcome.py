"""Outcome of a reversal: Stripe's answers, decided by the books at Stripe and never by the
wording."""

from collections.abc import Callable, Mapping
from datetime import timedelta

import pytest

from domain.errors import NothingToRetry
from domain.lifecycle import TransferStatus
from domain.provider_call.outcome import Rejected, Succeeded
from domain.provider_call.steps import Rest
from domain.provider_call.stripe_objects import ReversalAtStripe, TransferAtStripe
from domain.seller_transfer.external_reversals import external_id, record_external
from domain.seller_transfer.facts import (
    AttemptDeferred,
    CallStarted,
    EvidenceHeld,
    PermanentlyFailed,
    Reopened,
)
from domain.seller_transfer.reversal import Reason, ReversalStatus
from domain.seller_transfer.reversal_facts import (
    PartiallyReversed,
    ReversalQueued,
    ReversalRequested,
    Reversed,
)
from domain.seller_transfer.reversal_outcome import (
    complete_reversal,
    needs_look_up,
    record_unknown_transfer,
)
from tests.support.domain_story import Answers, Story

S = TransferStatus
HOUR = timedelta(hours=1)


def reversals(story: Story) -> list[tuple[int, str]]:
    return [
        (reversal.amount, reversal.state.value) for reversal in story.transfer.reversals.values()
    ]


def exhaust(story: Story, answers: type[Answers]) -> None:
    for _ in range(6):
        story.call(answers.outage)
    story.news()


# --- the happy path -------------------------------------------------------------------------------


def test_full_refund_ends_reversed(story: Story) -> None:
    story.reversing(amount=10_000)
    assert story.status is S.REVERSAL_PENDING
    story.call(Succeeded("trr_1", 10_000, "req_1"))
    fact = story.last(Reversed)
    assert (fact.amount_reversed, fact.settled_by, fact.drift) == (10_000, "us", 0)
    assert (story.status, story.transfer.stripe_reversal_id) == (S.REVERSED, "trr_1")
    assert story.transfer.next_retry_at is None


def test_partial_refund_ends_partially_reversed(story: Story, answers: type[Answers]) -> None:
    story.reversing(amount=4_000)
    story.call(answers.outage)
    story.call(Succeeded("trr_1", 4_000))
    assert (story.status, story.transfer.amount_reversed) == (S.PARTIALLY_REVERSED, 4_000)

    story.refunded("refund-2", 6_000)

    assert story.operation.retry_count == 0
    story.call(Succeeded("trr_2", 6_000))
    assert (story.status, story.transfer.amount_reversed) == (S.REVERSED, 10_000)


def test_equal_refunds_are_two_reversals(story: Story) -> None:
    story.reversing(amount=4_000)
    one = story.call(Succeeded("trr_1", 4_000))
    two = story.refunded("refund-2", 4_000).send()
    assert one.key != two.key
    assert story.transfer.amount_reversed == 4_000


def test_reversals_never_exceed_the_transfer(story: Story) -> None:
    story.reversing(amount=4_000)
    assert story.transfer.room == 6_000
    for amount in (6_001, 0, -1):
        with pytest.raises(ValueError, match="room for 6000"):
            story.refunded("refund-2", amount)


# --- what ends at once ----------------------------------------------------------------------------


def test_unknown_transfer_is_called_once_and_given_up(story: Story, answers: type[Answers]) -> None:
    story.reversing()
    story.call(answers.not_found)
    _, end = story.two(CallStarted, PermanentlyFailed)
    assert end.reason == "not_found"
    assert reversals(story) == [(4_000, "failed")]
    assert story.passes(1_000 * HOUR).step()[0] == "nothing is due"


def test_only_a_missing_transfer_needs_no_look_up(answers: type[Answers]) -> None:
    assert not needs_look_up(answers.not_found)
    assert all(
        needs_look_up(getattr(answers, word))
        for word in ("refused", "already", "too_little", "invalid")
    )
    assert not any(
        needs_look_up(getattr(answers, word))
        for word in ("timeout", "rate_limited", "idempotency_error")
    )


def test_missing_stripe_id_prevents_the_call(story: Story) -> None:
    story.reversing()
    story.transfer.stripe_transfer_id = ""
    step = story.step()
    assert isinstance(step, Rest)
    assert "no Stripe id" in step.why
    assert story.only(PermanentlyFailed).reason == "no_stripe_transfer_id"
    assert story.status is S.PERMANENTLY_FAILED


def test_missing_stripe_id_is_recovered_by_reopening(story: Story) -> None:
    story.reversing()
    story.transfer.stripe_transfer_id = None
    story.step()
    with pytest.raises(NothingToRetry, match="backfill"):
        story.transfer.retry("ops", "again", story.now)

    story.transfer.backfill("tr_1", "ops", "found in the dashboard", story.now)
    story.transfer.retry("ops", "id known", story.now)

    assert story.status is S.REVERSAL_PENDING
    story.see(story.books())
    body: Mapping[str, object] = story.send().body
    assert body["stripe_transfer_id"] == "tr_1"


def test_look_up_of_a_missing_transfer_gives_up(story: Story, answers: type[Answers]) -> None:
    story.reversing()
    exhaust(story, answers)
    story.look()
    record_unknown_transfer(story.transfer, "No such transfer: 'tr_1'", None, story.now)
    assert story.status is S.PERMANENTLY_FAILED


# --- already reversed -----------------------------------------------------------------------------


def test_refusal_takes_in_our_own_earlier_reversal(story: Story, answers: type[Answers]) -> None:
    story.reversing(amount=4_000)
    story.call(answers.already, seen=story.books(story.ours("trr_7")))
    fact = story.last(PartiallyReversed)
    assert (fact.stripe_reversal_id, fact.settled_by) == ("trr_7", "us")
    assert story.transfer.amount_reversed == 4_000


def test_refusal_is_settled_by_a_full_external_reversal(
    story: Story, answers: type[Answers]
) -> None:
    story.reversing(amount=10_000)
    story.call(answers.already, seen=story.books(story.theirs(10_000)))
    fact = story.last(Reversed)
    assert (fact.stripe_reversal_id, fact.settled_by) == ("trr_dashboard", "external")
    assert (fact.amount, fact.amount_reversed, fact.drift) == (10_000, 10_000, 0)


def test_larger_external_reversal_leaves_drift(story: Story, answers: type[Answers]) -> None:
    story.reversing(amount=4_000)
    story.call(answers.already, seen=story.books(story.theirs(10_000)))
    fact = story.last(Reversed)
    assert (fact.amount, fact.amount_reversed, fact.drift) == (10_000, 10_000, 6_000)
    assert story.transfer.taken == 4_000, "the refund has taken no more than it asked for"


def test_several_external_reversals_are_all_named(story: Story, answers: type[Answers]) -> None:
    story.reversing(amount=4_000)
    story.call(
        answers.already,
        seen=story.books(story.theirs(9_000, "trr_x"), story.theirs(1_000, "trr_y")),
    )
    fact = story.last(Reversed)
    assert fact.stripe_reversal_id is None
    assert fact.note is not None
    assert "trr_x" in fact.note
    assert "trr_y" in fact.note


def test_waiting_reversal_is_settled_by_external_excess(
    story: Story, answers: type[Answers]
) -> None:
    story.reversing(amount=4_000).refunded("refund-2", 5_000)
    story.call(answers.already, seen=story.books(story.theirs(10_000)))
    assert story.told()[-3:] == ["PartiallyReversed", "ReversalRequested", "Reversed"]
    assert reversals(story) == [(4_000, "reversed"), (5_000, "reversed")]
    assert (story.transfer.taken, story.transfer.amount_reversed, story.status) == (
        9_000,
        10_000,
        S.REVERSED,
    )
    ids = [reversal.stripe_reversal_id for reversal in story.transfer.reversals.values()]
    assert ids == ["trr_dashboard", None], "one reversal at Stripe settles one of ours"


def test_smaller_remainder_is_asked_for_under_the_next_key(
    story: Story, answers: type[Answers]
) -> None:
    story.reversing(amount=4_000)
    first = story.call(answers.refused, seen=story.books(story.theirs(7_000)))
    assert story.told() == [
        "CallStarted",
        "ReversalRequested",
        "PartiallyReversed",
        "ReversalRequested",
    ]
    assert story.status is S.REVERSAL_PENDING
    assert reversals(story) == [(3_000, "requested"), (7_000, "reversed")]

    send = story.send()

    assert (send.what, send.body["amount"]) == (first.what, 3_000)
    assert send.key == first.key.replace(":e1", ":e2")
    story.answer(send, Succeeded("trr_1", 3_000))
    assert (story.status, story.transfer.amount_reversed) == (S.REVERSED, 10_000)


def test_late_answer_of_the_old_key_is_ignored(story: Story, answers: type[Answers]) -> None:
    story.reversing(amount=4_000)
    older, newer = story.send(), story.send()
    story.answer(newer, answers.refused, story.books(story.theirs(7_000)))
    current = story.send()
    story.news()

    story.answer(older, answers.refused, story.books(story.theirs(7_000)))

    assert story.told() == []
    assert story.operation.in_call
    assert story.operation.key(story.transfer.id) == current.key


def test_waiting_reversal_finds_the_rest_taken(story: Story, answers: type[Answers]) -> None:
    story.reversing(amount=4_000).refunded("refund-2", 6_000)
    story.call(answers.refused, seen=story.books(story.theirs(7_000)))
    story.call(Succeeded("trr_1", 3_000))
    assert story.status is S.REVERSED
    assert story.transfer.queue == [], "nothing waits for a transfer that is all back"
    assert reversals(story) == [(3_000, "reversed"), (6_000, "withdrawn"), (7_000, "reversed")]
    assert story.transfer.taken == 3_000


def test_running_call_postpones_the_decision_about_a_part(
    story: Story, answers: type[Answers]
) -> None:
    story.reversing(amount=4_000)
    first = story.call(answers.timeout)
    story.news()
    story.call(answers.invalid, seen=story.books(story.theirs(7_000)))
    assert story.told() == ["CallStarted", "AttemptDeferred"]
    assert story.operation.open
    assert story.send().key == first.key


def test_our_reversal_counts_after_a_lost_answer(story: Story, answers: type[Answers]) -> None:
    story.reversing(amount=4_000)
    story.call(answers.timeout)
    story.call(answers.refused, seen=story.books(story.theirs(1_000), story.ours()))
    assert reversals(story)[0] == (4_000, "reversed")
    assert story.transfer.amount_reversed == 4_000


WORDINGS = [
    "Transfer tr_1 is already fully reversed.",
    "Transfer tr_1 has already been reversed",
    "something about nothing at all",
    "",
]


@pytest.mark.parametrize("message", WORDINGS)
def test_wording_decides_nothing(stories: type[Story], message: str) -> None:
    """Another wording of a refusal has the same result, for each of the three possible states at
    Stripe."""
    possible: list[Callable[[Story], TransferAtStripe]] = [
        lambda s: s.books(s.ours()),
        lambda s: s.books(s.theirs(10_000)),
        lambda s: s.books(),
    ]
    for seen in possible:
        worded, silent = stories().reversing(), stories().reversing()
        worded.call(Rejected(400, None, message, stored=True), seen=seen(worded))
        silent.call(Rejected(400, None, "-", stored=True), seen=seen(silent))
        assert (worded.status, reversals(worded)) == (silent.status, reversals(silent))
        assert worded.told() == silent.told()


def test_false_already_reversed_hint_settles_nothing(story: Story, answers: type[Answers]) -> None:
    story.reversing()
    story.call(answers.already, seen=story.books())
    assert (story.status, story.transfer.amount_reversed) == (S.REVERSAL_PENDING, 0)


def test_refusal_without_readable_reason_is_postponed(story: Story, answers: type[Answers]) -> None:
    story.reversing()
    story.call(answers.already, seen=None)
    assert (story.status, story.operation.retry_count) == (S.REVERSAL_PENDING, 0)
    assert story.told()[-1] == "AttemptDeferred"


# --- not found, exhausted -------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["not_found"])
def test_missing_transfer_with_unknown_call_gives_up_nothing(
    story: Story, answers: type[Answers], word: str
) -> None:
    story.reversing()
    story.call(answers.timeout)
    story.call(getattr(answers, word))
    before = story.status
    story.call(answers.not_found_stored)
    assert (before, story.status) == (S.REVERSAL_PENDING, S.PERMANENTLY_FAILED)


def test_outage_503_is_counted_and_stays_pending(story: Story, answers: type[Answers]) -> None:
    story.reversing()
    story.call(answers.outage)
    fact = story.last(AttemptDeferred)
    assert (fact.retry_count, fact.next_retry_at, story.status) == (
        1,
        story.now + story.policy.base,
        S.REVERSAL_PENDING,
    )


def test_exhausted_absent_reversal_ends_permanently(story: Story, answers: type[Answers]) -> None:
    story.reversing()
    exhaust(story, answers)
    story.see(story.books())
    assert story.last(PermanentlyFailed).reason == "exhausted"
    assert reversals(story) == [(4_000, "failed")]


def test_exhausted_found_reversal_is_reversed(story: Story, answers: type[Answers]) -> None:
    story.reversing(amount=10_000)
    exhaust(story, answers)
    story.see(story.books(story.ours("trr_9")))
    assert (story.status, story.transfer.stripe_reversal_id) == (S.REVERSED, "trr_9")


def test_exhausted_reversal_is_settled_by_external_ones(
    story: Story, answers: type[Answers]
) -> None:
    story.reversing()
    exhaust(story, answers)
    story.see(story.books(story.theirs(10_000)))
    assert story.status is S.REVERSED


def test_exhausted_reversal_asks_for_the_rest_afresh(story: Story, answers: type[Answers]) -> None:
    story.reversing()
    exhaust(story, answers)
    story.see(story.books(story.theirs(9_000)))
    assert (reversals(story)[0], story.operation.retry_count) == ((1_000, "requested"), 0)
    assert story.send().key.endswith(":e2")


def test_waiting_reversal_stops_behind_a_given_up_one(story: Story, answers: type[Answers]) -> None:
    story.reversing().refunded("refund-2", 1_000)
    story.call(answers.not_found)
    assert reversals(story) == [(4_000, "failed"), (1_000, "queued")]

    story.transfer.retry("ops", "it is there now", story.now)
    story.see(story.books())
    story.call(Succeeded("trr_1", 4_000))

    assert reversals(story) == [(4_000, "reversed"), (1_000, "requested")]


# --- awaiting funds -------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["too_little", "too_little_in_words"])
def test_missing_funds_retry_under_new_keys(
    story: Story, answers: type[Answers], word: str
) -> None:
    story.reversing()
    keys = []
    for _ in range(20):
        keys.append(story.call(getattr(answers, word), seen=story.books()).key)
        fact = story.last(AttemptDeferred)
        assert (fact.why, fact.waiting_for, fact.retry_count) == ("awaiting_funds", "funds", 0)
        assert story.waits == story.policy.funds_interval
    assert len(set(keys)) == 20
    story.call(Succeeded("trr_1", 4_000))
    assert story.status is S.PARTIALLY_REVERSED


@pytest.mark.parametrize("word", ["refused", "already"])
def test_unexplained_refusals_need_a_person_after_six_calls(
    story: Story, answers: type[Answers], word: str
) -> None:
    """Stripe does not say that money would help, so the reversal does not wait for it."""
    story.reversing()
    keys = []
    while story.status is S.REVERSAL_PENDING:
        keys.append(story.call(getattr(answers, word), seen=story.books()).key)
    failed = story.last(PermanentlyFailed)
    assert (failed.reason, failed.detail) == ("rejected", getattr(answers, word).message)
    assert len(set(keys)) == 6, "each refusal is stored, so each call has a key of its own"


def test_missing_funds_need_a_person_after_45_days(story: Story, answers: type[Answers]) -> None:
    story.reversing()
    since = story.now
    while story.status is S.REVERSAL_PENDING:
        story.call(answers.too_little, seen=story.books())
    assert story.last(PermanentlyFailed).reason == "funds_deadline"
    assert story.now - since == story.policy.funds_deadline


# --- the queue ------------------------------------------------------------------------------------


def test_reversals_are_sent_one_by_one_oldest_first(story: Story) -> None:
    story.reversing(amount=1_000)
    for n in (2, 3, 4):
        story.refunded(f"refund-{n}", n * 1_000)
    queued = [fact for fact in story.news() if isinstance(fact, ReversalQueued)]
    assert [fact.waiting_for for fact in queued] == ["reversal"] * 3
    sent = []
    for _ in range(4):
        assert [c.state for c in story.transfer.reversals.values()].count(
            ReversalStatus.REQUESTED
        ) == 1
        amount = story.reversal.amount
        sent.append(amount)
        story.call(Succeeded(f"trr_{amount}", amount))
    assert sent == [1_000, 2_000, 3_000, 4_000]
    assert story.status is S.REVERSED


def test_late_success_reopens_a_given_up_reversal_once(
    story: Story, answers: type[Answers]
) -> None:
    story.reversing()
    send = story.call(answers.not_found)
    story.news()
    for _ in range(3):
        story.answer(send, Succeeded("trr_1", 4_000))
    reopened, settled = story.two(Reopened, PartiallyReversed)
    assert (reopened.actor, settled.settled_by) == ("stripe:trr_1", "us")
    assert (story.status, story.transfer.amount_reversed) == (S.PARTIALLY_REVERSED, 4_000)


def test_waiting_reversal_continues_after_the_late_success(
    story: Story, answers: type[Answers]
) -> None:
    story.reversing()
    send = story.call(answers.not_found)
    story.refunded("refund-2", 1_000)
    story.answer(send, Succeeded("trr_1", 4_000))
    assert story.status is S.REVERSAL_PENDING
    assert story.reversal.amount == 1_000


def test_second_reversal_of_a_request_is_evidence(story: Story) -> None:
    story.reversing()
    older, newer = story.send(), story.send()
    story.answer(newer, Succeeded("trr_1", 4_000))
    story.news()
    story.answer(older, Succeeded("trr_2", 4_000))
    assert story.told() == ["EvidenceHeld"]
    assert story.transfer.amount_reversed == 4_000


# --- external reversals ---------------------------------------------------------------------------


def test_external_reversal_is_one_append_and_never_sent(story: Story) -> None:
    story.paid()
    record_external(story.transfer, story.books(story.theirs(3_000)), story.now)
    request, outcome = story.two(ReversalRequested, PartiallyReversed)
    assert request.reason == Reason.EXTERNAL.value
    assert (outcome.settled_by, outcome.amount_reversed) == ("external", 3_000)
    assert story.passes(1_000 * HOUR).step()[0] == "nothing is due"


def test_repeated_external_reversal_changes_nothing(story: Story) -> None:
    story.paid()
    seen = story.books(story.theirs(3_000))
    record_external(story.transfer, seen, story.now)
    story.news()
    record_external(story.transfer, seen, story.now)
    assert story.told() == []


def test_external_reversal_leaves_less_to_take(story: Story) -> None:
    story.paid()
    record_external(story.transfer, story.books(story.theirs(3_000)), story.now)
    assert (story.transfer.taken, story.transfer.room) == (0, 7_000)


def test_external_reversal_waits_for_our_running_call(story: Story) -> None:
    story.reversing()
    record_external(story.transfer, story.books(story.theirs(3_000)), story.now)
    assert story.told() == []
    story.call(Succeeded("trr_1", 4_000))
    story.news()
    ours = ReversalAtStripe("trr_1", 4_000, next(iter(story.transfer.reversals)))
    record_external(story.transfer, story.books(ours, story.theirs(3_000)), story.now)
    assert story.told() == ["ReversalRequested", "PartiallyReversed"]
    assert story.transfer.amount_reversed == 7_000


def test_settling_external_reversal_is_not_recorded_again(
    story: Story, answers: type[Answers]
) -> None:
    story.reversing(amount=4_000)
    story.call(answers.already, seen=story.books(story.theirs(10_000)))
    story.news()
    record_external(story.transfer, story.books(story.theirs(10_000)), story.now)
    assert story.told() == []


def test_refund_named_like_a_stripe_reversal_is_distinct(story: Story) -> None:
    story.paid().refunded("trr_dashboard", 1_000)
    story.call(Succeeded("trr_1", 1_000))
    ours = ReversalAtStripe("trr_1", 1_000, next(iter(story.transfer.reversals)))
    record_external(
        story.transfer, story.books(story.theirs(2_000, "trr_dashboard"), ours), story.now
    )
    assert story.transfer.amount_reversed == 3_000
    assert external_id(story.transfer.id, "trr_dashboard") in story.transfer.reversals


def test_reversal_that_only_waited_is_evidence_at_a_stuck_transfer(
    story: Story, answers: type[Answers]
) -> None:
    transfer = story.reversing().refunded("r2", 100).transfer
    story.call(answers.not_found)
    (queued,) = transfer.queue
    story.news()
    complete_reversal(transfer, queued.reversal_id, "trr_7", 100, "req_7", story.now)
    fact = story.only(EvidenceHeld)
    assert (fact.what, fact.stripe_id, fact.amount) == (queued.reversal_id, "trr_7", 100)
    assert (fact.request_id, fact.detail) == (
        "req_7",
        "Stripe holds trr_7 for a reversal that is queued here.",
    )
    assert story.status is S.PERMANENTLY_FAILED


def test_failed_reversal_that_stripe_holds_is_reopened_and_ended(
    story: Story, answers: type[Answers]
) -> None:
    transfer = story.reversing().transfer
    name = story.reversal.reversal_id
    story.call(answers.not_found)
    story.news()
    complete_reversal(transfer, name, "trr_7", 4_000, "req_7", story.now, "a note")
    reopened, ended = story.two(Reopened, PartiallyReversed)
    assert (reopened.actor, reopened.reversal_id) == ("stripe:trr_7", name)
    assert (ended.stripe_reversal_id, ended.request_id, ended.note) == ("trr_7", "req_7", "a note")
    complete_reversal(transfer, name, "trr_7", 4_000, "req_7", story.now)
    assert story.told() == []
    complete_reversal(transfer, "unknown", "trr_8", 1, None, story.now)
    assert story.only(EvidenceHeld).detail.endswith("a reversal that is unknown here.")


@pytest.mark.parametrize(("status", "decided"), [("succeeded", True), ("pending", False)])
def test_object_of_ours_that_counts_is_found_among_failed_ones(
    story: Story, answers: type[Answers], status: str, decided: bool
) -> None:
    story.reversing()
    exhaust(story, answers)
    refusal = Rejected(200, None, "it has failed", stored=True)
    failed = story.ours("trr_1")._replace(status="failed", refusal=refusal)
    counts = story.ours("trr_2")._replace(status=status)
    story.see(story.books(failed, counts, failed._replace(stripe_reversal_id="trr_3")))
    if decided:
        assert story.transfer.stripe_reversal_id == "trr_2"
    else:
        assert story.last(AttemptDeferred).detail == "trr_2 is pending at Stripe"
