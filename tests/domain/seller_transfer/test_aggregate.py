"""Commands of a transfer: the statuses that may follow, and each field of the recorded facts."""

from datetime import timedelta

import pytest

from domain.errors import CallInFlight, ContentDiffers, IllegalTransition, NothingToRetry
from domain.identity import DISPUTE, reversal_name, transfer_stream
from domain.lifecycle import TransferStatus
from domain.provider_call.operation import TRANSFER, Operation
from domain.seller_transfer import facts
from domain.seller_transfer.aggregate import SellerTransfer, causes_to_recover, causes_vanished
from domain.seller_transfer.reversal import Reversal, ReversalStatus
from tests.support.domain_story import START, Answers, Story

S, R = TransferStatus, ReversalStatus
SECOND = timedelta(seconds=1)


def reversal(state: ReversalStatus, refund_id: str | None = "r1", amount: int = 100) -> Reversal:
    return Reversal(f"rev-{refund_id}", refund_id, amount, "refund", state)


def holding(story: Story, *held: Reversal) -> SellerTransfer:
    transfer = story.paid().transfer
    transfer.reversals = {one.reversal_id: one for one in held}
    return transfer


def given_up(story: Story, answers: type[Answers]) -> Story:
    """Let Stripe refuse the transfer until no attempt is left."""
    while story.status is not S.PERMANENTLY_FAILED:
        story.call(answers.refused)
    return story


def test_new_transfer_is_due_unless_its_charge_is_read() -> None:
    due = SellerTransfer.create(
        now=START,
        order_id="o1",
        seller_id="ada",
        destination="acct_ada",
        amount=5,
        currency="EUR",
        source_transaction="ch_1",
    )
    assert (due.id, due.version) == (transfer_stream("o1", "ada"), 1)
    assert (due.next_retry_at, due.awaits_charge, due.operation) == (
        START,
        False,
        Operation(TRANSFER),
    )
    assert (due.original, due.amount, due.transfer_group, due.begun_at) == (5, 5, "o1", START)
    assert (due.source_transaction, due.source_now, due.accounts) == ("ch_1", "ch_1", ["acct_ada"])
    waits = SellerTransfer.create(
        now=START,
        awaits_charge=True,
        order_id="o1",
        seller_id="ada",
        destination="acct_ada",
        amount=5,
        currency="EUR",
        cause="a compensation",
    )
    assert waits.id == transfer_stream("o1", "ada", "a compensation")
    assert (waits.next_retry_at, waits.awaits_charge) == (None, True)


def test_status_that_may_not_follow_changes_nothing(story: Story) -> None:
    transfer = story.paid().transfer
    for to in (S.FAILED, S.PENDING, S.PERMANENTLY_FAILED):
        with pytest.raises(IllegalTransition, match="Reopened would take"):
            transfer.reopen("mia", "again", story.now, to=to)
    assert (story.told(), story.status) == ([], S.COMPLETED)


def test_only_reopening_is_up_to_a_person(story: Story, answers: type[Answers]) -> None:
    given_up(story, answers)
    refused = facts.Failed(
        **story.transfer.next(story.now),
        reason="rejected",
        code=None,
        detail="",
        retry_count=0,
        next_retry_at=None,
        epoch=1,
    )
    with pytest.raises(IllegalTransition):
        story.transfer.record(refused)
    story.transfer.retry("mia", "again", story.now)
    assert story.status is S.FAILED


@pytest.mark.parametrize("amount", [0, -1, 10_001])
def test_amount_beyond_the_room_is_refused(story: Story, amount: int) -> None:
    with pytest.raises(ValueError, match="room for 10000"):
        story.refunded("r1", amount)


