"""A serving ledger, or a command of an operator, is killed at each crash point of each story.

CI kills at a few points, of two stories a day. All points once, the points that move money in every
story, all points of one story, and the table of the steps: `CRASH_POINTS=all python -m pytest -n0 -s
tests/chaos/test_crash_points.py`, `CRASH_POINTS=every …`, `CRASH_POINTS=outage …`,
`CRASH_POINTS=table …`. `CRASH_SHARE=1/2` and `CRASH_SHARE=2/2` divide a run; `CRASH_STEPS=Inbox.park,Inbox.bury` limits it
to these steps. See docs/crash_tests.md.
"""

import os
import re
import sys
import traceback
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from random import Random
from time import monotonic
from zlib import crc32

import pytest

from infrastructure.bootstrap import stored
from infrastructure.settings import Settings
from infrastructure.simulators.hyperswitch import Behaviour, HyperswitchConfig, running_hyperswitch
from infrastructure.simulators.stripe import RunningSimulator, SimulatorControl
from tests.e2e.conftest import Processes
from tests.support.application_ports import ports_with_adapters
from tests.support.crash_command_stories import STORIES
from tests.support.crash_points import (
    ADAPTERS,
    ANSWER,
    CrashFile,
    side_of,
    step_of,
    steps,
)
from tests.support.crash_stories import idle
from tests.support.crash_world import CrashWorld
from tests.support.ledger_view import LedgerView

MODE = os.environ.get("CRASH_POINTS", "")
PAGE = Path(__file__).parents[2] / "docs" / "crash_tests.md"
TODAY = datetime.now(UTC).toordinal()
SAMPLE = 2
"""Points of each story in CI."""
PART, PARTS = map(int, os.environ.get("CRASH_SHARE", "1/1").split("/"))
"""The share of the points at which this run kills."""
STEPS = set(filter(None, os.environ.get("CRASH_STEPS", "").split(",")))
"""The steps at which this run kills; empty: all."""
TRIES = 3 if MODE else 1
"""Times that a story is played for one point: some points are reached only with the right timing."""
MOVES_MONEY = (
    "EventLog.append", "TransferGateway.", "PaymentGateway.create", "PolledInbox.put", ANSWER
)  # fmt: skip
"""Steps at which `every` kills in every story."""
BACKGROUND = ("lost_webhook", "restart")
"""The stories in which the full run kills at the points of an idle ledger, and of its start."""
NO_STORY = {
    "Alarms.clear_all": "it only follows a parked webhook that is ignored after all",
    "Directory.alarm": "only a person who acknowledges an alarm gets there; no money moves",
    "WorkQueue.hold": "it only follows three lost races of a command; a lease moves no money",
}
"""Steps without a crash point, and the reason."""


@pytest.fixture
async def world(
    processes: Processes,
    stripe: SimulatorControl,
    simulator: RunningSimulator,
    view: LedgerView,
    settings: Settings,
    tmp_path: Path,
) -> AsyncIterator[CrashWorld]:
    config = HyperswitchConfig(connector=simulator.connector(), refunds=Behaviour("succeeded"))
    async with running_hyperswitch(config) as (_, psp), stored(settings) as storage:
        made = CrashWorld(processes, stripe, psp, view, storage, CrashFile(tmp_path / "crash"))
        async with made.at_work():
            yield made


def test_every_port_is_known_to_the_crash_points() -> None:
    """A new port, or a new method of one, needs a story before it is released."""
    assert set(ports_with_adapters()) == ADAPTERS.keys()


def test_every_step_has_a_story() -> None:
    told = {step for several in _table().values() for step in several}
    assert told == {ANSWER, *(step for step, _, _ in steps())} - NO_STORY.keys()
    assert set(_table()) == set(STORIES)


def _table() -> Mapping[str, Sequence[str]]:
    """Return the steps of each story, as docs/crash_tests.md lists them."""
    rows = re.findall(r"^\| `(\w+)` \|([^|]*)\|", PAGE.read_text(), re.MULTILINE)
    return {story: re.findall(r"\w+\.\w+", listed) for story, listed in rows}


@pytest.mark.timeout(7_200 if MODE else 120)
@pytest.mark.skipif(MODE == "table", reason="only the table is asked for")
async def test_kill_at_crash_points_moves_money_once(world: CrashWorld) -> None:
    run = CrashRun(world)
    for story in _chosen():
        await run.play(story)
    sys.stdout.write(run.report())
    assert not run.failed, "\n\n".join(run.failed)
    assert run.killed
    assert not MODE or not run.spared, "no kill before or after these steps"


