"""Payment hold: a payment is reported as failed after it succeeded, and nothing is sent before a
person decides."""

from datetime import timedelta

import pytest

from domain.errors import CallInFlight, NothingToResolve, NothingToRetry
from domain.lifecycle import TransferStatus
from domain.order.facts import PaymentDoubted
from domain.order.recovery import doubt
from domain.provider_call.outcome import Succeeded
from domain.provider_call.reasons import DeferralReason
from domain.provider_call.steps import LookUp
from domain.seller_transfer.manual_resolution import resolve, resolve_by_transfer
from domain.seller_transfer.stripe_call import begin, give_back, postpone
from domain.seller_transfer.transfer_outcome import complete
from tests.support.domain_story import Answers, Sale, Story

S = TransferStatus
WHY = "the payment failed"
LONG = timedelta(days=400)


@pytest.fixture
def held(story: Story) -> Story:
    story.transfer.hold_back(WHY, story.now)
    story.news()
    return story


def is_never_due(story: Story) -> bool:
    return story.transfer.next_retry_at is None and story.passes(LONG).step()[0] == "nothing is due"


def doubted(sale: Sale) -> bool:
    return doubt(sale.order, sale.transfers, "pay-1", "hyperswitch:evt_1", WHY, sale.now)


# --- the order ------------------------------------------------------------------------------------


def test_unsent_transfers_are_held_and_paid_ones_counted(sale: type[Sale]) -> None:
    story = sale(100, {"ada": 50, "bob": 30})
    story.goes_through(story.of("ada"), "tr_1")
    assert doubted(story)
    assert (story.of("ada").held, story.of("bob").held) == (None, WHY)
    fact = story.order.pending_events[-1]
    assert isinstance(fact, PaymentDoubted)
    assert (fact.held, fact.sent) == (1, 1)


def test_repeated_report_holds_no_released_transfer(sale: type[Sale]) -> None:
    story = sale(100, {"ada": 50})
    assert doubted(story)
    story.of("ada").retry("ops", "the bank has the money", story.now)
    assert not doubted(story)
    story.goes_through(story.of("ada"), "tr_1")
    assert story.net("ada") == 50


def test_later_transfers_of_the_order_are_held(sale: type[Sale]) -> None:
    story = sale(100, {"ada": 50})
    story.all_go_through()
    story.is_refunded("r1", 100)
    story.all_go_through()
    doubted(story)
    story.is_revoked("r1")
    given_back = story.of("ada", 1)
    assert (given_back.held, given_back.next_retry_at, given_back.status) == (WHY, None, S.PENDING)


def test_permanently_failed_transfer_is_not_held(story: Story, answers: type[Answers]) -> None:
    for _ in range(6):
        story.call(answers.refused)
    story.news()
    story.transfer.hold_back(WHY, story.now)
    assert (story.status, story.told()) == (S.PERMANENTLY_FAILED, [])


# --- at rest --------------------------------------------------------------------------------------


def test_held_transfer_is_due_only_after_a_retry(held: Story) -> None:
    assert is_never_due(held)
    held.transfer.retry("ops", "the bank has the money", held.now)
    assert held.transfer.held is None
    assert held.send().key.endswith(":e1")


def test_held_failed_transfer_stays_failed(story: Story, answers: type[Answers]) -> None:
    story.call(answers.too_little)
    story.transfer.hold_back(WHY, story.now)
    assert story.status is S.FAILED
    assert is_never_due(story)


@pytest.mark.parametrize(("amount", "status"), [(4_000, S.PENDING), (10_000, S.CANCELLED)])
def test_refund_reduces_or_cancels_a_held_transfer(held: Story, amount: int, status: S) -> None:
    held.refunded(amount=amount)
    assert held.status is status
    assert is_never_due(held)


def test_released_transfer_sends_the_rest_after_a_refund(held: Story) -> None:
    held.refunded(amount=4_000)
    held.transfer.retry("ops", "it is paid", held.now)
    assert held.send().body["amount"] == 6_000


def test_cancelled_held_transfer_cannot_be_retried(held: Story) -> None:
    held.refunded(amount=10_000)
    with pytest.raises(NothingToRetry):
        held.transfer.retry("ops", "it is paid", held.now)


