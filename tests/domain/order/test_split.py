"""Money that Stripe has moved with a payment or a refund itself: it is adopted and never moved
again."""

from dataclasses import replace

import pytest

from domain.identity import transfer_stream
from domain.order.facts import ReversalMadeByRefund
from domain.order.split import (
    DoesNotFit,
    NotMadeYet,
    attribute_made_reversal,
    learn_made_reversal,
    learn_made_transfer,
)
from domain.provider_call.stripe_objects import ReversalAtStripe, TransferAtStripe
from domain.seller_transfer import facts
from domain.seller_transfer.external_reversals import record_external
from tests.support.domain_story import Sale

SOURCE = "hyperswitch:evt_1"


def shown(*reversals: ReversalAtStripe, amount: int = 50, account: str = "ada") -> TransferAtStripe:
    taken = sum(made.amount for made in reversals if made.taken)
    return TransferAtStripe("tr_1", amount, taken, "EUR", f"acct_{account}", None, reversals)


def by_refund(amount: int, stripe_id: str = "trr_1") -> ReversalAtStripe:
    return ReversalAtStripe(stripe_id, amount, None, source_refund="re_1")


@pytest.fixture
def unpaid(sale: type[Sale]) -> Sale:
    return sale(100, {"ada": 50, "bob": 30}, paid=False)


@pytest.fixture
def split(unpaid: Sale) -> Sale:
    """Return a paid sale whose charge has made the transfer to ada."""
    learn_made_transfer(unpaid.order, [], shown(), SOURCE, unpaid.now)
    return unpaid.is_paid()


def learn_reversal(sale: Sale, refund_id: str, amount: int, seen: TransferAtStripe) -> None:
    learn_made_reversal(sale.order, sale.transfers, refund_id, amount, None, seen, SOURCE, sale.now)


def test_transfer_of_the_charge_is_complete_from_the_start(split: Sale) -> None:
    ada, bob = split.of("ada"), split.of("bob")
    assert (ada.status, ada.stripe_transfer_id, ada.operation) == ("completed", "tr_1", None)
    assert bob.status == "pending", "the others are paid as usual"


def test_charge_is_learned_once(split: Sale) -> None:
    before = split.order.version
    for _ in range(2):
        learn_made_transfer(split.order, split.transfers, shown(), SOURCE, split.now)
    assert split.order.version == before


@pytest.mark.parametrize(
    "other", [shown(amount=49), shown(account="eve"), shown()._replace(currency="USD")]
)
def test_transfer_that_is_no_share_is_refused(unpaid: Sale, other: TransferAtStripe) -> None:
    with pytest.raises(DoesNotFit, match="expected exactly one"):
        learn_made_transfer(unpaid.order, [], other, SOURCE, unpaid.now)
    assert unpaid.order.made_by_charge == {}


def test_transfer_that_fits_two_shares_is_refused(sale: type[Sale]) -> None:
    story = sale(100, {"ada": 50, "eve": 50}, paid=False)
    story.order.shares["eve"]["destination"] = "acct_ada"
    with pytest.raises(DoesNotFit, match="2 sellers"):
        learn_made_transfer(story.order, [], shown(), SOURCE, story.now)


def test_refund_before_the_payment_is_taken_from_the_whole_transfer(unpaid: Sale) -> None:
    """The transfer at Stripe is not smaller for it, so that a reversal is due."""
    unpaid.is_refunded("r1", 100)
    learn_made_transfer(unpaid.order, [], shown(), SOURCE, unpaid.now)
    unpaid.is_paid()
    ada = unpaid.of("ada")
    assert (ada.status, ada.amount) == ("reversal_pending", 50)
    assert ada.in_flight is not None
    assert ada.in_flight.amount == 50


@pytest.mark.parametrize(("made", "refunded"), [(25, 50), (26, 50), (24, 50)])
def test_reversal_of_the_refund_counts_for_its_whole_part(
    split: Sale, made: int, refunded: int
) -> None:
    """Stripe rounds by another rule: the last unit is neither taken nor given back."""
    learn_reversal(split, "r1", refunded, shown(by_refund(made)))
    split.is_refunded("r1", refunded)
    ada = split.of("ada")
    assert (ada.status, ada.amount_reversed, ada.taken) == ("partially_reversed", made, 25)
    assert split.of("bob").amount == 15, "the other seller gives as usual"
    (reversal,) = ada.reversals.values()
    assert (reversal.refund_id, reversal.reason) == ("r1", "refund")


def test_reversal_recorded_as_external_before_is_attributed(split: Sale) -> None:
    seen = shown(by_refund(25))
    ada = split.of("ada")
    facts_before = len(ada.pending_events)
    learn_reversal(split, "r1", 50, seen)
    learn_reversal(split, "r1", 50, seen)
    split.is_refunded("r1", 50)
    names = [type(fact).__name__ for fact in ada.pending_events[facts_before:]]
    assert names == ["ReversalRequested", "PartiallyReversed", "ReversalAttributed"]
    assert facts.ReversalAttributed.__name__ in names


def test_two_refunds_of_equal_amount_have_a_reversal_each(split: Sale) -> None:
    first, second = by_refund(12, "trr_1"), by_refund(13, "trr_2")
    learn_reversal(split, "r1", 25, shown(first))
    split.is_refunded("r1", 25)
    with pytest.raises(NotMadeYet):
        learn_reversal(split, "r2", 25, shown(first))
    learn_reversal(split, "r2", 25, shown(second, first))
    split.is_refunded("r2", 25)
    ada = split.of("ada")
    assert (ada.taken, ada.amount_reversed) == (25, 25)


