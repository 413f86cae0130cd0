"""Reversals of ours that others leave less room for: they are lowered or withdrawn at once, and
another transfer of the seller bears the rest, in the same append."""

from domain.lifecycle import TransferStatus
from domain.provider_call.outcome import Succeeded
from domain.provider_call.stripe_objects import ReversalAtStripe, TransferAtStripe
from domain.seller_transfer.aggregate import SellerTransfer, causes_to_recover
from domain.seller_transfer.manual_resolution import resolve_by_reversal
from tests.support.domain_story import Answers, Sale

S = TransferStatus


def reversals(transfer: SellerTransfer) -> list[tuple[str | None, int, str]]:
    return [(r.refund_id, r.amount, r.state.value) for r in transfer.reversals.values()]


def books(transfer: SellerTransfer, *made: ReversalAtStripe) -> TransferAtStripe:
    taken = sum(reversal.amount for reversal in made)
    known = str(transfer.stripe_transfer_id)
    ours = str(transfer.id)
    return TransferAtStripe(
        known, transfer.amount, taken, "EUR", transfer.destination, ours, tuple(made)
    )


def stuck_with_a_queue(sale: type[Sale], answers: type[Answers]) -> Sale:
    """Return an order of 100 with a share of 90: the reversal of 30 for r1 has failed, and 30 for
    r2 and 30 for r3 wait."""
    story = sale(90, {"ada": 90}).all_go_through()
    story.is_refunded("r1", 30)
    ada = story.of("ada")
    story.answer(ada, story.send(ada), answers.not_found)
    story.is_refunded("r2", 30)
    story.is_refunded("r3", 30)
    assert ada.status is S.PERMANENTLY_FAILED
    return story


def test_manual_reversal_of_more_lowers_the_queue_at_once(
    sale: type[Sale], answers: type[Answers]
) -> None:
    story = stuck_with_a_queue(sale, answers)
    ada = story.of("ada")
    made = ReversalAtStripe("trr_9", 50, None)
    resolve_by_reversal(ada, books(ada, made), "trr_9", "mia", "in the dashboard", story.now)
    assert reversals(ada) == [("r1", 30, "reversed"), ("r2", 30, "requested"), ("r3", 10, "queued")]
    story.all_go_through()
    assert (ada.amount_reversed, ada.status) == (90, S.REVERSED)


def test_manual_reversal_of_nearly_all_withdraws_the_queue(
    sale: type[Sale], answers: type[Answers]
) -> None:
    story = stuck_with_a_queue(sale, answers)
    ada = story.of("ada")
    made = ReversalAtStripe("trr_9", 80, None)
    resolve_by_reversal(ada, books(ada, made), "trr_9", "mia", "in the dashboard", story.now)
    assert reversals(ada) == [
        ("r1", 30, "reversed"),
        ("r2", 10, "requested"),
        ("r3", 30, "withdrawn"),
    ]


def test_external_reversal_moves_the_rest_to_another_transfer(
    sale: type[Sale], answers: type[Answers]
) -> None:
    """The seller got 90, gave 90 back, and got 90 again by a compensation."""
    story = sale(90, {"ada": 90}).all_go_through()
    story.is_refunded("r1", 90)
    story.all_go_through()
    story.is_revoked("r1")
    story.all_go_through()
    first, second = story.transfers
    assert (first.status, second.status) == (S.REVERSED, S.COMPLETED)
    story.is_refunded("r2", 40)
    theirs = ReversalAtStripe("trr_9", 60, None)
    send = story.send(second)
    story.answer(second, send, answers.already, books(second, theirs))
    assert second.in_flight is not None
    assert second.in_flight.amount == 30
    assert causes_to_recover(second, {}) == ["r2"]
    story.answer(second, story.send(second), Succeeded("trr_10", 30))
    assert second.status is S.REVERSED


def test_shortened_reversal_is_taken_from_another_transfer_at_once(
    sale: type[Sale], answers: type[Answers]
) -> None:
    """The seller has two transfers with room: a sale of 90, and a compensation of 30."""
    story = sale(90, {"ada": 90}).all_go_through()
    story.is_refunded("r1", 30)
    story.all_go_through()
    story.is_revoked("r1")
    story.all_go_through()
    sold, given_back = story.transfers
    story.is_refunded("r2", 20)
    assert reversals(given_back) == [("r2", 20, "requested")]
    theirs = ReversalAtStripe("trr_9", 25, None)
    story.answer(given_back, story.send(given_back), answers.already, books(given_back, theirs))
    for cause_id in causes_to_recover(given_back, {}):
        story.recover_shares(cause_id)
    assert reversals(given_back)[0] == ("r2", 5, "requested")
    assert reversals(sold)[-1] == ("r2", 15, "requested")
