"""Deferrals, field by field: which answers cost an attempt, which change the key, and which leave
money in doubt."""

from datetime import UTC, datetime, timedelta

import pytest

from domain.provider_call import deferral
from domain.provider_call.operation import Deferral, Operation
from domain.provider_call.outcome import Hindrance, NotExecuted, Rejected, Unknown
from domain.provider_call.reasons import DeferralReason, WaitingFor
from domain.provider_call.retry_policy import Policy

NOW = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
POLICY = Policy(max_retries=2, base=2 * MINUTE, maximum=30 * MINUTE, call_timeout=MINUTE)
CALLED = Operation(
    "transfer",
    epoch=3,
    attempt=7,
    retry_count=1,
    epoch_began=NOW - 5 * MINUTE,
    first_began=NOW - 9 * MINUTE,
    last_began=NOW,
    in_call=True,
    hindered=2,
    hindered_since=NOW - 4 * MINUTE,
    awaiting_since=NOW - 7 * MINUTE,
)
"""An operation whose call is under way, with other calls before it."""
DOUBTED = CALLED._replace(unknown=True)
NO = Rejected(400, "no", "refused", stored=True, request_id="req_1")
NOT_STORED = Rejected(400, "no", "refused", stored=False, request_id="req_1")
SILENCE = Unknown("timeout", "no answer", request_id="req_1")
REPLAYED = Unknown("http_500", "stored", 500, replayed=True)
LIMITED = NotExecuted(Hindrance.RATE_LIMITED, "slow down", request_id="req_1")


def expected(why: DeferralReason, detail: str, until: datetime) -> Deferral:
    """Return the deferral that costs nothing and keeps key, doubt and wait."""
    return Deferral(
        why=why.value,
        detail=detail,
        next_retry_at=until,
        retry_count=1,
        epoch=3,
        open=True,
        awaiting_since=NOW - 7 * MINUTE,
    )


UNKNOWN = expected(DeferralReason.UNKNOWN, "timeout: no answer", NOW + 4 * MINUTE)


def test_unknown_outcome_costs_an_attempt_and_keeps_the_key() -> None:
    assert deferral.unknown(CALLED, SILENCE, NOW, POLICY) == UNKNOWN._replace(
        retry_count=2, request_id="req_1"
    )
    idle = CALLED._replace(in_call=False)
    assert deferral.unknown(idle, SILENCE, NOW, POLICY).open, "money may have moved"
    assert deferral.refused_while_open(idle, NOT_STORED, NOW).open


def test_last_unknown_outcome_exhausts_and_waits_for_the_call() -> None:
    last = CALLED._replace(retry_count=2)
    assert deferral.unknown(last, SILENCE, NOW, POLICY, lost=4) == UNKNOWN._replace(
        retry_count=2,
        exhausted=True,
        next_retry_at=NOW + MINUTE,
        request_id="req_1",
        lost=4,
    )


@pytest.mark.parametrize("retry_count", [1, 2])
def test_replayed_error_is_looked_up_at_no_cost(retry_count: int) -> None:
    operation = CALLED._replace(retry_count=retry_count)
    assert deferral.unknown(operation, REPLAYED, NOW, POLICY) == UNKNOWN._replace(
        detail="http_500: stored",
        retry_count=retry_count,
        look_first=True,
        next_retry_at=NOW + MINUTE,
    )


def test_third_vanished_caller_costs_an_attempt() -> None:
    assert deferral.vanished(CALLED._replace(lost=1), NOW, POLICY) is None
    assert deferral.vanished(CALLED._replace(lost=2, in_call=False), NOW, POLICY) is None
    assert deferral.vanished(CALLED._replace(lost=2), NOW, POLICY) == UNKNOWN._replace(
        detail="lease_lost: The caller vanished 3 times in a row.", retry_count=2, lost=3
    )


def test_refusal_beside_an_unknown_call_is_in_doubt() -> None:
    assert deferral.contradicted(DOUBTED, NOT_STORED, NOW, POLICY) == UNKNOWN._replace(
        detail="rejected_while_open: refused", retry_count=2, request_id="req_1"
    )
    assert deferral.refused_while_open(DOUBTED, NOT_STORED, NOW) == expected(
        DeferralReason.UNKNOWN, "refused", NOW
    )._replace(look_first=True)


