"""Run of the mutants: one fork of this process for each, in which the code of one function is
replaced and the tests that reach the changed lines run, the likeliest to fail first.

First all tests run once without a fault, traced: which of them reach which lines of the domain, and
how long they take. Limits of CPU time and memory end faults that loop.
"""

import ast
import gc
import hashlib
import importlib
import inspect
import json
import mmap
import os
import resource
import select
import signal
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import ceil
from pathlib import Path
from random import Random
from types import CodeType, FrameType, FunctionType
from typing import Any, NamedTuple, TextIO, TypedDict

import pytest
from _pytest.runner import runtestprotocol

from tests.mutation.mutants import Mutant, mutants

ROOT = Path(__file__).parents[2]
SURVIVED, KILLED, INVALID = 0, 1, 2
MEMORY = 2 * 2**30
SECONDS_OF_CPU = 3.0
"""Minimum limit of one test; else ten times the time that it needs without a fault."""
WALL = 300.0
"""Limit of one mutant, for faults that wait instead of looping."""
CALLS_TRACED = 30
"""Calls of one function in one test after which the test counts for all its lines."""

EXAMPLES = 25
"""Examples of a property test, unless it says its own number."""
VARIANTS = 2
"""Variants of a parametrised test that come before all other variants."""

Tracer = Callable[[FrameType, str, object], Any]


class Traced(TypedDict):
    """Lines of the domain that a test reaches, and the CPU seconds that it took."""

    source: str
    """Hash of the test's file."""
    seconds: float
    lines: list[tuple[str, int]]


@dataclass
class Reach:
    """Tests that reach each line, and the CPU seconds of each test."""

    tests: defaultdict[tuple[str, int], set[int]] = field(default_factory=lambda: defaultdict(set))
    seconds: dict[int, float] = field(default_factory=dict)
    _left: dict[CodeType, set[int]] = field(default_factory=dict)
    _calls: dict[CodeType, int] = field(default_factory=dict)
    _now: int = 0

    def of(self, mutant: Mutant) -> list[int]:
        """Return the tests that reach a mutant, the fastest first."""
        reached = {test for line in mutant.lines for test in self.tests[mutant.path, line]}
        return sorted(reached, key=lambda test: self.seconds[test])

    def trace(self, test: int, run: Callable[[], None]) -> None:
        self._now, self._left, self._calls = test, {}, {}
        began = time.process_time()
        sys.settrace(self._called)
        try:
            run()
        finally:
            sys.settrace(None)
        self.seconds[test] = time.process_time() - began

    def _called(self, frame: FrameType, event: str, arg: object) -> Tracer | None:
        code = frame.f_code
        if not code.co_filename.startswith(DOMAIN):
            return None
        if code not in self._left:
            lines = {line for _, _, line in code.co_lines() if line is not None}
            self._left[code] = lines - {code.co_firstlineno}
        left = self._left[code]
        self._calls[code] = self._calls.get(code, 0) + 1
        if self._calls[code] > CALLS_TRACED:
            for line in left:
                self._reach(code, line)
            left.clear()
        return self._line if left else None

    def _line(self, frame: FrameType, event: str, arg: object) -> Tracer | None:
        code = frame.f_code
        if frame.f_lineno in self._left[code]:
            self._left[code].discard(frame.f_lineno)
            self._reach(code, frame.f_lineno)
        return self._line if self._left[code] else None

    def _reach(self, code: CodeType, line: int) -> None:
        path = code.co_filename.removeprefix(f"{ROOT}/")
        self.tests[path, line].add(self._now)

    def lines_by_test(self) -> defaultdict[int, list[tuple[str, int]]]:
        lines: defaultdict[int, list[tuple[str, int]]] = defaultdict(list)
        for place, tests in self.tests.items():
            for test in tests:
                lines[test].append(place)
        return lines

    def remember(self, test: int, traced: Traced) -> None:
        self.seconds[test] = traced["seconds"]
        for path, line in traced["lines"]:
            self.tests[path, line].add(test)


DOMAIN = f"{ROOT / 'domain'}/"


