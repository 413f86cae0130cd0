"""Imported transfers: an older system may have sent them under names that are not ours, so nothing
is sent twice."""

from datetime import timedelta
from typing import Unpack
from uuid import UUID

import pytest

from domain.errors import EvidenceDiffers, ImportDiffers, NothingToResolve
from domain.fact import opened
from domain.lifecycle import TransferStatus
from domain.order.recovery import pay_sellers, recover_shares, withdraw_unsent
from domain.provider_call.outcome import Succeeded
from domain.provider_call.steps import Rest
from domain.provider_call.stripe_objects import TransferAtStripe
from domain.seller_transfer.aggregate import SellerTransfer
from domain.seller_transfer.external_reversals import record_external
from domain.seller_transfer.facts import EvidenceHeld, PermanentlyFailed
from domain.seller_transfer.manual_resolution import resolve, resolve_by_transfer
from domain.seller_transfer.opening_facts import LONG_AGO, Imported
from domain.seller_transfer.reversal import ReversalStatus
from domain.seller_transfer.reversal_facts import ReversalQueued, ReversalSettled
from domain.seller_transfer.stripe_call import begin
from domain.seller_transfer.transfer_outcome import record_look_up
from tests.support.domain_story import Sale, Story, imported
from tests.support.streams import ImportedColumns

S = TransferStatus
OPEN = ("pending", "failed")
RUNNING = str(UUID(int=5))
DAYS = timedelta(days=1)


def taken_over(story: Story, status: str, **members: Unpack[ImportedColumns]) -> Story:
    """Replace the story's transfer of 100.00 by an imported one."""
    if status not in OPEN:
        members = {"stripe_transfer_id": "tr_1", **members}
    columns: ImportedColumns = {"created_at": story.now - 90 * DAYS, **members}
    fact = imported(status, story.now, **columns)
    story.transfer = opened(SellerTransfer, fact)
    story.told()
    return story


def reversing(story: Story, **members: Unpack[ImportedColumns]) -> Story:
    columns: ImportedColumns = {
        "reversal_id": RUNNING,
        "refund_id": "old",
        "next_retry_at": story.now,
        **members,
    }
    return taken_over(story, "reversal_pending", **columns)


def theirs(story: Story, name: str = "tr_old") -> TransferAtStripe:
    """Return the transfer with which the older system may have paid it."""
    return story.books(tr=name)._replace(transfer_id=None)


def cleared(story: Story) -> Story:
    story.transfer.retry("mia", "looked at it", story.now)
    story.told()
    return story


def looked(story: Story, *alike: TransferAtStripe) -> Story:
    look = story.look()
    record_look_up(story.transfer, (), story.now, story.policy, look, alike)
    return story


# --- the transfer itself --------------------------------------------------------------------------


@pytest.mark.parametrize("status", OPEN)
def test_import_that_may_be_paid_is_never_due_by_itself(story: Story, status: str) -> None:
    taken_over(story, status)
    assert story.transfer.uncleared
    story.passes(400 * DAYS).refunded(amount=10_000)
    assert story.told() == ["ReversalQueued"], "it cannot be cancelled: it may have been paid"
    assert story.transfer.next_retry_at is None
    assert begin(story.transfer, story.now, story.policy) == Rest("nothing is due")


@pytest.mark.parametrize("status", OPEN)
def test_cleared_import_is_sent_once_under_first_key(story: Story, status: str) -> None:
    cleared(taken_over(story, status))
    assert story.look().since == story.now - 90 * DAYS
    looked(story)
    send = story.call(Succeeded("tr_new", 10_000))
    assert (send.key, send.body["metadata"]["transfer_id"]) == (
        f"transfer:{story.transfer.id}:e1",
        str(story.transfer.id),
    )
    assert story.status is S.COMPLETED


def test_given_up_import_may_have_been_paid(story: Story) -> None:
    taken_over(story, "permanently_failed", stripe_transfer_id=None).refunded(amount=4_000)
    assert story.only(ReversalQueued).waiting_for == "operator", (
        "it is not reduced: it may have been paid"
    )
    looked(cleared(story), theirs(story))
    assert (story.status, story.transfer.amount) == (S.PERMANENTLY_FAILED, 10_000)
    looked(cleared(story))
    assert story.call(Succeeded("tr_new", 6_000)).body["amount"] == 6_000


