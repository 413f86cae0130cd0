"""The payment is said to have failed after it was recorded as succeeded: nothing is sent before a person says so."""

from datetime import timedelta
from typing import Any

import pytest

from domain.errors import CallInFlight, NothingToResolve, NothingToRetry
from domain.lifecycle import TransferStatus
from domain.order.recovery import doubt
from domain.provider_call.outcome import Succeeded
from domain.provider_call.steps import LookUp
from domain.seller_transfer.manual_resolution import resolve, resolve_by_transfer
from domain.seller_transfer.payment_hold import hold_back
from domain.seller_transfer.stripe_call import begin, give_back, postpone
from domain.seller_transfer.transfer_outcome import complete

S = TransferStatus
WHY = "the payment failed"
LONG = timedelta(days=400)


@pytest.fixture
def held(story: Any) -> Any:
    hold_back(story.transfer, WHY, story.now)
    story.news()
    return story


def is_never_due(story: Any) -> bool:
    return story.transfer.next_retry_at is None and story.passes(LONG).step()[0] == "nothing is due"


def doubted(sale: Any) -> bool:
    return doubt(sale.order, sale.transfers, "pay-1", "hyperswitch:evt_1", WHY, sale.now)


# --- the order ------------------------------------------------------------------------------------------------------


def test_what_is_unsent_is_held_back_and_what_is_paid_is_counted(sale: Any) -> None:
    story = sale(100, {"ada": 50, "bob": 30})
    story.goes_through(story.of("ada"), "tr_1")
    assert doubted(story)
    assert (story.of("ada").held, story.of("bob").held) == (None, WHY)
    fact = story.order.pending_events[-1]
    assert (fact.held, fact.sent) == (1, 1)


def test_the_same_said_again_holds_nothing_back_that_a_person_has_released(sale: Any) -> None:
    story = sale(100, {"ada": 50})
    assert doubted(story)
    story.of("ada").retry("ops", "the bank has the money", story.now)
    assert not doubted(story)
    story.goes_through(story.of("ada"), "tr_1")
    assert story.net("ada") == 50


def test_what_such_an_order_comes_to_owe_later_is_held_back_as_well(sale: Any) -> None:
    story = sale(100, {"ada": 50})
    story.all_go_through()
    story.is_refunded("r1", 100)
    story.all_go_through()
    doubted(story)
    story.is_revoked("r1")
    given_back = story.of("ada", 1)
    assert (given_back.held, given_back.next_retry_at, given_back.status) == (WHY, None, S.PENDING)


def test_what_needs_a_person_anyway_is_left_alone(story: Any, answers: Any) -> None:
    for _ in range(6):
        story.call(answers.refused)
    story.news()
    hold_back(story.transfer, WHY, story.now)
    assert (story.status, story.told()) == (S.PERMANENTLY_FAILED, [])


# --- at rest --------------------------------------------------------------------------------------------------------


def test_it_is_never_due_until_a_person_retries_it_and_then_is_sent_under_its_first_key(held: Any) -> None:
    assert is_never_due(held)
    held.transfer.retry("ops", "the bank has the money", held.now)
    assert held.transfer.held is None
    assert held.send().key.endswith(":e1")


def test_one_that_was_refused_stays_failed_and_is_not_tried_again(story: Any, answers: Any) -> None:
    story.call(answers.too_little)
    hold_back(story.transfer, WHY, story.now)
    assert story.status is S.FAILED
    assert is_never_due(story)


@pytest.mark.parametrize(("amount", "status"), [(4_000, S.PENDING), (10_000, S.CANCELLED)])
def test_a_refund_meanwhile_reduces_or_cancels_it_and_nothing_is_due(held: Any, amount: int, status: S) -> None:
    held.refunded(amount=amount)
    assert held.status is status
    assert is_never_due(held)


def test_released_after_a_refund_only_the_rest_is_sent(held: Any) -> None:
    held.refunded(amount=4_000)
    held.transfer.retry("ops", "it is paid", held.now)
    assert held.send().body["amount"] == 6_000


def test_one_that_a_refund_has_cancelled_cannot_be_retried(held: Any) -> None:
    held.refunded(amount=10_000)
    with pytest.raises(NothingToRetry):
        held.transfer.retry("ops", "it is paid", held.now)


