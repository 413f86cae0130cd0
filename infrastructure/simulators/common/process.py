"""The simulator as a process of its own, for tests that kill it or must outlive somebody else's death."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

ANNOUNCEMENT = "listening on "
START_WITHIN = 20.0


class SimulatorProcess:
    """A running `python -m infrastructure.simulators.stripe`."""

    def __init__(self, process: asyncio.subprocess.Process, url: str) -> None:
        self.process = process
        self.url = url

    async def kill(self) -> None:
        """kill -9, and wait until it is dead. Killing twice is harmless."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()


async def start_simulator_process(port: int = 0, state_file: Path | None = None) -> SimulatorProcess:
    """Returns when it listens. Raises RuntimeError when it ends instead, TimeoutError when it says nothing."""
    state = [] if state_file is None else ["--state", str(state_file)]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        f"{__package__.rpartition('.')[0]}.stripe",
        "--port",
        str(port),
        *state,
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[3],
    )
    assert process.stdout is not None
    line = (await asyncio.wait_for(process.stdout.readline(), START_WITHIN)).decode().strip()
    if not line.startswith(ANNOUNCEMENT):
        await process.wait()
        raise RuntimeError(f"the simulator ended with {process.returncode} before it listened: see its standard error")
    return SimulatorProcess(process, line.removeprefix(ANNOUNCEMENT))


@asynccontextmanager
async def simulator_process(port: int = 0, state_file: Path | None = None) -> AsyncIterator[SimulatorProcess]:
    """A simulator process for the length of an `async with` block."""
    running = await start_simulator_process(port, state_file)
    try:
        yield running
    finally:
        await running.kill()