@pytest.mark.parametrize(
    ("operation", "executing", "in_doubt"),
    [(CALLED, False, False), (CALLED, True, True), (DOUBTED, False, True)],
)
def test_call_that_was_not_executed_costs_nothing(
    operation: Operation, executing: bool, in_doubt: bool
) -> None:
    found = deferral.not_executed(operation, LIMITED, NOW, POLICY, executing=executing)
    assert found == expected(
        DeferralReason.RATE_LIMITED, "slow down", NOW + timedelta(seconds=4)
    )._replace(open=in_doubt, hindered=3, hindered_since=NOW - 4 * MINUTE, request_id="req_1")
    first = CALLED._replace(hindered=0, hindered_since=None)
    begun = deferral.not_executed(first, LIMITED, NOW, POLICY, executing=False)
    assert (begun.hindered, begun.hindered_since) == (1, NOW)
    assert begun.next_retry_at == NOW + timedelta(seconds=1)


def test_hindered_call_waits_no_longer_than_the_base() -> None:
    brief = Policy(base=timedelta(milliseconds=100), maximum=timedelta(milliseconds=150))
    assert brief.hindered_delay(0) == timedelta(milliseconds=100)
    assert brief.hindered_delay(1) == timedelta(milliseconds=150)


@pytest.mark.parametrize("operation", [CALLED, DOUBTED])
def test_intent_that_is_taken_back_leaves_only_earlier_doubts(operation: Operation) -> None:
    assert deferral.given_back(operation, "no lease", None, NOW) == expected(
        DeferralReason.GIVEN_BACK, "no lease", NOW
    )._replace(open=operation.unknown)


@pytest.mark.parametrize("minutes", [-1, 0, 1])
def test_work_that_is_given_back_keeps_its_place_among_the_due(minutes: int) -> None:
    due_at = NOW + minutes * MINUTE
    assert deferral.given_back(CALLED, "late", due_at, NOW).next_retry_at == min(due_at, NOW)


@pytest.mark.parametrize(
    ("retry_count", "exhausted", "left"), [(1, False, 0), (0, False, 0), (2, True, 2)]
)
def test_outage_gives_the_last_attempt_back(retry_count: int, exhausted: bool, left: int) -> None:
    operation = CALLED._replace(retry_count=retry_count, exhausted=exhausted)
    until = NOW + MINUTE
    assert deferral.outage(operation, until) == expected(
        DeferralReason.OUTAGE, "Stripe answered nobody.", until
    )._replace(retry_count=left, given_back=7)
    assert deferral.outage(operation._replace(in_call=False), until).open, "it stays unknown"


@pytest.mark.parametrize("exhausted", [True, False])
def test_postponed_step_stays_the_same_step(exhausted: bool) -> None:
    operation, until = CALLED._replace(exhausted=exhausted), NOW + MINUTE
    found = deferral.postponed(operation, DeferralReason.HELD, "a person looks", until)
    assert found == expected(DeferralReason.HELD, "a person looks", until)._replace(
        exhausted=exhausted
    )


def test_undecided_operation_is_asked_about_less_and_less_often() -> None:
    found = deferral.repeated(CALLED, DeferralReason.PENDING, "pending", NOW, POLICY)
    assert found == expected(DeferralReason.PENDING, "pending", NOW + 4 * MINUTE)._replace(
        retry_count=2
    )


@pytest.mark.parametrize(("waited", "wait"), [(None, 2), (0, 2), (1, 2), (7, 7), (31, 30)], ids=str)
def test_pending_reversal_is_looked_up_after_as_long_as_it_waited(
    waited: int | None, wait: int
) -> None:
    since = None if waited is None else NOW - waited * MINUTE
    operation = CALLED._replace(awaiting_since=since)
    found = deferral.pending(
        operation, "pending", NOW, POLICY, epoch=4, open_=False, request_id="req_1"
    )
    assert found == expected(DeferralReason.PENDING, "pending", NOW + wait * MINUTE)._replace(
        epoch=4,
        open=False,
        look_first=True,
        waiting_for="stripe",
        awaiting_since=since or NOW,
        request_id="req_1",
    )


def test_absent_operation_is_sent_at_once_without_doubt() -> None:
    assert deferral.absent(DOUBTED, "not there", NOW, epoch=4) == expected(
        DeferralReason.ABSENT, "not there", NOW
    )._replace(open=False, epoch=4)


@pytest.mark.parametrize(("outcome", "epoch"), [(NO, 4), (NOT_STORED, 3)])
def test_refused_operation_gets_a_new_key_if_the_answer_is_stored(
    outcome: Rejected, epoch: int
) -> None:
    until, since = NOW + MINUTE, NOW - MINUTE
    refused = expected(DeferralReason.REJECTED, "refused", until)._replace(
        open=False, epoch=epoch, request_id="req_1"
    )
    assert deferral.refused(DOUBTED, DeferralReason.REJECTED, outcome, until) == refused
    assert deferral.refused(
        DOUBTED,
        DeferralReason.REJECTED,
        outcome,
        until,
        spent=1,
        waiting_for=WaitingFor.FUNDS,
        since=since,
    ) == refused._replace(retry_count=2, waiting_for="funds", awaiting_since=since)
