"""Facts: permanent names, and the same state after they have been stored and read."""

from datetime import UTC, datetime, timedelta
from typing import TypedDict, Unpack, get_args
from uuid import UUID

import pytest
from eventsourcing.utils import resolve_topic

from domain.alarm import acknowledge
from domain.dispute import AnyDisputeFact
from domain.errors import ContentDiffers, IllegalTransition, NothingToRetry
from domain.fact import Fact, opened
from domain.finding import AnyFindingFact
from domain.identity import order_stream
from domain.lifecycle import TransferStatus
from domain.order import charge
from domain.order.aggregate import Order
from domain.order.authority import authority_of, claim_authority
from domain.order.collected import correct_collected
from domain.order.disputes import count_dispute, reduce_dispute, revoke_dispute
from domain.order.facts import (
    AnyOrderFact,
    PaymentNamed,
    PaymentNotCounted,
    PaymentRequested,
    ReversalMadeByRefund,
    TransferMadeByCharge,
)
from domain.order.recovery import doubt
from domain.order.set_aside import decide, end_set_aside
from domain.order.state import Share, UncountedPayment
from domain.pause import AnyPauseFact
from domain.payout import AnyPayoutFact
from domain.provider_call.outcome import Succeeded
from domain.provider_call.psp_objects import ConnectorPayment
from domain.provider_call.reasons import DeferralReason
from domain.provider_call.request_body import PaymentBody
from domain.provider_call.steps import LookUp, Rest
from domain.provider_call.stripe_objects import ChargeAtStripe
from domain.refund.aggregate import Refund
from domain.refund.facts import AnyRefundFact
from domain.refund.state import Part
from domain.seller_transfer.aggregate import SellerTransfer
from domain.seller_transfer.facts import AnyTransferFact, Cancelled
from tests.support.domain_story import POLICY, Answers, FactStorage, Sale, StateOf, Story, imported
from tests.support.streams import ImportedColumns

S = TransferStatus


class Members(TypedDict, total=False):
    """The members that a repeated registration is compared by."""

    currency: str
    amount: int
    shares: list[Share]
    payment_id: str | None
    source_transaction: str | None


NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)

