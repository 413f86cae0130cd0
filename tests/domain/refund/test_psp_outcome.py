"""A refund's calls to the payment provider: one name for ever, nothing final without knowing, and no doubt forgotten."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from domain.provider_call.outcome import Hindrance, NotExecuted, Rejected, Unknown
from domain.provider_call.psp_objects import name_at_psp
from domain.provider_call.retry_policy import Policy
from domain.provider_call.steps import LookUp, Rest, Send
from domain.refund import psp_outcome
from domain.refund.aggregate import Refund
from domain.refund.facts import AttemptDeferred, CallStarted
from domain.refund.psp_outcome import FOR_EVER
from domain.refund.state import RefundStatus

NOW = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
POLICY = Policy(max_retries=2, base=MINUTE, maximum=10 * MINUTE, call_timeout=MINUTE, key_lifetime=FOR_EVER)
SILENCE = Unknown("timeout", "No answer.")
NO = Rejected(400, "IR_13", "The refund amount exceeds the amount captured", stored=False)
NOT_YET = Rejected(400, "IR_14", "The payment is processing", stored=False)
BUSY = NotExecuted(Hindrance.LOCK_TIMEOUT, "Resource is busy.")


class Asking:
    """One refund of 40 that was asked for, its clock, and the provider's answers."""

    def __init__(self, **opened: Any) -> None:
        self.now = NOW
        usual = {"refund_id": "r1", "order_id": "o1", "amount": 40, "currency": "EUR", "origin": "api", "payment_id": "pay_1"}
        self.refund = Refund.open(now=NOW, **{**usual, **opened})

    def begins(self, after: timedelta = timedelta()) -> Any:
        self.now += after
        return psp_outcome.begin(self.refund, self.now, POLICY)

    def is_due(self) -> Any:
        """The next step, at the moment it is due."""
        assert self.refund.next_retry_at is not None
        self.now = max(self.now, self.refund.next_retry_at)
        return self.begins()

    def hears(self, outcome: Unknown | NotExecuted | Rejected) -> str | None:
        match outcome:
            case Unknown():
                psp_outcome.defer_unknown(self.refund, outcome, self.now, POLICY)
            case NotExecuted():
                psp_outcome.hindered(self.refund, outcome, self.now, POLICY)
            case Rejected():
                return psp_outcome.refused(self.refund, outcome, self.now, POLICY)
        return None

    def exhausted(self) -> "Asking":
        """Every call went unanswered."""
        for _ in range(1 + POLICY.max_retries):
            assert isinstance(self.is_due(), Send)
            self.hears(SILENCE)
        return self

    @property
    def calls(self) -> list[CallStarted]:
        return [fact for fact in self.refund.pending_events if isinstance(fact, CallStarted)]

    @property
    def last(self) -> AttemptDeferred:
        fact = self.refund.pending_events[-1]
        assert isinstance(fact, AttemptDeferred)
        return fact


@pytest.fixture
def asking() -> Asking:
    return Asking()


def test_intent_has_the_frozen_body_before_the_call(asking: Asking) -> None:
    step = asking.begins()
    assert step == Send("refund", 1, "r1", asking.calls[0].body)
    assert step.body == {
        "refund_id": "r1",
        "payment_id": "pay_1",
        "amount": 40,
        "metadata": {"refund_id": "r1", "order_id": "o1"},
    }
    assert asking.refund.operation is not None
    assert asking.refund.operation.in_call


def test_shortened_name_is_known_before_its_webhook() -> None:
    asking = Asking(refund_id="a refund/with a long name that does not fit into thirty")
    asking.begins()
    made = name_at_psp(asking.refund.key)
    assert (asking.refund.psp_refund_id, asking.calls[0].body["refund_id"]) == (made, made)
    assert asking.calls[0].key == asking.refund.key


@pytest.mark.parametrize("reason", ["duplicate", "fraudulent", "requested_by_customer"])
def test_known_reason_is_sent_as_the_reason(reason: str) -> None:
    body = Asking(reason=reason).begins().body
    assert body["reason"] == reason
    assert "reason" not in body["metadata"]


def test_other_reason_is_sent_as_metadata() -> None:
    body = Asking(reason="it was broken").begins().body
    assert "reason" not in body
    assert body["metadata"]["reason"] == "it was broken"


def test_same_call_goes_out_under_the_same_name(asking: Asking) -> None:
    for outcome in (SILENCE, BUSY, SILENCE):
        assert isinstance(asking.is_due(), Send)
        asking.hears(outcome)
    assert len({(call.key, str(call.body)) for call in asking.calls}) == 1
    assert [call.attempt for call in asking.calls] == [1, 2, 3]


