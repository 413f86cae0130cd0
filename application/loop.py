"""Base class of the loops that run in `serve` and `worker`."""

import asyncio
from abc import ABC, abstractmethod
from contextlib import suppress

import structlog

TROUBLE_PAUSE = 1.0
"""Seconds before the next turn after a failed one."""
TOLERATED_FAILURES = 5.0
"""Seconds of failed turns, one after the other, that a loop may have and still count as well."""

log = structlog.get_logger()


class Loop(ABC):
    """A loop that takes turns until it is stopped, and sleeps in between until it is woken."""

    longest_turn = 120.0
    """Seconds after which a turn without an end counts as stuck."""

    def __init__(self) -> None:
        self._woken, self._stopping = asyncio.Event(), asyncio.Event()
        self._began: float | None = None
        self._failing: tuple[float, str] | None = None
        self._progressed: float | None = None

    @property
    def name(self) -> str:
        """Return the name of this loop in the overview and in the metrics."""
        return type(self).__name__

    def trouble(self) -> str | None:
        """Return the reason why this loop makes no progress; None if it does."""
        now = asyncio.get_running_loop().time()
        if self._began is not None and self.stuck():
            return f"its turn has lasted {now - self._began:.0f} s"
        if self._failing is not None and now - self._failing[0] > TOLERATED_FAILURES:
            since, why = self._failing
            return f"each turn has failed for {now - since:.0f} s ({why})"
        return None

    def idle_seconds(self) -> float | None:
        """Return the seconds since the end of the last turn without an error; None before the
        first."""
        now = asyncio.get_running_loop().time()
        return None if self._progressed is None else now - self._progressed

    def stuck(self) -> bool:
        """Return whether a turn does not end. Failing turns do end: their cause is usually the
        database, and a restart would not cure it."""
        now = asyncio.get_running_loop().time()
        return self._began is not None and now - self._began > self.longest_turn

    def wake(self) -> None:
        """End the sleep, since there may be work."""
        self._woken.set()

    def stop(self) -> None:
        """Let `run` end after the present turn."""
        self._stopping.set()
        self._woken.set()

    async def run(self) -> None:
        """Take turns until `stop`. An error ends a turn, but never the loop."""
        while not self._stopping.is_set():
            self._woken.clear()
            self._began = asyncio.get_running_loop().time()
            try:
                pause = await self.turn()
            except Exception as error:  # usually the database is away
                self._failing = (self._failing or (self._began, ""))[0], _one_line(error)
                self._began = None
                log.warning("a turn of a loop failed", loop=type(self).__name__, error=str(error))
                await wait_for(self._stopping, TROUBLE_PAUSE)
            else:
                self._began = self._failing = None
                self._progressed = asyncio.get_running_loop().time()
                await self.sleep(pause)

    @abstractmethod
    async def turn(self) -> float:
        """Do the work that is due; return the seconds to sleep, 0 for none."""

    async def sleep(self, seconds: float) -> None:
        """Sleep until woken or stopped, at most `seconds`."""
        await wait_for(self._woken, seconds)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


async def wait_for(event: asyncio.Event, seconds: float) -> None:
    """Wait for the event, at most `seconds`."""
    if seconds <= 0:
        return
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