@pytest.mark.skipif(MODE != "table", reason="prints the table: CRASH_POINTS=table")
async def test_print_the_steps_of_each_story(world: CrashWorld) -> None:
    told: set[str] = set()
    for name, story in STORIES.items():
        await story(world, f"{name}_0")
        new = dict.fromkeys(map(step_of, world.file.reached()))
        found = [step for step in new if step not in told and not step.startswith("SQL")]
        told.update(found)
        sys.stdout.write(f"| `{name}` | {', '.join(found)} |\n")


def _chosen() -> Sequence[str]:
    """Return the stories of this run: all, the one that is named, or in CI two."""
    if MODE:
        return [MODE] if MODE in STORIES else list(STORIES)
    others = [name for name in STORIES if name != "sale"]
    return ["sale", others[TODAY % len(others)]]


class CrashRun:
    """The stories with their kills, and the counts of both."""

    def __init__(self, world: CrashWorld) -> None:
        self._world, self._began = world, monotonic()
        self._chance = Random(TODAY)
        self._chosen: set[str] = set()
        self._armed: set[tuple[str, str]] = set()
        self._idle: frozenset[str] | None = None
        self.killed: list[str] = []
        self.missed: list[str] = []
        self.failed: list[str] = []
        self.stories = 0

    async def play(self, name: str) -> None:
        """Play a story without a kill, and once more for each of its points that is chosen."""
        if self._idle is None:
            await idle(self._world)
            self._idle = frozenset(self._world.file.reached())
        self.stories += 1
        await STORIES[name](self._world, f"{name}_0")
        reached = self._world.file.reached()
        steps_reached = {step_of(point) for point in [*reached, *self._idle]}
        assert steps_reached >= set(_table()[name]), f"{name} does not reach the steps of its row"
        for number, point in enumerate(self._points(name, reached), 1):
            died = False
            for attempt in range(TRIES):
                if not died:
                    died = await self._kill(name, f"{name}_{number}_{attempt}", point)
            (self.killed if died else self.missed).append(f"{name}: {point}")
            self._tell(f"{'killed' if died else 'missed'} {name}: {point}")

    async def _kill(self, name: str, order_id: str, point: str) -> bool:
        """Play the story with a kill at the point; return whether there was one."""
        before = self._world.deaths
        try:
            await self._world.dies_at(point, partial(STORIES[name], self._world, order_id))
        except Exception:  # the others go on
            log = "\n".join(self._world.process.lines[-20:])
            self.failed.append(f"{name}: {point}: {traceback.format_exc(-4)}\n{log}")
            self._tell(self.failed[-1])
        self._world.file.reached()
        return self._world.deaths > before

    def _tell(self, line: str) -> None:
        """Print the progress of a long run."""
        if MODE:
            sys.stdout.write(f"{monotonic() - self._began:.0f} s {line}\n")
            sys.stdout.flush()

    def _points(self, name: str, reached: Sequence[str]) -> Sequence[str]:
        assert self._idle is not None
        own = [point for point in reached if point not in self._idle]
        if not MODE:
            return self._chance.sample(own, min(SAMPLE, len(own)))
        if name in BACKGROUND:
            own += [point for point in reached if point in self._idle]
        chosen = [
            point
            for point in own
            if point not in self._chosen
            or (MODE == "every" and step_of(point).startswith(MOVES_MONEY))
        ]
        self._chosen.update(chosen)
        ours = [point for point in chosen if _is_ours(point)]
        self._armed.update(map(_side, ours))
        return ours

    @property
    def spared(self) -> set[tuple[str, str]]:
        """Return the steps, each with its side, at none of whose points was a kill."""
        whole = MODE in ("all", "every") and PARTS == 1 and not STEPS
        told = {step for several in _table().values() for step in several} if whole else set()
        owed = self._armed | {(step, side) for step in told for side in ("before", "after")}
        return owed - {_side(point) for point in self._points_killed}

    @property
    def _points_killed(self) -> set[str]:
        return {one.partition(": ")[2] for one in self.killed}

    def report(self) -> str:
        """Return the figures, with the points that were armed and not reached again."""
        lines = [
            f"{self.stories} stories, {len(self.killed)} kills at {len(self._points_killed)} points "
            f"of {len({step_of(point) for point in self._points_killed})} steps, "
            f"{len(self.failed)} wrong, {monotonic() - self._began:.0f} s",
            *(f"not reached a second time: {one}" for one in self.missed),
        ]
        return "\n".join(lines) + "\n"


def _is_ours(point: str) -> bool:
    """Return whether a point is in the share and the steps of this run."""
    in_share = crc32(point.encode()) % PARTS == PART - 1
    return in_share and (not STEPS or step_of(point) in STEPS)


def _side(point: str) -> tuple[str, str]:
    return step_of(point), side_of(point)
