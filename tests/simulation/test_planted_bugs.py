"""The simulation of faults finds bugs that were planted on purpose.

In CI each bug meets the smallest schedule that was found for it (see
`tests/support/planted_search.py`, which searches, shrinks and records them). `PLANTED_BUGS=200`
searches the first 200 seeds for each bug instead:

    PLANTED_BUGS=200 pytest -n0 tests/simulation/test_planted_bugs.py
"""

import os

import pytest

from infrastructure.simulation.faults.invariants.broken import invariant_of
from infrastructure.simulation.faults.run import judged
from tests.support.planted_bugs import BUGS
from tests.support.planted_search import recorded, schedule_of, search

SEARCHED = int(os.environ.get("PLANTED_BUGS", "0"))
AT_MOST = 8
"""Elements of a shrunk schedule."""
RECORDED = recorded()
ASKED_FOR = {"key_by_amount", "outcome_before_call", "at_most_once_inbox"}


def test_planted_bugs_are_recorded() -> None:
    assert ASKED_FOR <= RECORDED.keys() <= BUGS.keys()
    assert len(RECORDED) >= len(ASKED_FOR) + 5


@pytest.mark.parametrize("bug", RECORDED)
def test_planted_bug_with_its_shrunk_schedule_is_found(bug: str) -> None:
    """A few elements are enough, and without the bug they break nothing."""
    schedule = schedule_of(RECORDED[bug])
    assert len(list(schedule.elements())) <= AT_MOST
    with BUGS[bug]():
        broken = judged(schedule).violations
    assert RECORDED[bug]["invariant"] in map(invariant_of, broken)
    assert judged(schedule).violations == []


@pytest.mark.skipif(not SEARCHED, reason="PLANTED_BUGS is the number of schedules to search")
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("bug", RECORDED)
def test_planted_bug_is_found_within_the_searched_schedules(bug: str) -> None:
    assert search(bug, 1, SEARCHED) is not None
