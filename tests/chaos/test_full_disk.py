"""The disk of PostgreSQL is full while calls are acknowledged. Needs the right to mount a small file
system, which root has."""

import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import psycopg
import pytest

from infrastructure.postgres import migrate
from infrastructure.simulators.stripe import SimulatorControl
from tests.e2e.conftest import Processes
from tests.support.ledger_process import environment
from tests.support.ledger_view import LedgerView, eventually
from tests.support.postgres_books import books_agree
from tests.support.postgres_server import PostgresServer, servers
from tests.support.steady_load import SteadyLoad

pytestmark = pytest.mark.usefixtures("kindness")

SIZE = "160m"


@pytest.fixture
def disk() -> Iterator[Path]:
    """A file system of its own, as small as a cluster allows."""
    place = Path(tempfile.mkdtemp(prefix="ledger-disk-"))
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=755", "none", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        place.rmdir()
        pytest.skip("only root may mount a small file system")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)
    place.rmdir()


def fill(disk: Path) -> Path:
    """Write zeros until there is no room; return the file that takes it."""
    filler = disk / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1 << 16))
    return filler


async def test_full_disk_under_load_loses_no_acknowledged_call(
    stripe: SimulatorControl, disk: Path
) -> None:
    with servers(disk=disk) as (server,):
        migrate.up(server.url())
        async with AsyncExitStack() as stack:
            processes = Processes(environment(server.url(), stripe.url), stack)
            web = await processes.talk(await processes.start())
            load = SteadyLoad([web])
            async with load.running():
                await load.until_acknowledged(30)
                filler = await asyncio.to_thread(fill, disk)
                try:
                    await eventually(web.is_unready, "the ledger is not ready")
                finally:
                    filler.unlink()
                await asyncio.to_thread(start_if_it_ended, server)
                await load.until_acknowledged(30)
            async with LedgerView.of(server.url()) as view:
                await load.assert_nothing_lost(view, stripe)
                await books_agree(stripe, view.pool)
            sys.stdout.write(f"full disk: {load.figures}\n")


def start_if_it_ended(server: PostgresServer) -> None:
    """Start PostgreSQL if it could not write its log, and gave up."""
    try:
        server.ask("select 1")
    except psycopg.OperationalError:
        server.start_again()
