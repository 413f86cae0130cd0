"""A process is frozen right before its request leaves, and sends when it wakes. Stripe recognises
the request as long as no other key and no other body was used meanwhile."""

from collections.abc import Mapping
from datetime import timedelta
from typing import NamedTuple

import pytest

from domain.identity import reversal_name
from domain.lifecycle import TransferStatus as S
from domain.provider_call.operation import LookFirst
from domain.provider_call.outcome import Outcome, Succeeded
from domain.provider_call.reasons import DeferralReason
from domain.provider_call.steps import LookUp, Rest, Send, Step
from domain.provider_call.stripe_objects import ReversalAtStripe
from domain.seller_transfer.aggregate import causes_to_recover
from domain.seller_transfer.redirection import redirect
from domain.seller_transfer.reversal_outcome import record_look_up
from domain.seller_transfer.source import decide_source
from domain.seller_transfer.stripe_call import begin, postpone
from tests.support.domain_story import Answers, Story

HOUR = timedelta(hours=1)


class Frozen(NamedTuple):
    """A story with a call that has not left, looked up, and absent at Stripe."""

    story: Story
    call: Send
    restored: LookFirst

    def step(self) -> Step:
        self.story.comes_due()
        return begin(self.story.transfer, self.story.now, self.story.policy, self.restored)

    def send(self) -> Send:
        step = self.step()
        assert isinstance(step, Send), step
        return step

    def finds_nothing(self) -> None:
        """Look the transfer up, as soon as no call can be under way."""
        step = self.step()
        look = self.step() if isinstance(step, Rest) else step
        assert isinstance(look, LookUp), look
        self.story.see_nothing(look)

    def fails(self, outcome: Outcome) -> None:
        self.story.answer(self.send(), outcome)

    def is_recognised(self) -> bool:
        """Return whether the next call has the key and the body of the frozen one."""
        again = self.send()
        return (again.key, again.body) == (self.call.key, self.call.body)


def looked_up(story: Story, refund: int = 0) -> Frozen:
    """Freeze the next call, and look it up as after a restore; a refund comes before the look-up."""
    call = story.send()
    restored = LookFirst(story.now, story.now - HOUR)
    frozen = Frozen(story, call, restored)
    if refund:
        story.refunded(amount=refund)
    frozen.finds_nothing()
    return frozen


def test_refund_before_the_look_up_changes_no_body(story: Story) -> None:
    """Schedule 394 of `simulate-faults`: the amount changed, so the key, and both calls paid."""
    frozen = looked_up(story, refund=4_000)
    assert frozen.is_recognised()


def test_refund_after_the_look_up_changes_no_body(story: Story) -> None:
    frozen = looked_up(story)
    story.refunded(amount=10_000)
    assert story.status is S.PENDING
    assert frozen.is_recognised()


def test_waiting_refund_is_reversed_after_the_payment(story: Story) -> None:
    frozen = looked_up(story, refund=4_000)
    story.answer(frozen.send(), Succeeded("tr_1", 10_000))
    assert (story.status, story.reversal.amount) == (S.REVERSAL_PENDING, 4_000)


@pytest.mark.parametrize("answer", ["rate_limited", "unauthorized", "key_in_use", "invalid"])
def test_answer_without_a_stored_result_changes_no_body(
    story: Story, answers: type[Answers], answer: str
) -> None:
    frozen = looked_up(story, refund=4_000)
    frozen.fails(getattr(answers, answer))
    story.refunded("refund-2", 1_000)
    assert frozen.is_recognised()


def test_last_unstored_refusal_keeps_the_key_after_a_retry(
    story: Story, answers: type[Answers]
) -> None:
    frozen = looked_up(story, refund=4_000)
    while story.status is not S.PERMANENTLY_FAILED:
        frozen.fails(answers.invalid)
    story.refunded("refund-2", 1_000).transfer.retry("ops", "mended", story.now)
    frozen.finds_nothing()
    assert frozen.is_recognised()


