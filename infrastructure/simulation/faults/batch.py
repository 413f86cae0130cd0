"""Many schedules, in one process or more. The results do not depend on the number of processes."""

import logging
import multiprocessing
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import NamedTuple

import structlog

from infrastructure.simulation.faults.oracle import BooksJudged, NewOracle
from infrastructure.simulation.faults.plan import drawn
from infrastructure.simulation.faults.run import ScheduleResult, run_schedule
from infrastructure.simulation.faults.schedule import Schedule

CHUNK = 8
"""Schedules that a process takes at a time."""
Progress = Callable[[int], None]
"""Is told the number of schedules that are done."""


class Found(NamedTuple):
    """Violations of one schedule."""

    seed: int
    violations: Sequence[str]


class BatchResult(NamedTuple):
    """Result of many schedules."""

    schedules: int
    found: Sequence[Found]
    coverage: Counter[str]


class _Part(NamedTuple):
    seed: int
    violations: Sequence[str]
    coverage: dict[str, int]


def quiet() -> None:
    """Write no log lines: a story tells all that happens."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


def run_seed(seed: int, watch: NewOracle = BooksJudged) -> ScheduleResult:
    """Run the schedule of a seed. An error of the program is a violation too."""
    return judged(drawn(seed), watch)


def judged(schedule: Schedule, watch: NewOracle = BooksJudged) -> ScheduleResult:
    """Run a schedule. An error of the program is a violation too."""
    try:
        return run_schedule(schedule, watch=watch)
    except Exception as error:
        return ScheduleResult([f"the run failed: {type(error).__name__}: {error}"], [], {})


def run_batch(
    first: int,
    schedules: int,
    *,
    processes: int = 1,
    watch: NewOracle = BooksJudged,
    progress: Progress = lambda done: None,
) -> BatchResult:
    """Run the schedules of `schedules` seeds, from `first` on."""
    coverage, found = Counter[str](), []
    seeds = range(first, first + schedules)
    for done, part in enumerate(_parts(seeds, processes, watch), 1):
        coverage.update(part.coverage)
        if part.violations:
            found.append(Found(part.seed, part.violations))
        progress(done)
    return BatchResult(schedules, found, coverage)


def _parts(seeds: Sequence[int], processes: int, watch: NewOracle) -> Iterator[_Part]:
    if processes == 1:
        quiet()
        yield from (_part(seed, watch) for seed in seeds)
        return
    chunks = [seeds[index : index + CHUNK] for index in range(0, len(seeds), CHUNK)]
    start = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, start, initializer=quiet) as pool:
        for parts in pool.map(_chunk, chunks, [watch] * len(chunks)):
            yield from parts


def _chunk(seeds: Iterable[int], watch: NewOracle) -> list[_Part]:
    return [_part(seed, watch) for seed in seeds]


def _part(seed: int, watch: NewOracle) -> _Part:
    result = run_seed(seed, watch)
    return _Part(seed, result.violations, dict(result.coverage))