@pytest.mark.parametrize("status", [S.PENDING, S.FAILED])
def test_a_person_may_end_it_without_paying(story: Any, answers: Any, status: S) -> None:
    if status is S.FAILED:
        story.call(answers.refused)
    hold_back(story.transfer, WHY, story.now)
    resolve(story.transfer, "ops", "the buyer never paid", "ticket-1", story.now)
    assert story.status is S.PERMANENTLY_FAILED
    assert is_never_due(story)
    with pytest.raises(NothingToRetry):
        story.transfer.retry("ops", "after all", story.now)


def test_a_transfer_made_by_hand_meanwhile_can_be_named(held: Any) -> None:
    resolve_by_transfer(held.transfer, held.books(), "ops", "paid by hand", held.now)
    assert (held.status, held.transfer.stripe_transfer_id, held.transfer.held) == (S.COMPLETED, "tr_1", None)


def test_stripes_own_word_that_it_is_paid_counts(held: Any) -> None:
    complete(held.transfer, "tr_1", 10_000, None, held.now)
    assert (held.status, held.transfer.held) == (S.COMPLETED, None)


# --- a call is open -------------------------------------------------------------------------------------------------


def test_a_call_under_way_is_decided_by_its_outcome(story: Any) -> None:
    send = story.send()
    hold_back(story.transfer, WHY, story.now)
    with pytest.raises(CallInFlight):
        story.transfer.retry("ops", "now", story.now)
    story.answer(send, Succeeded("tr_1", 10_000))
    assert (story.status, story.transfer.held) == (S.COMPLETED, None)


@pytest.mark.parametrize("answer", ["refused", "invalid", "too_little", "on_hold", "rate_limited"])
def test_a_call_under_way_that_comes_to_nothing_is_not_repeated(story: Any, answers: Any, answer: str) -> None:
    send = story.send()
    hold_back(story.transfer, WHY, story.now)
    story.answer(send, getattr(answers, answer))
    assert story.told()[-1] == "HeldBack"
    assert is_never_due(story)


def test_a_call_that_was_not_made_after_all_is_not_made(story: Any) -> None:
    send = story.send()
    hold_back(story.transfer, WHY, story.now)
    give_back(story.transfer, send.attempt, "shutting down", story.now)
    assert is_never_due(story)


@pytest.mark.parametrize("outcome", ["timeout", "outage", "key_in_use", "replayed_outage"])
def test_an_unknown_outcome_is_read_in_stripes_books_and_never_sent_again(story: Any, answers: Any, outcome: str) -> None:
    send = story.send()
    hold_back(story.transfer, WHY, story.now)
    story.answer(send, getattr(answers, outcome))
    story.find()
    assert is_never_due(story)
    assert story.told().count("CallStarted") == 1


def test_so_it_is_where_the_outcome_was_unknown_before(story: Any, answers: Any) -> None:
    story.call(answers.timeout)
    hold_back(story.transfer, WHY, story.now)
    story.find(story.books())
    assert (story.status, story.transfer.held) == (S.COMPLETED, None)


def test_so_it_is_where_its_caller_has_vanished(story: Any) -> None:
    story.send()
    hold_back(story.transfer, WHY, story.now)
    assert isinstance(story.look(), LookUp)


def test_while_the_books_have_not_been_read_nobody_can_end_it(story: Any, answers: Any) -> None:
    story.call(answers.timeout)
    hold_back(story.transfer, WHY, story.now)
    with pytest.raises(NothingToResolve):
        resolve(story.transfer, "ops", "the buyer never paid", "ticket-1", story.now)


def test_books_that_cannot_be_read_do_not_release_it(story: Any, answers: Any) -> None:
    story.call(answers.refused)
    story.transfer.retry("ops", "now", story.now)
    hold_back(story.transfer, WHY, story.now)
    postpone(story.transfer, "look_up_failed", "a page is missing", story.now, story.now)
    assert is_never_due(story)


def test_a_refund_that_waited_for_the_outcome_reduces_it_before_it_rests(story: Any, answers: Any) -> None:
    send = story.send()
    story.refunded(amount=4_000)
    hold_back(story.transfer, WHY, story.now)
    story.answer(send, answers.rate_limited)
    assert (story.transfer.amount, story.transfer.queue) == (6_000, [])
    assert is_never_due(story)


def test_an_exhausted_one_that_is_not_there_needs_a_person_as_ever(story: Any, answers: Any) -> None:
    for _ in range(6):
        story.call(answers.outage)
    hold_back(story.transfer, WHY, story.now)
    story.find()
    assert (story.status, story.transfer.held) == (S.PERMANENTLY_FAILED, None)
    story.transfer.retry("ops", "it is paid", story.now)
    assert isinstance(begin(story.transfer, story.now, story.policy), LookUp)