@pytest.mark.parametrize("refusal", ["refused", "too_little", "on_hold"])
def test_stored_refusal_frees_amount_and_key(
    story: Story, answers: type[Answers], refusal: str
) -> None:
    """Stripe repeats the refusal to the frozen call."""
    frozen = looked_up(story, refund=4_000)
    frozen.fails(getattr(answers, refusal))
    assert (story.transfer.amount, story.transfer.queue) == (6_000, [])
    story.transfer.retry("ops", "now", story.now)
    again = frozen.send()
    assert again.key.endswith(":e2")
    assert again.body["amount"] == 6_000


def test_last_stored_refusal_frees_the_amount(story: Story, answers: type[Answers]) -> None:
    for _ in range(5):
        story.call(answers.refused)
    story.send()
    while story.status is not S.PERMANENTLY_FAILED:
        story.call(answers.refused)
    story.refunded(amount=4_000)
    assert (story.transfer.amount, story.transfer.queue) == (6_000, [])


def test_key_that_became_too_old_frees_the_amount(story: Story) -> None:
    frozen = looked_up(story, refund=4_000)
    story.passes(23 * HOUR)
    frozen.finds_nothing()
    assert frozen.send().body["amount"] == 6_000


def test_seller_who_moves_is_paid_to_the_former_account(story: Story) -> None:
    frozen = looked_up(story)
    assert not redirect(story.transfer, "acct_new", "ops", "moved", story.now)
    assert frozen.is_recognised()


def test_charge_that_becomes_known_is_named_by_the_next_key(
    story: Story, answers: type[Answers]
) -> None:
    frozen = looked_up(story)
    decide_source(story.transfer, "ch_1", "found", story.now)
    frozen.fails(answers.too_little_unstored)
    assert frozen.is_recognised()
    frozen.fails(answers.too_little)
    body: Mapping[str, object] = frozen.send().body
    assert body["source_transaction"] == "ch_1"


def test_held_transfer_keeps_key_and_refund_until_a_retry(story: Story) -> None:
    call = story.send()
    story.transfer.hold_back("the payment failed", story.now)
    story.see_nothing(story.look())
    story.refunded(amount=4_000)
    assert [one.amount for one in story.transfer.queue] == [4_000]
    story.transfer.retry("ops", "it is paid", story.now)
    again = story.send()
    assert (again.key, again.body) == (call.key, call.body)


def test_given_up_transfer_keeps_key_and_refund_until_a_retry(
    story: Story, answers: type[Answers]
) -> None:
    """One caller has vanished, the others have had no answer."""
    call = story.send()
    story.passes(HOUR)
    while not story.operation.exhausted:
        story.call(answers.outage)
    story.find()
    assert story.status is S.PERMANENTLY_FAILED
    story.refunded(amount=4_000).transfer.retry("ops", "Stripe is back", story.now)
    story.find()
    again = story.send()
    assert (again.key, again.body) == (call.key, call.body)


def test_first_call_after_a_restore_counts_the_age_of_a_lost_key(
    story: Story, answers: type[Answers]
) -> None:
    """Stripe may remember the key since a lost call that arrived right after the look-up."""
    frozen = Frozen(story, story.first_send(), LookFirst(story.now, story.now))
    frozen.finds_nothing()
    story.passes(22 * HOUR)
    frozen.fails(answers.idempotency_error)
    story.passes(HOUR)
    assert isinstance(story.look(), LookUp)


def test_callers_that_reported_leave_the_amount_free(story: Story, answers: type[Answers]) -> None:
    """Their requests have left or have ended."""
    for _ in range(6):
        story.call(answers.outage)
    story.find()
    story.refunded(amount=4_000)
    assert (story.transfer.amount, story.transfer.queue) == (6_000, [])


def test_failed_refund_does_not_withdraw_a_late_reversal(story: Story) -> None:
    story.reversing()
    frozen = looked_up(story)
    assert story.transfer.withdraw(story.reversal, 4_000, "refund-1", story.now) == 0
    assert story.reversal.contested
    assert frozen.is_recognised()


