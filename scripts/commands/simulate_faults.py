"""Command `simulate-faults`: random schedules of faults in virtual time."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from infrastructure.simulation.faults.batch import BatchResult, Found, run_batch, run_seed
from infrastructure.simulation.faults.batch import Progress as OnProgress
from infrastructure.simulation.faults.coverage import required
from infrastructure.simulation.faults.plan import drawn
from infrastructure.simulation.faults.run import judged
from infrastructure.simulation.faults.shrink import shrink as smallest
from scripts.commands.command import command, new_app
from scripts.commands.options import AsJson
from scripts.exit_codes import FOUND, fail

app = new_app()
MOST_PROCESSES = 64


@command(app, "transfer-ledger simulate-faults --seed 1 --schedules 300", name="simulate-faults")
def simulate_faults(
    seed: Annotated[int, typer.Option(help="Seed of the first schedule.")] = 1,
    schedules: Annotated[
        int, typer.Option(help="Number of schedules, each with the next seed.")
    ] = 1,
    json: AsJson = False,
    processes: Annotated[int, typer.Option(help="Processes that share the schedules.")] = 1,
    require_coverage: Annotated[
        int,
        typer.Option(
            metavar="TIMES",
            help="Exit with 1 if a state that matters was reached fewer times than this.",
        ),
    ] = 0,
    shrink: Annotated[
        bool,
        typer.Option(
            "--shrink", help="Print the smallest schedule found that breaks the same invariant."
        ),
    ] = False,
) -> int:
    """Simulate faults: each schedule is a small marketplace in virtual time with a random set of
    crashes, lost answers, broken webhooks and other faults, then a time without faults. A single
    schedule prints its story, the same text for the same seed. Exit code 1 if the books are ever
    wrong."""
    _check(schedules, processes, require_coverage)
    if shrink:
        if json or schedules > 1:
            fail("--shrink takes one seed and prints text; leave out --json and --schedules.")
        return _shrink(seed)
    if schedules == 1 and not json and not require_coverage:
        return _tell_story(seed)
    began = time.monotonic()
    with _progress(schedules) as on_progress:
        result = run_batch(seed, schedules, processes=processes, progress=on_progress)
    _report(result, time.monotonic() - began, require_coverage, json)
    return 0 if result.passed(require_coverage) else FOUND


def _check(schedules: int, processes: int, require_coverage: int) -> None:
    """Exit with 2 for numbers that make no sense."""
    if schedules < 1:
        fail(f"--schedules is {schedules}; expected 1 or more.")
    if not 1 <= processes <= MOST_PROCESSES:
        fail(f"--processes is {processes}; expected 1 to {MOST_PROCESSES}.")
    if require_coverage < 0:
        fail(f"--require-coverage is {require_coverage}; expected 0 or more times.")


def _tell_story(seed: int) -> int:
    result = run_seed(seed)
    lines = [*result.story, *(f"violation: {one}" for one in result.violations)]
    sys.stdout.write("\n".join(lines) + "\n")
    return FOUND if result.violations else 0


def _shrink(seed: int) -> int:
    """Print the elements of the smallest schedule found, and its story."""
    try:
        shrunk = smallest(drawn(seed), judged)
    except ValueError as sound:
        sys.stdout.write(f"seed {seed}: {sound}\n")
        return 0
    lines = [f"{shrunk.runs} runs; the smallest schedule has {shrunk.schedule.processes} processes"]
    lines += [f"  {element}" for element in shrunk.schedule.elements()]
    lines += [*shrunk.result.story, *(f"violation: {one}" for one in shrunk.result.violations)]
    sys.stdout.write("\n".join(lines) + "\n")
    return FOUND


def _report(result: BatchResult, seconds: float, required_times: int, json: bool) -> None:
    per_second = result.schedules / max(seconds, 1e-9)
    rare = result.rare(max(1, required_times))
    shown = _as_json(result, per_second, rare) if json else _as_text(result, rare)
    sys.stdout.write(shown + "\n")
    if not json:
        sys.stderr.write(f"{per_second:.1f} schedules per second\n")


def _as_json(result: BatchResult, per_second: float, rare: dict[str, int]) -> str:
    shown: dict[str, Any] = {
        "schedules": result.schedules,
        "violations": [one._asdict() | {"replay": _replay(one)} for one in result.found],
        "schedules_per_s": round(per_second, 2),
        "coverage": dict(sorted({**dict.fromkeys(required(), 0), **result.coverage}.items())),
        "rare": rare,
    }
    return orjson.dumps(shown, option=orjson.OPT_INDENT_2).decode()


def _as_text(result: BatchResult, rare: dict[str, int]) -> str:
    reachable, never = len(required()), len(result.rare())
    lines = [
        f"{result.schedules} schedules, {len(result.found)} with violations",
        f"{reachable - never} of {reachable} states reached",
    ]
    lines += [f"  {count} times: {name}" for name, count in rare.items()]
    for one in result.found:
        lines += [f"seed {one.seed}: {violation}" for violation in one.violations]
        lines.append(f"  replay: {_replay(one)}")
    return "\n".join(lines)


def _replay(found: Found) -> str:
    return f"transfer-ledger simulate-faults --seed {found.seed}"


@contextmanager
def _progress(schedules: int) -> Iterator[OnProgress]:
    """Show a progress bar on a terminal."""
    columns = (TextColumn("simulating"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("simulating", total=schedules)
        yield lambda done: progress.update(task, completed=done)
