"""Recovery of shares: refunds before, during and after the transfer, and refunds that fail after
they succeeded."""

import pytest

from domain.errors import NothingToRetry
from domain.identity import dispute_cause
from domain.lifecycle import TransferStatus
from domain.order.disputes import count_dispute
from domain.order.recovery import parts_of
from domain.provider_call.outcome import Succeeded
from domain.provider_call.stripe_objects import ReversalAtStripe, TransferAtStripe
from domain.seller_transfer.aggregate import SellerTransfer
from domain.seller_transfer.reversal_facts import ReversalQueued
from tests.support.domain_story import Answers, Sale

S = TransferStatus


def told(transfer: SellerTransfer) -> list[str]:
    return [type(fact).__name__ for fact in transfer.pending_events]


def reversals(transfer: SellerTransfer) -> list[tuple[int, str]]:
    return [(reversal.amount, reversal.state.value) for reversal in transfer.reversals.values()]


# --- when a refund comes --------------------------------------------------------------------------


def test_order_paid_after_its_refund_records_both(sale: type[Sale]) -> None:
    story = sale(100, {"ada": 50, "bob": 30}, paid=False)
    story.is_refunded("r1", 40)

    story.is_paid()

    assert told(story.of("ada")) == ["Created", "AmountReduced"]
    assert (story.of("ada").original, story.of("ada").amount) == (50, 30)
    assert (story.of("bob").original, story.of("bob").amount) == (30, 18)


def test_order_paid_after_a_full_refund_cancels_transfers(sale: type[Sale]) -> None:
    story = sale(100, {"ada": 50}, paid=False)
    story.is_refunded("r1", 60)
    story.is_refunded("r2", 40)

    story.is_paid()

    assert told(story.of("ada")) == ["Created", "AmountReduced", "Cancelled"]
    assert story.of("ada").reductions == {"r1": 30, "r2": 20}, (
        "each refund is the cause of its own part"
    )
    assert story.of("ada").status is S.CANCELLED


def test_failed_refund_before_payment_takes_nothing(sale: type[Sale]) -> None:
    story = sale(100, {"ada": 50}, paid=False)
    story.is_refunded("r1", 100)
    story.is_revoked("r1")
    story.is_paid()
    assert told(story.of("ada")) == ["Created"]


def test_order_is_paid_once(sale: type[Sale]) -> None:
    story = sale(100, {"ada": 50})
    before = story.transfers
    story.is_paid()
    assert story.transfers is before


@pytest.mark.parametrize("moment", ["before", "during", "after"])
@pytest.mark.parametrize("refunds", [[100], [50, 50], [33, 33, 34], [1, 98, 1]], ids=str)
def test_net_is_the_same_whenever_refunds_come(
    sale: type[Sale], moment: str, refunds: list[int]
) -> None:
    story = sale(100, {"ada": 51, "bob": 7})
    calls = [(t, story.send(t)) for t in story.transfers] if moment == "during" else []
    if moment == "after":
        story.all_go_through()
    for n, amount in enumerate(refunds):
        story.is_refunded(f"r{n}", amount)
    for n, (transfer, send) in enumerate(calls):
        story.answer(transfer, send, Succeeded(f"tr_{n}", send.body["amount"]))

    story.all_go_through()

    assert (story.net("ada"), story.net("bob")) == (0, 0)
    ended = S.CANCELLED if moment == "before" else S.REVERSED
    assert {t.status for t in story.transfers} == {ended}


def test_zero_recovery_sends_nothing(sale: type[Sale]) -> None:
    story = sale(100, {"ada": 1}).all_go_through()
    story.is_refunded("r1", 99)
    assert told(story.of("ada"))[-1] == "Completed"
    story.is_refunded("r2", 1)
    assert reversals(story.of("ada")) == [(1, "requested")]