def test_reversal_of_a_paid_transfer_is_due_at_once(story: Story) -> None:
    story.paid().refunded("r1", 100)
    fact = story.only(facts.ReversalRequested)
    assert (fact.reversal_id, fact.refund_id) == (str(reversal_name(story.transfer.id, "r1")), "r1")
    assert (fact.amount, fact.reason, fact.next_retry_at) == (100, "refund", story.now)
    assert (fact.epoch, fact.note, fact.found, fact.missing) == (1, None, False, False)


def test_reversal_that_waits_says_for_what(story: Story, answers: type[Answers]) -> None:
    story.call(answers.timeout)
    story.refunded(f"{DISPUTE}dp", 100)
    fact = story.last(facts.ReversalQueued)
    assert (fact.refund_id, fact.amount, fact.reason) == (f"{DISPUTE}dp", 100, "dispute")
    assert fact.waiting_for == "transfer"
    other = Story().reversing().refunded("r2", 100)
    assert other.last(facts.ReversalQueued).waiting_for == "reversal"
    other.call(answers.not_found)
    other.refunded("r2", 100)
    fact = other.last(facts.ReversalQueued)
    assert fact.waiting_for == "operator"
    assert fact.reversal_id == str(reversal_name(other.transfer.id, "r2", 2))


def test_reversal_with_nothing_sent_is_joined_with_the_next_of_its_refund(
    story: Story, answers: type[Answers]
) -> None:
    story.paid().refunded("r1", 100)
    story.news()
    story.refunded("r1", 30)
    assert story.last(facts.ReversalRequested).amount == 130, "one reversal of one refund"
    story.refunded("r2", 7).refunded("r2", 2)
    assert [(one.refund_id, one.amount) for one in story.transfer.queue] == [("r2", 9)]
    story.call(answers.timeout)
    story.refunded("r1", 5)
    assert [(one.refund_id, one.amount) for one in story.transfer.queue] == [("r2", 9), ("r1", 5)]
    assert story.reversal.amount == 130, "a call that was begun keeps its amount"


def test_reversal_whose_call_a_restore_may_have_lost_is_not_joined(story: Story) -> None:
    transfer = story.paid().refunded("r1", 100).transfer
    lost = story.operation
    transfer.operation = lost._replace(vanished_in=lost.epoch, looked_at=story.now)
    story.refunded("r1", 30)
    assert story.reversal.amount == 100, "the lost call may still leave, under its key"
    assert [(one.refund_id, one.amount) for one in transfer.queue] == [("r1", 30)]


def test_oldest_waiting_reversal_is_requested_next(story: Story) -> None:
    transfer = holding(story, reversal(R.QUEUED, "r1", 10), reversal(R.QUEUED, "r2", 20))
    transfer.release_queue(story.now)
    fact = story.only(facts.ReversalRequested)
    assert (fact.reversal_id, fact.refund_id, fact.amount) == ("rev-r1", "r1", 10)
    transfer.release_queue(story.now)
    assert story.told() == [], "one reversal runs at a time"


@pytest.mark.parametrize(
    ("left", "told", "shortened"),
    [
        (30, [], set()),
        (29, ["ReversalReduced"], {"r2"}),
        (10, ["ReversalWithdrawn"], {"r2"}),
        (9, ["ReversalReduced", "ReversalWithdrawn"], {"r1", "r2"}),
        (-5, ["ReversalWithdrawn", "ReversalWithdrawn"], {"r1", "r2"}),
    ],
)
def test_waiting_reversals_fit_into_what_is_left(
    story: Story, left: int, told: list[str], shortened: set[str]
) -> None:
    transfer = holding(story, reversal(R.QUEUED, "r1", 10), reversal(R.QUEUED, "r2", 20))
    transfer.fit_queue(left, story.now)
    news = story.news()
    assert ([type(fact).__name__ for fact in news], transfer.shortened) == (told, shortened)
    lowered = [fact for fact in news if isinstance(fact, facts.ReversalReduced)]
    assert {fact.epoch for fact in lowered} <= {1}
    assert sum(one.amount for one in transfer.queue) == max(left, 0)


