"""Calls of a refund to the PSP: one name, no final outcome without knowledge, and no doubt
forgotten."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from domain.provider_call.outcome import Hindrance, NotExecuted, Rejected, Unknown
from domain.provider_call.psp_objects import name_at_psp
from domain.provider_call.reasons import DeferralReason
from domain.provider_call.retry_policy import Policy
from domain.provider_call.steps import LookUp, Rest, Send, Step
from domain.refund import psp_outcome
from domain.refund.aggregate import Refund
from domain.refund.facts import AttemptDeferred, CallStarted
from domain.refund.psp_outcome import FOR_EVER
from domain.refund.state import RefundStatus

NOW = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
POLICY = Policy(
    max_retries=2, base=MINUTE, maximum=10 * MINUTE, call_timeout=MINUTE, key_lifetime=FOR_EVER
)
SILENCE = Unknown("timeout", "No answer.")
NO = Rejected(400, "IR_13", "The refund amount exceeds the amount captured", stored=False)
NOT_YET = Rejected(400, "IR_14", "The payment is processing", stored=False)
BUSY = NotExecuted(Hindrance.LOCK_TIMEOUT, "Resource is busy.")


class RefundStory:
    """One requested refund of 40, its clock, and the answers of the PSP."""

    def __init__(self, refund_id: str = "r1", reason: str | None = None) -> None:
        self.now = NOW
        self.refund = Refund.open(
            now=NOW,
            refund_id=refund_id,
            order_id="o1",
            amount=40,
            currency="EUR",
            origin="api",
            payment_id="pay_1",
            reason=reason,
        )

    def begins(self, after: timedelta = timedelta()) -> Step:
        self.now += after
        return psp_outcome.begin(self.refund, self.now, POLICY)

    def sends(self) -> Mapping[str, object]:
        """Return the body of the next step, which has to be a call."""
        step = self.begins()
        assert isinstance(step, Send), step
        return step.body

    def is_due(self) -> Step:
        """Return the next step at the moment when it is due."""
        assert self.refund.next_retry_at is not None
        self.now = max(self.now, self.refund.next_retry_at)
        return self.begins()

    def hears(self, outcome: Unknown | NotExecuted | Rejected) -> str | None:
        assert self.refund.operation is not None
        return psp_outcome.record_failure(
            self.refund, self.refund.operation.attempt, outcome, self.now, POLICY
        )

    def exhausted(self) -> "RefundStory":
        """Let every call go unanswered."""
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


def metadata_of(body: Mapping[str, object]) -> dict[str, str]:
    metadata = body["metadata"]
    assert isinstance(metadata, dict)
    return metadata


@pytest.fixture
def story() -> RefundStory:
    return RefundStory()


def test_intent_has_the_frozen_body_before_the_call(story: RefundStory) -> None:
    step = story.begins()
    assert step == Send("refund", 1, "r1", story.calls[0].body)
    assert step.body == {
        "refund_id": "r1",
        "payment_id": "pay_1",
        "amount": 40,
        "metadata": {"refund_id": "r1", "order_id": "o1"},
    }
    assert story.refund.operation is not None
    assert story.refund.operation.in_call


def test_shortened_name_is_known_before_its_webhook() -> None:
    story = RefundStory(refund_id="a refund/with a long name that does not fit into thirty")
    story.begins()
    made = name_at_psp(story.refund.key)
    assert (story.refund.psp_refund_id, story.calls[0].body["refund_id"]) == (made, made)
    assert story.calls[0].key == story.refund.key


@pytest.mark.parametrize("reason", ["duplicate", "fraudulent", "requested_by_customer"])
def test_known_reason_is_sent_as_the_reason(reason: str) -> None:
    body = RefundStory(reason=reason).sends()
    assert body["reason"] == reason
    assert "reason" not in metadata_of(body)


def test_other_reason_is_sent_as_metadata() -> None:
    body = RefundStory(reason="it was broken").sends()
    assert "reason" not in body
    assert metadata_of(body)["reason"] == "it was broken"


def test_same_call_goes_out_under_the_same_name(story: RefundStory) -> None:
    for outcome in (SILENCE, BUSY, SILENCE):
        assert isinstance(story.is_due(), Send)
        story.hears(outcome)
    assert len({(call.key, str(call.body)) for call in story.calls}) == 1
    assert [call.attempt for call in story.calls] == [1, 2, 3]


def test_call_is_not_sent_before_it_is_due(story: RefundStory) -> None:
    story.begins()
    story.hears(SILENCE)
    assert isinstance(story.begins(MINUTE - timedelta(seconds=1)), Rest)
    assert isinstance(story.begins(timedelta(seconds=1)), Send)


def test_call_without_outcome_is_repeated_unchanged(story: RefundStory) -> None:
    assert isinstance(story.begins(), Send)
    again = story.begins()
    assert isinstance(again, Send)
    assert story.refund.operation is not None
    assert story.refund.operation.unknown, "the first may have arrived"


def test_vanishing_callers_cost_attempts(story: RefundStory) -> None:
    for _ in range(3):
        story.begins()
    assert isinstance(story.begins(), Rest)
    assert (story.last.why, story.last.retry_count, story.last.open) == ("unknown", 1, True)


def test_refusal_is_final(story: RefundStory) -> None:
    story.begins()
    assert story.hears(NO) == "IR_13: The refund amount exceeds the amount captured"


def test_refusal_after_an_unknown_call_needs_a_look_up(story: RefundStory) -> None:
    story.begins()
    story.hears(SILENCE)
    story.is_due()
    assert story.hears(NO) is None
    assert (story.last.open, story.last.look_first) == (True, True)
    assert isinstance(story.begins(), Rest), "the unknown call may still be under way"
    assert isinstance(story.is_due(), LookUp)
    assert psp_outcome.record_absence(story.refund, "no such refund", story.now) is None
    assert isinstance(story.begins(), Send)
    assert story.hears(NO) is not None, "now nothing is in doubt any more"


def test_exhausted_refund_is_looked_up_and_fails_if_absent(story: RefundStory) -> None:
    story.exhausted()
    assert isinstance(story.is_due(), LookUp)
    psp_outcome.postpone(
        story.refund, DeferralReason.LOOK_UP_FAILED, "no answer", story.now + MINUTE, story.now
    )
    assert isinstance(story.is_due(), LookUp), "an answer that did not come ends nothing"
    assert "has no such refund" in str(psp_outcome.record_absence(story.refund, "HE_02", story.now))


def test_not_yet_refundable_payment_is_retried_within_bounds(story: RefundStory) -> None:
    ends = []
    for _ in range(1 + POLICY.max_retries):
        assert isinstance(story.is_due(), Send)
        ends.append(story.hears(NOT_YET))
    assert ends == [None, None, "IR_14: The payment is processing"]


def test_not_executed_call_costs_no_attempt(story: RefundStory) -> None:
    for _ in range(10):
        assert isinstance(story.is_due(), Send)
        story.hears(NotExecuted(Hindrance.RATE_LIMITED, "Too many requests"))
    assert (story.last.retry_count, story.last.open, story.last.hindered) == (0, False, 10)
    assert story.last.hindered_since == NOW


def test_call_given_back_keeps_an_earlier_doubt(story: RefundStory) -> None:
    story.begins()
    psp_outcome.give_back(story.refund, 1, "no lease", story.now)
    assert story.last.open is False
    story.begins()
    story.hears(SILENCE)
    story.is_due()
    psp_outcome.give_back(story.refund, 3, "no lease", story.now)
    assert story.last.open is True


def test_submitted_refund_is_polled_at_growing_intervals(story: RefundStory) -> None:
    story.begins()
    story.refund.submit("r1", story.now + MINUTE, story.now)
    waits = []
    for _ in range(6):
        assert isinstance(story.is_due(), LookUp)
        psp_outcome.ask_again(story.refund, DeferralReason.PENDING, "still", story.now, POLICY)
        waits.append((story.last.next_retry_at - story.now) / MINUTE)
    assert waits == [1, 2, 4, 8, 10, 10]
    assert len(story.calls) == 1


DAY = timedelta(hours=24)


def test_refund_left_pending_for_a_day_says_so(story: RefundStory) -> None:
    """The question is asked at the latest when the day is over."""
    slow = replace(POLICY, base=7 * 60 * MINUTE, maximum=7 * 60 * MINUTE)
    story.begins()
    first = psp_outcome.ask_first_at(story.refund, story.now, slow)
    story.refund.submit("r1", first, story.now)
    told = []
    for _ in range(5):
        assert isinstance(story.is_due(), LookUp)
        psp_outcome.ask_again(story.refund, DeferralReason.PENDING, "pending", story.now, slow)
        told.append((story.now - NOW, story.last.undecided_since))
    assert told == [(7 * 60 * MINUTE * n, None) for n in (1, 2, 3)] + [
        (DAY, NOW),
        (DAY + 7 * 60 * MINUTE, NOW),
    ]
    named = ("'r1'", "'o1'", "40 EUR", "reserved", "Ask the payment provider")
    assert [part for part in named if part not in story.last.detail] == []


def test_refund_of_a_silent_psp_is_undecided_too(story: RefundStory) -> None:
    story.begins()
    story.refund.submit("r1", NOW + MINUTE, NOW)
    after, why = NOW + DAY, DeferralReason.LOOK_UP_FAILED
    psp_outcome.put_off(story.refund, why, "no answer", after + MINUTE, after, POLICY)
    assert story.last.undecided_since == NOW


def test_requested_refund_is_not_called_undecided(story: RefundStory) -> None:
    """It has alarms of its own: the PSP has not acknowledged it."""
    story.begins()
    after, why = NOW + DAY, DeferralReason.LOOK_UP_FAILED
    psp_outcome.put_off(story.refund, why, "no answer", after + MINUTE, after, POLICY)
    assert story.last.undecided_since is None


@pytest.mark.parametrize(
    "status", [RefundStatus.SUCCEEDED, RefundStatus.FAILED, RefundStatus.REVIEW]
)
def test_decided_refund_is_neither_called_nor_polled(
    story: RefundStory, status: RefundStatus
) -> None:
    story.begins()
    match status:
        case RefundStatus.SUCCEEDED:
            story.refund.succeed("psp", [], story.now)
        case RefundStatus.FAILED:
            story.refund.fail("psp", None, story.now)
        case _:
            story.refund.review("psp", "a person", story.now)
    assert story.refund.next_retry_at is None
    assert isinstance(story.begins(FOR_EVER), Rest)


def test_later_caller_name_leaves_the_call_unchanged(story: RefundStory) -> None:
    first = story.sends()
    story.refund.name("another", None, story.now)
    story.hears(SILENCE)
    again = story.is_due()
    assert isinstance(again, Send)
    assert again.body == first


def test_refusal_for_now_waits_before_the_next_call(story: RefundStory) -> None:
    story.begins()
    story.hears(NOT_YET)
    assert (story.last.why, story.last.retry_count) == ("not_yet", 1)
    assert story.last.next_retry_at == story.now + MINUTE