def test_explicit_refund_takes_from_the_named_sellers(sale: type[Sale]) -> None:
    story = sale(100, {"ada": 50, "bob": 50}).all_go_through()
    story.is_refunded("r1", 30, {"bob": 30})
    story.is_refunded("r2", 70)
    story.all_go_through()
    assert (story.net("ada"), story.net("bob")) == (0, 0)


@pytest.mark.parametrize(("amount", "currency"), [(101, "EUR"), (10, "USD")])
def test_indivisible_refund_touches_no_transfer(
    sale: type[Sale], amount: int, currency: str
) -> None:
    story = sale(100, {"ada": 50}).all_go_through()
    facts = len(story.of("ada").pending_events)
    assert story.is_refunded("r1", amount, None, currency) is not None
    assert len(story.of("ada").pending_events) == facts


def test_foreign_share_is_reversed_in_its_currency(sale: type[Sale]) -> None:
    story = sale(10_000, {"ada": 5_000})
    story.order.shares["ada"]["currency"] = "JPY"
    assert story.order.share_currency("ada") == "JPY"
    story.is_refunded("r1", 2_500)
    assert story.of("ada").amount == 3_750


# --- refunds that failed after all ----------------------------------------------------------------


def test_unsent_reversal_is_withdrawn(sale: type[Sale]) -> None:
    story = sale(100, {"ada": 50}).all_go_through()
    story.is_refunded("r1", 40)
    story.is_revoked("r1")
    assert told(story.of("ada"))[-1] == "ReversalWithdrawn"
    assert (story.of("ada").status, story.of("ada").amount_reversed) == (S.PARTIALLY_REVERSED, 0)
    assert len(story.transfers) == 1


def test_withdrawn_reversal_releases_the_next(sale: type[Sale]) -> None:
    story = sale(100, {"ada": 50}).all_go_through()
    story.is_refunded("r1", 40)
    story.is_refunded("r2", 20)
    story.is_revoked("r1")
    assert reversals(story.of("ada")) == [(20, "withdrawn"), (10, "requested")]


def test_queued_reversal_is_withdrawn_behind_the_running(sale: type[Sale]) -> None:
    story = sale(100, {"ada": 50}).all_go_through()
    story.is_refunded("r1", 40)
    send = story.send(story.of("ada"))
    story.is_refunded("r2", 20)
    story.is_revoked("r2")
    assert reversals(story.of("ada")) == [(20, "requested"), (10, "withdrawn")]
    story.answer(story.of("ada"), send, Succeeded("trr_1", 20))
    assert story.of("ada").status is S.PARTIALLY_REVERSED


def test_open_reversal_is_awaited_and_compensated(sale: type[Sale]) -> None:
    story = sale(100, {"ada": 50}).all_go_through()
    story.is_refunded("r1", 40)
    send = story.send(story.of("ada"))

    story.is_revoked("r1")
    assert told(story.of("ada"))[-1] == "ReversalContested"
    assert len(story.transfers) == 1, "whether the reversal was made is not known yet"

    story.answer(story.of("ada"), send, Succeeded("trr_1", 20))
    (_, back) = story.transfers
    assert (back.amount, back.currency, back.destination) == (20, "EUR", "acct_ada")
    assert back.source_transaction is None
    assert story.of("ada").source_transaction == "ch_1"
    story.all_go_through()
    assert story.net("ada") == 50


def test_open_reversal_is_withdrawn_after_a_refusal(
    sale: type[Sale], answers: type[Answers]
) -> None:
    story = sale(100, {"ada": 50}).all_go_through()
    story.is_refunded("r1", 40)
    transfer = story.of("ada")
    send = story.send(transfer)
    story.is_revoked("r1")
    seen = TransferAtStripe("tr_ada_1", 50, 0, "EUR", "acct_ada", str(transfer.id))
    story.answer(transfer, send, answers.refused, seen)
    assert told(transfer)[-1] == "ReversalWithdrawn"
    assert (transfer.status, len(story.transfers)) == (S.PARTIALLY_REVERSED, 1)


