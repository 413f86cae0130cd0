"""Delay before a retry: doubled each time, never beyond the maximum, for any count."""

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.backoff import next_delay
from domain.provider_call.retry_policy import Policy

SECOND = timedelta(seconds=1)
DURATIONS = st.timedeltas(min_value=timedelta(microseconds=1), max_value=timedelta(days=400))


@pytest.mark.parametrize(
    ("count", "seconds"), [(0, 1), (1, 2), (2, 4), (3, 8), (4, 10), (5, 10), (60, 10)]
)
def test_delay_grows_from_one_to_ten_seconds(count: int, seconds: int) -> None:
    assert next_delay(SECOND, 10 * SECOND, count) == seconds * SECOND


@pytest.mark.parametrize("count", [62, 63, 64, 1_000, 2**31, 2**63, 10**30])
def test_huge_count_waits_the_maximum(count: int) -> None:
    assert next_delay(SECOND, 10 * SECOND, count) == 10 * SECOND
    assert next_delay(timedelta(microseconds=1), timedelta(days=36_500), count) == timedelta(
        days=36_500
    )


@pytest.mark.parametrize("count", [-1, -(10**9)])
def test_negative_count_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match="starts at 0"):
        next_delay(SECOND, 10 * SECOND, count)


def test_base_above_the_maximum_waits_the_maximum() -> None:
    assert next_delay(timedelta(hours=2), timedelta(hours=1), 0) == timedelta(hours=1)


def test_delay_is_exact_to_the_microsecond() -> None:
    assert next_delay(timedelta(microseconds=3), timedelta(days=1), 7) == timedelta(
        microseconds=384
    )


@settings(derandomize=True, max_examples=200)
@given(base=DURATIONS, maximum=DURATIONS, count=st.integers(0, 80))
def test_delay_grows_between_base_and_maximum(
    base: timedelta, maximum: timedelta, count: int
) -> None:
    now, later = next_delay(base, maximum, count), next_delay(base, maximum, count + 1)
    assert min(base, maximum) <= now <= later <= maximum
    assert later in (2 * now, maximum)


def test_not_executed_call_is_retried_sooner_than_failed() -> None:
    policy = Policy()
    assert policy.hindered_delay(0) < policy.delay(0)
    assert Policy(base=timedelta(milliseconds=10)).hindered_delay(0) == timedelta(milliseconds=10)
    assert policy.hindered_delay(10**6) == policy.maximum
