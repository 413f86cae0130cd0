"""The simulation of faults finds bugs that were planted on purpose.

Each bug is run with one recorded seed that finds it. `PLANTED_BUGS=200` searches instead the first
200 seeds for each bug, and prints the number of schedules that each needed:

    PLANTED_BUGS=200 pytest -n0 -s tests/simulation/test_planted_bugs.py
"""

import os
import sys
from collections.abc import Iterable

import pytest

from infrastructure.simulation.faults.invariants.broken import invariant_of
from infrastructure.simulation.faults.invariants.oracle import InvariantOracle
from infrastructure.simulation.faults.plan import drawn
from infrastructure.simulation.faults.run import run_schedule
from tests.support.planted_bugs import BUGS

SEARCHED = int(os.environ.get("PLANTED_BUGS", "0"))
FOUND_BY: dict[str, int] = {}
"""The first seed that finds each bug."""


def _first(bug: str, seeds: Iterable[int]) -> tuple[int, str] | None:
    """Return the first seed whose schedule finds the bug, with the violation."""
    with BUGS[bug]():
        for seed in seeds:
            found = run_schedule(drawn(seed), watch=InvariantOracle).violations
            if found:
                return seed, found[0]
    return None


@pytest.mark.parametrize("bug", FOUND_BY)
def test_planted_bug_with_its_recorded_seed_is_found(bug: str) -> None:
    assert _first(bug, [FOUND_BY[bug]]) is not None


@pytest.mark.skipif(not SEARCHED, reason="PLANTED_BUGS is the number of schedules to search")
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("bug", BUGS)
def test_planted_bug_is_found_within_the_searched_schedules(
    bug: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = _first(bug, range(1, SEARCHED + 1))
    assert found is not None
    seed, violation = found
    with capsys.disabled():
        sys.stdout.write(f"\n{bug}: {seed} schedules, {invariant_of(violation)}\n")