def test_reduced_open_reversal_is_withdrawn(sale: type[Sale], answers: type[Answers]) -> None:
    story = sale(100, {"ada": 50}).all_go_through()
    story.is_refunded("r1", 40)
    transfer = story.of("ada")
    send = story.send(transfer)
    story.is_revoked("r1")
    theirs = ReversalAtStripe("trr_dashboard", 45, None)
    story.answer(
        transfer,
        send,
        answers.refused,
        TransferAtStripe("tr_ada_1", 50, 45, "EUR", "acct_ada", "", (theirs,)),
    )
    assert reversals(transfer) == [(5, "withdrawn"), (45, "reversed")]
    assert transfer.operation is None
    assert len(story.transfers) == 1, "external reversals are not compensated"


def test_open_reversal_is_contested_once(sale: type[Sale]) -> None:
    story = sale(100, {"ada": 50}).all_go_through()
    story.is_refunded("r1", 40)
    story.send(story.of("ada"))
    story.is_revoked("r1")
    for _ in range(3):
        story.recover_shares("r1")
    assert told(story.of("ada")).count("ReversalContested") == 1


def test_refund_that_succeeds_again_uses_the_open_reversal(sale: type[Sale]) -> None:
    story = sale(100, {"ada": 50}).all_go_through()
    story.is_refunded("r1", 40)
    send = story.send(story.of("ada"))
    story.is_revoked("r1")
    story.is_refunded("r1", 40)
    story.answer(story.of("ada"), send, Succeeded("trr_1", 20))
    assert len(story.transfers) == 1
    assert story.net("ada") == 30


def test_taken_amount_is_given_back_once(sale: type[Sale]) -> None:
    story = sale(100, {"ada": 50}).all_go_through()
    story.is_refunded("r1", 40)
    story.all_go_through()
    for _ in range(3):
        story.is_revoked("r1")
        story.recover_shares("r1")
    assert [t.original for t in story.transfers] == [50, 20]


def test_failed_refund_also_restores_an_unsent_reduction(sale: type[Sale]) -> None:
    story = sale(100, {"ada": 50})
    story.is_refunded("r1", 100)
    story.is_revoked("r1")
    assert [(t.status, t.amount) for t in story.transfers] == [(S.CANCELLED, 50), (S.PENDING, 50)]
    story.all_go_through()
    assert story.net("ada") == 50


def test_second_refund_debits_the_newest_transfer_first(sale: type[Sale]) -> None:
    story = sale(100, {"ada": 50}).all_go_through()
    story.is_refunded("r1", 40)
    story.all_go_through()
    story.is_revoked("r1")
    story.all_go_through()
    assert [t.amount for t in story.transfers] == [50, 20]

    story.is_refunded("r2", 100)

    assert reversals(story.of("ada", 1)) == [(20, "requested")]
    assert reversals(story.of("ada", 0)) == [(20, "reversed"), (30, "requested")]
    story.all_go_through()
    assert story.net("ada") == 0


def test_sale_is_debited_only_for_the_rest(sale: type[Sale]) -> None:
    story = sale(100, {"ada": 50}).all_go_through()
    story.is_refunded("r1", 40)
    story.all_go_through()
    story.is_revoked("r1")
    story.all_go_through()

    story.is_refunded("r2", 30)

    assert reversals(story.of("ada", 1)) == [(15, "requested")]
    assert reversals(story.of("ada", 0)) == [(20, "reversed")]


def test_alternating_refund_outcomes_stay_exact(sale: type[Sale]) -> None:
    story = sale(100, {"ada": 50, "bob": 33}).all_go_through()
    for _ in range(5):
        story.is_refunded("r1", 61)
        story.all_go_through()
        assert (story.net("ada"), story.net("bob")) == (50 - 30, 33 - 20)
        story.is_revoked("r1")
        story.all_go_through()
        assert (story.net("ada"), story.net("bob")) == (50, 33)
    assert len({t.id for t in story.transfers}) == len(story.transfers)


