"""Schedules with faults: no violation, the same story for the same seed, and every state that matters
has a name."""

import os
from collections import Counter
from dataclasses import replace

import pytest

from infrastructure.simulation.faults.batch import BatchResult, run_batch, run_seed
from infrastructure.simulation.faults.books import Books
from infrastructure.simulation.faults.coverage import all_names, required
from infrastructure.simulation.faults.kinds import DATABASE, PROVIDERS, FaultKind
from infrastructure.simulation.faults.network import CALLED
from infrastructure.simulation.faults.operator import COMMANDS
from infrastructure.simulation.faults.plan import drawn
from infrastructure.simulation.faults.run import judged
from infrastructure.simulation.faults.schedule import Schedule
from infrastructure.simulation.faults.unreachable import NOT_CALLED, UNREACHABLE
from infrastructure.simulation.in_memory.inbox import MemoryInbox
from tests.support.application_ports import ports_with_adapters

SLICES = [(first, 38) for first in range(1, 305, 38)]
"""First seed and number of the schedules of each test, so that the workers of pytest share them."""
if "FAULT_SCHEDULES" in os.environ:
    SLICES = [(10_001, int(os.environ["FAULT_SCHEDULES"]))]


class Unsuspicious:
    """An oracle to which all is right."""

    def __init__(self, schedule: Schedule) -> None:
        """Make the oracle."""

    def after_step(self, books: Books) -> list[str]:
        return []

    def at_end(self, books: Books) -> list[str]:
        return []


class Suspicious(Unsuspicious):
    """An oracle that takes every paid transfer for an error."""

    def after_step(self, books: Books) -> list[str]:
        return [f"{one.id} is paid" for one in books.transfers]


@pytest.mark.timeout(1_200)
@pytest.mark.parametrize(("first", "schedules"), SLICES)
def test_schedules_of_ci_find_no_violation(first: int, schedules: int) -> None:
    """`simulate-faults --seed N` replays one; `FAULT_SCHEDULES=1000` runs more."""
    result = run_batch(first, schedules)
    assert list(result.found) == []
    called = {name.removeprefix("called ") for name in result.coverage if "called" in name}
    known = {f"{provider} {name}" for provider, names in CALLED.items() for name in names}
    assert called <= known, "add the operation to CALLED, so that faults strike it too"
    assert not UNREACHABLE.keys() & result.coverage, "no longer unreachable"


def test_results_do_not_depend_on_the_number_of_processes() -> None:
    assert run_batch(3, 3, processes=1) == run_batch(3, 3, processes=2)


def test_violation_ends_the_run_and_is_in_the_story() -> None:
    schedule = replace(drawn(1), commands=(), faults=())
    result = judged(schedule, Suspicious)
    assert len(result.violations) == 1
    assert any("VIOLATION" in line for line in result.story)
    assert not any("HEALING" in line for line in result.story)


def test_schedule_is_plain_data() -> None:
    for seed in range(50):
        schedule = drawn(seed)
        assert Schedule.from_json(schedule.as_json()) == schedule
        assert drawn(seed) == schedule


def test_schedule_without_an_element_keeps_the_others_as_they_are() -> None:
    schedule = drawn(7)
    elements = list(schedule.elements())
    assert len({element.name for element in elements}) == len(elements)
    for removed in elements:
        rest = list(schedule.without(removed.name).elements())
        assert rest == [element for element in elements if element != removed]


@pytest.mark.parametrize("group", ["refunds", "disputes", "faults"])
def test_schedule_without_its_orders_still_runs(group: str) -> None:
    schedule = next(one for one in map(drawn, range(100)) if getattr(one, group))
    rest = schedule.without(*(order.name for order in schedule.orders))
    assert list(judged(rest).violations) == []


def test_error_that_a_loop_has_caught_is_a_violation(monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(self: MemoryInbox, *arguments: object) -> None:
        raise KeyError("planted")

    monkeypatch.setattr(MemoryInbox, "claim", broken)
    (violation,) = run_seed(1).violations
    assert violation.startswith("no_error_of_the_program: KeyError: 'planted' at ")


@pytest.mark.parametrize("method", ["after_step", "at_end"])
def test_error_of_the_simulation_is_a_violation_with_a_story(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Unsuspicious, books: Books) -> list[str]:
        raise ValueError("planted")

    monkeypatch.setattr(Unsuspicious, method, fail)
    result = judged(drawn(1), Unsuspicious)
    (violation,) = result.violations
    assert violation.startswith("no_error_of_the_program: ValueError: planted at ")
    assert result.story


def test_state_that_is_never_reached_fails_the_run() -> None:
    """The documented nightly run has `--require-coverage 1`."""
    all_but_one, missing = required()[1:], required()[0]
    result = BatchResult(1, [], Counter(dict.fromkeys(all_but_one, 100)))
    assert result.passed()
    assert not result.passed(1)
    assert result.rare(100) == {missing: 0}
    reached = BatchResult(1, [], Counter(dict.fromkeys(required(), 100)))
    assert reached.passed(100)
    assert not reached.passed(101)


def test_every_kind_of_fault_and_command_is_drawn() -> None:
    schedules = [drawn(seed) for seed in range(1_500)]
    kinds = {fault.kind for schedule in schedules for fault in schedule.faults}
    commands = {command.kind for schedule in schedules for command in schedule.commands}
    assert kinds == set(FaultKind)
    assert commands == COMMANDS.keys()


def test_every_kind_of_fault_has_states_to_be_reached() -> None:
    names = required()
    for kind in FaultKind:
        assert any(name.startswith(f"{kind} @ ") for name in names), kind


def test_every_port_is_struck_or_has_a_reason_not_to_be() -> None:
    struck = {port.__name__ for port in (*DATABASE, *PROVIDERS)}
    assert not struck & NOT_CALLED.keys()
    assert {port.__name__ for port in ports_with_adapters()} == struck | NOT_CALLED.keys()


def test_unreachable_states_exist_and_have_a_reason() -> None:
    names = set(all_names())
    for name, reason in UNREACHABLE.items():
        assert name in names, name
        assert reason
    assert len(names) == len(list(all_names()))
