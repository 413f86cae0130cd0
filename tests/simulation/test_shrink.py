"""The shrinker keeps the broken invariant, and nothing that it does not need."""

import pytest

from infrastructure.simulation.faults.plan import (
    PlannedFault,
    PlannedOrder,
    PlannedRefund,
    Schedule,
)
from infrastructure.simulation.faults.run import ScheduleResult
from infrastructure.simulation.faults.shrink import shrink

NEEDED = {"order 2", "refund 2", "fault 7"}


def _schedule() -> Schedule:
    orders = tuple(PlannedOrder(name=f"order {n}", at=0, seed=n, amount=100, shares={"anna": 90},
                                paid_after=1) for n in range(1, 5))  # fmt: skip
    refunds = tuple(PlannedRefund(name=f"refund {n}", at=9, seed=n, order=f"order {n}", amount=9,
                                  by_ledger=False, ends_after=1) for n in range(1, 5))  # fmt: skip
    faults = tuple(PlannedFault(name=f"fault {n}", at=n, seed=n, kind="answer_lost")
                   for n in range(1, 31))  # fmt: skip
    return Schedule(seed=1, processes=3, live=True, orders=orders, refunds=refunds, faults=faults)


def _run(schedule: Schedule) -> ScheduleResult:
    """Break one invariant if all needed elements are there; without the refund, another one."""
    names = {one.name for one in schedule.elements()}
    if names >= NEEDED and schedule.processes > 1:
        return ScheduleResult(["one_transfer_per_cause: twice"], [], {})
    return ScheduleResult(["everything_ends: it goes on"] if "fault 7" in names else [], [], {})


def test_shrinker_finds_the_smallest_schedule_of_the_same_invariant() -> None:
    shrunk = shrink(_schedule(), _run)
    assert {one.name for one in shrunk.schedule.elements()} == NEEDED
    assert (shrunk.schedule.processes, shrunk.schedule.live) == (2, False)
    assert shrunk.result.violations == ["one_transfer_per_cause: twice"]
    assert shrunk.runs < 120


def test_shrinker_at_its_limit_keeps_the_smallest_so_far() -> None:
    shrunk = shrink(_schedule(), _run, most_runs=4)
    assert shrunk.runs == 4
    assert {one.name for one in shrunk.schedule.elements()} > NEEDED


def test_shrinker_of_a_schedule_that_breaks_nothing_refuses() -> None:
    with pytest.raises(ValueError, match="nothing to shrink"):
        shrink(Schedule(seed=1), _run)