def test_rounding_cent_moves_with_the_failed_refund(sale: type[Sale]) -> None:
    """r1 takes 5 of 10 (floor: 1 of 3) and r2 the other 5 (2 of 3). Without r1, r2 alone owes 1
    instead of 2."""
    story = sale(10, {"ada": 3}).all_go_through()
    story.is_refunded("r1", 5)
    story.is_refunded("r2", 5)
    assert reversals(story.of("ada")) == [(1, "requested"), (2, "queued")]

    story.is_revoked("r1")

    assert reversals(story.of("ada")) == [(1, "withdrawn"), (1, "requested")]
    assert "ReversalReduced" in told(story.of("ada"))
    story.all_go_through()
    assert story.net("ada") == 2


def test_taken_rounding_cent_is_given_back(sale: type[Sale]) -> None:
    story = sale(10, {"ada": 3}).all_go_through()
    story.is_refunded("r1", 5)
    story.is_refunded("r2", 5)
    story.all_go_through()
    assert story.net("ada") == 0
    story.is_revoked("r1")
    story.all_go_through()
    assert story.net("ada") == 2
    assert sum(t.original for t in story.transfers[1:]) == 2


def test_rounding_cent_contests_no_other_open_reversal(sale: type[Sale]) -> None:
    story = sale(10, {"ada": 3}).all_go_through()
    transfer = story.of("ada")
    story.is_refunded("r1", 5)
    story.goes_through(transfer, "trr_1")
    story.is_refunded("r2", 5)
    send = story.send(transfer)

    story.is_revoked("r1")

    assert "ReversalContested" not in told(transfer)
    story.answer(transfer, send, Succeeded("trr_2", 2))
    story.all_go_through()
    assert story.net("ada") == 2


def test_lowered_refused_reversal_gets_a_new_key(sale: type[Sale], answers: type[Answers]) -> None:
    story = sale(10, {"ada": 3}).all_go_through()
    transfer = story.of("ada")
    story.is_refunded("r1", 5)
    story.goes_through(transfer, "trr_1")
    story.is_refunded("r2", 5)
    used = story.send(transfer)
    story.answer(transfer, used, answers.rate_limited)
    assert transfer.operation is not None
    assert not transfer.operation.open
    story.is_revoked("r1")
    assert reversals(transfer)[-1] == (1, "requested")
    assert transfer.next_retry_at is not None
    story.now = transfer.next_retry_at
    again = story.send(transfer)
    assert (used.body["amount"], again.body["amount"]) == (2, 1)
    assert (used.key[-3:], again.key[-3:]) == (":e1", ":e2")


def test_revoked_refund_compensates_only_its_seller(sale: type[Sale]) -> None:
    story = sale(100, {"ada": 50, "bob": 50}).all_go_through()
    story.is_refunded("r1", 30, {"ada": 30})
    story.is_refunded("r2", 20, {"bob": 20})
    story.all_go_through()
    story.is_revoked("r1")
    story.all_go_through()
    assert (story.net("ada"), story.net("bob")) == (50, 30)
    assert [t.seller_id for t in story.transfers] == ["ada", "bob", "ada"]


def test_order_counts_every_compensation(sale: type[Sale]) -> None:
    story = sale(100, {"ada": 50, "bob": 50}).all_go_through()
    story.is_refunded("r1", 30)
    story.all_go_through()
    story.is_revoked("r1")
    assert set(story.order.transfer_ids()) == {t.id for t in story.transfers}
    assert len(story.transfers) == 4


# --- stuck transfers ------------------------------------------------------------------------------


def stuck(sale: type[Sale], answers: type[Answers]) -> Sale:
    """Return a paid sale whose reversal was given up."""
    story = sale(100, {"ada": 50}).all_go_through()
    story.is_refunded("r1", 40)
    transfer = story.of("ada")
    story.answer(transfer, story.send(transfer), answers.not_found)
    assert transfer.status is S.PERMANENTLY_FAILED
    return story


