"""Facts of a transfer: each field arrives in the fact and in the state."""

from datetime import timedelta

import pytest

from domain.lifecycle import TransferStatus
from domain.provider_call.operation import TRANSFER, Deferral, Operation
from domain.provider_call.reasons import DeferralReason
from domain.seller_transfer import facts
from domain.seller_transfer.reversal import Reversal, ReversalStatus
from domain.seller_transfer.state import NOT_RECORDED
from tests.support.domain_story import START, Answers, Story

MINUTE = timedelta(minutes=1)
LATER = START + MINUTE
S = TransferStatus
DEFERRED = Deferral(
    why="unknown",
    detail="no answer",
    next_retry_at=LATER,
    retry_count=2,
    epoch=3,
    open=True,
    exhausted=True,
    look_first=True,
    hindered=4,
    hindered_since=START - MINUTE,
    lost=5,
    waiting_for="stripe",
    awaiting_since=START - 2 * MINUTE,
    given_back=6,
    request_id="req_1",
)
CALLED = Operation(TRANSFER, epoch=2, attempt=1, epoch_began=START)


def test_deferral_is_recorded_in_each_field(story: Story) -> None:
    before = story.operation
    story.transfer.defer(DEFERRED, story.now)
    fact = story.last(facts.AttemptDeferred)
    members = set(Deferral._fields) - {"undecided_since"}
    assert {name: getattr(fact, name) for name in members} == {
        name: getattr(DEFERRED, name) for name in members
    }
    assert fact.what == TRANSFER
    assert story.operation == before.deferred(DEFERRED, story.now)
    assert story.transfer.next_retry_at == LATER


def test_proven_absence_drops_only_evidence_for_the_operation(story: Story) -> None:
    story.transfer.evidence = {"tr_9": TRANSFER, "trr_9": "rev-1"}
    story.transfer.defer(DEFERRED, story.now)
    assert len(story.transfer.evidence) == 2
    story.transfer.defer(DEFERRED._replace(why=DeferralReason.ABSENT.value), story.now)
    assert story.transfer.evidence == {"trr_9": "rev-1"}


@pytest.mark.parametrize(("began", "epoch"), [(None, 2), (START, 3)])
def test_reduction_gets_a_new_key_if_the_old_one_was_used(
    story: Story, began: object, epoch: int
) -> None:
    story.transfer.operation = CALLED if began else CALLED._replace(epoch_began=None)
    story.refunded("r1", 1_000)
    fact = story.last(facts.AmountReduced)
    assert (fact.by, fact.amount, fact.epoch) == (1_000, 9_000, epoch)
    assert (story.operation.epoch, story.operation.epoch_began) == (epoch, None)


def test_reductions_of_one_refund_add_up(story: Story) -> None:
    story.refunded("r1", 1_000).refunded("r1", 2_000)
    assert (story.transfer.amount, story.transfer.reductions) == (7_000, {"r1": 3_000})
    story.refunded("r1", 7_000)
    assert (story.status, story.transfer.reductions) == (S.CANCELLED, {"r1": 10_000})
    transfer = story.transfer
    assert (transfer.operation, transfer.next_retry_at, transfer.held) == (None, None, None)


def test_hold_ends_with_a_cancelled_transfer(story: Story) -> None:
    story.transfer.hold_back("the payment has failed", story.now)
    story.refunded("r1", 10_000)
    assert (story.status, story.transfer.held) == (S.CANCELLED, None)


def test_held_transfer_is_out_of_the_queue_unless_its_call_is_open(
    story: Story, answers: type[Answers]
) -> None:
    story.transfer.hold_back("the payment has failed", story.now)
    fact = story.last(facts.HeldBack)
    assert (fact.why, fact.next_retry_at) == ("the payment has failed", None)
    assert (story.transfer.held, story.transfer.next_retry_at) == (fact.why, None)
    assert not story.operation.look_first
    other = Story()
    other.call(answers.timeout)
    due = other.transfer.next_retry_at
    other.transfer.hold_back("the payment has failed", other.now)
    assert (other.last(facts.HeldBack).next_retry_at, other.transfer.next_retry_at) == (due, due)
    assert other.operation.look_first


