"""Objects of ours at Stripe that are taken in: each once, with its cause, note and evidence."""

import pytest

from domain.identity import compensated, compensation, reversal_name
from domain.lifecycle import TransferStatus
from domain.provider_call.operation import TRANSFER
from domain.provider_call.outcome import Rejected
from domain.provider_call.stripe_objects import ReversalAtStripe, TransferAtStripe
from domain.seller_transfer import facts
from domain.seller_transfer.aggregate import SellerTransfer
from domain.seller_transfer.found_reversals import NOTE, not_recorded, take_in
from domain.seller_transfer.reversal_outcome import record_look_up as record_reversal_look_up
from domain.seller_transfer.stripe_call import end_reversal, keep_evidence
from domain.seller_transfer.transfer_outcome import complete, record_look_up
from tests.support.domain_story import START, Answers, Sale, Story, imported

S = TransferStatus


def ours(transfer: SellerTransfer, cause_id: str, amount: int) -> ReversalAtStripe:
    name = str(reversal_name(transfer.id, cause_id))
    return ReversalAtStripe(f"trr_{cause_id}", amount, name, refund_id=cause_id)


def books(transfer: SellerTransfer, *made: ReversalAtStripe, tr: str = "tr_1") -> TransferAtStripe:
    """Return the transfer as Stripe shows it, with these reversals, oldest first."""
    taken = sum(one.amount for one in made)
    names = (transfer.stripe_transfer_id or tr, transfer.amount, taken)
    return TransferAtStripe(*names, "EUR", transfer.destination, str(transfer.id), made[::-1])


def test_reversal_is_taken_in_once_in_the_order_of_stripe(story: Story) -> None:
    transfer = story.paid().transfer
    seen = books(transfer, ours(transfer, "r1", 100), ours(transfer, "r2", 200))
    assert [one.amount for one in not_recorded(transfer, seen)] == [100, 200]
    assert take_in(transfer, seen, {"r1", "r2"}, story.now) == ["r1", "r2"]
    assert not_recorded(transfer, seen) == []
    assert take_in(transfer, seen, {"r1", "r2"}, story.now) == []
    asked = [fact for fact in story.news() if isinstance(fact, facts.ReversalRequested)]
    assert [(fact.refund_id, fact.note, fact.found) for fact in asked] == [
        ("r1", NOTE, True),
        ("r2", NOTE, True),
    ]
    assert transfer.amount_reversed == 300
    assert transfer.in_flight is None


def test_reversal_known_by_its_id_at_stripe_is_not_taken_in_again(story: Story) -> None:
    """An older release recorded it under an id of its own."""
    transfer = story.paid().transfer
    made = ours(transfer, "r1", 100)
    take_in(transfer, books(transfer, made), {"r1"}, story.now)
    known = transfer.reversals.pop(made.reversal_id or "")
    transfer.reversals["older"] = known._replace(reversal_id="older")
    assert not_recorded(transfer, books(transfer, made)) == []


def test_reversal_that_has_not_moved_money_is_not_taken_in(story: Story) -> None:
    transfer = story.paid().transfer
    seen = books(transfer, ours(transfer, "r1", 100)._replace(status="pending"))
    assert not_recorded(transfer, seen) == []


@pytest.mark.parametrize(("only", "taken"), [(None, 300), ("trr_r2", 200), ("trr_r3", 0)])
def test_only_the_named_reversal_is_taken_in(story: Story, only: str | None, taken: int) -> None:
    transfer = story.paid().transfer
    seen = books(transfer, ours(transfer, "r1", 100), ours(transfer, "r2", 200))
    take_in(transfer, seen, (), story.now, only=only)
    assert transfer.amount_reversed == taken


def test_only_recorded_causes_are_recovered_again(story: Story) -> None:
    transfer = story.paid().transfer
    seen = books(transfer, ours(transfer, "r1", 100), ours(transfer, "r2", 200))
    assert take_in(transfer, seen, {"r2"}, story.now) == ["r2"]
    assert [one.missing for one in transfer.reversals.values()] == [True, False]


