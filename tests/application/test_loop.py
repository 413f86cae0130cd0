"""The progress of a loop, which readiness asks for, and the end of one, in virtual time."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import NoReturn
from uuid import UUID, uuid4

import pytest

from application.loop import TOLERATED_FAILURES, Loop
from application.overdue_work import WORK_OVERDUE, DueWork, OverdueWork
from application.ports import ClaimedWork
from application.process_managers.leases import Leases
from infrastructure.simulation.in_memory.alarms import MemoryAlarms
from infrastructure.simulation.in_memory.database import MemoryDatabase
from infrastructure.simulation.virtual_time import now, run


class ScriptedLoop(Loop):
    """A loop whose turns a test decides."""

    def __init__(self, act: Callable[[], float]) -> None:
        super().__init__()
        self._act = act

    async def turn(self) -> float:
        return self._act()


class StuckLoop(Loop):
    """A loop whose turn never ends."""

    async def turn(self) -> NoReturn:
        await asyncio.sleep(1e9)
        raise AssertionError("a test lasts no thirty years")


@asynccontextmanager
async def at_work(loop: Loop) -> AsyncIterator[None]:
    task = asyncio.create_task(loop.run())
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def test_idle_loop_makes_progress() -> None:
    async def scenario() -> None:
        loop = ScriptedLoop(lambda: 86_400.0)
        async with at_work(loop):
            await asyncio.sleep(80_000)
            assert loop.trouble() is None

    run(scenario())


def test_loop_whose_turns_fail_is_in_trouble_until_one_succeeds() -> None:
    failing = True

    def act() -> float:
        if failing:
            raise RuntimeError("read only")
        return 60.0

    async def scenario() -> None:
        nonlocal failing
        loop = ScriptedLoop(act)
        async with at_work(loop):
            await asyncio.sleep(TOLERATED_FAILURES - 1)
            assert loop.trouble() is None
            await asyncio.sleep(3)
            assert "read only" in str(loop.trouble())
            failing = False
            await asyncio.sleep(1.5)
            assert loop.trouble() is None

    run(scenario())


def test_turn_without_end_is_trouble() -> None:
    async def scenario() -> None:
        loop = StuckLoop()
        async with at_work(loop):
            await asyncio.sleep(Loop.longest_turn - 1)
            assert loop.trouble() is None
            await asyncio.sleep(2)
            assert loop.trouble() == "its turn has lasted 121 s"

    run(scenario())


class VirtualClock:
    """The port `Clock` in virtual time."""

    def now(self) -> datetime:
        return now()

    def observe(self, asked: datetime, database_now: datetime) -> None:
        """Ignore the database's clock: it is the same."""


def test_work_that_no_process_claims_raises_an_alarm_until_claimed() -> None:
    due: datetime | None = None

    async def next_due() -> datetime | None:
        return due

    async def scenario() -> None:
        nonlocal due
        alarms = MemoryAlarms(MemoryDatabase(now))
        work = DueWork({"reversing": next_due, "webhooks": nothing_due}, VirtualClock())
        async with at_work(OverdueWork(work, alarms, timedelta(minutes=10))):
            await asyncio.sleep(100)
            due = now()
            await asyncio.sleep(590)
            assert await alarms.raised() == []
            await asyncio.sleep(60)
            (raised,) = await alarms.raised()
            assert (raised.kind, raised.subject) == (WORK_OVERDUE, "reversing")
            assert "has waited" in raised.detail
            due = now() + timedelta(hours=1)
            await asyncio.sleep(60)
            assert await alarms.raised() == []

    run(scenario())


async def nothing_due() -> datetime | None:
    return None


class Broken(BaseException):
    """The end of a task for a reason that no loop expects."""


class BrokenWork:
    """A work queue whose renewal ends the task that asked for it."""

    async def claim(self, kind: str, holder: str, limit: int, lease: timedelta) -> ClaimedWork:
        return ClaimedWork([uuid4()], datetime.now(UTC))

    async def hold(self, holder: str, ids: Collection[UUID], lease: timedelta) -> None:
        """Hold nothing."""

    async def renew(self, holder: str, ids: Collection[UUID], lease: timedelta) -> Collection[UUID]:
        raise Broken

    async def release(self, holder: str, ids: Collection[UUID]) -> None:
        """Release nothing."""

    async def next_due(self, kind: str) -> datetime | None:
        return None


def test_end_of_lease_renewal_ends_the_worker() -> None:
    """A worker without renewals would let others begin the same work again and again."""

    async def scenario() -> None:
        leases = Leases(BrokenWork(), "anna")
        async with leases.kept():
            await leases.claim("reversing", 1)
            await asyncio.sleep(86_400)

    with pytest.raises(BaseExceptionGroup) as ended:
        run(scenario())
    assert ended.group_contains(Broken)
