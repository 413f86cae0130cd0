"""Disputes: reports in any order, a status that never goes back, and the part of an order that
disputes take besides refunds."""

from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import TypeAlias

import pytest

from domain.dispute import Dispute, DisputePolicy, DisputeStatus, EvidenceRequested
from domain.errors import ContentDiffers, Contradiction
from domain.identity import dispute_cause, dispute_stream
from domain.order.disputes import count_dispute, revoke_dispute
from domain.order.facts import DisputeCounted
from domain.provider_call.outcome import Unknown
from domain.seller_transfer.reversal import Reason
from tests.support.domain_story import FactStorage, Sale, StateOf

D: TypeAlias = DisputeStatus
P: TypeAlias = DisputePolicy
NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)


def a_dispute(*heard: DisputeStatus) -> Dispute:
    dispute = Dispute.open(
        dispute_id="dp_1",
        provider="stripe",
        order_id="o1",
        amount=100,
        currency="EUR",
        reason=None,
        source="stripe:evt_1",
        now=NOW,
    )
    for status in heard:
        dispute.report(status, "stripe:evt_2", NOW)
    return dispute


SOON, LATER = NOW + timedelta(days=7), NOW + timedelta(days=9)


@pytest.mark.parametrize("before", [(), (D.CHALLENGED,), (D.WITHDRAWN,)])
def test_deadline_of_a_dispute_is_recorded_once_and_may_change(before: tuple[D, ...]) -> None:
    dispute = a_dispute(*before)
    status, known = dispute.status, len(dispute.pending_events)
    assert not dispute.request_evidence(None, "stripe:evt_3", NOW)
    assert dispute.request_evidence(SOON, "stripe:evt_3", NOW)
    assert not dispute.request_evidence(SOON, "stripe:evt_4", NOW)
    assert dispute.request_evidence(LATER, "stripe:evt_5", NOW)
    assert not dispute.request_evidence(None, "stripe:evt_6", NOW)
    first, second = dispute.pending_events[known:]
    assert isinstance(first, EvidenceRequested)
    assert isinstance(second, EvidenceRequested)
    assert (first.dispute_id, first.provider, first.order_id) == ("dp_1", "stripe", "o1")
    assert (first.amount, first.currency, first.source) == (100, "EUR", "stripe:evt_3")
    assert (first.evidence_due_by, second.evidence_due_by) == (SOON, LATER)
    assert (dispute.status, dispute.evidence_due_by) == (status, LATER)


@pytest.mark.parametrize("over", [D.LOST, D.WON, D.REINSTATED])
def test_deadline_of_a_decided_dispute_is_not_recorded(over: D) -> None:
    dispute = a_dispute(over)
    assert not dispute.request_evidence(SOON, "stripe:evt_3", NOW)
    assert dispute.evidence_due_by is None


@pytest.mark.parametrize("before", [(), (D.CHALLENGED,), (D.CLOSED,)])
def test_dispute_amount_is_the_last_reported_until_moved(before: tuple[D, ...]) -> None:
    dispute = a_dispute(*before)
    assert dispute.restate(40, "stripe:evt_3", NOW)
    dispute.agree("o1", 40, "EUR")
    assert not dispute.restate(40, "stripe:evt_3", NOW)


@pytest.mark.parametrize("moved", [D.WITHDRAWN, D.LOST, D.REINSTATED, D.WON])
def test_moved_dispute_refuses_another_amount(moved: D) -> None:
    dispute = a_dispute(moved)
    assert not dispute.restate(40, "stripe:evt_3", NOW)
    with pytest.raises(ContentDiffers, match="amount"):
        dispute.agree("o1", 40, "EUR")


def told(dispute: Dispute) -> list[str]:
    return [type(fact).__name__ for fact in dispute.pending_events]


@pytest.mark.parametrize(
    ("heard", "ends"),
    [
        ([D.OPENED, D.CHALLENGED, D.WITHDRAWN, D.LOST], D.LOST),
        ([D.OPENED, D.CHALLENGED, D.WITHDRAWN, D.REINSTATED, D.WON], D.WON),
        ([D.WITHDRAWN, D.LOST, D.WITHDRAWN], D.LOST),
        ([D.OPENED, D.CLOSED], D.CLOSED),
        ([D.WITHDRAWN, D.REINSTATED], D.REINSTATED),
    ],
)
@pytest.mark.parametrize("policy", list(P))
def test_dispute_ends_the_same_in_any_report_order(heard: list[D], ends: D, policy: P) -> None:
    disputes = [a_dispute(*order) for order in permutations(heard)]
    assert {dispute.status for dispute in disputes} == {ends}
    assert len({dispute.takes(policy) for dispute in disputes}) == 1
    assert len({dispute.withdrawn for dispute in disputes}) == 1


