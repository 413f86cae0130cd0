"""Comparison of a transfer here with the same transfer at Stripe, and cases that only look like
differences."""

from datetime import UTC, datetime

from application.gateways import ListedTransfer
from application.reconciliation.comparison import alike, differences
from domain.fact import opened
from domain.finding import DifferenceKind
from domain.identity import reversal_name, transfer_stream
from domain.provider_call.retry_policy import Policy
from domain.provider_call.steps import LookUp
from domain.provider_call.stripe_objects import ReversalAtStripe, TransferAtStripe
from domain.seller_transfer.aggregate import TOPIC, SellerTransfer
from domain.seller_transfer.external_reversals import record_external
from domain.seller_transfer.opening_facts import Imported
from domain.seller_transfer.reversal_outcome import record_look_up
from domain.seller_transfer.transfer_outcome import complete

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
AMOUNT = 1_000


def imported(status: str = "completed", amount_reversed: int = 0) -> SellerTransfer:
    fact = Imported(
        originator_id=transfer_stream("o1", "ada"),
        originator_version=1,
        originator_topic=TOPIC,
        timestamp=NOW,
        order_id="o1",
        seller_id="ada",
        destination="acct_1ada",
        amount=AMOUNT,
        currency="EUR",
        transfer_group="o1",
        status=status,
        amount_reversed=amount_reversed,
        evidence="old.csv, row 1",
        stripe_transfer_id="tr_1",
    )
    return opened(SellerTransfer, fact)


def paid() -> SellerTransfer:
    """Return a paid transfer of this ledger."""
    transfer = SellerTransfer.create(
        order_id="o1",
        seller_id="ada",
        destination="acct_1ada",
        amount=AMOUNT,
        currency="EUR",
        now=NOW,
    )
    complete(transfer, "tr_1", AMOUNT, None, NOW)
    return transfer


def seen(*reversals: ReversalAtStripe, destination: str = "acct_1ada") -> TransferAtStripe:
    return TransferAtStripe(
        stripe_transfer_id="tr_1",
        amount=AMOUNT,
        amount_reversed=sum(made.amount for made in reversals),
        currency="EUR",
        destination=destination,
        transfer_id=None,
        reversals=reversals,
    )


def found(shown: TransferAtStripe, ours: SellerTransfer) -> list[tuple[DifferenceKind, int]]:
    return [(one.kind, one.at_risk) for one in differences(shown, ours, NOW)]


def test_adopted_transfer_does_not_differ() -> None:
    assert found(seen(), imported()) == []


def test_transfer_to_another_account_does_not_pay_the_seller() -> None:
    assert found(seen(destination="acct_1eve"), imported()) == [
        (DifferenceKind.DESTINATION, AMOUNT)
    ]


def test_external_reversal_for_several_of_ours_is_no_finding() -> None:
    transfer = paid()
    transfer.take_back("r1", 400, NOW)
    transfer.take_back("r2", 600, NOW)
    shown = seen(ReversalAtStripe("trr_1", AMOUNT, None))
    running = transfer.in_flight
    assert running is not None
    record_look_up(transfer, shown, NOW, Policy(), LookUp(running.reversal_id, NOW))
    assert transfer.amount_reversed == AMOUNT
    assert found(shown, transfer) == []


def test_imported_sum_without_stripe_reversal_is_missing() -> None:
    """Later refunds would ask for too little, and no finding would report it."""
    assert found(seen(), imported("reversed", AMOUNT)) == [(DifferenceKind.MISSING_THERE, AMOUNT)]
    some = ReversalAtStripe("trr_1", 300, None)
    assert found(seen(some), imported(amount_reversed=500)) == [(DifferenceKind.MISSING_THERE, 200)]
    assert found(seen(some), imported(amount_reversed=300)) == []


def test_our_imported_transfers_reversal_stays_ours() -> None:
    """Its refund is lost here and will be reported again: recorded as external by then, the
    reversal would count twice."""
    transfer = imported()
    name = str(reversal_name(transfer.id, "r1"))
    shown = seen(ReversalAtStripe("trr_1", 300, name, refund_id="r1"))
    record_external(transfer, shown, NOW)
    assert found(shown, transfer) == [(DifferenceKind.MISSING_HERE, 300)]
    transfer.take_back("r1", 300, NOW)
    record_look_up(transfer, shown, NOW, Policy())
    assert transfer.amount_reversed == 300


def test_old_systems_similar_name_is_not_ours() -> None:
    its_own = ReversalAtStripe("trr_1", 300, str(transfer_stream("o1", "eve")), refund_id="r1")
    assert found(seen(its_own), imported()) == [(DifferenceKind.EXTERNAL_REVERSAL, 300)]


def test_pending_and_refused_reversals_of_others_are_no_finding() -> None:
    made = [ReversalAtStripe(f"trr_{s}", 300, None, status=s) for s in ("pending", "failed")]
    shown = seen(*made)._replace(amount_reversed=0)
    assert found(shown, paid()) == []


def test_recorded_reversal_that_stripe_shows_as_failed_is_missing_there() -> None:
    transfer = paid()
    record_external(transfer, seen(ReversalAtStripe("trr_1", 300, None)), NOW)
    shown = seen(ReversalAtStripe("trr_1", 300, None, status="failed"))
    (one,) = differences(shown._replace(amount_reversed=0), transfer, NOW)
    assert (one.kind, one.at_risk) == (DifferenceKind.MISSING_THERE, 300)
    assert "is failed at Stripe" in one.detail


def test_transfer_without_our_id_is_found_by_its_charge() -> None:
    """Stripe has replaced the transfer group, since the transfer has a source."""
    transfer = SellerTransfer.create(
        order_id="o1",
        seller_id="ada",
        destination="acct_1ada",
        amount=AMOUNT,
        currency="EUR",
        source_transaction="ch_1",
        now=NOW,
    )
    unnamed = seen()._replace(transfer_id=None)
    of_sale = ListedTransfer(unnamed, NOW, None, "group_pi_1", "ch_1")
    assert alike(of_sale, [transfer]) == [transfer]
    assert alike(of_sale._replace(source_transaction="ch_2"), [transfer]) == []
    assert alike(of_sale._replace(source_transaction=None), [transfer]) == []
