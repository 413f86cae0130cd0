"""Run of one schedule: chaos, then healing, with the oracle after every step."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from infrastructure.simulation.faults.oracle import BookComparison, NewOracle
from infrastructure.simulation.faults.plan import Schedule


class ScheduleResult(NamedTuple):
    """Result of a run: always the same for the same schedule, in any process."""

    violations: Sequence[str]
    """What was wrong, without repetitions, oldest first."""
    story: Sequence[str]
    """One line for each event."""
    coverage: Mapping[str, int]
    """How often each state that matters was reached."""


def run_schedule(schedule: Schedule, *, watch: NewOracle = BookComparison) -> ScheduleResult:
    """Run a schedule in virtual time. `watch` makes the oracle.

    The first violation ends the run.
    """
    raise NotImplementedError
