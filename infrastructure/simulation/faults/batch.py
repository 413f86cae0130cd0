"""Many schedules, in one process or more. The results do not depend on the number of processes."""

import multiprocessing
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import NamedTuple

from infrastructure.simulation.faults.coverage import required
from infrastructure.simulation.faults.oracle import BooksJudged, NewOracle
from infrastructure.simulation.faults.plan import drawn
from infrastructure.simulation.faults.run import ScheduleResult, judged

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
    """Number of times that each state that matters was reached."""

    def rare(self, times: int = 1) -> dict[str, int]:
        """Return the reachable states that were reached fewer than `times` times, rarest first."""
        counts = {name: self.coverage[name] for name in required() if self.coverage[name] < times}
        return dict(sorted(counts.items(), key=lambda one: one[1]))

    def passed(self, times: int = 0) -> bool:
        """Return whether nothing was violated, and each reachable state was reached at least
        `times` times."""
        return not self.found and not self.rare(times)


class _Part(NamedTuple):
    seed: int
    violations: Sequence[str]
    coverage: dict[str, int]


def run_seed(seed: int, watch: NewOracle = BooksJudged) -> ScheduleResult:
    """Run the schedule of a seed."""
    return judged(drawn(seed), watch)


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
        yield from (_part(seed, watch) for seed in seeds)
        return
    chunks = [seeds[index : index + CHUNK] for index in range(0, len(seeds), CHUNK)]
    start = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, start) as pool:
        for parts in pool.map(_chunk, chunks, [watch] * len(chunks)):
            yield from parts


def _chunk(seeds: Iterable[int], watch: NewOracle) -> list[_Part]:
    return [_part(seed, watch) for seed in seeds]


def _part(seed: int, watch: NewOracle) -> _Part:
    result = run_seed(seed, watch)
    return _Part(seed, result.violations, dict(result.coverage))