@pytest.mark.parametrize(("taken", "same"), [(1_000, True), (7_000, False)])
def test_reversal_beside_those_that_a_restore_has_lost_keeps_its_key(
    story: Story, taken: int, *, same: bool
) -> None:
    """Stripe recognises the frozen call, or refuses it, since less is left than it asks for."""
    call = story.reversing().send()
    look = LookFirst(story.now, story.now - HOUR)
    frozen, name = Frozen(story, call, look), str(reversal_name(story.transfer.id, "lost"))
    lost = ReversalAtStripe("trr_lost", taken, name, refund_id="lost")
    step = frozen.step()
    step = frozen.step() if isinstance(step, Rest) else step
    assert isinstance(step, LookUp)
    seen, refunds = story.books(lost), ["lost"]
    causes = record_look_up(story.transfer, seen, story.now, story.policy, step, refunds)
    assert causes == ["lost"]
    assert (story.reversal.amount, story.transfer.amount_reversed) == (
        min(4_000, 10_000 - taken),
        taken,
    )
    assert story.operation.epoch == (1 if same else 2)
    assert not same or frozen.is_recognised()


def given_up(story: Story, answers: type[Answers], amount: int = 4_000) -> Send:
    """Freeze the first call of a reversal, and give the reversal up after other calls."""
    call = story.reversing(amount).send()
    story.passes(HOUR)
    while not story.operation.exhausted:
        story.call(answers.outage)
    story.see(story.books())
    assert story.status is S.PERMANENTLY_FAILED
    return call


def refund_fails(story: Story, call: Send) -> None:
    """Withdraw the given-up reversal, since its refund has failed."""
    failed = story.transfer.reversals[call.what]
    assert story.transfer.withdraw(failed, failed.amount, "refund-1", story.now) == failed.amount


@pytest.mark.parametrize(
    ("amount", "status"), [(4_000, S.PARTIALLY_REVERSED), (10_000, S.REVERSED)]
)
def test_withdrawn_reversal_that_a_frozen_call_makes_is_given_back(
    story: Story, answers: type[Answers], amount: int, status: S
) -> None:
    """It was given up, and then its refund failed."""
    call = given_up(story, answers, amount)
    refund_fails(story, call)
    story.answer(call, Succeeded("trr_late", amount))
    assert (story.status, story.transfer.amount_reversed) == (status, amount)
    assert (story.transfer.evidence, causes_to_recover(story.transfer, {})) == ({}, ["refund-1"])


def test_given_up_reversal_that_a_frozen_call_makes_counts(
    story: Story, answers: type[Answers]
) -> None:
    story.answer(given_up(story, answers), Succeeded("trr_late", 4_000))
    assert (story.status, story.transfer.amount_reversed) == (S.PARTIALLY_REVERSED, 4_000)
    assert (story.transfer.evidence, causes_to_recover(story.transfer, {})) == ({}, [])


def test_withdrawn_reversal_without_room_is_evidence_once_made(
    story: Story, answers: type[Answers]
) -> None:
    """Another refund has taken the room meanwhile, and waits for a person."""
    call = given_up(story, answers)
    refund_fails(story, call)
    story.refunded("refund-2", 6_001)
    story.answer(call, Succeeded("trr_late", 4_000))
    assert (story.status, story.transfer.amount_reversed) == (S.PERMANENTLY_FAILED, 0)
    assert list(story.transfer.evidence) == ["trr_late"]


def test_withdrawn_reversal_beside_a_given_up_one_is_evidence_once_made(
    story: Story, answers: type[Answers]
) -> None:
    """The person who decides about the given-up one has to see it first."""
    call = given_up(story, answers)
    refund_fails(story, call)
    story.refunded("refund-2", 3_000).transfer.retry("ops", "Stripe is back", story.now)
    story.see(story.books())
    while story.status is S.REVERSAL_PENDING:
        story.call(answers.refused, story.books())
    story.answer(call, Succeeded("trr_late", 4_000))
    assert (story.status, story.transfer.amount_reversed) == (S.PERMANENTLY_FAILED, 0)
    assert list(story.transfer.evidence) == ["trr_late"]