def test_more_than_was_paid_is_left_to_the_reconciliation(story: Story) -> None:
    transfer = story.paid().transfer
    seen = books(transfer, ours(transfer, "r1", 10_001))
    assert take_in(transfer, seen, {"r1"}, story.now) == []
    assert transfer.amount_reversed == 0
    assert take_in(transfer, books(transfer, ours(transfer, "r1", 10_000)), {"r1"}, story.now)
    assert story.status is S.REVERSED


def test_unsent_transfer_takes_nothing_in(story: Story) -> None:
    seen = books(story.transfer, ours(story.transfer, "r1", 100))
    assert take_in(story.transfer, seen, {"r1"}, story.now) == []
    assert story.transfer.amount_reversed == 0


def test_running_reversal_for_which_nothing_is_left_is_withdrawn(story: Story) -> None:
    transfer = story.paid().refunded("r1", 4_000).transfer
    seen = books(transfer, ours(transfer, "r2", 10_000))
    assert take_in(transfer, seen, {"r1", "r2"}, story.now) == ["r2", "r1"]
    assert [one.state.value for one in transfer.reversals.values()] == ["withdrawn", "reversed"]
    withdrawn = [f for f in story.news() if isinstance(f, facts.ReversalWithdrawn)]
    assert [(fact.cause_id, fact.in_flight) for fact in withdrawn] == [("r1", True)]


@pytest.mark.parametrize(("amount", "causes"), [(4_000, []), (3_000, ["r1"])])
def test_running_reversal_at_stripe_is_its_outcome(
    story: Story, amount: int, causes: list[str]
) -> None:
    transfer = story.paid().refunded("r1", 4_000).refunded("r2", 500).transfer
    seen = books(transfer, ours(transfer, "r1", amount))
    assert take_in(transfer, seen, {"r1", "r2"}, story.now) == causes
    assert transfer.amount_reversed == amount
    running = transfer.in_flight
    assert running is not None
    assert running.refund_id == "r2", "the next that waited"


def test_running_reversal_under_a_used_key_gets_the_next(
    story: Story, answers: type[Answers]
) -> None:
    transfer = story.paid().refunded("r1", 4_000).transfer
    story.call(answers.refused, story.books())
    seen = books(transfer, ours(transfer, "r2", 9_000))
    epoch = story.operation.epoch
    take_in(transfer, seen, {"r1", "r2"}, story.now)
    assert (story.reversal.refund_id, story.reversal.amount) == ("r1", 1_000)
    assert story.operation.epoch == epoch
    story.call(answers.rate_limited)
    take_in(transfer, books(transfer, *seen.reversals, ours(transfer, "r3", 10)), (), story.now)
    assert story.operation.epoch == epoch + 1
    assert story.reversal.amount == 990


# --- the transfer itself --------------------------------------------------------------------------


def test_payment_is_recorded_with_its_note_and_request(story: Story) -> None:
    complete(story.transfer, "tr_1", 10_000, "req_1", story.now, "a note")
    fact = story.last(facts.Completed)
    assert (fact.stripe_transfer_id, fact.amount) == ("tr_1", 10_000)
    assert (fact.request_id, fact.note) == ("req_1", "a note")
    complete(story.transfer, "tr_1", 10_000, "req_1", story.now)
    assert story.told() == []


def test_second_payment_at_stripe_is_evidence(story: Story) -> None:
    transfer = story.transfer
    one, other = books(transfer), books(transfer, tr="tr_2")
    record_look_up(transfer, [one, other], story.now, story.policy)
    assert transfer.stripe_transfer_id == "tr_1"
    assert story.last(facts.EvidenceHeld).stripe_id == "tr_2"
    assert transfer.evidence == {"tr_2": TRANSFER}


def test_recorded_payment_is_the_transfer_and_the_other_is_evidence(
    story: Story, answers: type[Answers]
) -> None:
    transfer = story.transfer
    story.call(answers.timeout)
    transfer.stripe_transfer_id = "tr_2"
    recorded = TransferAtStripe("tr_2", 10_000, 0, "EUR", "acct_ada", str(transfer.id))
    record_look_up(
        transfer, [recorded._replace(stripe_transfer_id="tr_1"), recorded], story.now, story.policy
    )
    assert list(transfer.evidence) == ["tr_1"]