TOPICS = {
    "Registered": "ledger.order.registered",
    "Paid": "ledger.order.paid",
    "TransferMadeByCharge": "ledger.order.transfer_made_by_charge",
    "ReversalMadeByRefund": "ledger.order.reversal_made_by_refund",
    "PaymentNamed": "ledger.order.payment_named",
    "RefundAllocated": "ledger.order.refund_allocated",
    "RefundRevoked": "ledger.order.refund_revoked",
    "RefundSetAside": "ledger.order.refund_set_aside",
    "DisputeCounted": "ledger.order.dispute_counted",
    "DisputeRevoked": "ledger.order.dispute_revoked",
    "DisputeReduced": "ledger.order.dispute_reduced",
    "AmountReceived": "ledger.order.amount_received",
    "PaymentNotCounted": "ledger.order.payment_not_counted",
    "DisputeSetAside": "ledger.order.dispute_set_aside",
    "CompensationOwed": "ledger.order.compensation_owed",
    "Resettled": "ledger.order.resettled",
    "AuthorityFound": "ledger.order.authority_found",
    "PaymentDoubted": "ledger.order.payment_doubted",
    "PaymentRequested": "ledger.order.payment_requested",
    "RefundReserved": "ledger.order.refund_reserved",
    "RefundReleased": "ledger.order.refund_released",
    "refund.CallStarted": "ledger.refund.call_started",
    "refund.AttemptDeferred": "ledger.refund.attempt_deferred",
    "Opened": "ledger.refund.opened",
    "Named": "ledger.refund.named",
    "Submitted": "ledger.refund.submitted",
    "Succeeded": "ledger.refund.succeeded",
    "refund.Failed": "ledger.refund.failed",
    "UnderReview": "ledger.refund.under_review",
    "dispute.Opened": "ledger.dispute.opened",
    "Restated": "ledger.dispute.restated",
    "Challenged": "ledger.dispute.challenged",
    "FundsWithdrawn": "ledger.dispute.funds_withdrawn",
    "Closed": "ledger.dispute.closed",
    "Lost": "ledger.dispute.lost",
    "FundsReinstated": "ledger.dispute.funds_reinstated",
    "Won": "ledger.dispute.won",
    "ReinstatedInPart": "ledger.dispute.reinstated_in_part",
    "PartDecided": "ledger.dispute.part_decided",
    "Announced": "ledger.payout.announced",
    "Sent": "ledger.payout.sent",
    "Arrived": "ledger.payout.arrived",
    "Canceled": "ledger.payout.canceled",
    "payout.Failed": "ledger.payout.failed",
    "Created": "ledger.seller_transfer.created",
    "Imported": "ledger.seller_transfer.imported",
    "CallStarted": "ledger.seller_transfer.call_started",
    "Completed": "ledger.seller_transfer.completed",
    "Failed": "ledger.seller_transfer.failed",
    "AttemptDeferred": "ledger.seller_transfer.attempt_deferred",
    "AmountReduced": "ledger.seller_transfer.amount_reduced",
    "Cancelled": "ledger.seller_transfer.cancelled",
    "ReversalQueued": "ledger.seller_transfer.reversal_queued",
    "ReversalRequested": "ledger.seller_transfer.reversal_requested",
    "ReversalReduced": "ledger.seller_transfer.reversal_reduced",
    "ReversalWithdrawn": "ledger.seller_transfer.reversal_withdrawn",
    "ReversalContested": "ledger.seller_transfer.reversal_contested",
    "ReversalAttributed": "ledger.seller_transfer.reversal_attributed",
    "PartiallyReversed": "ledger.seller_transfer.partially_reversed",
    "Reversed": "ledger.seller_transfer.reversed",
    "PermanentlyFailed": "ledger.seller_transfer.permanently_failed",
    "EvidenceHeld": "ledger.seller_transfer.evidence_held",
    "HeldBack": "ledger.seller_transfer.held_back",
    "RetryRequested": "ledger.seller_transfer.retry_requested",
    "Reopened": "ledger.seller_transfer.reopened",
    "StripeTransferIdBackfilled": "ledger.seller_transfer.stripe_transfer_id_backfilled",
    "Noted": "ledger.finding.noted",
    "Ignored": "ledger.finding.ignored",
    "Adopted": "ledger.finding.adopted",
}
UNIONS = (
    AnyOrderFact,
    AnyRefundFact,
    AnyTransferFact,
    AnyPauseFact,
    AnyDisputeFact,
    AnyPayoutFact,
    AnyFindingFact,
)
CLASSES = [kind for union in UNIONS for kind in get_args(union)]


def test_topics_of_facts_are_permanent() -> None:
    """Stored history could not be read under a changed name. Only ever add to the list."""
    topics = {cls.TOPIC for cls in CLASSES}
    assert topics >= set(TOPICS.values())
    assert len(topics) == len(CLASSES), "no two facts share a name"
    assert {aggregate.TOPIC for aggregate in (Order, Refund, SellerTransfer)} == {
        "ledger.order",
        "ledger.refund",
        "ledger.seller_transfer",
    }


def test_topic_leads_to_one_class() -> None:
    by_topic = {cls.TOPIC: cls for cls in CLASSES}
    for name, topic in TOPICS.items():
        assert resolve_topic(topic) is by_topic[topic]
        assert by_topic[topic].__name__ == name.split(".")[-1]


# --- stored and read ------------------------------------------------------------------------------


def test_long_history_reads_back_unchanged(
    story: Story, answers: type[Answers], storage: FactStorage, state: StateOf
) -> None:
    """Each answer leads to facts of its own; the state is compared at the end."""
    story.refunded("r0", 1_000)
    story.call(answers.too_little)
    story.call(answers.rate_limited)
    story.call(answers.timeout)
    story.refunded("r1", 1_000).refunded("r2", 2_000)
    story.call(Succeeded("tr_1", 9_000, "req_1"))
    story.call(answers.outage)
    story.transfer.withdraw(story.reversal, 1_000, "r1", story.now)
    story.call(answers.refused, seen=story.books(story.theirs(8_500)))
    story.call(answers.not_found_stored)
    story.transfer.backfill("tr_1", "ops", "known", story.now)
    story.transfer.retry("ops", "again", story.now)
    story.transfer.retry("ops", "and again", story.now)
    story.see(story.books(story.ours()))
    story.answer(story.first_send(), Succeeded("tr_2", 9_000))

    facts = list(story.transfer.collect_events())
    assert len(facts) > 20
    assert state(storage.replayed(facts)) == state(story.transfer)
    names = {type(fact).__name__ for fact in facts}
    assert {
        "EvidenceHeld",
        "RetryRequested",
        "Reopened",
        "ReversalContested",
        "ReversalQueued",
    } <= names


