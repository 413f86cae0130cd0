"""The bound of searches for due rows, in random histories of a table with virtual time."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from infrastructure.postgres.due_bound import EARLIEST, IN_A_ROW, LONGEST, MARGIN, SHARE, DueBound

BEGIN = datetime(2026, 11, 30, tzinfo=UTC)
SECONDS = st.floats(0, 90)
ON_TIME = st.floats(-MARGIN.total_seconds() + 0.01, 90)


@dataclass
class Row:
    """An unsettled row; `leased_until` and `came` are virtual seconds."""

    due: datetime
    came: float
    late: bool
    leased_until: float = 0.0


@dataclass
class Search:
    """A claim that has read its snapshot, and has not yet told the bound about it."""

    began: float
    since: datetime
    now: datetime
    earliest: datetime | None


class Histories(RuleBasedStateMachine):
    """Rows come, are claimed, postponed and settled, while each search of everything is slow."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = 1_000.0
        self.rows: list[Row] = []
        self.running: list[Search] = []
        self.bound = DueBound(lambda: self.clock)

    @property
    def now(self) -> datetime:
        return BEGIN + timedelta(seconds=self.clock)

    @initialize()
    def first_searches_are_slow(self) -> None:
        for _ in range(IN_A_ROW):
            self.bound.end(self.bound.start(), 1.0, None, self.now)

    @rule(seconds=SECONDS)
    def time_passes(self, seconds: float) -> None:
        self.clock += seconds

    @rule(after=ON_TIME)
    def a_row_comes(self, after: float) -> None:
        self.rows.append(Row(self.now + timedelta(seconds=after), self.clock, late=False))

    @rule(seconds=st.floats(30, 10_000))
    def a_row_comes_late(self, seconds: float) -> None:
        self.rows.append(Row(self.now - timedelta(seconds=seconds), self.clock, late=True))

    @rule(data=st.data(), after=ON_TIME)
    def a_row_is_postponed(self, data: st.DataObject, after: float) -> None:
        if self.rows:
            row = data.draw(st.sampled_from(self.rows))
            row.due, row.late = self.now + timedelta(seconds=after), False

    @rule(data=st.data())
    def a_row_is_settled(self, data: st.DataObject) -> None:
        if self.rows:
            self.rows.remove(data.draw(st.sampled_from(self.rows)))

    @rule(limit=st.integers(0, 3))
    def a_claim_reads(self, limit: int) -> None:
        since = self.bound.start()
        seen = sorted((row for row in self.rows if row.due >= since), key=lambda row: row.due)
        free = [row for row in self.rows if row.due <= self.now and row.leased_until <= self.clock]
        for row in free:
            found = row in seen
            assert found or row.late, "a row that came in time is missed"
            soon = self.clock - row.came <= LONGEST or self._is_being_found(row)
            assert found or soon, "a late row is missed for long"
        for row in [row for row in seen if row in free][:limit]:
            row.leased_until = self.clock + 10
        earliest = seen[0].due if seen else None
        self.running.append(Search(self.clock, since, self.now, earliest))

    @rule(data=st.data())
    def a_claim_ends(self, data: st.DataObject) -> None:
        """End any running claim: they overlap."""
        if self.running:
            one = data.draw(st.sampled_from(self.running))
            self.running.remove(one)
            took = max(self.clock - one.began, 0.1 if one.since == EARLIEST else 0.0)
            self.bound.end(one.since, took, one.earliest, one.now)

    def _is_being_found(self, row: Row) -> bool:
        return any(one.since == EARLIEST and one.began >= row.came for one in self.running)

    @invariant()
    def bound_is_in_the_past(self) -> None:
        assert self.bound.bound <= self.now - MARGIN


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)


def slow_bound(clock: Callable[[], float], seconds: float = 1.0) -> DueBound:
    bound = DueBound(clock)
    for _ in range(IN_A_ROW):
        bound.end(bound.start(), seconds, None, BEGIN)
    return bound


def test_bound_is_used_only_after_several_slow_searches() -> None:
    bound = DueBound(lambda: 100.0)
    for seconds in (1.0, 1.0, 0.001, 1.0, 1.0):
        bound.end(bound.start(), seconds, BEGIN, BEGIN)
        assert bound.start() == bound.bound == EARLIEST
    bound.end(EARLIEST, 1.0, BEGIN, BEGIN)
    assert bound.start() == bound.bound == BEGIN - MARGIN
    bound.end(BEGIN - MARGIN, 0.001, BEGIN, BEGIN)  # says nothing about a search of everything
    assert bound.start() == BEGIN - MARGIN


def test_one_claim_at_a_time_searches_everything() -> None:
    clock = 100.0
    bound = slow_bound(lambda: clock)
    clock += 1 / SHARE
    assert bound.start() == EARLIEST
    assert bound.start() == BEGIN - MARGIN
    clock += LONGEST
    assert bound.start() == EARLIEST  # the one before has failed


def test_slow_search_is_repeated_within_a_minute() -> None:
    clock, later = 29.0, BEGIN + timedelta(hours=1)
    assert DueBound().no_later(later) == later
    bound = slow_bound(lambda: clock, 29.0)
    minute = BEGIN + timedelta(seconds=LONGEST)
    assert bound.no_later(None) == bound.no_later(later) == minute
    assert bound.no_later(BEGIN) == BEGIN
    clock = LONGEST
    assert bound.start() == EARLIEST


def test_bound_keeps_a_late_row_that_another_claim_has_seen() -> None:
    clock, late = 29.0, BEGIN - timedelta(hours=1)
    bound = slow_bound(lambda: clock, 29.0)
    bounded = bound.start()
    clock += LONGEST
    bound.end(bound.start(), 1.0, late, BEGIN)
    bound.end(bounded, 0.01, None, BEGIN)  # it began before the late row came
    assert bound.start() <= late