def test_withdrawn_reversal_names_its_end(story: Story) -> None:
    transfer = story.reversing().transfer
    assert transfer.withdraw(story.reversal, 4_000, "r9", story.now) == 4_000
    fact = story.only(facts.ReversalWithdrawn)
    assert (fact.refund_id, fact.amount, fact.amount_reversed) == ("refund-1", 4_000, 0)
    assert (fact.in_flight, fact.cause_id) == (True, "r9")
    assert (story.status, transfer.operation) == (S.PARTIALLY_REVERSED, None)


@pytest.mark.parametrize(("called", "epoch"), [(False, 1), (True, 2)])
def test_lowered_reversal_gets_another_key_if_its_key_was_used(
    story: Story, answers: type[Answers], called: bool, epoch: int
) -> None:
    transfer = story.reversing().transfer
    if called:
        story.call(answers.rate_limited)
        story.news()
    assert transfer.withdraw(story.reversal, 1_000, "r9", story.now) == 1_000
    fact = story.only(facts.ReversalReduced)
    assert (fact.amount, fact.cause_id, fact.epoch) == (3_000, "r9", epoch)
    assert (story.operation.epoch, story.operation.epoch_began) == (epoch, None)
    assert story.operation.what == story.reversal.reversal_id


def test_lowered_waiting_reversal_leaves_the_running_one_its_key(
    story: Story, answers: type[Answers]
) -> None:
    transfer = story.reversing().refunded("r2", 100).transfer
    story.call(answers.rate_limited)
    before = story.operation
    (queued,) = transfer.queue
    story.news()
    assert transfer.withdraw(queued, 40, "r2", story.now) == 40
    assert story.only(facts.ReversalReduced).epoch == 1
    assert story.operation == before


def test_open_reversal_is_contested_once_and_not_withdrawn(
    story: Story, answers: type[Answers]
) -> None:
    transfer = story.reversing().transfer
    story.call(answers.timeout)
    story.news()
    assert transfer.withdraw(story.reversal, 4_000, "r9", story.now) == 0
    fact = story.only(facts.ReversalContested)
    assert (fact.reversal_id, fact.cause_id) == (story.reversal.reversal_id, "r9")
    assert story.reversal.contested
    assert transfer.withdraw(story.reversal, 4_000, "r9", story.now) == 0
    assert story.told() == []


def test_reversal_of_a_restored_transfer_is_open_until_looked_up(story: Story) -> None:
    transfer = story.reversing().refunded("r2", 100).transfer
    queued, running = transfer.queue[0], story.reversal
    assert not transfer.is_open(queued)
    assert not transfer.is_open(running)
    transfer.unverified = True
    assert transfer.is_open(queued)
    assert transfer.is_open(running)
    assert not transfer.is_open(reversal(R.FAILED))
    unpaid = Story().transfer
    unpaid.unverified = True
    assert not unpaid.is_open(reversal(R.QUEUED))


def test_undone_reductions_are_those_that_became_smaller(story: Story) -> None:
    transfer = story.transfer
    transfer.reductions = {"r1": 10, "r2": 5}
    assert transfer.undone_since({"r1": 10, "r2": 6, "r3": 1, "r4": 0}) == ["r2", "r3"]


def test_stripe_paid_more_so_the_newest_reductions_are_undone(story: Story) -> None:
    story.refunded("r1", 1_000).refunded("r2", 300).refunded("r3", 200)
    transfer = story.transfer
    transfer.undo_reductions(-1)
    assert transfer.reductions == {"r1": 1_000, "r2": 300, "r3": 200}
    transfer.undo_reductions(450)
    assert transfer.reductions == {"r1": 1_000, "r2": 50, "r3": 0}


# --- operators ------------------------------------------------------------------------------------


def test_retry_waits_for_the_outcome_of_a_call(story: Story) -> None:
    story.send()
    with pytest.raises(CallInFlight):
        story.transfer.retry("mia", "again", story.now)