def test_order_reads_back_unchanged(sale: type[Sale], storage: FactStorage, state: StateOf) -> None:
    story = sale(100, {"ada": 50, "bob": 30}).all_go_through()
    story.order.reserve_refund("r4", 20, {"bob": 1}, story.now)
    story.is_refunded("r1", 10, {"ada": 10})
    story.is_refunded("r2", 30)
    story.is_refunded("r3", 1_000)
    story.is_refunded("r5", 1_000)
    decide(story.order, "r3", {"bob": 5}, 5, ("mia", "agreed"), story.now)
    story.is_refunded("r3", 1_000)
    end_set_aside(story.order, "r5", "the refund has failed", story.now)
    story.all_go_through()
    story.is_revoked("r2")
    story.is_refunded("r2", 30)
    claim_authority(story.order, "stripe", "stripe:evt_1", story.now)
    count_dispute(story.order, "dp_1", 30, "EUR", story.now)
    count_dispute(story.order, "dp_2", 30, "USD", story.now)
    revoke_dispute(story.order, "dp_1", story.now)
    count_dispute(story.order, "dp_1", 30, "EUR", story.now)
    reduce_dispute(story.order, "dp_1", 10, story.now)
    story.order.resettle("r2", story.now)
    story.order.release_refund("r4", story.now)
    assert doubt(story.order, story.transfers, "pay-1", "hyperswitch:evt_1", "it failed", story.now)
    body = PaymentBody(
        payment_id="order-1", amount=100, currency="EUR", metadata={"order_id": "order-1"}
    )
    stamp = story.order.next(story.now)
    story.order.record(PaymentRequested(**stamp, payment_id="order-1", key="order-1", body=body))
    story.order.record(
        PaymentNamed(**story.order.next(story.now), payment_id="order-1", source="api")
    )
    uncounted = UncountedPayment("pay-1", "partially_captured", 60, "EUR")
    story.order.record(
        PaymentNotCounted(
            **story.order.next(story.now), **uncounted._asdict(), source="hyperswitch:evt_1"
        )
    )
    assert correct_collected(story.order, 120, "api", story.now)
    story.order.source_transaction = None  # the story's payment came with its charge
    story.order.pay(None, None, "api", story.now, ConnectorPayment("stripe", "pi_1"))
    charge.defer(story.order, DeferralReason.PENDING, "no charge yet", story.now, POLICY)
    charge.lose(story.order, story.transfers, "no_charge", "no charge", story.now)
    charge.request_read(story.order, "ops", "there is one now", story.now)
    seen = ChargeAtStripe("ch_1", 100, "EUR", "pending", 100, "EUR")
    charge.find(story.order, story.transfers, seen, story.now)
    story.order.record(
        TransferMadeByCharge(
            **story.order.next(story.now),
            seller_id="ada",
            stripe_transfer_id="tr_9",
            amount=50,
            source="hyperswitch:evt_1",
        )
    )
    story.order.record(
        ReversalMadeByRefund(
            **story.order.next(story.now),
            refund_id="r1",
            seller_id="ada",
            stripe_reversal_id="trr_9",
            amount=10,
            source="hyperswitch:evt_2",
        )
    )
    acknowledge(story.order, "payment_failed_after_paid", "mia", "settled", story.now)
    facts = list(story.order.collect_events())
    assert {type(fact) for fact in facts} == set(get_args(AnyOrderFact))
    assert state(storage.replayed(facts)) == state(story.order)


def test_refund_reads_back_unchanged(story: Story, storage: FactStorage, state: StateOf) -> None:
    part: Part = {"seller_id": "ada", "amount": 5, "transfer_id": None, "reversal_id": None}
    refund = Refund.open(
        refund_id="psp-1",
        order_id="o",
        amount=9,
        currency="EUR",
        origin="api",
        now=story.now,
        psp_refund_id="psp-1",
    )
    refund.review("psp", "a person looks at it", story.now)
    refund.name("refund-1", None, story.now)
    refund.succeed("psp", [part], story.now)
    refund.fail("psp", "bank", story.now)
    facts = list(refund.collect_events())
    assert state(storage.replayed(facts)) == state(refund)


