"""Facts of a refund: each field arrives in the fact and in the state, and leaves with the end."""

from datetime import UTC, datetime, timedelta

import pytest

from domain.errors import ContentDiffers
from domain.fact import Fact
from domain.identity import refund_stream
from domain.provider_call.operation import Deferral, Operation
from domain.provider_call.reasons import DeferralReason
from domain.refund.aggregate import Refund
from domain.refund.facts import AttemptDeferred, Failed, Named, Submitted, Succeeded, UnderReview
from domain.refund.state import Part, RefundStatus
from tests.support.domain_story import FactStorage, state_of

NOW = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
PART = Part(seller_id="ada", amount=36, transfer_id="t", reversal_id="rev")
DEFERRED = Deferral(
    why="unknown",
    detail="no answer",
    next_retry_at=NOW + MINUTE,
    retry_count=2,
    epoch=1,
    open=True,
    exhausted=True,
    look_first=True,
    hindered=3,
    hindered_since=NOW - MINUTE,
    lost=4,
    undecided_since=NOW - 2 * MINUTE,
)


def opened(origin: str = "api") -> Refund:
    return Refund.open(
        now=NOW,
        refund_id="r1",
        order_id="o1",
        amount=40,
        currency="EUR",
        origin=origin,
        reason="duplicate",
        explicit={"ada": 36},
        payment_id="pay_1",
    )


def last(refund: Refund) -> Fact:
    fact = refund.pending_events[-1]
    assert isinstance(fact, Fact)
    return fact


def test_requested_refund_is_due_at_once() -> None:
    refund = opened()
    assert (refund.id, refund.version) == (refund_stream("r1"), 1)
    assert (refund.refund_id, refund.key, refund.order_id) == ("r1", "r1", "o1")
    assert (refund.amount, refund.currency, refund.payment_id) == (40, "EUR", "pay_1")
    assert (refund.reason, refund.explicit, refund.psp_refund_id) == (
        "duplicate",
        {"ada": 36},
        None,
    )
    assert (refund.operation, refund.next_retry_at) == (Operation("refund"), NOW)


@pytest.mark.parametrize("origin", ["settled", "psp"])
def test_refund_made_elsewhere_is_not_called(origin: str) -> None:
    refund = opened(origin)
    assert (refund.operation, refund.next_retry_at) == (None, None)
    assert refund.status is RefundStatus.SUBMITTED


def test_deferral_is_recorded_in_each_field() -> None:
    refund = opened()
    refund.defer(DEFERRED, NOW)
    fact = last(refund)
    assert isinstance(fact, AttemptDeferred)
    members = set(Deferral._fields) - {"epoch", "waiting_for", "awaiting_since", "given_back"}
    members.discard("request_id")
    assert {name: getattr(fact, name) for name in members} == {
        name: getattr(DEFERRED, name) for name in members
    }
    assert refund.operation == Operation("refund").deferred(DEFERRED, NOW)
    assert (refund.next_retry_at, refund.held) == (NOW + MINUTE, False)


def test_refund_is_held_until_its_next_deferral() -> None:
    refund = opened()
    refund.defer(DEFERRED._replace(why=DeferralReason.HELD.value), NOW)
    assert refund.held
    refund.defer(DEFERRED, NOW)
    assert not refund.held


def test_acknowledged_refund_keeps_the_number_of_its_calls() -> None:
    refund = opened()
    refund.operation = Operation("refund", attempt=3, retry_count=2, unknown=True)
    refund.submit("re_1", NOW + MINUTE, NOW)
    fact = last(refund)
    assert isinstance(fact, Submitted)
    assert (fact.psp_refund_id, refund.psp_refund_id) == ("re_1", "re_1")
    assert refund.operation == Operation("refund", attempt=3)
    assert (refund.status, refund.next_retry_at) == (RefundStatus.SUBMITTED, NOW + MINUTE)


@pytest.mark.parametrize("status", ["succeeded", "failed", "review"])
def test_end_of_a_refund_is_recorded_and_stops_all_calls(status: str) -> None:
    refund = opened()
    refund.defer(DEFERRED._replace(why=DeferralReason.HELD.value), NOW)
    match status:
        case "succeeded":
            refund.succeed("psp", [PART], NOW)
        case "failed":
            refund.fail("psp", "by the bank", NOW)
        case _:
            refund.review("psp", "a person decides", NOW)
    match fact := last(refund):
        case Succeeded():
            assert (fact.source, fact.allocation) == ("psp", [PART])
        case Failed():
            assert (fact.source, fact.detail) == ("psp", "by the bank")
        case UnderReview():
            assert (fact.source, fact.why) == ("psp", "a person decides")
    assert refund.status == status
    assert (refund.operation, refund.next_retry_at, refund.held) == (None, None, False)


@pytest.mark.parametrize(("dismissed", "told"), [(False, True), (True, False)])
def test_failure_after_success_tells_a_person_unless_dismissed(dismissed: bool, told: bool) -> None:
    refund = opened()
    refund.succeed("psp", [PART], NOW)
    refund.fail("psp", None, NOW, dismissed=dismissed)
    fact = last(refund)
    assert isinstance(fact, Failed)
    assert fact.after_success is told


def test_callers_name_keeps_or_adds_the_psps_name() -> None:
    refund = Refund.open(
        now=NOW,
        refund_id="psp-1",
        order_id="o1",
        amount=40,
        currency="EUR",
        origin="psp",
        psp_refund_id="psp-1",
    )
    assert (refund.reason, refund.explicit, refund.payment_id) == (None, None, None)
    refund.name("psp-1", None, NOW)
    assert refund.version == 1, "that is its name"
    refund.name("r1", None, NOW)
    fact = last(refund)
    assert isinstance(fact, Named)
    assert (fact.refund_id, fact.psp_refund_id) == ("r1", "psp-1")
    other = opened()
    other.name("r2", "psp-2", NOW)
    assert (other.refund_id, other.psp_refund_id, other.key) == ("r2", "psp-2", "r1")


def test_name_of_the_psp_may_be_replaced_by_a_callers() -> None:
    refund = opened()
    refund.name("psp-1", "psp-1", NOW)
    refund.name("r2", None, NOW)
    assert (refund.refund_id, refund.psp_refund_id) == ("r2", "psp-1")
    with pytest.raises(ContentDiffers, match="refund_id"):
        refund.name("r3", None, NOW)


def test_reason_is_compared_once_both_are_known() -> None:
    opened().agree("o1", None, None, None, None)
    opened().agree("o1", 40, None, "duplicate", {"ada": 36})
    unknown = opened()
    unknown.reason = None
    unknown.agree("o1", 40, None, "fraudulent", None)
    with pytest.raises(ContentDiffers, match="reason"):
        opened().agree("o1", 40, None, "fraudulent", None)


def test_stored_refund_reads_back_unchanged(storage: FactStorage) -> None:
    refund = opened()
    refund.defer(DEFERRED, NOW)
    assert state_of(storage.replayed(list(refund.collect_events()))) == state_of(refund)


def test_refund_made_elsewhere_may_be_asked_about() -> None:
    refund = opened("psp")
    refund.defer(DEFERRED, NOW)
    assert refund.operation == Operation("refund").deferred(DEFERRED, NOW)


def test_repetition_without_the_psps_name_is_equal() -> None:
    refund = opened()
    refund.name("r1-psp", "psp-1", NOW)
    refund.agree("o1", 40, None, None, None)
    refund.agree("o1", 40, "psp-1", None, None)
    with pytest.raises(ContentDiffers, match="psp_refund_id"):
        refund.agree("o1", 40, "psp-2", None, None)