@pytest.mark.parametrize(
    ("heard", "withdrawal", "lost"),
    [
        ([], False, False),
        ([D.CHALLENGED], False, False),
        ([D.WITHDRAWN], True, False),
        ([D.LOST], False, True),  # the funds have not been heard of yet
        ([D.WITHDRAWN, D.LOST], True, True),
        ([D.WITHDRAWN, D.WON], True, False),  # won, but the funds are not back yet
        ([D.WITHDRAWN, D.LOST, D.REINSTATED], False, False),
        ([D.WITHDRAWN, D.WON, D.REINSTATED], False, False),
        ([D.CLOSED], False, False),
    ],
)
def test_dispute_money_moves_according_to_policy(
    heard: list[D], withdrawal: bool, lost: bool
) -> None:
    dispute = a_dispute(*heard)
    assert (dispute.takes(P.WITHDRAWAL), dispute.takes(P.LOST)) == (withdrawal, lost)


def test_repeated_dispute_report_records_nothing() -> None:
    dispute = a_dispute(D.WITHDRAWN, D.WITHDRAWN, D.CHALLENGED, D.OPENED, D.LOST, D.LOST)
    assert told(dispute) == ["Opened", "FundsWithdrawn", "Lost"]


@pytest.mark.parametrize("over", [D.WON, D.REINSTATED])
def test_loss_after_reinstatement_is_a_contradiction(over: D) -> None:
    dispute = a_dispute(D.WITHDRAWN, over)
    with pytest.raises(Contradiction, match="recorded as"):
        dispute.report(D.LOST, "stripe:evt_3", NOW)


def test_report_of_another_amount_is_refused() -> None:
    with pytest.raises(ContentDiffers, match="amount"):
        a_dispute().agree("o1", 99, "EUR")


def test_stored_dispute_reads_back_unchanged(storage: FactStorage, state: StateOf) -> None:
    dispute = a_dispute(D.CHALLENGED, D.WITHDRAWN, D.CLOSED, D.LOST, D.REINSTATED, D.WON)
    assert told(dispute)[1:] == [
        "Challenged",
        "FundsWithdrawn",
        "Closed",
        "Lost",
        "FundsReinstated",
        "Won",
    ]
    assert state(storage.replayed(list(dispute.collect_events()))) == state(dispute)


def test_same_id_at_another_provider_is_another_dispute() -> None:
    assert dispute_stream("stripe", "dp_1") != dispute_stream("hyperswitch", "dp_1")


# --- beside refunds -------------------------------------------------------------------------------


def disputed(
    sale: Sale, amount: int, dispute_id: str = "dp_1", currency: str = "EUR"
) -> str | None:
    sale.now += timedelta(seconds=1)
    why = count_dispute(sale.order, dispute_id, amount, currency, sale.now)
    if why is None:
        sale.recover_shares(dispute_cause(dispute_id))
    return why


def won(sale: Sale, dispute_id: str = "dp_1") -> None:
    sale.now += timedelta(seconds=1)
    if revoke_dispute(sale.order, dispute_id, sale.now):
        sale.recover_shares(dispute_cause(dispute_id))


def test_dispute_takes_its_proportional_share(sale: type[Sale]) -> None:
    story = sale(1_000, {"ada": 501, "bob": 399}).all_go_through()
    disputed(story, 333)
    (reversal,) = story.of("ada").reversals.values()
    assert (reversal.amount, reversal.reason, reversal.refund_id) == (
        501 * 333 // 1_000,
        Reason.DISPUTE,
        "dispute dp_1",
    )
    story.all_go_through()
    assert story.net("bob") == 399 - 399 * 333 // 1_000


def test_refund_named_like_a_dispute_is_another_cause(sale: type[Sale]) -> None:
    story = sale(1_000, {"ada": 500}).all_go_through()
    story.is_refunded("dp_1", 200)
    disputed(story, 300)
    story.all_go_through()
    assert [reversal.amount for reversal in story.of("ada").reversals.values()] == [100, 150]
    assert [reversal.reason for reversal in story.of("ada").reversals.values()] == [
        "refund",
        "dispute",
    ]


