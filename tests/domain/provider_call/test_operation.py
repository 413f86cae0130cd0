"""State of one operation: its key, its doubts, and what the next call may assume."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from domain.provider_call.operation import Deferral, LookFirst, Operation
from domain.provider_call.retry_policy import LATEST_CALL, Policy

NOW = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
POLICY = Policy(call_timeout=MINUTE, key_lifetime=60 * MINUTE)
T = UUID(int=7)
CALLED = Operation("transfer").started(NOW, 1, 1, "used")
AGAIN = Deferral("rate_limited", "", NOW + MINUTE, retry_count=2, epoch=1)


def test_key_names_operation_epoch_and_ledger() -> None:
    assert Operation("transfer", epoch=2).key(T) == f"transfer:{T}:e2"
    assert Operation("rev-1", epoch=2).key(T, "L") == "reversal:rev-1:e2:L"


def test_key_stays_as_it_was_used_within_its_epoch() -> None:
    assert CALLED.key(T, "another") == "used"
    assert CALLED.deferred(AGAIN, NOW).key(T) == "used"
    assert CALLED.deferred(AGAIN._replace(epoch=2), NOW).key(T) == f"transfer:{T}:e2"
    assert CALLED._replace(epoch_key=None).key(T) == f"transfer:{T}:e1"


def test_answer_is_awaited_for_the_last_call_only() -> None:
    assert CALLED.awaits("transfer", 1)
    assert not CALLED.awaits("transfer", 0)
    assert not CALLED.awaits("rev-1", 1)
    assert not CALLED.deferred(AGAIN, NOW).awaits("transfer", 1)


def test_call_may_be_under_way_until_its_time_out() -> None:
    """It may begin some seconds after its intent."""
    ends_by = NOW + LATEST_CALL + MINUTE
    assert Operation("transfer").under_way_until(NOW, POLICY) is None
    assert CALLED.under_way_until(NOW, POLICY) == ends_by
    assert CALLED.under_way_until(ends_by, POLICY) is None
    assert CALLED._replace(pending=True).under_way_until(NOW, POLICY) is None


@pytest.mark.parametrize(
    ("operation", "after", "look"),
    [
        (CALLED, 59, False),
        (CALLED, 60, True),
        (CALLED._replace(look_first=True), 0, True),
        (CALLED._replace(exhausted=True), 0, True),
        (Operation("transfer"), 100, False),
    ],
)
def test_records_are_read_before_a_call_that_may_repeat(
    operation: Operation, after: int, look: bool
) -> None:
    assert operation.must_look_up(NOW + after * MINUTE, POLICY) is look


@pytest.mark.parametrize(("looked", "look"), [(None, True), (-1, True), (0, False), (1, False)])
def test_restore_needs_a_look_up_that_began_after_it(looked: int | None, look: bool) -> None:
    looked_at = None if looked is None else NOW + looked * MINUTE
    operation = Operation("transfer", looked_at=looked_at)
    restored = LookFirst(begun_at=NOW, lost_since=NOW - MINUTE)
    assert operation.must_look_up(NOW, POLICY, restored) is look
    assert not operation.must_look_up(NOW, POLICY)


def test_second_call_of_an_epoch_keeps_its_age_and_doubts_the_first() -> None:
    first = Operation("transfer").started(NOW, 1, 1, "used")
    assert first == Operation(
        "transfer",
        attempt=1,
        epoch_began=NOW,
        epoch_key="used",
        first_began=NOW,
        last_began=NOW,
        begins_by=NOW + LATEST_CALL,
        in_call=True,
    )
    later = NOW + MINUTE
    assert CALLED.started(later, 2, 1, "used") == CALLED._replace(
        attempt=2,
        last_began=later,
        begins_by=later + LATEST_CALL,
        lost=1,
        vanished_in=1,
        unknown=True,
    )
    assert CALLED.deferred(AGAIN, NOW).started(later, 2, 2, "next") == CALLED._replace(
        attempt=2,
        epoch=2,
        epoch_began=later,
        epoch_key="next",
        last_began=later,
        begins_by=later + LATEST_CALL,
        retry_count=2,
    )


@pytest.mark.parametrize(
    ("operation", "after", "spent"),
    [
        (CALLED, 59, False),
        (CALLED, 60, True),
        (CALLED._replace(look_first=True), 0, True),
        (CALLED._replace(look_first=True, reopened=True), 59, False),
        (CALLED._replace(look_first=True, reopened=True), 60, True),
        (Operation("transfer", look_first=True), 100, False),
    ],
)
def test_key_is_spent_by_age_or_by_a_stored_error(
    operation: Operation, after: int, spent: bool
) -> None:
    assert operation.is_spent(NOW + after * MINUTE, POLICY) is spent


@pytest.mark.parametrize(
    ("why", "epoch", "reopened"),
    [("postponed", 1, True), ("postponed", 2, False), ("absent", 1, False)],
)
def test_reopening_counts_until_a_look_up_shows_absence(
    why: str, epoch: int, reopened: bool
) -> None:
    again = CALLED._replace(look_first=True, reopened=True)
    after = again.deferred(AGAIN._replace(why=why, epoch=epoch), NOW)
    assert (after.reopened, after.look_first) == (reopened, reopened)


def test_call_ends_that_the_object_is_pending() -> None:
    assert not CALLED._replace(pending=True).started(NOW, 2, 1).pending


def test_other_key_begins_anew_with_attempts_numbered_on() -> None:
    used = CALLED._replace(retry_count=3, unknown=True, looked_at=NOW, hindered=2, lost=1)
    assert used.again(5) == Operation(
        "transfer",
        epoch=5,
        attempt=1,
        first_began=NOW,
        last_began=NOW,
        begins_by=NOW + LATEST_CALL,
        looked_at=NOW,
    )


def test_deferral_sets_each_field_of_the_operation() -> None:
    told = Deferral(
        why="unknown",
        detail="",
        next_retry_at=NOW,
        retry_count=4,
        epoch=1,
        open=True,
        exhausted=True,
        look_first=True,
        hindered=3,
        hindered_since=NOW - MINUTE,
        lost=2,
        awaiting_since=NOW - 2 * MINUTE,
        given_back=1,
    )
    later = NOW + MINUTE
    assert CALLED.deferred(told, later) == CALLED._replace(
        in_call=False,
        unknown=True,
        retry_count=4,
        exhausted=True,
        look_first=True,
        hindered=3,
        hindered_since=NOW - MINUTE,
        lost=2,
        awaiting_since=NOW - 2 * MINUTE,
        forgiven=1,
    )


def test_absence_is_a_look_up_and_ends_the_need_of_one() -> None:
    due = CALLED._replace(look_first=True, forgiven=1)
    later = NOW + MINUTE
    absent = due.deferred(AGAIN._replace(why="absent"), later)
    assert (absent.looked_at, absent.look_first, absent.forgiven) == (later, False, 1)
    hindered = due.deferred(AGAIN, later)
    assert (hindered.looked_at, hindered.look_first) == (None, True)
    assert not due.deferred(AGAIN._replace(epoch=2), later).look_first


def test_new_epoch_has_no_age() -> None:
    assert CALLED.deferred(AGAIN._replace(epoch=2), NOW).epoch_began is None
    assert CALLED.deferred(AGAIN, NOW).epoch_began == NOW


@pytest.mark.parametrize(
    ("before", "why", "look_first", "pending"),
    [
        (False, "pending", True, True),
        (False, "pending", False, False),
        (True, "pending", False, True),
        (True, "unknown", True, False),
    ],
)
def test_operation_is_pending_after_a_look_up_that_says_so(
    before: bool, why: str, look_first: bool, pending: bool
) -> None:
    told = AGAIN._replace(why=why, look_first=look_first)
    assert CALLED._replace(pending=before).deferred(told, NOW).pending is pending
