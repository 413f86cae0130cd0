"""Messages to systemd about the start, the progress and the end of a process: sd_notify(3)."""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import structlog

from application.loop import Loop

FEEDS_PER_TIMEOUT = 3
"""Number of messages to the watchdog in its timeout: two may be late."""

log = structlog.get_logger()


class Systemd:
    """The service manager of this process, if there is one. Without NOTIFY_SOCKET nothing is
    sent."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        timeout = environment.get("WATCHDOG_USEC", "")
        concerned = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self._timeout = int(timeout) / 1_000_000 if timeout.isdecimal() and concerned else None

    def ready(self, status: str) -> None:
        """Tell that the start is complete."""
        self._tell("READY=1", f"STATUS={status}")

    def stopping(self) -> None:
        """Tell that the process drains."""
        self._tell("STOPPING=1", "STATUS=draining")

    @asynccontextmanager
    async def watching(
        self, running: Sequence[tuple[Loop, asyncio.Task[None]]]
    ) -> AsyncIterator[None]:
        """Feed the watchdog while the event loop answers and each of these loops takes turns."""
        if not self._address or self._timeout is None:
            yield
            return
        feeding = asyncio.create_task(self._feed(running, self._timeout / FEEDS_PER_TIMEOUT))
        try:
            yield
        finally:
            feeding.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await feeding

    async def _feed(
        self, running: Sequence[tuple[Loop, asyncio.Task[None]]], interval: float
    ) -> None:
        while True:
            stuck = [task.get_name() for loop, task in running if task.done() or loop.stuck()]
            if stuck:
                log.error("no progress, the watchdog is not fed", loops=stuck)
            else:
                self._tell("WATCHDOG=1")
            await asyncio.sleep(interval)

    def _tell(self, *lines: str) -> None:
        """Send one datagram, and never wait. A lost message costs at most a restart."""
        if not self._address:
            return
        abstract = self._address.startswith("@")
        address = "\0" + self._address[1:] if abstract else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to:
                to.setblocking(False)
                to.sendto("\n".join(lines).encode(), address)
        except OSError as error:
            log.warning("systemd cannot be told", message=lines[0], error=str(error))
