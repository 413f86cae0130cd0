"""Manual resolution of stuck transfers: it sends nothing, and the same money never moves twice."""

from datetime import timedelta

import pytest

from domain.errors import CallInFlight, EvidenceDiffers, NothingToResolve, NothingToRetry
from domain.lifecycle import TransferStatus
from domain.provider_call.outcome import Succeeded, Unknown
from domain.provider_call.stripe_objects import ReversalAtStripe, TransferAtStripe
from domain.seller_transfer import facts
from domain.seller_transfer.manual_resolution import (
    resolve,
    resolve_by_reversal,
    resolve_by_transfer,
)
from domain.seller_transfer.reversal import ReversalStatus
from domain.seller_transfer.stripe_call import keep_evidence
from tests.support.domain_story import Answers, Story

S = TransferStatus


@pytest.fixture
def unpaid(story: Story, answers: type[Answers]) -> Story:
    """Return a story whose transfer was given up after six refusals."""
    for _ in range(6):
        story.call(answers.refused)
    assert (story.status, story.transfer.paid) == (S.PERMANENTLY_FAILED, False)
    story.news()
    return story


@pytest.fixture
def stuck(story: Story, answers: type[Answers]) -> Story:
    """Return a story whose transfer is paid and whose reversal of 40.00 was given up."""
    story.reversing()
    story.call(answers.not_found)
    assert story.status is S.PERMANENTLY_FAILED
    story.news()
    return story


def by_mia(story: Story, evidence: str = "ticket 7") -> None:
    resolve(story.transfer, "mia", "settled with the seller", evidence, story.now)


def test_seller_paid_elsewhere_is_not_paid_by_stripe(unpaid: Story) -> None:
    by_mia(unpaid)
    assert unpaid.told() == ["Resolved"]
    with pytest.raises(NothingToRetry, match="mia resolved it: settled with the seller"):
        unpaid.transfer.retry("ops", "again", unpaid.now)
    with pytest.raises(NothingToResolve):
        by_mia(unpaid)


def test_refund_of_payment_elsewhere_waits_for_a_person(unpaid: Story) -> None:
    by_mia(unpaid)
    unpaid.news()
    unpaid.refunded(amount=4_000)
    assert unpaid.only(facts.ReversalQueued).waiting_for == "operator"


def test_fully_refunded_given_up_transfer_is_cancelled(unpaid: Story) -> None:
    unpaid.refunded(amount=10_000)
    assert unpaid.status is S.PERMANENTLY_FAILED
    unpaid.news()
    by_mia(unpaid)
    assert unpaid.told() == ["Reopened", "Resolved"]
    assert (unpaid.status, unpaid.transfer.taken) == (S.CANCELLED, 10_000)
    assert unpaid.transfer.next_retry_at is None


def test_written_off_reversal_counts_as_taken(stuck: Story) -> None:
    by_mia(stuck)
    (reversal,) = stuck.transfer.reversals.values()
    assert stuck.told() == ["Reopened", "Resolved"]
    assert (stuck.status, reversal.state) == (S.PARTIALLY_REVERSED, ReversalStatus.RESOLVED)
    assert (stuck.transfer.taken, stuck.transfer.amount_reversed, stuck.transfer.room) == (
        4_000,
        0,
        6_000,
    )
    assert stuck.step()[0] == "nothing is due"


def test_queue_continues_after_a_write_off(stuck: Story) -> None:
    stuck.refunded("refund-2", 1_000)
    by_mia(stuck)
    assert (stuck.status, stuck.reversal.amount) == (S.REVERSAL_PENDING, 1_000)


def test_written_off_reversal_gives_nothing_back(stuck: Story) -> None:
    """The ledger does not know whether the seller paid in another way; the alarm of the failed
    refund informs a person."""
    by_mia(stuck)
    (reversal,) = stuck.transfer.reversals.values()
    assert stuck.transfer.withdraw(reversal, 4_000, "refund-1", stuck.now) == 4_000
    assert stuck.transfer.taken == 0


def test_settled_transfer_takes_part_in_refunds_again(stuck: Story) -> None:
    (reversal,) = stuck.transfer.reversals.values()
    stuck.transfer.withdraw(reversal, 4_000, "refund-1", stuck.now)
    stuck.news()
    with pytest.raises(NothingToRetry, match="no refund is owed"):
        stuck.transfer.retry("ops", "again", stuck.now)
    by_mia(stuck)
    before = stuck.status
    stuck.refunded("refund-2", 500)
    assert (before, stuck.status) == (S.PARTIALLY_REVERSED, S.REVERSAL_PENDING)


