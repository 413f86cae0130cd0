"""Alarms from their cause to their end: the domain decides, and the alarm follows."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta

import pytest

from domain.fact import Fact
from domain.provider_call.outcome import (
    Hindrance,
    NotExecuted,
    Pending,
    ReversalOutcome,
    Succeeded,
    Unknown,
)
from domain.provider_call.steps import Send
from projections.alarms import latest_alarms
from tests.domain.refund.test_psp_outcome import RefundStory
from tests.support.domain_story import Answers, Story

HOUR = timedelta(hours=1)
BUSY = NotExecuted(Hindrance.LOCK_TIMEOUT, "Another call holds the object.")
NO_KEY = NotExecuted(Hindrance.UNAUTHORIZED, "Invalid API key.")
ODD = Unknown("disagrees", "Stripe answered with another amount.")


def raised_and_open(facts: Iterable[object]) -> tuple[set[str], set[str]]:
    """Return the kinds of alarms that were raised, and those that are open."""
    alarms = latest_alarms([fact for fact in facts if isinstance(fact, Fact)])
    return {one.kind for one in alarms}, {one.kind for one in alarms if one.cleared_at is None}


@pytest.mark.parametrize(
    ("kind", "cause"),
    [
        ("awaiting_funds", Answers.too_little),
        ("stripe_refuses_the_key", NO_KEY),
        ("stripe_answer_not_understood", ODD),
    ],
)
def test_alarm_about_a_call_ends_when_the_seller_is_paid(kind: str, cause: ReversalOutcome) -> None:
    story = Story()
    story.call(cause)
    assert raised_and_open(story.transfer.pending_events) == ({kind}, {kind})
    story.call(Succeeded("tr_1", 10_000))
    assert raised_and_open(story.transfer.pending_events) == ({kind}, set())


def test_alarm_about_an_account_ends_when_the_seller_is_paid() -> None:
    story = Story()
    story.call(Answers.on_hold)
    assert raised_and_open(story.transfer.pending_events) == ({"on_hold"}, {"on_hold"})
    story.transfer.retry("mia", "the account is ready", story.now)
    story.call(Succeeded("tr_1", 10_000))
    assert raised_and_open(story.transfer.pending_events) == ({"on_hold"}, set())


def test_alarm_about_a_hindered_call_ends_when_the_seller_is_paid() -> None:
    story = Story()
    story.call(BUSY)
    assert raised_and_open(story.transfer.pending_events) == (set(), set())
    story.passes(HOUR).call(BUSY)
    assert raised_and_open(story.transfer.pending_events) == ({"hindered"}, {"hindered"})
    story.call(Succeeded("tr_1", 10_000))
    assert raised_and_open(story.transfer.pending_events) == ({"hindered"}, set())


def test_alarm_about_an_undecided_reversal_ends_with_stripes_decision() -> None:
    story = Story().reversing()
    story.call(Pending("trr_1", 4_000))
    story.passes(timedelta(days=45)).see(story.books(story.ours()._replace(status="pending")))
    kind = {"reversal_undecided"}
    assert raised_and_open(story.transfer.pending_events) == (kind, kind)
    story.see(story.books(story.ours()))
    assert raised_and_open(story.transfer.pending_events) == (kind, set())


def test_alarm_about_a_transfer_that_is_given_up_ends_with_a_retry() -> None:
    story, kind = Story(), {"permanently_failed"}
    story.policy = replace(story.policy, max_retries=0)
    story.call(Answers.refused)
    assert raised_and_open(story.transfer.pending_events) == (kind, kind)
    story.transfer.retry("mia", "corrected", story.now)
    assert raised_and_open(story.transfer.pending_events) == (kind, set())


@pytest.mark.parametrize(
    ("kind", "cause"),
    [
        ("psp_refuses_the_key", NotExecuted(Hindrance.FORBIDDEN, "API key has expired.")),
        ("refund_not_understood", Unknown("disagrees", "The PSP answered for another payment.")),
    ],
)
def test_alarm_about_a_refund_ends_when_it_succeeds(
    kind: str, cause: NotExecuted | Unknown
) -> None:
    story = RefundStory()
    assert isinstance(story.is_due(), Send)
    story.hears(cause)
    assert raised_and_open(story.refund.pending_events) == ({kind}, {kind})
    story.refund.succeed("psp:evt_1", [], story.now)
    assert raised_and_open(story.refund.pending_events) == ({kind}, set())


def test_alarm_about_a_hindered_refund_ends_when_it_succeeds() -> None:
    story, kind = RefundStory(), {"refund_hindered"}
    for _ in range(2):
        assert isinstance(story.is_due(), Send)
        story.hears(BUSY)
        story.now += HOUR
    assert raised_and_open(story.refund.pending_events) == (kind, kind)
    story.refund.succeed("psp:evt_1", [], story.now)
    assert raised_and_open(story.refund.pending_events) == (kind, set())


def test_alarm_about_a_refund_that_failed_after_success_ends_when_it_succeeds() -> None:
    story, kind = RefundStory(), {"refund_failed_after_success"}
    story.refund.succeed("psp:evt_1", [], story.now)
    story.refund.fail("psp:evt_2", "The buyer's bank refused.", story.now)
    assert raised_and_open(story.refund.pending_events) == (kind, kind)
    story.refund.review("psp:evt_3", "a person looks", story.now)
    assert raised_and_open(story.refund.pending_events) == (kind, kind)
    story.refund.succeed("psp:evt_4", [], story.now)
    assert raised_and_open(story.refund.pending_events) == (kind, set())
