"""Reversals that others made at Stripe: known from ours, recorded once, and counted once."""

import pytest

from domain.identity import reversal_name
from domain.lifecycle import TransferStatus
from domain.provider_call.stripe_objects import ReversalAtStripe
from domain.seller_transfer import facts
from domain.seller_transfer.external_reversals import (
    MOST_ROUNDS,
    external_id,
    external_reversals,
    named_by_us,
    names_ours,
    record_external,
)
from domain.seller_transfer.reversal import Reversal, ReversalStatus
from tests.support.domain_story import Story

UUID_LIKE = "00000000-0000-4000-8000-000000000001"


def theirs(amount: int, stripe_id: str = "trr_1") -> ReversalAtStripe:
    return ReversalAtStripe(stripe_id, amount, None)


def external(story: Story, *made: ReversalAtStripe) -> list[str]:
    """Return Stripe's ids of the reversals of others; `made`: the oldest first."""
    found = external_reversals(story.transfer, story.books(*made[::-1]))
    return [one.stripe_reversal_id for one in found]


def test_reversals_of_others_are_listed_oldest_first(story: Story) -> None:
    story.paid()
    assert external(story, theirs(100, "trr_1"), theirs(50, "trr_2")) == ["trr_1", "trr_2"]


@pytest.mark.parametrize("status", ["pending", "failed"])
def test_reversal_that_moved_no_money_is_not_listed(story: Story, status: str) -> None:
    assert external(story.paid(), theirs(100)._replace(status=status)) == []


def test_reversals_recorded_under_any_id_are_not_listed(story: Story) -> None:
    story.paid()
    ours = Reversal("rev-1", "r1", 10, "refund", ReversalStatus.FAILED)
    settled = ours._replace(
        reversal_id="rev-2", state=ReversalStatus.REVERSED, stripe_reversal_id="trr_2"
    )
    third = ours._replace(reversal_id=external_id(story.transfer.id, "trr_3"))
    story.transfer.reversals = {one.reversal_id: one for one in (ours, settled, third)}
    named = ReversalAtStripe("trr_1", 10, "rev-1")
    made = (named, theirs(10, "trr_2"), theirs(10, "trr_3"), theirs(10, "trr_4"))
    assert external(story, *made) == ["trr_4"]


def test_reversal_with_an_id_of_ours_is_not_listed(story: Story) -> None:
    """A restored backup may have lost it, and its refund is reported later."""
    assert external(story.paid(), ReversalAtStripe("trr_1", 10, UUID_LIKE)) == []
    assert external(story, ReversalAtStripe("trr_1", 10, "their-own-name")) == ["trr_1"]


@pytest.mark.parametrize(
    ("before", "left"),
    [(0, ["trr_1", "trr_2"]), (99, ["trr_1"]), (100, ["trr_2"]), (150, []), (149, ["trr_2"])],
)
def test_sum_recorded_without_ids_contains_the_oldest(
    story: Story, before: int, left: list[str]
) -> None:
    story.paid()
    story.transfer.amount_reversed = before
    assert external(story, theirs(100, "trr_1"), theirs(50, "trr_2")) == left


def test_reversals_recorded_with_ids_are_no_part_of_that_sum(story: Story) -> None:
    story.paid()
    one = Reversal("rev-1", "r1", 100, "refund", ReversalStatus.REVERSED, "trr_9", settled=100)
    story.transfer.reversals = {
        "rev-1": one,
        "rev-2": one._replace(reversal_id="rev-2", stripe_reversal_id=None),
    }
    story.transfer.amount_reversed = 200
    assert external(story, theirs(100, "trr_1"), theirs(1, "trr_2")) == ["trr_2"]


@pytest.mark.parametrize(
    ("imported", "refund", "ours"),
    [(False, None, True), (False, "r1", True), (True, None, False), (True, "r1", False)],
)
def test_id_like_ours_counts_unless_the_transfer_was_imported(
    story: Story, imported: bool, refund: str | None, ours: bool
) -> None:
    story.transfer.imported = imported
    made = ReversalAtStripe("trr_1", 10, UUID_LIKE, refund_id=refund)
    assert names_ours(story.transfer, made) is ours


@pytest.mark.parametrize(("round_", "ours"), [(1, True), (MOST_ROUNDS, True), (21, False)])
def test_id_that_follows_from_the_refund_is_ours(story: Story, round_: int, ours: bool) -> None:
    story.transfer.imported = True
    name = str(reversal_name(story.transfer.id, "r1", round_))
    made = ReversalAtStripe("trr_1", 10, name, refund_id="r1")
    assert (named_by_us(story.transfer, made), names_ours(story.transfer, made)) == (ours, ours)
    assert not named_by_us(story.transfer, made._replace(refund_id="r2"))
    assert not named_by_us(story.transfer, made._replace(refund_id=None))


def test_reversal_of_others_is_recorded_with_its_maker(story: Story) -> None:
    story.paid()
    by_refund = theirs(100, "trr_1")._replace(source_refund="re_1")
    record_external(story.transfer, story.books(theirs(50, "trr_2"), by_refund), story.now)
    requested = [one for one in story.news() if isinstance(one, facts.ReversalRequested)]
    assert [fact.note for fact in requested] == [
        "made at Stripe by refund re_1 with reverse_transfer",
        "made at Stripe outside this ledger",
    ]
    assert {(fact.refund_id, fact.reason) for fact in requested} == {(None, "external")}
    assert (story.transfer.amount_reversed, story.transfer.taken) == (150, 0)
    assert story.transfer.operation is None
    assert story.status is TransferStatus.PARTIALLY_REVERSED
    settled = story.transfer.reversals[external_id(story.transfer.id, "trr_2")]
    assert (settled.stripe_reversal_id, settled.settled) == ("trr_2", 50)


def test_only_the_named_reversal_is_recorded_with_its_note(story: Story) -> None:
    story.paid()
    seen = story.books(theirs(50, "trr_2"), theirs(100, "trr_1"))
    record_external(story.transfer, seen, story.now, "polled", only="trr_2")
    request, ended = story.two(facts.ReversalRequested, facts.PartiallyReversed)
    assert (request.amount, request.note, request.next_retry_at) == (50, "polled", story.now)
    assert (ended.stripe_reversal_id, ended.amount, ended.settled_by) == ("trr_2", 50, "external")
    assert (ended.amount_reversed, ended.drift) == (50, 0)


def test_reversal_of_others_waits_for_a_running_one_of_ours(story: Story) -> None:
    story.reversing()
    record_external(story.transfer, story.books(theirs(100)), story.now)
    assert story.told() == []