@pytest.mark.parametrize("status", [S.PENDING, S.FAILED])
def test_held_transfer_can_be_resolved_without_payment(
    story: Story, answers: type[Answers], status: S
) -> None:
    if status is S.FAILED:
        story.call(answers.refused)
    story.transfer.hold_back(WHY, story.now)
    resolve(story.transfer, "ops", "the buyer never paid", "ticket-1", story.now)
    assert story.status is S.PERMANENTLY_FAILED
    assert is_never_due(story)
    with pytest.raises(NothingToRetry):
        story.transfer.retry("ops", "after all", story.now)


def test_manual_transfer_can_resolve_a_held_one(held: Story) -> None:
    resolve_by_transfer(held.transfer, held.books(), "ops", "paid by hand", held.now)
    assert (held.status, held.transfer.stripe_transfer_id, held.transfer.held) == (
        S.COMPLETED,
        "tr_1",
        None,
    )


def test_stripe_success_completes_a_held_transfer(held: Story) -> None:
    complete(held.transfer, "tr_1", 10_000, None, held.now)
    assert (held.status, held.transfer.held) == (S.COMPLETED, None)


# --- a call is open -------------------------------------------------------------------------------


def test_running_call_is_decided_by_its_outcome(story: Story) -> None:
    send = story.send()
    story.transfer.hold_back(WHY, story.now)
    with pytest.raises(CallInFlight):
        story.transfer.retry("ops", "now", story.now)
    story.answer(send, Succeeded("tr_1", 10_000))
    assert (story.status, story.transfer.held) == (S.COMPLETED, None)


@pytest.mark.parametrize("answer", ["refused", "invalid", "too_little", "on_hold", "rate_limited"])
def test_failed_running_call_is_not_repeated(
    story: Story, answers: type[Answers], answer: str
) -> None:
    send = story.send()
    story.transfer.hold_back(WHY, story.now)
    story.answer(send, getattr(answers, answer))
    assert story.told()[-1] == "HeldBack"
    assert is_never_due(story)


def test_call_given_back_is_not_made_again(story: Story) -> None:
    send = story.send()
    story.transfer.hold_back(WHY, story.now)
    give_back(story.transfer, send.what, send.attempt, "shutting down", story.now)
    assert is_never_due(story)


@pytest.mark.parametrize("outcome", ["timeout", "outage", "key_in_use", "replayed_outage"])
def test_unknown_outcome_is_looked_up_and_not_resent(
    story: Story, answers: type[Answers], outcome: str
) -> None:
    send = story.send()
    story.transfer.hold_back(WHY, story.now)
    story.answer(send, getattr(answers, outcome))
    story.find()
    assert is_never_due(story)
    assert story.told().count("CallStarted") == 1


def test_earlier_unknown_outcome_is_looked_up(story: Story, answers: type[Answers]) -> None:
    story.call(answers.timeout)
    story.transfer.hold_back(WHY, story.now)
    story.find(story.books())
    assert (story.status, story.transfer.held) == (S.COMPLETED, None)


def test_vanished_callers_outcome_is_looked_up(story: Story) -> None:
    story.send()
    story.transfer.hold_back(WHY, story.now)
    assert isinstance(story.look(), LookUp)


def test_held_transfer_needs_a_look_up_before_its_end(story: Story, answers: type[Answers]) -> None:
    story.call(answers.timeout)
    story.transfer.hold_back(WHY, story.now)
    with pytest.raises(NothingToResolve):
        resolve(story.transfer, "ops", "the buyer never paid", "ticket-1", story.now)


def test_failed_look_up_keeps_the_hold(story: Story, answers: type[Answers]) -> None:
    story.call(answers.refused)
    story.transfer.retry("ops", "now", story.now)
    story.transfer.hold_back(WHY, story.now)
    postpone(
        story.transfer, DeferralReason.LOOK_UP_FAILED, "a page is missing", story.now, story.now
    )
    assert is_never_due(story)


def test_queued_refund_reduces_before_the_hold(story: Story, answers: type[Answers]) -> None:
    send = story.send()
    story.refunded(amount=4_000)
    story.transfer.hold_back(WHY, story.now)
    story.answer(send, answers.rate_limited)
    assert (story.transfer.amount, story.transfer.queue) == (6_000, [])
    assert is_never_due(story)


def test_exhausted_absent_transfer_fails_permanently(story: Story, answers: type[Answers]) -> None:
    for _ in range(6):
        story.call(answers.outage)
    story.transfer.hold_back(WHY, story.now)
    story.find()
    assert (story.status, story.transfer.held) == (S.PERMANENTLY_FAILED, None)
    story.transfer.retry("ops", "it is paid", story.now)
    assert isinstance(begin(story.transfer, story.now, story.policy), LookUp)