def test_stripe_transfer_completes_a_given_up_one(unpaid: Story) -> None:
    resolve_by_transfer(
        unpaid.transfer,
        unpaid.books()._replace(transfer_id=None),
        "mia",
        "made in the dashboard",
        unpaid.now,
    )
    assert unpaid.told() == ["Reopened", "Completed", "Resolved"]
    assert (unpaid.status, unpaid.transfer.stripe_transfer_id) == (S.COMPLETED, "tr_1")


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("destination", "acct_bob"),
        ("currency", "USD"),
        ("amount", 9_999),
        ("transfer_id", "another"),
    ],
)
def test_transfer_to_another_account_proves_nothing(
    unpaid: Story, member: str, value: str | int
) -> None:
    books = unpaid.books()
    other = TransferAtStripe(**{**books._asdict(), member: value})
    with pytest.raises(EvidenceDiffers, match=member):
        resolve_by_transfer(unpaid.transfer, other, "mia", "made in the dashboard", unpaid.now)
    assert unpaid.told() == []


def test_manual_reversal_settles_the_owed_one(stuck: Story) -> None:
    books = stuck.books(ReversalAtStripe("trr_9", 4_000, None))
    resolve_by_reversal(stuck.transfer, books, "trr_9", "mia", "made in the dashboard", stuck.now)
    reopened, settled, resolved = stuck.news()
    assert isinstance(reopened, facts.Reopened)
    assert isinstance(settled, facts.PartiallyReversed)
    assert isinstance(resolved, facts.Resolved)
    assert (settled.settled_by, settled.stripe_reversal_id, settled.drift) == (
        "external",
        "trr_9",
        0,
    )
    assert (reopened.actor, resolved.evidence) == ("mia", "trr_9")
    assert (stuck.status, stuck.transfer.amount_reversed) == (S.PARTIALLY_REVERSED, 4_000)


def test_one_stripe_reversal_settles_one_of_ours(story: Story, answers: type[Answers]) -> None:
    story.reversing()
    story.call(Succeeded("trr_1", 4_000))
    story.refunded("refund-2", 1_000)
    story.call(answers.not_found)
    story.news()
    books = story.books(ReversalAtStripe("trr_1", 4_000, None))
    with pytest.raises(EvidenceDiffers, match="recorded already"):
        resolve_by_reversal(
            story.transfer, books, "trr_1", "mia", "made in the dashboard", story.now
        )
    with pytest.raises(EvidenceDiffers, match="no reversal of tr_1"):
        resolve_by_reversal(
            story.transfer, books, "trr_2", "mia", "made in the dashboard", story.now
        )
    assert story.told() == []


def test_transfer_without_open_work_cannot_be_resolved(story: Story) -> None:
    story.paid()
    with pytest.raises(NothingToResolve, match="completed"):
        by_mia(story)


@pytest.mark.parametrize("answer", ["too_little", "on_hold", "refused", "rate_limited", None])
def test_waiting_transfer_is_resolved_and_never_sent(
    story: Story, answers: type[Answers], answer: str | None
) -> None:
    """Also one that is due and was never called: the seller was paid by the bank."""
    if answer is not None:
        story.call(getattr(answers, answer))
    story.news()
    by_mia(story)
    assert story.told()[-2:] == ["PermanentlyFailed", "Resolved"]
    assert (story.status, story.transfer.paid) == (S.PERMANENTLY_FAILED, False)
    assert story.passes(timedelta(days=50)).step()[0] == "nothing is due"
    with pytest.raises(NothingToRetry, match="mia resolved it"):
        story.transfer.retry("ops", "again", story.now)


@pytest.mark.parametrize("answer", ["too_little", "refused", "forbidden", None])
def test_waiting_reversal_is_resolved_and_never_sent(
    story: Story, answers: type[Answers], answer: str | None
) -> None:
    """A seller who has paid by a bank transfer is not debited again; the next reversal goes on."""
    story.reversing()
    story.refunded("refund-2", 1_000)
    if answer is not None:
        story.call(getattr(answers, answer), story.books())
    story.news()
    by_mia(story)
    assert story.told() == ["PermanentlyFailed", "Reopened", "Resolved", "ReversalRequested"]
    assert (story.reversal.refund_id, story.reversal.amount) == ("refund-2", 1_000)
    assert story.transfer.taken == 5_000