def test_paid_transfer_has_nothing_to_retry(story: Story) -> None:
    with pytest.raises(NothingToRetry, match="completed and no call"):
        story.paid().transfer.retry("mia", "again", story.now)


def given_up_reversal(story: Story, answers: type[Answers]) -> SellerTransfer:
    transfer = story.reversing().refunded("r2", 100).transfer
    story.call(answers.not_found)
    story.news()
    assert story.status is S.PERMANENTLY_FAILED
    return transfer


def test_reopened_reversal_is_the_failed_one(story: Story, answers: type[Answers]) -> None:
    transfer = given_up_reversal(story, answers)
    owed, before = transfer.owed, story.operation
    assert owed is not None
    assert (owed.refund_id, owed.state) == ("refund-1", R.FAILED)
    transfer.reversals = dict(reversed(transfer.reversals.items()))
    assert transfer.owed == owed, "whichever is the oldest"
    transfer.retry("mia", "again", story.now)
    fact = story.only(facts.Reopened)
    assert (fact.to, fact.reversal_id, fact.amount) == ("reversal_pending", owed.reversal_id, 4_000)
    assert (fact.actor, fact.reason, fact.next_retry_at) == ("mia", "again", story.now)
    assert fact.epoch == before.epoch
    assert story.reversal.reversal_id == owed.reversal_id
    assert story.operation.look_first


def test_reversal_owed_is_the_oldest_if_none_has_failed(
    story: Story, answers: type[Answers]
) -> None:
    transfer = given_up_reversal(story, answers)
    failed = transfer.owed
    assert failed is not None
    transfer.withdraw(failed, 4_000, "refund-1", story.now)
    owed = transfer.owed
    assert owed is not None
    assert owed.refund_id == "r2"
    story.news()
    transfer.operation = story.operation._replace(epoch=5)
    transfer.retry("mia", "again", story.now)
    fact = story.only(facts.Reopened)
    assert (fact.epoch, fact.amount) == (1, 100)
    assert story.operation == Operation(owed.reversal_id, look_first=True, reopened=True)


def test_transfer_that_owes_no_reversal_is_not_reopened(
    story: Story, answers: type[Answers]
) -> None:
    transfer = given_up_reversal(story, answers)
    transfer.reversals = {}
    assert transfer.owed is None
    with pytest.raises(NothingToRetry, match="no refund is owed"):
        transfer.retry("mia", "again", story.now)
    transfer.stripe_transfer_id = None
    with pytest.raises(NothingToRetry, match="missing; backfill"):
        transfer.retry("mia", "again", story.now)


def test_settled_or_refunded_transfer_is_not_reopened(story: Story, answers: type[Answers]) -> None:
    transfer = given_up(story, answers).transfer
    transfer.settled_outside = "mia paid it"
    with pytest.raises(NothingToRetry, match="mia paid it"):
        transfer.retry("mia", "again", story.now)
    transfer.settled_outside, transfer.amount = None, 0
    with pytest.raises(NothingToRetry, match="whole transfer unnecessary"):
        transfer.retry("mia", "again", story.now)


def test_missing_stripe_id_is_added_once(story: Story) -> None:
    transfer = story.paid().transfer
    transfer.stripe_transfer_id = None
    transfer.backfill("tr_7", "mia", "the dashboard", story.now)
    fact = story.only(facts.StripeTransferIdBackfilled)
    assert (fact.stripe_transfer_id, fact.actor, fact.evidence) == ("tr_7", "mia", "the dashboard")
    transfer.backfill("tr_7", "mia", "the dashboard", story.now)
    assert story.told() == []
    with pytest.raises(ContentDiffers, match="stripe_transfer_id"):
        transfer.backfill("tr_8", "mia", "the dashboard", story.now)