def test_missing_reversal_is_awaited_and_another_amount_refused(split: Sale) -> None:
    for absent in (shown(), shown(by_refund(25)._replace(status="pending"))):
        with pytest.raises(NotMadeYet, match="nothing is sent"):
            learn_reversal(split, "r1", 50, absent)
    with pytest.raises(DoesNotFit, match="expected 25"):
        learn_reversal(split, "r1", 50, shown(by_refund(40)))


def test_refund_that_fails_after_its_own_reversal_pays_the_seller_again(split: Sale) -> None:
    learn_reversal(split, "r1", 50, shown(by_refund(25)))
    split.is_refunded("r1", 50)
    split.is_revoked("r1")
    compensation = next(
        one for one in split.transfers if one.seller_id == "ada" and one.cause != "sale"
    )
    assert compensation.original == 25
    assert compensation.id != transfer_stream("order-1", "ada")


def test_reversal_of_a_refund_waits_for_a_running_reversal_of_ours(split: Sale) -> None:
    """While ours runs, Stripe's cannot be recorded: learned but not recorded, it would be taken
    from ada a second time."""
    split.is_refunded("r1", 20)
    ada = split.of("ada")
    assert (ada.status, ada.taken) == ("reversal_pending", 10)
    made = by_refund(25, "trr_2")
    with pytest.raises(NotMadeYet, match="its outcome comes first"):
        learn_reversal(split, "r2", 50, shown(made))
    assert split.order.reversed_by_refund == {}
    split.all_go_through()
    learn_reversal(split, "r2", 50, shown(made))
    split.is_refunded("r2", 50)
    split.all_go_through()
    assert (ada.taken, ada.amount_reversed, ada.status) == (35, 35, "partially_reversed")


def test_learned_reversal_counts_only_for_its_own_amount(split: Sale) -> None:
    """Between the two appends another order of reports has left more to take than Stripe took."""
    learn_reversal(split, "r2", 50, shown(by_refund(25)))
    split.is_refunded("r2", 80)
    split.all_go_through()
    ada = split.of("ada")
    assert (ada.taken, ada.amount_reversed) == (40, 40)


def test_learned_reversal_leaves_copies_of_the_order_alone(split: Sale) -> None:
    """The cache of streams hands out copies: a decision that is not stored must not change it."""
    learn_reversal(split, "r1", 50, shown(by_refund(25)))
    copy = split.order.copied()
    fact = split.order.pending_events[-1]
    assert isinstance(fact, ReversalMadeByRefund)
    replace(fact, seller_id="bob").apply(copy)
    assert split.order.reversed_by_refund == {"r1": {"ada": "trr_1"}}
    assert copy.reversed_by_refund == {"r1": {"ada": "trr_1", "bob": "trr_1"}}


def test_transfer_of_the_charge_keeps_the_account_of_the_share(unpaid: Sale) -> None:
    """Ada and bob have moved, but the charge has paid ada's former account."""
    unpaid.order.moved.update({"ada": "acct_new", "bob": "acct_newer"})
    learn_made_transfer(unpaid.order, [], shown(), SOURCE, unpaid.now)
    unpaid.is_paid()
    assert unpaid.of("ada").destination == "acct_ada"
    assert unpaid.of("bob").destination == "acct_newer"


def test_refund_above_the_rest_of_the_order_learns_nothing(split: Sale) -> None:
    """It is set aside next, with an alarm, like every refund that cannot be divided."""
    split.is_refunded("r1", 60)
    split.all_go_through()
    learn_reversal(split, "r2", 50, shown(by_refund(20)))
    assert split.order.reversed_by_refund == {}
    assert split.is_refunded("r2", 50) is not None


def test_reversal_that_names_a_refund_is_preferred(split: Sale) -> None:
    unnamed = ReversalAtStripe("trr_1", 25, None)
    learn_reversal(split, "r1", 50, shown(by_refund(25, "trr_2"), unnamed))
    assert split.order.reversed_by_refund == {"r1": {"ada": "trr_2"}}


def test_reversal_is_not_learned_if_no_part_is_due(split: Sale) -> None:
    learn_reversal(split, "r1", 1, shown(by_refund(1)))
    assert split.order.reversed_by_refund == {}, "of 1 unit the share is less than 1"


def test_charge_learned_after_the_payment_completes_its_transfer(unpaid: Sale) -> None:
    story = unpaid.is_paid()
    learn_made_transfer(story.order, story.transfers, shown(), SOURCE, story.now)
    ada = story.of("ada")
    assert (ada.status, ada.stripe_transfer_id) == ("completed", "tr_1")
    assert story.of("bob").status == "pending"


def test_compensation_is_not_taken_for_the_transfer_of_the_charge(split: Sale) -> None:
    split.is_refunded("r1", 100)
    split.all_go_through()
    split.is_revoked("r1")
    learn_made_transfer(split.order, split.transfers, shown(), SOURCE, split.now)
    given_back = split.of("ada", 1)
    assert (given_back.status, given_back.stripe_transfer_id) == ("pending", None)


def test_reversal_that_was_recorded_as_external_is_learned(split: Sale) -> None:
    record_external(split.of("ada"), shown(by_refund(25)), split.now)
    learn_reversal(split, "r1", 50, shown(by_refund(25)))
    assert split.order.reversed_by_refund == {"r1": {"ada": "trr_1"}}
    split.is_refunded("r1", 50)
    assert split.of("ada").taken == 25
    with pytest.raises(NotMadeYet):
        learn_reversal(split, "r2", 50, shown(by_refund(25)))


def test_reversal_of_a_refund_is_attributed_once(split: Sale) -> None:
    learn_reversal(split, "r1", 50, shown(by_refund(25)))
    split.is_refunded("r1", 50)
    assert attribute_made_reversal(split.order, split.transfers, "r1", 5, split.now) == 0