def test_call_is_not_sent_before_it_is_due(asking: Asking) -> None:
    asking.begins()
    asking.hears(SILENCE)
    assert isinstance(asking.begins(MINUTE - timedelta(seconds=1)), Rest)
    assert isinstance(asking.begins(timedelta(seconds=1)), Send)


def test_call_without_outcome_is_repeated_unchanged(asking: Asking) -> None:
    assert isinstance(asking.begins(), Send)
    again = asking.begins()
    assert isinstance(again, Send)
    assert asking.refund.operation is not None
    assert asking.refund.operation.unknown, "the first may have arrived"


def test_vanishing_callers_cost_attempts(asking: Asking) -> None:
    for _ in range(3):
        asking.begins()
    assert isinstance(asking.begins(), Rest)
    assert (asking.last.why, asking.last.retry_count, asking.last.open) == ("unknown", 1, True)


def test_refusal_is_final(asking: Asking) -> None:
    asking.begins()
    assert asking.hears(NO) == "IR_13: The refund amount exceeds the amount captured"


def test_refusal_after_an_unknown_call_needs_a_look_up(asking: Asking) -> None:
    asking.begins()
    asking.hears(SILENCE)
    asking.is_due()
    assert asking.hears(NO) is None
    assert (asking.last.open, asking.last.look_first) == (True, True)
    assert isinstance(asking.begins(), Rest), "the unknown call may still be under way"
    assert isinstance(asking.is_due(), LookUp)
    assert psp_outcome.absent(asking.refund, "no such refund", asking.now) is None
    assert isinstance(asking.begins(), Send)
    assert asking.hears(NO) is not None, "now nothing is in doubt any more"


def test_exhausted_refund_is_looked_up_and_fails_if_absent(asking: Asking) -> None:
    asking.exhausted()
    assert isinstance(asking.is_due(), LookUp)
    psp_outcome.postpone(asking.refund, "look_up_failed", "no answer", asking.now + MINUTE, asking.now)
    assert isinstance(asking.is_due(), LookUp), "an answer that did not come ends nothing"
    assert "has no such refund" in str(psp_outcome.absent(asking.refund, "HE_02", asking.now))


def test_not_yet_refundable_payment_is_retried_within_bounds(asking: Asking) -> None:
    ends = []
    for _ in range(1 + POLICY.max_retries):
        assert isinstance(asking.is_due(), Send)
        ends.append(asking.hears(NOT_YET))
    assert ends == [None, None, "IR_14: The payment is processing"]


def test_not_executed_call_costs_no_attempt(asking: Asking) -> None:
    for _ in range(10):
        assert isinstance(asking.is_due(), Send)
        asking.hears(NotExecuted(Hindrance.RATE_LIMITED, "Too many requests"))
    assert (asking.last.retry_count, asking.last.open, asking.last.hindered) == (0, False, 10)
    assert asking.last.hindered_since == NOW


def test_call_given_back_keeps_an_earlier_doubt(asking: Asking) -> None:
    asking.begins()
    psp_outcome.give_back(asking.refund, 1, "no lease", asking.now)
    assert asking.last.open is False
    asking.begins()
    asking.hears(SILENCE)
    asking.is_due()
    psp_outcome.give_back(asking.refund, 3, "no lease", asking.now)
    assert asking.last.open is True


def test_submitted_refund_is_polled_at_growing_intervals(asking: Asking) -> None:
    asking.begins()
    asking.refund.submit("r1", asking.now + MINUTE, asking.now)
    waits = []
    for _ in range(6):
        assert isinstance(asking.is_due(), LookUp)
        psp_outcome.undecided(asking.refund, "pending", "still", asking.now, POLICY)
        waits.append((asking.last.next_retry_at - asking.now) / MINUTE)
    assert waits == [1, 2, 4, 8, 10, 10]
    assert len(asking.calls) == 1


@pytest.mark.parametrize("status", [RefundStatus.SUCCEEDED, RefundStatus.FAILED, RefundStatus.REVIEW])
def test_decided_refund_is_neither_called_nor_polled(asking: Asking, status: RefundStatus) -> None:
    asking.begins()
    match status:
        case RefundStatus.SUCCEEDED:
            asking.refund.succeed("psp", [], asking.now)
        case RefundStatus.FAILED:
            asking.refund.fail("psp", None, asking.now)
        case _:
            asking.refund.review("psp", "a person", asking.now)
    assert asking.refund.next_retry_at is None
    assert isinstance(asking.begins(FOR_EVER), Rest)


def test_later_caller_name_leaves_the_call_unchanged(asking: Asking) -> None:
    first = asking.begins().body
    asking.refund.name("another", None, asking.now)
    asking.hears(SILENCE)
    assert asking.is_due().body == first