def test_look_up_tells_which_causes_to_recover(story: Story) -> None:
    transfer = story.transfer
    seen = books(transfer, ours(transfer, "r1", 100))
    assert record_look_up(transfer, [seen], story.now, story.policy, recorded={"r1"}) == ["r1"]
    assert record_look_up(transfer, [seen], story.now, story.policy, recorded={"r1"}) == []


def test_nothing_at_stripe_leaves_no_cause_to_recover(story: Story) -> None:
    assert record_look_up(story.transfer, [], story.now, story.policy) == []
    assert (
        record_look_up(story.transfer, [], story.now, story.policy, similar=[books(story.transfer)])
        == []
    )


@pytest.mark.parametrize(
    ("status", "due", "uncleared"),
    [("pending", False, True), ("failed", False, True), ("failed", True, False)],
)
def test_imported_transfer_without_a_next_attempt_is_uncleared(
    status: str, due: bool, uncleared: bool
) -> None:
    fact = imported(status, START, next_retry_at=START if due else None)
    assert fact.uncleared is uncleared
    assert not imported("completed", START, stripe_transfer_id="tr_1").uncleared


def test_compensations_are_numbered_from_one(sale: type[Sale]) -> None:
    story = sale(100, {"ada": 90}).all_go_through()
    sold = story.of("ada", 0)
    for n in (1, 2):
        story.is_refunded("r1", 50)
        story.all_go_through()
        story.is_revoked("r1")
        story.all_go_through()
        newest = story.transfers[-1]
        assert newest.cause != sold.cause
        given_back = compensated(newest.cause)
        assert given_back is not None
        assert given_back.cause_id == "r1"
        assert newest.amount == 45
        if n == 1:
            assert newest.cause == compensation(sold.id, "r1", 1)


def test_smaller_payment_lowers_the_reversal_that_waited(
    story: Story, answers: type[Answers]
) -> None:
    story.call(answers.timeout)
    transfer = story.refunded("r1", 4_000).refunded("r2", 500).transfer
    complete(transfer, "tr_1", 9_000, None, story.now)
    assert transfer.reductions == {"r1": 1_000}
    assert [one.amount for one in transfer.reversals.values()] == [3_000, 500]
    assert (transfer.amount, transfer.taken) == (9_000, 4_500)


def test_smaller_payment_that_no_refund_explains_is_set_apart(story: Story) -> None:
    complete(story.transfer, "tr_1", 9_000, None, story.now)
    assert story.transfer.reductions == {"": 1_000}
    assert story.transfer.unexplained == 1_000


def test_transfers_of_a_restored_order_are_unverified(sale: type[Sale]) -> None:
    story = sale(100, {"ada": 90}, paid=False)
    story.order.unverified = True
    assert story.is_paid().of("ada").unverified
    assert not sale(100, {"ada": 90}).of("ada").unverified


def test_known_reversal_keeps_its_cause_and_reason_if_stripe_names_none(story: Story) -> None:
    transfer = story.reversing().transfer
    running = story.reversal
    transfer.withdraw(running, running.amount, "refund-1", story.now)
    transfer.reversals[running.reversal_id] = transfer.reversals[running.reversal_id]._replace(
        reason="dispute"
    )
    made = ReversalAtStripe("trr_1", 4_000, running.reversal_id)
    story.news()
    assert take_in(transfer, books(transfer, made), {"refund-1"}, story.now) == ["refund-1"]
    request = next(one for one in story.news() if isinstance(one, facts.ReversalRequested))
    assert (request.refund_id, request.reason, request.missing) == ("refund-1", "dispute", False)


def test_last_refusal_of_a_doubted_call_names_its_request(
    story: Story, answers: type[Answers]
) -> None:
    for _ in range(5):
        story.call(answers.timeout)
    story.news()
    story.call(Rejected(400, "no", "refused", stored=True, request_id="req_9"))
    failed, ended = story.news()[-2:]
    assert isinstance(failed, facts.Failed)
    assert isinstance(ended, facts.PermanentlyFailed)
    assert (failed.request_id, failed.code, failed.detail) == ("req_9", "no", "refused")
    assert (failed.retry_count, failed.epoch, failed.next_retry_at) == (5, 2, story.now)
    assert (ended.request_id, ended.reason, ended.detail) == ("req_9", "rejected", "refused")


