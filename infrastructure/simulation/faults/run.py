"""Run of one schedule: chaos, then healing, with the oracle after every step."""

import asyncio
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from typing import NamedTuple

from infrastructure.simulation.faults.actors import Actors, account
from infrastructure.simulation.faults.caught_errors import (
    CaughtErrors,
    errors_watched,
    unexpected,
)
from infrastructure.simulation.faults.disasters import Disasters
from infrastructure.simulation.faults.healing import polled_since, unsettled
from infrastructure.simulation.faults.operator import Operator
from infrastructure.simulation.faults.oracle import BooksJudged, NewOracle
from infrastructure.simulation.faults.schedule import Schedule
from infrastructure.simulation.faults.view import WorldBooks
from infrastructure.simulation.faults.world import FaultWorld, RunOver
from infrastructure.simulation.virtual_time import epoch_seconds, now, run
from infrastructure.simulators.stripe.balances import PLATFORM

HOUR = 3_600.0
HEALED_WITHIN = 10 * 24
"""Hours of virtual time within which everything is final or waits for something named."""
OPERATOR_EVERY = 6
"""Hours between two looks of the operator at the alarms."""


class ScheduleResult(NamedTuple):
    """Result of a run: always the same for the same schedule, in any process."""

    violations: Sequence[str]
    """The violations, without repetitions, oldest first."""
    story: Sequence[str]
    """One line for each event."""
    coverage: Mapping[str, int]
    """Number of times that each state that matters was reached."""


def judged(schedule: Schedule, watch: NewOracle = BooksJudged) -> ScheduleResult:
    """Run a schedule in virtual time. `watch` makes the oracle.

    The first violation ends the run. An error of the program or of the simulation is one too.
    """
    with errors_watched() as caught:
        life = _Run(schedule, watch, caught)
        try:
            run(life.lived())
        except Exception as error:
            return life.result(unexpected(error))
    return life.result()


class _Run:
    def __init__(self, schedule: Schedule, watch: NewOracle, caught: CaughtErrors) -> None:
        self._schedule, self._oracle, self._caught = schedule, watch(schedule), caught
        self._violations: dict[str, None] = {}
        self._over = asyncio.Event()
        self._happened = (0.0, (0, 0))
        """Instant of the last change, and the number of facts and of restores then."""

    async def lived(self) -> None:
        """Live through the schedule."""
        world = self._world = FaultWorld(self._schedule, self._after_step)
        self._books = WorldBooks(world)
        for provider in ("stripe", "hyperswitch"):
            world.fleet.database.polls.begun(provider)  # what came before is not polled for
        for process in world.processes:
            process.start()
        living = asyncio.create_task(self._live())
        over = asyncio.create_task(self._over.wait())
        await asyncio.wait((living, over), return_when=asyncio.FIRST_COMPLETED)
        self._found(self._caught.take())
        world.over = True
        await self._end(living, over)
        if not living.cancelled() and (error := living.exception()) is not None:
            raise error

    def result(self, *failures: str) -> ScheduleResult:
        """Return the result. `failures`: violations outside the loop."""
        violations = [*self._violations, *failures]
        return ScheduleResult(violations, self._world.story, dict(self._world.coverage))

    async def _end(self, *tasks: asyncio.Task[object]) -> None:
        for process in self._world.processes:
            await process.kill()
        await self._world.close()
        for task in tasks:
            task.cancel()
        rest = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)

    def _after_step(self) -> None:
        if self._over.is_set():
            return
        try:
            self._found(self._oracle.after_step(self._books))
        except Exception as error:  # of the oracle: the ledger must not take it for its own
            self._found([unexpected(error)])
        self._found(self._caught.take())

    def _found(self, violations: Iterable[str]) -> None:
        for violation in violations:
            if violation not in self._violations:
                self._world.tell(f"VIOLATION {violation}")
            self._violations[violation] = None
        if self._violations:
            self._over.set()

    # --- chaos and healing ------------------------------------------------------------------------

    async def _live(self) -> None:
        world = self._world
        self._actors = Actors(world)
        self._disasters = Disasters(world, self._actors)
        self._operator = Operator(world)
        stories: list[Coroutine[object, object, None]] = [
            *self._actors.stories(),
            *(self._disasters.live(fault) for fault in self._schedule.faults),
            *(self._operator.act(command) for command in self._schedule.commands),
        ]
        chaos = [asyncio.create_task(self._guarded(story)) for story in stories]
        if chaos:
            await asyncio.gather(*chaos)
        await self._heal()

    async def _guarded(self, story: Coroutine[object, object, None]) -> None:
        try:
            await story
        except RunOver:
            return

    async def _heal(self) -> None:
        """End what still hinders, and wait until all is settled."""
        world = self._world
        world.phase = "healing"
        world.tell("HEALING begins: no more faults")
        for order in self._schedule.orders:
            for seller in order.shares:
                self._disasters.fund(account(seller))
        self._disasters.fund(PLATFORM)
        self._disasters.decide_reversals(0, ("succeeded",))
        self._disasters.resend_what_no_poller_finds()
        self._healing_since = now()
        for hour in range(1, HEALED_WITHIN + 1):
            await asyncio.sleep(HOUR)
            self._move_time()
            self._found(self._caught.take())
            if hour % OPERATOR_EVERY == 0:
                await self._operate()
            if not self._paused() and self._is_settled():
                break
        else:
            self._found([f"not settled: {one}" for one in unsettled(world)])
        self._found(self._oracle.at_end(self._books))
        world.tell("the end: everything is final or waits for something named")

    def _move_time(self) -> None:
        self._world.stripe.world.settle()
        self._world.stripe.world.commit()

    async def _operate(self) -> None:
        await self._operator.heal()
        for pause in self._paused():
            await self._operator.resume(pause)

    def _is_settled(self) -> bool:
        """Return whether all is final; or whether nothing has happened for a day, and all that is
        left waits for something named."""
        world = self._world
        if not polled_since(world, self._healing_since):
            return False
        if next(unsettled(world, ()), None) is None:
            return True
        happened = len(world.facts), world.era
        if happened != self._happened[1]:
            self._happened = epoch_seconds(), happened
        quiet = epoch_seconds() - self._happened[0] >= 24 * HOUR
        return quiet and next(unsettled(world), None) is None

    def _paused(self) -> list[str]:
        rows = self._world.fleet.database.tables["pauses"].values()
        return sorted(row.scope for row in rows if row.paused)
