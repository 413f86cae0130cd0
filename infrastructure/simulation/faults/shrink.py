"""Shrinker of schedules: delta debugging over their elements, until none can be left out."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from infrastructure.simulation.faults.invariants.broken import invariant_of
from infrastructure.simulation.faults.run import ScheduleResult
from infrastructure.simulation.faults.schedule import Schedule

Run = Callable[[Schedule], ScheduleResult]
MOST_RUNS = 400
"""Most runs of one search: a schedule of a hundred elements needs about as many."""


class Shrunk(NamedTuple):
    """The smallest schedule that was found, and its run."""

    schedule: Schedule
    result: ScheduleResult
    runs: int


class _Search:
    """Search for a smaller schedule that breaks the same invariant."""

    def __init__(self, schedule: Schedule, run: Run, most: int) -> None:
        """Run the schedule once. Raises ValueError if it breaks nothing."""
        self._run, self._left, self.runs = run, most, 1
        self.schedule, self.result = schedule, run(schedule)
        if not self.result.violations:
            raise ValueError("the schedule breaks no invariant, so there is nothing to shrink")
        self._invariant = invariant_of(self.result.violations[0])

    def takes(self, candidate: Schedule) -> bool:
        """Take a candidate if it breaks the same invariant. No run is made beyond the limit."""
        if self.runs >= self._left:
            return False
        self.runs += 1
        result = self._run(candidate)
        if self._invariant not in map(invariant_of, result.violations):
            return False
        self.schedule, self.result = candidate, result
        return True

    def names(self) -> list[str]:
        """Return the names of the elements that are left."""
        return [one.name for one in self.schedule.elements()]


def shrink(schedule: Schedule, run: Run, most_runs: int = MOST_RUNS) -> Shrunk:
    """Return the smallest schedule found that breaks the same invariant. Raises ValueError if the
    schedule breaks none."""
    search = _Search(schedule, run, most_runs)
    parts = 2
    while parts <= 2 * len(search.names()):
        smaller = any(search.takes(search.schedule.without(*part))
                      for part in list(_parts(search.names(), parts)))  # fmt: skip
        parts = max(2, parts // 2) if smaller else parts * 2
    _simplify(search)
    return Shrunk(search.schedule, search.result, search.runs)


def _parts(names: Sequence[str], parts: int) -> Iterator[Sequence[str]]:
    """Divide the names into parts of nearly the same size; the last ones of a schedule are faults,
    which most often can be left out, so they come first."""
    size = max(1, len(names) // parts)
    for end in range(len(names), 0, -size):
        yield names[max(0, end - size) : end]


def _simplify(search: _Search) -> None:
    """Take simpler values where they break the same invariant."""
    for processes in range(1, search.schedule.processes):
        if search.takes(replace(search.schedule, processes=processes)):
            break
    if search.schedule.live:
        search.takes(replace(search.schedule, live=False))
