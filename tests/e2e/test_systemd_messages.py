"""The two long-lived processes under systemd: Type=notify with a watchdog."""

import asyncio
import signal
import socket
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.e2e.conftest import Processes


@pytest.mark.parametrize("command", ["serve", "worker"])
async def test_process_tells_start_progress_and_end(processes: Processes, command: str) -> None:
    with TemporaryDirectory() as directory, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as at:
        at.bind(str(Path(directory, "notify")))
        at.setblocking(False)

        async def first(word: str) -> str:
            async with asyncio.timeout(30):
                while True:
                    said = await asyncio.get_running_loop().sock_recv(at, 4096)
                    if said.decode().startswith(word):
                        return said.decode()

        process = await processes.start(
            command, NOTIFY_SOCKET=str(Path(directory, "notify")), WATCHDOG_USEC="300000"
        )
        assert "STATUS=" in await first("READY=1")
        await first("WATCHDOG=1")
        process.send(signal.SIGTERM)
        await first("STOPPING=1")
        assert await process.ended() == 0