def test_waiting_reversal_is_resolved_by_one_at_stripe(
    story: Story, answers: type[Answers]
) -> None:
    story.reversing()
    story.call(answers.too_little, story.books())
    books = story.books(ReversalAtStripe("trr_9", 4_000, None))
    resolve_by_reversal(story.transfer, books, "trr_9", "mia", "made in the dashboard", story.now)
    assert (story.status, story.transfer.amount_reversed) == (S.PARTIALLY_REVERSED, 4_000)


def test_waiting_transfer_in_a_restored_ledger_is_looked_up_first(story: Story) -> None:
    story.transfer.unverified = True
    with pytest.raises(NothingToResolve, match="read first"):
        by_mia(story)


def test_running_call_has_its_outcome_first(unpaid: Story) -> None:
    unpaid.transfer.retry("ops", "again", unpaid.now)
    unpaid.find()
    unpaid.send()
    with pytest.raises(CallInFlight):
        by_mia(unpaid)


def test_unknown_operation_cannot_be_resolved(story: Story) -> None:
    story.call(Unknown("timeout", "no answer"))
    with pytest.raises(NothingToResolve):
        by_mia(story)


@pytest.mark.parametrize("amount", [9_000, 10_000])
def test_payment_at_stripe_has_the_present_or_the_first_amount(unpaid: Story, amount: int) -> None:
    unpaid.refunded("r1", 1_000)
    transfer = unpaid.transfer
    seen = TransferAtStripe("tr_9", amount, 0, "EUR", "acct_ada", None)
    other = seen._replace(amount=amount + 1)
    with pytest.raises(EvidenceDiffers, match="amount"):
        resolve_by_transfer(transfer, other, "mia", "paid", unpaid.now)
    unpaid.news()
    resolve_by_transfer(transfer, seen, "mia", "paid", unpaid.now)
    told = unpaid.news()
    completed = next(fact for fact in told if isinstance(fact, facts.Completed))
    assert (completed.stripe_transfer_id, completed.amount) == ("tr_9", amount)
    assert completed.note == "resolved by mia: paid"
    resolved = next(fact for fact in told if isinstance(fact, facts.Resolved))
    assert (resolved.actor, resolved.reason, resolved.evidence) == ("mia", "paid", "tr_9")
    assert (resolved.to, resolved.reversal_id, resolved.reversal_amount) == (None, None, None)


@pytest.mark.parametrize(
    ("held", "reason", "detail"),
    [
        (None, "resolved", "A person ended the wait."),
        ("the payment has failed", "held_back", "the payment has failed"),
    ],
)
def test_end_of_a_wait_says_why_the_transfer_waited(
    story: Story, held: str | None, reason: str, detail: str
) -> None:
    if held is not None:
        story.transfer.hold_back(held, story.now)
    by_mia(story)
    ended = next(fact for fact in story.news() if isinstance(fact, facts.PermanentlyFailed))
    assert (ended.reason, ended.detail) == (reason, detail)


def test_payment_that_was_held_as_evidence_can_be_resolved_with(story: Story) -> None:
    keep_evidence(story.transfer, "transfer", "tr_9", 10_000, "why", None, story.now)
    assert (story.status, story.transfer.paid) == (S.PERMANENTLY_FAILED, True)
    seen = TransferAtStripe("tr_9", 10_000, 0, "EUR", "acct_ada", None)
    resolve_by_transfer(story.transfer, seen, "mia", "it is ours", story.now)
    assert (story.status, story.transfer.stripe_transfer_id) == (S.COMPLETED, "tr_9")


def test_reversal_of_another_refund_is_no_evidence(stuck: Story) -> None:
    books = stuck.books(ReversalAtStripe("trr_9", 4_000, "of-another"))
    with pytest.raises(EvidenceDiffers, match="has the reversal_id 'of-another'"):
        resolve_by_reversal(stuck.transfer, books, "trr_9", "mia", "made", stuck.now)


@pytest.mark.parametrize(
    ("reversed_", "status"), [(9_999, S.PARTIALLY_REVERSED), (10_000, S.REVERSED)]
)
def test_written_off_transfer_is_reversed_if_nothing_is_left(
    stuck: Story, reversed_: int, status: TransferStatus
) -> None:
    stuck.transfer.amount_reversed = reversed_
    by_mia(stuck)
    assert stuck.status is status
