"""Transfers and reversals that a person has closed outside Stripe, and refunds that change later:
money that never came back through Stripe is never paid back through Stripe."""

import pytest

from domain.errors import NothingToResolve
from domain.fact import Fact
from domain.lifecycle import TransferStatus
from domain.order.disputes import count_dispute, revoke_dispute
from domain.seller_transfer import facts
from domain.seller_transfer.aggregate import SellerTransfer
from domain.seller_transfer.manual_resolution import resolve
from projections.alarms import latest_alarms
from projections.registry import rows_of
from tests.support.domain_story import Answers, Sale

S = TransferStatus


def alarms(transfer: SellerTransfer) -> dict[str, str]:
    told = [fact for fact in transfer.pending_events if isinstance(fact, Fact)]
    rows_of(told)  # every fact folds into its rows
    return {row.kind: row.detail for row in latest_alarms(told) if row.cleared_at is None}


def by_mia(story: Sale, evidence: str = "ticket 7") -> None:
    resolve(story.of("ada"), "mia", "settled with the seller", evidence, story.now)


def written_off(sale: type[Sale], answers: type[Answers], refunded: int = 50) -> Sale:
    """Return an order of 100 whose share of 90 is paid, and whose reversal for refund r1 a person
    has closed outside Stripe."""
    story = sale(100, {"ada": 90}).all_go_through()
    story.is_refunded("r1", refunded)
    story.answer(story.of("ada"), story.send(story.of("ada")), answers.not_found)
    assert story.of("ada").status is S.PERMANENTLY_FAILED
    by_mia(story)
    assert alarms(story.of("ada")) == {}
    return story


def settled_outside(sale: type[Sale], answers: type[Answers]) -> Sale:
    """Return an order of 100 whose share of 90 was paid to the seller outside Stripe."""
    story = sale(100, {"ada": 90})
    while story.of("ada").status is not S.PERMANENTLY_FAILED:
        due = story.of("ada").next_retry_at
        story.now = due if due is not None else story.now
        story.answer(story.of("ada"), story.send(story.of("ada")), answers.refused)
    by_mia(story, "bank statement 7")
    return story


# --- a reversal that a person has closed ----------------------------------------------------------


def test_written_off_refund_that_fails_pays_nothing(
    sale: type[Sale], answers: type[Answers]
) -> None:
    story = written_off(sale, answers)
    story.is_revoked("r1")
    assert (len(story.transfers), story.net("ada")) == (1, 90)
    told = alarms(story.of("ada"))["resolution_lapsed"]
    assert "0.45 EUR" in told
    assert "'order-1'" in told


def test_lapsed_resolution_is_ended_by_a_person(sale: type[Sale], answers: type[Answers]) -> None:
    story = written_off(sale, answers)
    story.is_revoked("r1")
    by_mia(story, "paid back by bank")
    assert alarms(story.of("ada")) == {}
    assert story.of("ada").room == 90
    with pytest.raises(NothingToResolve):
        by_mia(story)
    story.is_refunded("r2", 100)
    story.all_go_through()
    assert story.net("ada") == 0


def test_refund_that_succeeds_again_takes_nothing_twice(
    sale: type[Sale], answers: type[Answers]
) -> None:
    story = written_off(sale, answers)
    story.is_revoked("r1")
    story.is_refunded("r1", 50)
    assert alarms(story.of("ada")) == {}
    assert (story.of("ada").taken, story.of("ada").operation) == (45, None)
    story.is_revoked("r1")
    assert "resolution_lapsed" in alarms(story.of("ada"))
    assert len(story.transfers) == 1


def test_other_refund_after_a_write_off_takes_its_own_part(
    sale: type[Sale], answers: type[Answers]
) -> None:
    story = written_off(sale, answers)
    story.is_refunded("r2", 50)
    story.all_go_through()
    assert story.net("ada") == 45
    story.is_revoked("r1")
    story.all_go_through()
    assert (len(story.transfers), story.net("ada")) == (1, 45), "r2 keeps its part"
    story.is_revoked("r2")
    story.all_go_through()
    assert story.net("ada") == 90, "only the part that Stripe took comes back"


def test_refund_taken_at_stripe_comes_back_beside_a_write_off(
    sale: type[Sale], answers: type[Answers]
) -> None:
    story = written_off(sale, answers)
    story.is_refunded("r2", 50)
    story.all_go_through()
    story.is_revoked("r2")
    story.all_go_through()
    assert story.net("ada") == 90
    assert alarms(story.of("ada")) == {}
    story.is_revoked("r1")
    story.all_go_through()
    assert story.net("ada") == 90
    assert "resolution_lapsed" in alarms(story.of("ada"))


