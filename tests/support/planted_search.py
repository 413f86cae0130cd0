"""Search for the first schedule that finds a planted bug, and record of its smallest form:

    python -m tests.support.planted_search key_by_amount --schedules 200

A found schedule is shrunk and kept in `planted_schedules.json`, for the tests in CI.
"""

import argparse
import json
from pathlib import Path
from typing import Any, NamedTuple

from infrastructure.simulation.faults.invariants.broken import invariant_of
from infrastructure.simulation.faults.plan import drawn
from infrastructure.simulation.faults.run import judged
from infrastructure.simulation.faults.schedule import Schedule
from infrastructure.simulation.faults.shrink import shrink
from tests.support.planted_bugs import BUGS

RECORD = Path(__file__).with_name("planted_schedules.json")
MOST_RUNS = 80
"""Most runs to shrink one schedule."""


class FoundBug(NamedTuple):
    """The first schedule that finds a bug."""

    seed: int
    violation: str


def search(bug: str, first: int, schedules: int) -> FoundBug | None:
    """Return the first seed whose schedule finds the bug: it breaks an invariant with the bug, and
    none without it."""
    for seed in range(first, first + schedules):
        with BUGS[bug]():
            violations = judged(drawn(seed)).violations
        if violations and not judged(drawn(seed)).violations:
            return FoundBug(seed, violations[0])
    return None


def recorded() -> dict[str, Any]:
    """Return the recorded schedules by bug: `seed`, `invariant` and the shrunk `schedule`."""
    known: dict[str, Any] = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    return known


def schedule_of(record: dict[str, Any]) -> Schedule:
    """Return a recorded schedule."""
    return Schedule.from_json(record["schedule"])


def record(bug: str, found: FoundBug) -> int:
    """Shrink the schedule that finds a bug, and keep it. Returns the number of its elements."""
    with BUGS[bug]():
        shrunk = shrink(drawn(found.seed), judged, MOST_RUNS)
    entry = {
        "seed": found.seed,
        "invariant": invariant_of(shrunk.result.violations[0]),
        "schedule": shrunk.schedule.as_json(),
    }
    RECORD.write_text(json.dumps({**recorded(), bug: entry}, indent=1, sort_keys=True) + "\n")
    return len(list(shrunk.schedule.elements()))


def main() -> None:
    """Search and record the named bugs, or all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bugs", nargs="*", help=f"names, or none for all of {', '.join(BUGS)}")
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--schedules", type=int, default=200)
    given = parser.parse_args()
    for bug in given.bugs or BUGS:
        found = search(bug, given.first, given.schedules)
        if found is None:
            print(f"{bug}: not found in {given.schedules} schedules", flush=True)  # noqa: T201
            continue
        print(f"{bug}: schedule {found.seed}, {found.violation[:200]}", flush=True)  # noqa: T201
        print(f"{bug}: shrunk to {record(bug, found)} elements", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