def test_enum_members_read_back_as_plain_strings(story: Story, storage: FactStorage) -> None:
    story.reversing()
    replica = storage.replayed(list(story.transfer.collect_events()))
    assert isinstance(replica, SellerTransfer)
    (reversal,) = replica.reversals.values()
    assert type(reversal.reason) is str
    assert replica.room == story.transfer.room
    assert replica.in_flight is not None
    assert replica.status is S.REVERSAL_PENDING


def test_facts_stored_before_a_field_existed_still_load(
    story: Story, answers: type[Answers], storage: FactStorage, state: StateOf
) -> None:
    story.call(answers.timeout)
    facts = storage.read_back(story.transfer.collect_events())
    for fact in facts:
        for later in ("lost", "look_first"):
            vars(fact).pop(later, None)
    replica: SellerTransfer | None = None
    for fact in facts:
        replica = fact.mutate(replica)
    assert replica is not None
    assert state(replica) == state(story.transfer)


def test_forbidden_command_changes_nothing(
    story: Story, answers: type[Answers], state: StateOf
) -> None:
    story.paid()
    before = state(story.transfer)
    with pytest.raises(IllegalTransition, match="from completed to cancelled"):
        story.transfer.record(Cancelled(**story.transfer.next(story.now), refund_id="r", by=1))
    assert state(story.transfer) == before
    assert story.told() == []


# --- taken over from an older system --------------------------------------------------------------


def taken_over(story: Story, status: str, **members: Unpack[ImportedColumns]) -> Story:
    columns: ImportedColumns = {"stripe_transfer_id": "tr_1", **members}
    fact = imported(status, story.now, **columns)
    story.transfer = opened(SellerTransfer, fact)
    return story


@pytest.mark.parametrize("status", list(S))
def test_imported_row_keeps_its_status(
    story: Story, storage: FactStorage, state: StateOf, status: S
) -> None:
    taken_over(story, status.value, next_retry_at=story.now)
    assert story.status is status
    assert state(storage.replayed(list(story.transfer.collect_events()))) == state(story.transfer)


@pytest.mark.parametrize("status", ["pending", "failed"])
def test_imported_transfer_is_looked_up_before_it_is_sent(story: Story, status: str) -> None:
    taken_over(story, status, stripe_transfer_id=None, next_retry_at=story.now, retry_count=2)
    assert isinstance(story.step(), LookUp)


@pytest.mark.parametrize("status", ["pending", "failed"])
def test_refund_queues_while_an_import_may_be_paid(story: Story, status: str) -> None:
    taken_over(story, status, stripe_transfer_id=None, next_retry_at=story.now).refunded(
        amount=10_000
    )
    assert story.status is not S.CANCELLED
    story.find(story.books())
    assert (story.status, story.reversal.amount) == (S.REVERSAL_PENDING, 10_000)


def test_imported_reversal_continues_with_the_remainder(story: Story) -> None:
    taken_over(
        story,
        "reversal_pending",
        amount_reversed=3_000,
        next_retry_at=story.now,
        reversal_id=str(UUID(int=5)),
        refund_id="r1",
        retry_count=2,
    )
    story.see(story.books(story.theirs(3_000)))
    send = story.send()
    assert (send.what, send.body["amount"]) == (str(UUID(int=5)), 7_000)
    story.answer(send, Succeeded("trr_1", 7_000))
    assert (story.status, story.transfer.amount_reversed) == (S.REVERSED, 10_000)


def test_imported_transfer_without_stripe_id_is_not_reversed(story: Story) -> None:
    taken_over(story, "completed", stripe_transfer_id="").refunded(amount=1_000)
    assert isinstance(story.step(), Rest)
    assert story.status is S.PERMANENTLY_FAILED
    with pytest.raises(NothingToRetry, match="backfill"):
        story.transfer.retry("ops", "again", story.now)


def test_known_stripe_id_is_never_replaced(story: Story) -> None:
    story.paid()
    story.transfer.backfill("tr_1", "ops", "the same", story.now)
    assert story.told() == []
    with pytest.raises(ContentDiffers, match="stripe_transfer_id"):
        story.transfer.backfill("tr_2", "ops", "another", story.now)


# --- creating twice -------------------------------------------------------------------------------


def test_repeated_creation_gives_the_same_first_version(sale: type[Sale]) -> None:
    one, two = sale(100, {"ada": 50}), sale(100, {"ada": 50})
    assert [(t.id, t.version) for t in one.transfers] == [(t.id, t.version) for t in two.transfers]
    assert one.order.id == two.order.id == order_stream("order-1")


