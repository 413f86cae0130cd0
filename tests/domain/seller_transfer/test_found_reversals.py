"""Objects of ours at Stripe that a restored backup does not contain: taken in, and counted once."""

import pytest

from domain.identity import reversal_name
from domain.provider_call.stripe_objects import ReversalAtStripe, TransferAtStripe
from domain.seller_transfer.aggregate import SellerTransfer
from domain.seller_transfer.found_reversals import not_recorded, take_in
from domain.seller_transfer.transfer_outcome import complete
from tests.support.domain_story import Sale


def ours(transfer: SellerTransfer, cause_id: str, amount: int, nth: int = 1) -> ReversalAtStripe:
    """Return the reversal that a lost ledger has made for this refund."""
    name = str(reversal_name(transfer.id, cause_id, nth))
    return ReversalAtStripe(f"trr_{cause_id}_{nth}", amount, name, refund_id=cause_id)


def books(transfer: SellerTransfer, amount: int, *made: ReversalAtStripe) -> TransferAtStripe:
    taken = sum(one.amount for one in made)
    names = (transfer.stripe_transfer_id or "tr_1", amount, taken)
    return TransferAtStripe(*names, "EUR", transfer.destination, str(transfer.id), made[::-1])


def test_smaller_transfer_at_stripe_was_reduced_by_the_waiting_refund(sale: type[Sale]) -> None:
    story = sale(100, {"ada": 90})
    ada = story.of("ada")
    ada.unverified = True
    story.is_refunded("r1", 50)
    assert [one.state for one in ada.reversals.values()] == ["queued"]
    complete(ada, "tr_1", 45, None, story.now)
    assert (ada.amount, ada.taken, ada.reductions) == (45, 45, {"r1": 45})
    assert [one.state for one in ada.reversals.values()] == ["withdrawn"]


def test_reversal_at_stripe_is_no_reduction(sale: type[Sale]) -> None:
    """One refund had reduced the transfer, the other was reversed: both count once."""
    story = sale(100, {"ada": 90})
    ada = story.of("ada")
    ada.unverified = True
    for refund_id in ("r1", "r2"):
        story.is_refunded(refund_id, 30)
    seen = books(ada, 63, ours(ada, "r1", 27))
    complete(ada, "tr_1", 63, None, story.now, made=seen.reversals)
    take_in(ada, seen, {"r1", "r2"}, story.now)
    assert ada.reductions == {"r2": 27}
    assert (ada.amount_reversed, ada.taken, ada.in_flight) == (27, 54, None)


def test_amount_of_unreported_refund_is_set_apart_until_its_report(sale: type[Sale]) -> None:
    story = sale(100, {"ada": 90})
    story.all_go_through()
    ada = story.of("ada")
    assert take_in(ada, books(ada, 90, ours(ada, "lost", 45)), (), story.now) == []
    assert (ada.amount_reversed, ada.taken, ada.unexplained) == (45, 0, 45)
    story.is_refunded("other", 20)
    assert ada.taken == 18
    story.is_refunded("lost", 50)
    assert (ada.taken, ada.unexplained) == (63, 0)
    requested = [one.refund_id for one in ada.reversals.values() if one.state == "requested"]
    assert requested == ["other"], "the reported refund takes nothing a second time"


def test_unknown_reduction_is_not_given_back_during_a_restore(sale: type[Sale]) -> None:
    story = sale(100, {"ada": 90})
    ada = story.of("ada")
    complete(ada, "tr_1", 45, None, story.now)
    story.order.unverified = True
    story.is_refunded("small", 10)
    assert (ada.taken, ada.unexplained, len(story.transfers)) == (45, 36, 1)
    story.is_refunded("big", 40)
    assert (ada.taken, ada.unexplained, len(story.transfers)) == (45, 0, 1)


def test_absent_running_reversal_is_requested_again_after_others(sale: type[Sale]) -> None:
    story = sale(100, {"ada": 90})
    story.all_go_through()
    ada = story.of("ada")
    story.is_refunded("r1", 50)
    seen = books(ada, 90, ours(ada, "r0", 60))
    assert take_in(ada, seen, {"r0", "r1"}, story.now) == ["r0"]
    running = ada.in_flight
    assert running is not None
    assert (running.refund_id, running.amount, ada.amount_reversed) == ("r1", 30, 60)


def test_reversal_whose_id_does_not_follow_from_its_refund_is_not_ours(sale: type[Sale]) -> None:
    story = sale(100, {"ada": 90})
    story.all_go_through()
    ada = story.of("ada")
    forged = ours(ada, "r1", 45)._replace(refund_id="r2")
    assert not_recorded(ada, books(ada, 90, forged)) == []


@pytest.mark.parametrize("closed", [True, False])
def test_open_call_delays_the_others_unless_a_look_up_closed_it(
    sale: type[Sale], closed: bool
) -> None:
    story = sale(100, {"ada": 90})
    story.all_go_through()
    ada = story.of("ada")
    story.is_refunded("r1", 50)
    story.send(ada)
    take_in(ada, books(ada, 90, ours(ada, "r0", 10)), {"r0", "r1"}, story.now, closed=closed)
    assert ada.amount_reversed == (10 if closed else 0)