def test_only_unsent_transfers_are_held_back(story: Story) -> None:
    story.paid().transfer.hold_back("the payment has failed", story.now)
    assert story.told() == []
    cancelled = Story().refunded("r1", 10_000)
    cancelled.news()
    cancelled.transfer.hold_back("the payment has failed", story.now)
    assert cancelled.told() == []


def test_retry_ends_every_wait(story: Story) -> None:
    story.transfer.awaits_charge = True
    story.transfer.hold_back("the payment has failed", story.now)
    story.transfer.retry("mia", "it is fine", story.now)
    fact = story.last(facts.RetryRequested)
    assert (fact.actor, fact.reason, fact.next_retry_at) == ("mia", "it is fine", story.now)
    transfer = story.transfer
    assert (transfer.held, transfer.awaits_charge, transfer.next_retry_at) == (
        None,
        False,
        story.now,
    )


@pytest.mark.parametrize(
    ("what", "unclaimed", "paid"),
    [(TRANSFER, False, True), (TRANSFER, True, False), ("rev-1", False, False)],
)
def test_evidence_of_the_transfer_itself_means_paid(
    story: Story, what: str, unclaimed: bool, paid: bool
) -> None:
    story.transfer.record(
        facts.EvidenceHeld(
            **story.transfer.next(story.now),
            what=what,
            stripe_id="obj_1",
            amount=1,
            detail="",
            unclaimed=unclaimed,
        )
    )
    assert (story.transfer.paid, story.transfer.evidence) == (paid, {"obj_1": what})


def given_up(story: Story) -> Story:
    transfer = story.transfer
    transfer.record(
        facts.Failed(
            **transfer.next(story.now),
            reason="rejected",
            code=None,
            detail="",
            retry_count=3,
            next_retry_at=None,
            epoch=2,
        )
    )
    transfer.operation = CALLED._replace(
        in_call=True, unknown=True, exhausted=True, retry_count=3, hindered=2
    )
    transfer.held = "the payment has failed"
    gave_up = facts.PermanentlyFailed(**transfer.next(story.now), reason="rejected", detail="")
    transfer.record(gave_up)
    return story


def test_given_up_operation_begins_with_a_look_up(story: Story) -> None:
    given_up(story)
    assert story.operation == CALLED._replace(
        look_first=True, retry_count=3, hindered=2, doubtful=True
    )
    assert (story.transfer.next_retry_at, story.transfer.held) == (None, None)


def test_reopened_transfer_keeps_its_key_and_forgets_its_attempts(story: Story) -> None:
    given_up(story).transfer.retry("mia", "again", LATER)
    fact = story.last(facts.Reopened)
    assert (fact.to, fact.actor, fact.reason) == ("failed", "mia", "again")
    assert (fact.next_retry_at, fact.epoch, fact.reversal_id, fact.amount) == (
        LATER,
        2,
        None,
        10_000,
    )
    assert story.operation == CALLED._replace(look_first=True, reopened=True, doubtful=True)


def test_refusal_is_recorded_with_its_wait(story: Story) -> None:
    story.transfer.operation = CALLED._replace(in_call=True, unknown=True)
    story.transfer.record(
        facts.Failed(
            **story.transfer.next(story.now),
            reason="awaiting_funds",
            code="balance_insufficient",
            detail="too little",
            retry_count=2,
            next_retry_at=None,
            epoch=3,
            waiting_for="funds",
            awaiting_since=START,
        )
    )
    assert story.operation == Operation(
        TRANSFER, epoch=3, attempt=1, retry_count=2, awaiting_since=START
    )
    assert (story.status, story.transfer.next_retry_at) == (S.FAILED, None)