@pytest.mark.parametrize("status", OPEN)
def test_possible_payment_at_stripe_is_held_for_a_person(story: Story, status: str) -> None:
    looked(cleared(taken_over(story, status)), theirs(story), theirs(story, "tr_older"))
    facts = story.news()
    held = [fact.stripe_id for fact in facts if isinstance(fact, EvidenceHeld)]
    end = facts[-1]
    assert isinstance(end, PermanentlyFailed)
    assert (story.status, held, end.reason) == (
        S.PERMANENTLY_FAILED,
        ["tr_old", "tr_older"],
        "evidence_held",
    )
    assert end.detail is not None
    assert "tr_old, tr_older" in end.detail
    assert not story.transfer.paid, "it may be another payment"
    assert begin(story.transfer, story.now, story.policy) == Rest("nothing is due")


def test_held_import_is_sent_once_object_belongs_to_another(story: Story) -> None:
    looked(cleared(taken_over(story, "pending")), theirs(story))
    looked(cleared(story), theirs(story))
    assert story.told() == ["PermanentlyFailed"]
    looked(cleared(story)).told()
    story.refunded(amount=1_000)
    assert story.told() == ["AmountReduced"], "now it is known that it was not paid"
    assert story.call(Succeeded("tr_new", 9_000)).key.endswith(":e1")


def test_refund_waits_while_an_import_may_be_paid(story: Story) -> None:
    looked(cleared(taken_over(story, "pending")), theirs(story)).told()
    story.refunded(amount=10_000)
    assert (story.told(), story.transfer.amount) == (["ReversalQueued"], 10_000)
    looked(cleared(story))
    assert story.status is S.CANCELLED


def test_held_object_is_taken_in_with_its_reversals(story: Story) -> None:
    looked(cleared(taken_over(story, "pending")), theirs(story)).told()
    seen = story.books(story.theirs(500), tr="tr_old")._replace(transfer_id=None)
    resolve_by_transfer(story.transfer, seen, "mia", "the old system's", story.now)
    assert story.told() == [
        "Reopened",
        "Completed",
        "Resolved",
        "ReversalRequested",
        "PartiallyReversed",
    ]
    assert (story.transfer.stripe_transfer_id, story.transfer.amount_reversed) == ("tr_old", 500)


def test_import_can_be_resolved_without_a_look_up(story: Story) -> None:
    taken_over(story, "pending").refunded(amount=4_000).told()
    resolve_by_transfer(story.transfer, theirs(story), "mia", "the old system's", story.now)
    assert story.told() == ["Completed", "ReversalRequested", "Resolved"]
    with pytest.raises(NothingToResolve):
        resolve_by_transfer(story.transfer, theirs(story, "tr_2"), "mia", "and that", story.now)


def test_other_amount_is_not_the_imported_payment(story: Story) -> None:
    taken_over(story, "failed")
    with pytest.raises(EvidenceDiffers, match="amount"):
        resolve_by_transfer(
            story.transfer, theirs(story)._replace(amount=9_999), "mia", "?", story.now
        )


@pytest.mark.parametrize("status", OPEN)
def test_import_settled_elsewhere_is_never_sent(story: Story, status: str) -> None:
    taken_over(story, status)
    resolve(story.transfer, "mia", "paid by bank", "ticket 7", story.now)
    assert (story.status, story.transfer.uncleared) == (S.PERMANENTLY_FAILED, False)
    with pytest.raises(NothingToResolve):
        resolve(story.transfer, "mia", "paid by bank", "ticket 7", story.now)


def test_import_without_creation_time_searches_all_transfers(story: Story) -> None:
    cleared(taken_over(story, "pending"))
    fact = Imported(**{**vars(story.transfer.pending_events[0]), "created_at": None})
    story.transfer = opened(SellerTransfer, fact)
    assert cleared(story).look().since == LONG_AGO


# --- its reversals --------------------------------------------------------------------------------


