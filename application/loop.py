"""Base class of the loops that run in `serve` and `worker`."""

import asyncio
from abc import ABC, abstractmethod
from contextlib import suppress

import structlog

TROUBLE_PAUSE = 1.0
"""Seconds before the next turn after a failed one."""

log = structlog.get_logger()


class Loop(ABC):
    """A loop that takes turns until it is stopped, and sleeps in between until it is woken."""

    def __init__(self) -> None:
        self._woken, self._stopping = asyncio.Event(), asyncio.Event()

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
            try:
                pause = await self.turn()
            except Exception as error:  # usually the database is away
                log.warning("a turn of a loop failed", loop=type(self).__name__, error=str(error))
                await wait_for(self._stopping, TROUBLE_PAUSE)
            else:
                await self.sleep(pause)

    @abstractmethod
    async def turn(self) -> float:
        """Do the work that is due; return the seconds to sleep, 0 for none."""

    async def sleep(self, seconds: float) -> None:
        """Sleep until woken or stopped, at most `seconds`."""
        await wait_for(self._woken, seconds)


async def wait_for(event: asyncio.Event, seconds: float) -> None:
    """Wait for the event, at most `seconds`."""
    if seconds <= 0:
        return
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