def test_reported_cause_explains_what_was_sent_less(story: Story) -> None:
    transfer = story.paid().transfer
    transfer.reductions = {NOT_RECORDED: 500, "r2": 10}
    mine = Reversal("rev-1", "r1", 300, "refund", ReversalStatus.REVERSED, settled=300)
    transfer.reversals = {
        "rev-1": mine._replace(missing=True),
        "rev-2": mine._replace(reversal_id="rev-2", refund_id="r3", missing=True),
    }
    transfer.explain("r1", 200, story.now)
    fact = story.last(facts.MissingCauseReported)
    assert (fact.refund_id, fact.by, fact.left) == ("r1", 200, 600)
    assert transfer.reductions == {NOT_RECORDED: 300, "r2": 10, "r1": 200}
    assert transfer.unexplained == 600
    assert [one.missing for one in transfer.reversals.values()] == [False, True]
    transfer.explain("r2", 300, story.now)
    assert transfer.reductions == {NOT_RECORDED: 0, "r2": 310, "r1": 200}
    transfer.reversals["rev-1"] = mine
    transfer.explain("r1", 0, story.now)
    assert story.last(facts.MissingCauseReported).left == 300
    assert transfer.reductions == {NOT_RECORDED: 0, "r2": 310, "r1": 200}


@pytest.mark.parametrize(("stays", "kept", "lapsed"), [(None, 300, 0), (100, 100, 0), (0, 0, 0)])
def test_resolved_reversal_stays_closed_with_its_amount(
    story: Story, stays: int | None, kept: int, lapsed: int
) -> None:
    transfer = story.paid().transfer
    transfer.reversals["rev-1"] = Reversal(
        "rev-1", "r1", 300, "refund", ReversalStatus.FAILED, lapsed=50
    )
    transfer.record(
        facts.Resolved(
            **transfer.next(story.now),
            actor="mia",
            reason="paid",
            evidence="ticket 7",
            reversal_id="rev-1",
            reversal_amount=stays,
        )
    )
    reversal = transfer.reversals["rev-1"]
    assert (reversal.state, reversal.amount, reversal.lapsed) == (
        ReversalStatus.RESOLVED,
        kept,
        lapsed,
    )
    assert transfer.settled_outside is None


def test_decided_source_is_named_from_the_next_key_on(story: Story) -> None:
    def decide(source: str | None, epoch: int, due: object = None) -> None:
        story.transfer.record(
            facts.SourceDecided(
                **story.transfer.next(story.now),
                source_transaction=source,
                why="",
                epoch=epoch,
                next_retry_at=LATER if due else None,
            )
        )

    story.transfer.awaits_charge = True
    story.transfer.operation = CALLED
    decide("ch_1", 3)
    transfer = story.transfer
    assert (transfer.source_now, transfer.awaits_charge) == ("ch_1", False)
    assert (story.operation.epoch, story.operation.epoch_began) == (3, None)
    assert transfer.next_retry_at == START
    transfer.operation = CALLED._replace(unknown=True)
    decide(None, 4, due=True)
    assert transfer.next_retry_at == LATER
    assert story.operation == CALLED._replace(unknown=True), "an open call keeps its key"
    assert transfer.source_now is None
    transfer.operation = CALLED
    decide("ch_2", 2)
    assert story.operation.epoch_began == START
    assert transfer.source_now == "ch_2"


@pytest.mark.parametrize("open_", [True, False])
def test_refund_waiting_for_a_held_transfer_reduces_it_once_closed(
    story: Story, open_: bool
) -> None:
    transfer = story.transfer
    transfer.reversals["rev-1"] = Reversal("rev-1", "r1", 300, "refund", ReversalStatus.QUEUED)
    transfer.operation = CALLED._replace(unknown=open_)
    story.news()
    transfer.hold_back("the payment has failed", story.now)
    more = [] if open_ else ["ReversalWithdrawn", "AmountReduced"]
    assert story.told() == ["HeldBack", *more]
    assert transfer.amount == (10_000 if open_ else 9_700)