# --- causes to recover ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "vanished"),
    [
        (reversal(R.REVERSED)._replace(contested=True), ["r1"]),
        (reversal(R.FAILED)._replace(contested=True), ["r1"]),
        (reversal(R.REVERSED), []),
        (reversal(R.WITHDRAWN)._replace(contested=True), []),
        (reversal(R.REVERSED, None)._replace(contested=True), []),
    ],
)
def test_cause_has_vanished_if_its_reversal_was_contested(
    story: Story, one: Reversal, vanished: list[str]
) -> None:
    assert causes_vanished(holding(story, one)) == vanished


@pytest.mark.parametrize(
    ("operation", "vanished"),
    [
        (Operation("rev-r1", in_call=True), []),
        (Operation("rev-r1", unknown=True), []),
        (Operation("rev-r1"), ["r1"]),
        (Operation("rev-r2", in_call=True), ["r1"]),
        (None, ["r1"]),
    ],
)
def test_cause_of_an_open_call_is_recovered_after_its_outcome(
    story: Story, operation: Operation | None, vanished: list[str]
) -> None:
    transfer = holding(story, reversal(R.REQUESTED)._replace(contested=True))
    transfer.operation = operation
    assert causes_vanished(transfer) == vanished


def test_causes_to_recover_are_named_once(story: Story) -> None:
    transfer = holding(story, reversal(R.REVERSED)._replace(contested=True))
    transfer.reductions = {"r2": 1}
    transfer.shortened = {f"r{n}" for n in range(1, 10)}
    others = [f"r{n}" for n in range(3, 10)]
    assert causes_to_recover(transfer, {"r2": 2}) == ["r1", "r2", *others]
    assert causes_to_recover(transfer, {}) == ["r1", "r2", *others]


@pytest.mark.parametrize("open_", [True, False])
def test_held_transfer_stays_held_once_nothing_can_be_at_stripe(
    story: Story, answers: type[Answers], open_: bool
) -> None:
    story.transfer.hold_back("the payment has failed", story.now)
    story.transfer.next_retry_at = story.now
    story.call(answers.timeout if open_ else answers.rate_limited)
    told = story.told()
    assert told[-1] == ("AttemptDeferred" if open_ else "HeldBack")
    assert (story.transfer.next_retry_at is None) is not open_


def test_refund_that_waited_reduces_a_refused_transfer(
    story: Story, answers: type[Answers]
) -> None:
    story.call(answers.timeout)
    story.refunded("r1", 1_000)
    story.news()
    story.call(answers.refused)
    withdrawn, reduced = story.news()[-2:]
    assert isinstance(withdrawn, facts.ReversalWithdrawn)
    assert isinstance(reduced, facts.AmountReduced)
    assert (withdrawn.cause_id, withdrawn.in_flight) == ("r1", False)
    assert (reduced.refund_id, reduced.by, reduced.amount) == ("r1", 1_000, 9_000)
    assert story.transfer.reductions == {"r1": 1_000}


def test_refusal_beside_an_unknown_call_keeps_the_doubt(
    story: Story, answers: type[Answers]
) -> None:
    story.call(answers.timeout)
    story.news()
    story.call(answers.invalid)
    fact = story.last(facts.AttemptDeferred)
    assert (fact.why, fact.open, fact.epoch) == ("unknown", True, 1)


def test_stored_refusal_ends_the_doubt_about_what_is_left(
    story: Story, answers: type[Answers]
) -> None:
    story.reversing().call(answers.timeout)
    others = story.books(Story.theirs(7_000))
    story.call(answers.refused, others)
    assert (story.reversal.amount, story.operation.open) == (3_000, False)
    assert story.transfer.amount_reversed == 7_000


def test_refusal_that_stripes_records_do_not_explain_is_read_again_later(
    story: Story, answers: type[Answers]
) -> None:
    story.reversing().call(answers.refused)
    fact = story.last(facts.AttemptDeferred)
    assert (fact.why, fact.next_retry_at) == ("unread", story.now + SECOND)
    assert (fact.retry_count, fact.open) == (0, True)