def test_dispute_takes_at_most_the_remainder(sale: type[Sale]) -> None:
    story = sale(1_000, {"ada": 500}).all_go_through()
    story.is_refunded("r1", 700)
    disputed(story, 1_000)
    story.all_go_through()
    assert story.net("ada") == 0
    counted = story.order.pending_events[-1]
    assert isinstance(counted, DisputeCounted)
    assert counted.counted == 300


def test_refund_after_a_full_dispute_is_admitted(sale: type[Sale]) -> None:
    """Buyers get their money by refunds in any case: the dispute takes less, however late the
    refund comes."""
    story = sale(1_000, {"ada": 500}).all_go_through()
    disputed(story, 1_000)
    assert story.is_refunded("r1", 300) is None
    story.all_go_through()
    assert (story.net("ada"), story.order.refunded) == (0, 300)
    won(story)
    story.all_go_through()
    assert story.net("ada") == 500 - 150


def test_two_disputes_share_the_cap(sale: type[Sale]) -> None:
    story = sale(1_000, {"ada": 500}).all_go_through()
    disputed(story, 600, "dp_1")
    disputed(story, 600, "dp_2")
    story.all_go_through()
    assert story.net("ada") == 0
    won(story, "dp_1")
    story.all_go_through()
    assert story.net("ada") == 200


def test_dispute_won_twice_compensates_once(sale: type[Sale]) -> None:
    story = sale(1_000, {"ada": 500}).all_go_through()
    disputed(story, 400)
    story.all_go_through()
    won(story)
    won(story)
    story.all_go_through()
    assert (story.net("ada"), len(story.transfers)) == (500, 2)


def test_dispute_before_payment_reduces_the_transfer(sale: type[Sale]) -> None:
    story = sale(1_000, {"ada": 500}, paid=False)
    story.is_refunded("r1", 100)
    disputed(story, 400)
    story.is_paid()
    assert story.of("ada").reductions == {"r1": 50, "dispute dp_1": 200}
    assert story.of("ada").amount == 250


def test_dispute_in_another_currency_is_set_aside(sale: type[Sale]) -> None:
    story = sale(1_000, {"ada": 500}).all_go_through()
    assert disputed(story, 400, currency="USD") == "it is in USD, the order in EUR"
    assert disputed(story, 400, currency="USD") == "it is in USD, the order in EUR"
    assert [type(fact).__name__ for fact in story.order.pending_events][-1] == "DisputeSetAside"
    assert story.order.set_aside == {"dispute dp_1": 400}
    assert story.of("ada").reversals == {}


def test_compensation_waits_for_another_causes_open_call(sale: type[Sale]) -> None:
    """The reversal for the dispute counts for the refund too; while it is open, its amount is
    unknown."""
    story = sale(1_000, {"ada": 500}).all_go_through()
    disputed(story, 1_000)
    story.is_refunded("r1", 300)
    send = story.send(story.of("ada"))
    won(story)
    story.is_revoked("r1")
    assert len(story.transfers) == 1
    story.answer(story.of("ada"), send, Unknown("timeout", "no answer"))
    assert len(story.transfers) == 1


@pytest.mark.parametrize(
    ("heard", "decided"),
    [
        ((), False),
        ((D.CHALLENGED,), False),
        ((D.WITHDRAWN,), True),
        ((D.CLOSED,), True),
        ((D.LOST,), True),
        ((D.WON,), True),
    ],
)
def test_dispute_is_decided_once_money_moved_or_it_ended(
    heard: tuple[D, ...], decided: bool
) -> None:
    assert a_dispute(*heard).decided is decided


def test_report_is_news_once() -> None:
    dispute = a_dispute()
    assert dispute.report(D.CHALLENGED, "stripe:evt_2", NOW)
    assert not dispute.report(D.CHALLENGED, "stripe:evt_3", NOW)
    assert dispute.report(D.WITHDRAWN, "stripe:evt_4", NOW)
    assert not dispute.report(D.OPENED, "stripe:evt_5", NOW)
    assert dispute.report(D.REINSTATED, "stripe:evt_6", NOW)
    assert not dispute.report(D.REINSTATED, "stripe:evt_7", NOW)