def reach_of(items: Sequence[pytest.Item], cache: Path) -> Reach:
    """Run each test once, traced, unless the cache knows it and its file and the domain are the
    same."""
    domain = _hash(*sorted(Path(DOMAIN).rglob("*.py")))
    sources = {path: _hash(path) for path in {item.path for item in items}}
    kept = json.loads(cache.read_text()) if cache.exists() else {}
    known: dict[str, Traced] = kept["tests"] if kept.get("domain") == domain else {}
    reach = Reach()
    for number, item in enumerate(items):
        if item.nodeid in known and known[item.nodeid]["source"] == sources[item.path]:
            reach.remember(number, known[item.nodeid])
        else:
            reach.trace(number, partial(_require_green, item))
    lines = reach.lines_by_test()
    for number, item in enumerate(items):
        known[item.nodeid] = {
            "source": sources[item.path],
            "seconds": reach.seconds[number],
            "lines": lines[number],
        }
    cache.write_text(json.dumps({"domain": domain, "tests": known}))
    return reach


def _hash(*paths: Path) -> str:
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()


def chosen(
    every: Sequence[Mutant], fraction: float, seed: int, whole: Sequence[str] = ()
) -> list[Mutant]:
    """Return a sample of the mutants, stratified by module. Modules whose path begins with one of
    `whole` are complete and come first; the order is random otherwise, so that a run that is
    stopped early has judged a random sample."""
    by_module: defaultdict[str, list[Mutant]] = defaultdict(list)
    for mutant in every:
        by_module[mutant.path].append(mutant)
    dice = Random(seed)
    sample: list[Mutant] = []
    for path, one in by_module.items():
        part = 1.0 if path.startswith(tuple(whole)) else fraction
        sample += dice.sample(one, ceil(len(one) * part))
    dice.shuffle(sample)
    return sorted(sample, key=lambda mutant: not mutant.path.startswith(tuple(whole)))


class Options(NamedTuple):
    """Extent of a run."""

    out: Path
    """File of results, one JSON line per mutant. A run continues the file that exists."""
    seed: int = 1
    fraction: float = 1.0
    """Part of each module's mutants."""
    whole: tuple[str, ...] = ()
    """Modules of which all mutants run, by the begin of their paths."""
    keys: frozenset[str] = frozenset()
    """The only mutants to run, if any are given."""
    seconds: float = 1e9
    """Limit of the tests of one mutant, as their traced run took."""
    minutes: float = 1e9
    """Limit of the run; the next run continues it."""
    processes: int = 1


class Running(NamedTuple):
    """A forked process that judges a mutant."""

    mutant: Mutant
    began: float
    tests: Sequence[int]
    number: mmap.mmap
    """Number of tests that the process has begun, in memory that both processes share."""


