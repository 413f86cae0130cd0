"""The simulated Stripe as a separate process, for tests that kill processes."""

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
        """Send SIGKILL and wait for the end of the process. Killing twice is harmless."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()


@asynccontextmanager
async def simulator_process(
    port: int = 0, state_file: Path | None = None, manners: str = "live"
) -> AsyncIterator[SimulatorProcess]:
    """Run a simulator process for the length of an `async with` block.

    Raises RuntimeError when the process ends before it listens, TimeoutError when it does not
    listen.
    """
    state = [] if state_file is None else ["--state", str(state_file)]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        f"{__package__.rpartition('.')[0]}.stripe",
        "--port",
        str(port),
        "--manners",
        manners,
        *state,
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[3],
    )
    assert process.stdout is not None
    line = (await asyncio.wait_for(process.stdout.readline(), START_WITHIN)).decode().strip()
    if not line.startswith(ANNOUNCEMENT):
        await process.wait()
        raise RuntimeError(
            f"the simulator ended with {process.returncode} before it listened; see its standard "
            "error"
        )
    running = SimulatorProcess(process, line.removeprefix(ANNOUNCEMENT))
    try:
        yield running
    finally:
        await running.kill()