def test_order_paid_by_another_payment_is_refused(sale: type[Sale]) -> None:
    story = sale(100, {"ada": 50})
    with pytest.raises(ContentDiffers, match="payment_id"):
        story.order.pay("pay-2", None, "api", story.now + timedelta(seconds=1))
    assert story.order.pay(None, None, "api", story.now) is False


def test_payment_reported_after_paid_is_recorded_once() -> None:
    share = Share(seller_id="ada", destination="acct_ada", amount=50)
    order = Order.register(order_id="o1", currency="EUR", amount=100, shares=[share], now=NOW)
    assert order.pay(None, None, "api", NOW) is True
    assert order.pay("pay_1", None, "hyperswitch:evt_1", NOW) is False
    assert (order.payment_id, authority_of(order)) == ("pay_1", "hyperswitch")
    assert order.pay("pay_1", None, "hyperswitch:evt_2", NOW) is False
    assert [type(fact).__name__ for fact in order.pending_events] == [
        "Registered",
        "Paid",
        "PaymentNamed",
    ]
    with pytest.raises(ContentDiffers, match="payment_id"):
        order.pay("pay_2", None, "hyperswitch:evt_3", NOW)


@pytest.mark.parametrize(
    ("other", "named"),
    [
        ({"currency": "USD"}, "currency"),
        ({"amount": 99}, "amount"),
        ({"shares": []}, "shares"),
        ({"payment_id": "pay-9"}, "payment_id"),
    ],
)
def test_order_with_other_content_names_the_difference(
    sale: type[Sale], other: Members, named: str
) -> None:
    order = sale(100, {"ada": 50}).order
    same: Members = {
        "currency": "EUR",
        "amount": 100,
        "shares": list(order.shares.values()),
        "payment_id": None,
        "source_transaction": None,
    }
    changed: Members = {**same, **other}
    order.agree(**same)
    with pytest.raises(ContentDiffers, match=named):
        order.agree(**changed)


def test_new_class_of_facts_is_found_by_its_topic() -> None:
    class Tested(Fact):
        TOPIC = "ledger.tested"

    class Nameless(Fact):
        """A part of other facts."""

    assert resolve_topic("ledger.tested") is Tested
    assert "TOPIC" not in vars(Nameless)


def test_import_without_a_refund_covers_none() -> None:
    fact = imported("partially_reversed", NOW, stripe_transfer_id="tr_1", amount_reversed=10)
    assert opened(SellerTransfer, fact).refunds_before == set()


@pytest.mark.parametrize(
    ("columns", "paid"),
    [
        ({}, False),
        ({"amount_reversed": 1}, True),
        ({"reversal_id": "rev-1"}, True),
        ({"stripe_transfer_id": "tr_1"}, True),
        ({"stripe_transfer_id": ""}, False),
    ],
)
def test_import_is_paid_by_any_trace_of_a_payment(columns: ImportedColumns, paid: bool) -> None:
    transfer = opened(SellerTransfer, imported("failed", NOW, **columns))
    assert transfer.paid is paid
    assert (transfer.operation is None) is paid


@pytest.mark.parametrize(
    ("columns", "given_up", "before"),
    [
        ({"stripe_transfer_id": "tr_1", "refund_id": "r1"}, "r1", set()),
        ({"refund_id": "r1"}, None, set()),
        ({"refund_id": "r1", "amount_reversed": 5}, None, {"r1"}),
        ({"stripe_transfer_id": "tr_1"}, None, set()),
    ],
)
def test_given_up_import_names_the_refund_that_was_tried(
    columns: ImportedColumns, given_up: str | None, before: set[str]
) -> None:
    transfer = opened(SellerTransfer, imported("permanently_failed", NOW, **columns))
    assert (transfer.refund_given_up, transfer.refunds_before) == (given_up, before)


@pytest.mark.parametrize(("stated", "due"), [(None, 7_000), (500, 500)])
def test_imported_reversal_is_about_the_rest_unless_it_says(stated: int | None, due: int) -> None:
    fact = imported(
        "reversal_pending",
        NOW,
        stripe_transfer_id="tr_1",
        reversal_id="rev-1",
        amount_reversed=3_000,
        reversal_amount=stated,
    )
    assert fact.reversal_due == due
    assert opened(SellerTransfer, fact).reversals["rev-1"].amount == due