def test_written_off_dispute_that_is_won_pays_nothing(
    sale: type[Sale], answers: type[Answers]
) -> None:
    story = sale(100, {"ada": 90}).all_go_through()
    count_dispute(story.order, "dp_1", 50, "EUR", story.now)
    story.recover_shares("dispute dp_1")
    story.answer(story.of("ada"), story.send(story.of("ada")), answers.not_found)
    by_mia(story)
    revoke_dispute(story.order, "dp_1", story.now)
    story.recover_shares("dispute dp_1")
    assert (len(story.transfers), story.net("ada")) == (1, 90)
    assert "dispute 'dp_1'" in alarms(story.of("ada"))["resolution_lapsed"].casefold()


def test_dispute_that_takes_over_a_written_off_refund_tells_nobody(
    sale: type[Sale], answers: type[Answers]
) -> None:
    story = written_off(sale, answers, refunded=100)
    count_dispute(story.order, "dp_1", 100, "EUR", story.now)
    story.recover_shares("dispute dp_1")
    story.is_revoked("r1")
    assert (story.of("ada").taken, alarms(story.of("ada"))) == (90, {})
    revoke_dispute(story.order, "dp_1", story.now)
    story.recover_shares("dispute dp_1")
    assert (len(story.transfers), story.net("ada")) == (1, 90)
    assert "resolution_lapsed" in alarms(story.of("ada"))


# --- a transfer that a person has settled ---------------------------------------------------------


def test_refund_of_a_transfer_settled_outside_tells_the_amount(
    sale: type[Sale], answers: type[Answers]
) -> None:
    story = settled_outside(sale, answers)
    assert alarms(story.of("ada")) == {}
    story.is_refunded("r1", 50)
    told = alarms(story.of("ada"))["permanently_failed"]
    assert "0.45 EUR" in told
    assert "'order-1'" in told


def test_collected_refund_of_a_settled_transfer_is_resolved(
    sale: type[Sale], answers: type[Answers]
) -> None:
    story = settled_outside(sale, answers)
    story.is_refunded("r1", 50)
    story.is_refunded("r2", 50)
    assert "0.90 EUR" in alarms(story.of("ada"))["permanently_failed"]
    by_mia(story, "45 in cash")
    assert "0.45 EUR" in alarms(story.of("ada"))["permanently_failed"]
    by_mia(story, "45 in cash")
    assert alarms(story.of("ada")) == {}
    assert story.of("ada").settled_outside == "mia resolved it: settled with the seller"
    with pytest.raises(NothingToResolve):
        by_mia(story)


def test_failed_refund_of_a_settled_transfer_clears_its_alarm(
    sale: type[Sale], answers: type[Answers]
) -> None:
    story = settled_outside(sale, answers)
    story.is_refunded("r1", 50)
    story.is_revoked("r1")
    assert alarms(story.of("ada")) == {}
    assert len(story.transfers) == 1


def test_failed_refund_after_its_collection_pays_nothing(
    sale: type[Sale], answers: type[Answers]
) -> None:
    story = settled_outside(sale, answers)
    story.is_refunded("r1", 50)
    by_mia(story, "45 in cash")
    story.is_revoked("r1")
    assert len(story.transfers) == 1
    assert list(alarms(story.of("ada"))) == ["resolution_lapsed"]
    by_mia(story, "45 back in cash")
    assert alarms(story.of("ada")) == {}


def test_dispute_of_a_settled_transfer_is_told_and_withdrawn(
    sale: type[Sale], answers: type[Answers]
) -> None:
    story = settled_outside(sale, answers)
    count_dispute(story.order, "dp_1", 100, "EUR", story.now)
    story.recover_shares("dispute dp_1")
    assert "0.90 EUR" in alarms(story.of("ada"))["permanently_failed"]
    revoke_dispute(story.order, "dp_1", story.now)
    story.recover_shares("dispute dp_1")
    assert alarms(story.of("ada")) == {}


def test_reduction_of_a_settled_transfer_comes_back(
    sale: type[Sale], answers: type[Answers]
) -> None:
    """The person settled the amount that was left: the rest is owed again, at Stripe."""
    story = sale(100, {"ada": 90})
    story.is_refunded("r1", 50)
    while story.of("ada").status is not S.PERMANENTLY_FAILED:
        due = story.of("ada").next_retry_at
        story.now = due if due is not None else story.now
        story.answer(story.of("ada"), story.send(story.of("ada")), answers.refused)
    by_mia(story, "bank statement 7")
    story.is_revoked("r1")
    (made,) = story.transfers[1:]
    assert made.original == 45
    assert not any(isinstance(f, facts.OwedOutside) for f in story.of("ada").pending_events)
