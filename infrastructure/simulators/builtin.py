"""The built-in simulators of Stripe and the PSP, for a service without keys: one process per data
directory.

All programs with the same data directory share the process. It must outlive each of them, as Stripe
does: a program that is killed in the middle of a call finds the simulated state unchanged.
Lifetime: every program has a shared flock on `<base>/lease`, which the kernel releases even on kill
-9. The process tries to get the exclusive lock and ends when it succeeds. Stripe's state is in a
file and survives that; the PSP's state is lost.
"""

import asyncio
import fcntl
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import httpx
import uvicorn

from infrastructure.simulators.hyperswitch import Behaviour, HyperswitchConfig, serve_hyperswitch
from infrastructure.simulators.stripe.config import SimulatorConfig
from infrastructure.simulators.stripe.server import RunningSimulator, serve_simulator

START_WITHIN = 20.0
LEASE_CHECK = 0.2
REFUNDED_AFTER = 1.0
"""Seconds from a refund's acceptance to its success. Until then the refund is pending, as with a
real connector."""


class Urls(NamedTuple):
    """URLs of the two simulators."""

    stripe: str
    psp: str


class SimulatorNotStarted(RuntimeError):
    """The built-in simulators did not come up."""


class BuiltinSimulators:
    """A program's use of the simulators in `base`. `acquire` blocks during their start, usually
    less than a second."""

    def __init__(self, base: Path) -> None:
        self._base = base.resolve()
        self._lease: int | None = None

    def acquire(self) -> Urls:
        """Take the shared lock, and start the simulators if they do not run. Raises
        SimulatorNotStarted."""
        try:
            self._base.mkdir(parents=True, exist_ok=True)
            lease = os.open(self._base / "lease", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise SimulatorNotStarted(
                f"The built-in simulators cannot keep their books in {self._base} "
                f"({error.strerror}); set LEDGER_DATA_DIR to a directory that you may write to."
            ) from error
        fcntl.flock(lease, fcntl.LOCK_SH)
        self._lease = lease
        with (self._base / "start.lock").open("a") as start_lock:
            fcntl.flock(start_lock, fcntl.LOCK_EX)
            return self._running() or self._start()

    def release(self) -> None:
        """Release the shared lock."""
        if self._lease is not None:
            os.close(self._lease)
            self._lease = None

    def _running(self) -> Urls | None:
        try:
            urls = Urls(*(self._base / "urls").read_text().split())
            for url in urls:
                httpx.get(f"{url}/_sim/health", timeout=2, trust_env=False).raise_for_status()
        except (OSError, TypeError, httpx.HTTPError, httpx.InvalidURL):
            return None
        return urls

    def _start(self) -> Urls:
        (self._base / "urls").unlink(missing_ok=True)
        with (self._base / "simulator.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", f"{__package__}.builtin", str(self._base)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_WITHIN
        while time.monotonic() < deadline and process.poll() is None:
            urls = self._running()
            if urls is not None:
                return urls
            time.sleep(0.02)
        raise SimulatorNotStarted(
            f"The built-in simulators did not start; see {self._base / 'simulator.log'}."
        )


async def _serve(base: Path) -> None:
    config = SimulatorConfig(state_file=base / "books.sqlite3")
    with (base / "lease").open("r+") as lease:
        async with (
            await serve_simulator(config) as stripe,
            await serve_hyperswitch(_psp_config(stripe)) as psp,
        ):
            partial = base / "urls.part"
            partial.write_text(f"{stripe.url}\n{psp.url}\n")
            partial.rename(base / "urls")
            while not _has_no_users(lease.fileno()):  # noqa: ASYNC110 - a flock cannot be awaited
                await asyncio.sleep(LEASE_CHECK)


def _psp_config(stripe: RunningSimulator) -> HyperswitchConfig:
    return HyperswitchConfig(
        refunds=Behaviour("succeeded", REFUNDED_AFTER), connector=stripe.connector()
    )


def _has_no_users(lease: int) -> bool:
    try:
        fcntl.flock(lease, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


if __name__ == "__main__":
    with asyncio.Runner(
        loop_factory=uvicorn.Config("unused", log_config=None).get_loop_factory()
    ) as runner:
        runner.run(_serve(Path(sys.argv[1])))