def test_imported_reversal_is_looked_up_before_it_is_sent(story: Story) -> None:
    reversing(story).see(story.books())
    assert story.call(Succeeded("trr_1", 10_000)).key == f"reversal:{RUNNING}:e1"
    assert story.status is S.REVERSED


@pytest.mark.parametrize("asked", [None, 3_000])
def test_old_systems_reversal_is_the_outcome(story: Story, asked: int | None) -> None:
    reversing(story, reversal_amount=asked, amount_reversed=1_000)
    due = asked or 9_000
    story.see(story.books(story.theirs(due, "trr_theirs"), story.theirs(1_000, "trr_before")))
    reversal = story.transfer.reversals[RUNNING]
    assert (reversal.state, reversal.stripe_reversal_id, reversal.settled) == (
        ReversalStatus.REVERSED,
        "trr_theirs",
        due,
    )
    assert (story.transfer.amount_reversed, story.transfer.next_retry_at) == (1_000 + due, None)
    ended = next(fact for fact in story.news() if isinstance(fact, ReversalSettled))
    assert (ended.settled_by, ended.note) == ("external", "made by the older system")


def test_partial_match_is_decided_by_a_person(story: Story) -> None:
    reversing(story, reversal_amount=3_000).see(story.books(story.theirs(2_000, "trr_theirs")))
    assert story.told() == ["EvidenceHeld", "PermanentlyFailed"]
    story.transfer.retry("mia", "again", story.now)
    story.see(story.books(story.theirs(2_000, "trr_theirs")))
    assert story.told() == ["Reopened", "PermanentlyFailed"]


@pytest.mark.parametrize(
    ("made", "status"), [(3_000, S.PARTIALLY_REVERSED), (2_000, S.PERMANENTLY_FAILED)]
)
def test_given_up_reversal_may_have_been_made(story: Story, made: int, status: S) -> None:
    """The refund is reported here again, and a person retries: taken again, the seller would pay
    twice."""
    taken_over(story, "permanently_failed", refund_id="r1").refunded("r1", 3_000)
    story.transfer.retry("mia", "its balance is funded", story.now)
    story.see(story.books(story.theirs(made, "trr_theirs")))
    assert story.status is status
    assert story.transfer.amount_reversed == (made if status is S.PARTIALLY_REVERSED else 0)


def test_reversal_asks_only_for_the_remainder(story: Story) -> None:
    reversing(story).see(story.books(story.theirs(2_000)))
    assert story.call(Succeeded("trr_1", 8_000)).body["amount"] == 8_000
    assert (story.status, story.transfer.amount_reversed) == (S.REVERSED, 10_000)


@pytest.mark.parametrize("before", [1_000, 2_000, 3_000])
def test_reversals_before_the_import_are_recorded_once(story: Story, before: int) -> None:
    old, older = story.theirs(1_000, "trr_old"), story.theirs(2_000, "trr_older")
    taken_over(story, "completed", amount_reversed=before)
    record_external(story.transfer, story.books(old, older), story.now)
    assert story.transfer.amount_reversed == 3_000
    record_external(
        story.transfer, story.books(story.theirs(500, "trr_new"), old, older), story.now
    )
    record_external(
        story.transfer, story.books(story.theirs(500, "trr_new"), old, older), story.now
    )
    assert story.transfer.amount_reversed == 3_500


# --- its order ------------------------------------------------------------------------------------


def ordered(sale: type[Sale], story: Story, amount: int = 10_000, **shares: int) -> Sale:
    """Register the imported transfer's order here, and report its payment."""
    new = sale(amount, shares or {"ada": 10_000}, paid=False)
    new.order.pay("pay-1", None, "api", new.now)
    new.transfers = pay_sellers(new.order, new.now, [story.transfer])
    return new


@pytest.mark.parametrize(
    "status", [*OPEN, "completed", "reversal_pending", "reversed", "permanently_failed"]
)
def test_imported_paid_order_pays_no_seller(sale: type[Sale], story: Story, status: str) -> None:
    back = 10_000 if status == "reversed" else 0
    if status == "reversal_pending":
        reversing(story)
    else:
        taken_over(story, status, amount_reversed=back)
    assert ordered(sale, story).transfers == [story.transfer]
    assert story.told() == []