def test_settled_reversal_told_again_reopens_no_transfer(
    story: Story, answers: type[Answers]
) -> None:
    settled = story.reversing(1_000).call(Succeeded("trr_1", 1_000))
    story.refunded("refund-2", 3_000)
    while story.status is S.REVERSAL_PENDING:
        story.call(answers.refused, story.books())
    (failed,) = [one for one in story.transfer.reversals.values() if one.refund_id == "refund-2"]
    assert story.transfer.withdraw(failed, 3_000, "refund-2", story.now) == 3_000
    story.answer(settled, Succeeded("trr_1", 1_000))
    assert (story.status, story.transfer.amount_reversed) == (S.PERMANENTLY_FAILED, 1_000)


def test_unknown_reversal_of_a_given_up_transfer_is_evidence(
    story: Story, answers: type[Answers]
) -> None:
    call = given_up(story, answers)
    unknown = call._replace(what=str(reversal_name(story.transfer.id, "unknown")))
    story.answer(unknown, Succeeded("trr_x", 1_000))
    assert (story.status, list(story.transfer.evidence)) == (S.PERMANENTLY_FAILED, ["trr_x"])


def test_refused_reversal_beside_lost_ones_gets_another_key(
    story: Story, answers: type[Answers]
) -> None:
    """Stripe would repeat the refusal that it has stored."""
    story.reversing()
    name = str(reversal_name(story.transfer.id, "lost"))
    lost = ReversalAtStripe("trr_lost", 1_000, name, refund_id="lost")
    story.call(answers.refused, story.books(lost))
    assert (story.reversal.amount, story.operation.epoch) == (4_000, 2)


def test_refunds_of_everything_cancel_no_doubtful_transfer(story: Story) -> None:
    """The doubt about the first key stays when a part is refunded before the rest."""
    frozen = looked_up(story)
    story.passes(23 * HOUR)
    frozen.finds_nothing()
    story.refunded(amount=4_000).refunded("refund-2", 6_000)
    assert (story.status, story.transfer.amount) == (S.PERMANENTLY_FAILED, 0)


def test_doubt_about_a_key_outlives_the_next_key(story: Story, answers: type[Answers]) -> None:
    """Stripe may carry out the first call late, although the second one was refused."""
    story.call(answers.replayed_outage)
    story.find().call(answers.refused)
    story.refunded(amount=4_000).refunded("refund-2", 6_000)
    assert (story.status, story.transfer.amount) == (S.PERMANENTLY_FAILED, 0)


def test_refund_of_everything_cancels_no_transfer_that_was_lost(story: Story) -> None:
    """Only the look-up after a restore is recorded; the backup may have lost a call before it."""
    frozen = Frozen(story, story.first_send(), LookFirst(story.now, story.now))
    frozen.finds_nothing()
    story.passes(23 * HOUR)
    frozen.finds_nothing()
    story.refunded(amount=10_000)
    assert (story.status, story.transfer.amount) == (S.PERMANENTLY_FAILED, 0)


@pytest.mark.parametrize("minutes", [10, 90])
def test_key_that_aged_during_the_look_up_is_not_replaced(story: Story, minutes: int) -> None:
    """The process froze after it had read, and the late call may have arrived since: another
    look-up decides."""
    story.send()
    postpone(story.transfer, DeferralReason.LOOK_UP_LATER, "", story.now, story.now)
    restored = LookFirst(story.now, story.now)
    story.passes(timedelta(hours=22, minutes=55))
    look = begin(story.transfer, story.now, story.policy, restored)
    assert isinstance(look, LookUp)
    story.passes(timedelta(minutes=minutes)).see_nothing(look)
    assert story.operation.epoch == 1
    assert story.look().begun_at == story.now


def test_first_call_a_day_after_a_restore_is_looked_up_again(story: Story) -> None:
    """A lost call may have arrived after the first look-up, and Stripe may have forgotten its
    key."""
    frozen = Frozen(story, story.first_send(), LookFirst(story.now, story.now))
    frozen.finds_nothing()
    story.passes(23 * HOUR)
    frozen.finds_nothing()
    assert frozen.send().key.endswith(":e2")


def test_unstored_funds_refusal_waits_for_funds(story: Story, answers: type[Answers]) -> None:
    frozen = looked_up(story)
    decide_source(story.transfer, "ch_1", "found", story.now)
    frozen.fails(answers.too_little_unstored)
    assert story.waits == story.policy.funds_interval
