"""Messages to systemd: when a process is ready, makes progress, and drains."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from application.loop import Loop
from infrastructure.systemd import Systemd

TIMEOUT = 0.06
"""Seconds of the watchdog: fed every 20 ms."""


@contextmanager
def manager() -> Iterator[tuple[socket.socket, str]]:
    """Yield the socket of a service manager, and its address."""
    with TemporaryDirectory() as directory, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as at:
        address = str(Path(directory, "notify"))
        at.bind(address)
        at.setblocking(False)
        yield at, address


async def message(at: socket.socket) -> str:
    """Wait for the next message."""
    async with asyncio.timeout(10):
        return (await asyncio.get_running_loop().sock_recv(at, 4096)).decode()


async def silence(at: socket.socket) -> None:
    """Wait until no message comes for several intervals of the watchdog."""
    async with asyncio.timeout(10):
        while True:
            try:
                async with asyncio.timeout(4 * TIMEOUT):
                    await asyncio.get_running_loop().sock_recv(at, 4096)
            except TimeoutError:
                return


def waiting(at: socket.socket) -> list[str]:
    """Take the messages that have arrived."""
    taken: list[str] = []
    try:
        while True:
            taken.append(at.recv(4096).decode())
    except BlockingIOError:
        return taken


class Turns(Loop):
    """A loop whose turns fail, end, or last until they are released."""

    longest_turn = 0.05

    def __init__(self, kind: str) -> None:
        super().__init__()
        self._kind, self.began, self.release = kind, asyncio.Event(), asyncio.Event()

    async def turn(self) -> float:
        self.began.set()
        if self._kind == "fails":
            raise OSError("the database is away")
        if self._kind == "lasts":
            await self.release.wait()
        return 60.0


async def ended(loop: Turns, task: asyncio.Task[None]) -> None:
    loop.stop()
    loop.release.set()
    await task


@pytest.mark.parametrize("kind", ["sleeps", "fails"])
async def test_watchdog_is_fed_while_loops_take_turns(kind: str) -> None:
    with manager() as (at, address):
        loop = Turns(kind)
        task = asyncio.create_task(loop.run())
        systemd = Systemd({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": str(int(TIMEOUT * 1e6))})
        await loop.began.wait()
        async with systemd.watching([(loop, task)]):
            assert [await message(at) for _ in range(6)] == ["WATCHDOG=1"] * 6
        await ended(loop, task)


async def test_watchdog_is_not_fed_while_a_turn_does_not_end() -> None:
    with manager() as (at, address):
        loop = Turns("lasts")
        task = asyncio.create_task(loop.run(), name="transfers")
        systemd = Systemd({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": str(int(TIMEOUT * 1e6))})
        await loop.began.wait()
        async with systemd.watching([(loop, task)]):
            await silence(at)
            loop.release.set()
            assert await message(at) == "WATCHDOG=1"
        await ended(loop, task)


async def test_watchdog_is_not_fed_after_a_loop_has_ended() -> None:
    with manager() as (at, address):
        loop = Turns("sleeps")
        task = asyncio.create_task(loop.run())
        await ended(loop, task)
        systemd = Systemd({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": str(int(TIMEOUT * 1e6))})
        async with systemd.watching([(loop, task)]):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(message(at), 2 * TIMEOUT)


async def test_watchdog_of_another_process_is_not_fed() -> None:
    with manager() as (at, address):
        environment = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "60000", "WATCHDOG_PID": "1"}
        async with Systemd(environment).watching([]):
            await asyncio.sleep(0)
        assert waiting(at) == []


def test_process_without_systemd_sends_nothing() -> None:
    Systemd({}).ready("serving")
    Systemd({"NOTIFY_SOCKET": "/nowhere/notify"}).stopping()  # a warning, no error