def test_refund_of_a_stuck_transfer_waits_for_operator(
    sale: type[Sale], answers: type[Answers]
) -> None:
    story = stuck(sale, answers)
    story.is_refunded("r2", 20)
    queued = story.of("ada").pending_events[-1]
    assert isinstance(queued, ReversalQueued)
    assert queued.waiting_for == "operator"
    assert story.of("ada").taken == 30


def test_stuck_reversal_without_cause_is_withdrawn(
    sale: type[Sale], answers: type[Answers]
) -> None:
    story = stuck(sale, answers)
    story.is_revoked("r1")
    assert reversals(story.of("ada")) == [(20, "withdrawn")]
    with pytest.raises(NothingToRetry, match="no refund is owed"):
        story.of("ada").retry("ops", "again", story.now)
    assert len(story.transfers) == 1


def test_reopening_sends_the_amount_due_now(sale: type[Sale], answers: type[Answers]) -> None:
    story = stuck(sale, answers)
    story.is_refunded("r2", 20)
    story.is_revoked("r1")
    transfer = story.of("ada")
    transfer.retry("ops", "it is there", story.now)
    assert [(c.amount, c.state.value) for c in transfer.reversals.values() if c.live] == [
        (10, "requested")
    ]
    assert transfer.operation is not None
    assert transfer.operation.look_first


# --- the division that a refund shows -------------------------------------------------------------


def test_refund_shows_its_division(sale: type[Sale]) -> None:
    story = sale(100, {"ada": 50, "bob": 30}).all_go_through()
    story.is_refunded("r1", 10)
    ada, bob = story.of("ada"), story.of("bob")
    assert parts_of(story.order, story.transfers, "r1") == [
        {
            "seller_id": "ada",
            "amount": 5,
            "transfer_id": str(ada.id),
            "reversal_id": next(iter(ada.reversals)),
        },
        {
            "seller_id": "bob",
            "amount": 3,
            "transfer_id": str(bob.id),
            "reversal_id": next(iter(bob.reversals)),
        },
    ]


def test_refund_before_payment_shows_parts_without_transfers(sale: type[Sale]) -> None:
    story = sale(100, {"ada": 50, "bob": 30}, paid=False)
    story.is_refunded("r0", 10)
    story.is_refunded("r1", 10)
    assert parts_of(story.order, story.transfers, "r1") == [
        {"seller_id": "ada", "amount": 5, "transfer_id": None, "reversal_id": None},
        {"seller_id": "bob", "amount": 3, "transfer_id": None, "reversal_id": None},
    ]


def test_amount_due_all_the_same_is_taken_for_the_dispute(sale: type[Sale]) -> None:
    """A full refund leaves nothing to the dispute; when the refund fails, the dispute takes all."""
    story = sale(100, {"ada": 90})
    story.all_go_through()
    story.is_refunded("r1", 100)
    assert count_dispute(story.order, "dp1", 100, "EUR", story.now) is None
    story.recover_shares(dispute_cause("dp1"))
    (requested,) = story.of("ada").reversals.values()
    assert requested.refund_id == "r1"
    story.is_revoked("r1")
    withdrawn, taken = story.of("ada").reversals.values()
    assert (withdrawn.state, taken.state) == ("withdrawn", "requested")
    assert (taken.refund_id, taken.reason, taken.amount) == ("dispute dp1", "dispute", 90)
    story.all_go_through()
    assert story.net("ada") == 0


def test_sent_reversal_keeps_its_cause_when_a_dispute_takes_more(sale: type[Sale]) -> None:
    story = sale(100, {"ada": 90})
    story.all_go_through()
    story.is_refunded("r1", 40)
    story.all_go_through()
    assert count_dispute(story.order, "dp1", 100, "EUR", story.now) is None
    story.recover_shares(dispute_cause("dp1"))
    story.all_go_through()
    assert story.net("ada") == 0
    story.is_revoked("r1")
    made = [(one.refund_id, one.amount) for one in story.of("ada").reversals.values()]
    assert made == [("r1", 36), ("dispute dp1", 54)]
    assert story.net("ada") == 0, "no amount moves twice"