def test_evidence_that_stops_a_pending_transfer_names_its_request(story: Story) -> None:
    keep_evidence(story.transfer, TRANSFER, "tr_9", 5, "why", "req_9", story.now)
    held, failed, ended = story.news()[-3:]
    assert isinstance(held, facts.EvidenceHeld)
    assert isinstance(failed, facts.Failed)
    assert isinstance(ended, facts.PermanentlyFailed)
    assert (held.what, held.stripe_id, held.amount) == (TRANSFER, "tr_9", 5)
    assert {held.detail, failed.detail, ended.detail} == {"why"}
    assert {held.request_id, failed.request_id, ended.request_id} == {"req_9"}
    assert (failed.code, failed.retry_count, failed.epoch) == (None, 0, 1)
    assert failed.reason == ended.reason == "evidence_held"
    keep_evidence(story.transfer, TRANSFER, "tr_9", 5, "why", "req_9", story.now)
    assert story.told() == []
    story.transfer.reopen("mia", "again", story.now, to=S.FAILED)
    story.news()
    keep_evidence(story.transfer, TRANSFER, "tr_9", 5, "why", "req_9", story.now)
    assert story.told() == ["PermanentlyFailed"], "nothing new is known"


@pytest.mark.parametrize(("taken", "left"), [(9_999, 1), (6_001, 3_999), (6_000, 4_000)])
def test_running_reversal_asks_for_at_most_what_is_left(
    story: Story, taken: int, left: int
) -> None:
    transfer = story.reversing().transfer
    take_in(transfer, books(transfer, ours(transfer, "r2", taken)), {"r2"}, story.now)
    assert (story.reversal.refund_id, story.reversal.amount) == ("refund-1", left)


def test_imported_reversal_without_a_refund_is_withdrawn_without_a_cause(story: Story) -> None:
    transfer = story.reversing().transfer
    running = story.reversal
    transfer.reversals[running.reversal_id] = running._replace(refund_id=None)
    seen = books(transfer, ours(transfer, "r2", 10_000))
    assert take_in(transfer, seen, {"r2"}, story.now) == ["r2"]
    withdrawn = next(one for one in story.news() if isinstance(one, facts.ReversalWithdrawn))
    assert (withdrawn.cause_id, withdrawn.refund_id) == ("", None)


def test_look_up_for_a_reversal_takes_the_others_in(story: Story, answers: type[Answers]) -> None:
    transfer = story.reversing().transfer
    story.call(answers.timeout)
    story.call(answers.replayed_outage)
    look = story.look()
    seen = books(transfer, ours(transfer, "r2", 100))
    causes = record_reversal_look_up(
        transfer, seen, story.now, story.policy, look, recorded={"r2", "refund-1"}
    )
    assert causes == ["r2"]
    assert (transfer.amount_reversed, story.reversal.refund_id) == (100, "refund-1")
    assert story.send().key.endswith(":e2"), "the first key repeats an answer 500"


def test_evidence_for_another_operation_does_not_stop_the_running_one(story: Story) -> None:
    transfer = story.reversing().transfer
    keep_evidence(transfer, TRANSFER, "tr_9", 5, "why", None, story.now)
    assert story.told() == ["EvidenceHeld"]
    assert story.status is S.REVERSAL_PENDING


@pytest.mark.parametrize(("amount", "shortened"), [(4_000, set()), (3_999, {"refund-1"})])
def test_cause_is_shortened_if_stripe_took_less(
    story: Story, amount: int, shortened: set[str]
) -> None:
    transfer = story.reversing().transfer
    end_reversal(transfer, story.reversal, "trr_1", amount, "us", story.now)
    assert transfer.shortened == shortened
    fact = story.last(facts.PartiallyReversed)
    assert (fact.amount, fact.drift, fact.settled_by) == (amount, amount - 4_000, "us")


@pytest.mark.parametrize(
    ("code", "why"),
    [(None, "awaiting_funds"), ("parameter_invalid", "rejected"), ("other", "awaiting_funds")],
)
def test_code_that_is_not_about_funds_outweighs_the_words(
    story: Story, code: str | None, why: str
) -> None:
    story.reversing()
    refusal = Rejected(400, code, "insufficient", stored=True, says_no_funds=True)
    story.call(refusal, story.books())
    assert story.last(facts.AttemptDeferred).why == why