@pytest.mark.parametrize(
    ("shares", "named"),
    [
        ({"ada": 9_999}, "'ada' has 10000 EUR to acct_ada"),
        ({"ada": 9_000, "bob": 1_000}, "ada"),
        ({"bob": 10_000}, "no share"),
    ],
    ids=["another amount", "one more seller", "another seller"],
)
def test_order_that_differs_from_its_import_pays_no_seller(
    sale: type[Sale], story: Story, shares: dict[str, int], named: str
) -> None:
    taken_over(story, "completed")
    with pytest.raises(ImportDiffers, match=named):
        ordered(sale, story, **shares)


@pytest.mark.parametrize("moved", ["destination", "currency"])
def test_order_to_another_account_or_currency_pays_no_seller(
    sale: type[Sale], story: Story, moved: str
) -> None:
    taken_over(
        story, "completed", destination="acct_other" if moved == "destination" else "acct_ada"
    )
    new = sale(10_000, {"ada": 10_000}, paid=False)
    if moved == "currency":
        new.order.shares["ada"]["currency"] = "USD"
    with pytest.raises(ImportDiffers, match="acct_"):
        pay_sellers(new.order, new.now, [story.transfer])


def test_refund_takes_at_most_the_imported_remainder(sale: type[Sale], story: Story) -> None:
    taken_over(story, "completed", amount_reversed=7_000)
    new = ordered(sale, story)
    new.is_refunded("r1", 4_000)
    assert story.reversal.amount == 3_000


def test_refund_before_payment_is_reversed_at_payment(sale: type[Sale], story: Story) -> None:
    taken_over(story, "completed")
    new = sale(10_000, {"ada": 10_000}, paid=False)
    new.is_refunded("r1", 4_000)
    new.order.pay("pay-1", None, "api", new.now)
    pay_sellers(new.order, new.now, [story.transfer])
    assert story.reversal.amount == 4_000


def test_reversal_of_unknown_refund_is_not_withdrawn(sale: type[Sale], story: Story) -> None:
    reversing(story, reversal_amount=3_000)
    new = ordered(sale, story)
    new.is_refunded("r1", 4_000)
    new.is_revoked("r1")
    assert story.transfer.reversals[RUNNING].state is ReversalStatus.REQUESTED
    assert [
        reversal.state
        for reversal in story.transfer.reversals.values()
        if reversal.refund_id == "r1"
    ] == [ReversalStatus.WITHDRAWN]
    assert new.transfers == [story.transfer], "nothing is given back that was not taken"


def test_rounding_cent_is_not_withdrawn_from_import(story: Story) -> None:
    reversing(story, reversal_amount=3_000).see(story.books())
    story.told()
    assert withdraw_unsent([story.transfer], 1, "r1", story.now, only_own=False) == 1
    assert story.told() == []


def test_refund_before_payment_is_not_taken_again(sale: type[Sale], story: Story) -> None:
    taken_over(story, "completed", amount_reversed=4_000, refund_id="old")
    new = sale(10_000, {"ada": 10_000}, paid=False)
    for refund_id, amount in (("old", 4_000), ("r2", 1_000)):
        new.is_refunded(refund_id, amount)
    new.order.pay("pay-1", None, "api", new.now)
    pay_sellers(new.order, new.now, [story.transfer])
    assert (story.reversal.refund_id, story.reversal.amount) == ("r2", 1_000)


@pytest.mark.parametrize("settled", [False, True])
def test_old_systems_refund_is_not_taken_again(
    sale: type[Sale], story: Story, settled: bool
) -> None:
    if settled:
        taken_over(story, "completed", amount_reversed=4_000, refund_id="old")
    else:
        reversing(story, reversal_amount=4_000)
    new = ordered(sale, story)
    new.is_refunded("old", 4_000)
    assert story.told() == []
    new.is_refunded("r2", 1_000)
    assert [
        reversal.amount
        for reversal in story.transfer.reversals.values()
        if reversal.refund_id == "r2"
    ] == [1_000]
    recover_shares(new.order, new.transfers, "r2", new.now)
    assert (
        sum(
            reversal.amount
            for reversal in story.transfer.reversals.values()
            if reversal.refund_id != "old"
        )
        == 1_000
    )