class MutationRun:
    """A pytest plugin that runs the mutants instead of the tests, and writes one JSON line each."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._running: dict[int, Running] = {}
        self._killers: defaultdict[str, Counter[int]] = defaultdict(Counter)
        """Per function, the tests that have caught mutants of it: they are tried first."""

    def pytest_sessionstart(self) -> None:
        """Let a failing property fail at once: no shrinking, no stored examples."""
        import hypothesis  # pytest has to see it first, to rewrite its assertions

        hypothesis.settings.register_profile(
            "mutation",
            deadline=None,
            derandomize=True,
            database=None,
            max_examples=EXAMPLES,
            report_multiple_bugs=False,
            phases=(hypothesis.Phase.explicit, hypothesis.Phase.generate),
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        hypothesis.settings.load_profile("mutation")

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        began, options = time.monotonic(), self._options
        reach = reach_of(session.items, options.out.with_suffix(".reach"))
        write = session.config.get_terminal_writer().line
        write(f"\n{len(session.items)} tests, {sum(reach.seconds.values()):.0f} s of CPU, traced.")
        todo = self._todo()
        write(f"{len(todo)} mutants to run.")
        gc.collect()
        gc.freeze()
        with options.out.open("a") as out:
            for mutant in todo:
                while len(self._running) >= options.processes:
                    self._await_one(out)
                if time.monotonic() - began > options.minutes * 60:
                    break
                self._start(mutant, session.items, reach)
            while self._running:
                self._await_one(out)
        return True

    def _todo(self) -> list[Mutant]:
        """Return the mutants that this run is about and that the file does not know yet."""
        options = self._options
        paths = sorted(str(path.relative_to(ROOT)) for path in Path(DOMAIN).rglob("*.py"))
        every = [one for path in paths for one in mutants(ROOT, path) if one.function is not None]
        if options.keys:
            return [mutant for mutant in every if mutant.key in options.keys]
        known = _known(options.out)
        sample = chosen(every, options.fraction, options.seed, options.whole)
        return [mutant for mutant in sample if mutant.key not in known]

    def _start(self, mutant: Mutant, items: Sequence[pytest.Item], reach: Reach) -> None:
        tests = self._tests_of(mutant, items, reach)
        number = mmap.mmap(-1, 4)
        pid = os.fork()
        if pid == 0:
            _judge(
                mutant, [items[test] for test in tests], [reach.seconds[t] for t in tests], number
            )
        self._running[pid] = Running(mutant, time.monotonic(), tests, number)

    def _tests_of(
        self, mutant: Mutant, items: Sequence[pytest.Item], reach: Reach
    ) -> Sequence[int]:
        """Return the tests that fit into the time, by likelihood to fail: earlier killers, then
        some variants of each parametrised test, then the others."""
        killers, seen, reached = self._killers[_place(mutant)], Counter[str](), reach.of(mutant)
        rank = {}
        for test in reached:
            name = items[test].nodeid.partition("[")[0]
            seen[name] += 1
            rank[test] = (-killers[test], seen[name] > VARIANTS, reach.seconds[test])
        left, tests = self._options.seconds, []
        for test in sorted(reached, key=lambda test: rank[test]):
            if reach.seconds[test] <= left:
                left -= reach.seconds[test]
                tests.append(test)
        return tests

    def _await_one(self, out: TextIO) -> None:
        while True:
            for pid, running in list(self._running.items()):
                ended, status = os.waitpid(pid, os.WNOHANG)
                took = time.monotonic() - running.began
                if not ended and took > WALL:
                    os.kill(pid, signal.SIGKILL)
                if not ended:
                    continue
                del self._running[pid]
                self._note(running, _result(status, len(running.tests)), took, out)
                return
            select.select([], [], [], 0.005)

    def _note(self, running: Running, result: str, took: float, out: TextIO) -> None:
        mutant, ran = running.mutant, int.from_bytes(running.number[:4], "little")
        if result in ("killed", "timeout") and ran:
            self._killers[_place(mutant)][running.tests[ran - 1]] += 1
        line = {"key": mutant.key, "result": result, "tests": ran, "s": round(took, 2)}
        print(json.dumps(line, ensure_ascii=False), file=out, flush=True)
        running.number.close()


def _place(mutant: Mutant) -> str:
    return f"{mutant.path}:{mutant.function}"


def _known(out: Path) -> set[str]:
    lines = out.read_text().splitlines() if out.exists() else []
    return {json.loads(line)["key"] for line in lines}


def _require_green(item: pytest.Item) -> None:
    failed = [report for report in runtestprotocol(item, log=False) if report.failed]
    if failed:
        pytest.exit(f"{item.nodeid} fails without a fault:\n{failed[0].longreprtext}", 1)


def _result(status: int, tests: int) -> str:
    if os.WIFSIGNALED(status):
        return "timeout"
    if tests == 0:
        return "untested"
    return {SURVIVED: "survived", KILLED: "killed"}.get(os.WEXITSTATUS(status), "invalid")


def _judge(
    mutant: Mutant, items: Sequence[pytest.Item], seconds: Iterable[float], number: mmap.mmap
) -> None:
    """Run the tests with the fault in this forked process, until the first fails; never return."""
    result = INVALID
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        plant(mutant)
        result = SURVIVED
        for ran, (item, needed) in enumerate(zip(items, seconds, strict=True), 1):
            number[:4] = ran.to_bytes(4, "little")
            # its default action ends the process, in whatever code that loops
            signal.setitimer(signal.ITIMER_VIRTUAL, max(SECONDS_OF_CPU, 10 * needed))
            if any(report.failed for report in runtestprotocol(item, log=False)):
                result = KILLED
                break
    except BaseException:
        result = KILLED if result == SURVIVED else INVALID
    finally:
        os._exit(result)


def plant(mutant: Mutant) -> None:
    """Replace the code of the mutant's function; all importers have the same function object."""
    assert mutant.function is not None
    mutant.edit.apply()
    tree = ast.fix_missing_locations(mutant.tree)
    code = compile(tree, str(ROOT / mutant.path), "exec")
    *owners, name = mutant.function.split(".")
    where: Any = importlib.import_module(mutant.path.removesuffix(".py").replace("/", "."))
    for owner in owners:
        code, where = _code(code, owner), vars(where)[owner]
    function = _function(vars(where)[name])
    function.__code__ = _code(code, name)


def _function(member: Any) -> FunctionType:
    member = getattr(member, "fget", None) or getattr(member, "func", None) or member
    function = inspect.unwrap(getattr(member, "__func__", member))
    assert isinstance(function, FunctionType)
    return function


def _code(outer: CodeType, name: str) -> CodeType:
    return next(
        code for code in outer.co_consts if isinstance(code, CodeType) and code.co_name == name
    )
