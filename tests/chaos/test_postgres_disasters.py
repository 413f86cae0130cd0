"""Calls are acknowledged while processes, PostgreSQL and the network between them break: no
acknowledged call is lost, and each order moves its money once.

Longer, with every disaster many times and in a random order: `DISASTERS=30 python -m pytest -n0 -s
tests/chaos/test_postgres_disasters.py`.
"""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from random import Random
from time import monotonic

import pytest

from infrastructure.postgres import migrate
from infrastructure.simulators.stripe import SimulatorControl
from tests.e2e.conftest import Processes
from tests.support.ledger_process import LedgerClient, LedgerProcess, environment, free_port
from tests.support.ledger_view import LedgerView, eventually
from tests.support.postgres_books import books_agree
from tests.support.postgres_server import PostgresServer, servers
from tests.support.steady_load import SteadyLoad
from tests.support.tcp_proxy import TcpProxy

pytestmark = pytest.mark.usefixtures("kindness")

DISASTERS = int(os.environ.get("DISASTERS", "0"))
BETWEEN = 25
"""Acknowledged calls between two disasters."""
BACK_WITHIN, SILENCE_ENDS_WITHIN = 45.0, 90.0
"""Seconds. Each kind of connection is found to be silent only when it is used: a call may wait for
a read (35 s), then for an append (15 s), and the next call for the inbox (15 s)."""
LEDGERS = "select pid from pg_stat_activity where datname = 'ledger' and usename = 'ledger_test'"


class BrokenWorld:
    """A PostgreSQL behind a proxy, a serving ledger and a worker, all of which break."""

    def __init__(
        self, server: PostgresServer, proxy: TcpProxy, processes: Processes, chance: Random
    ) -> None:
        self.server, self.proxy, self._processes, self._chance = server, proxy, processes, chance
        self._port = str(free_port())
        self.serving: LedgerProcess
        self.working: LedgerProcess

    async def start(self) -> None:
        self.serving = await self._processes.start(LEDGER_PORT=self._port)
        self.working = await self._processes.start("worker")

    async def client(self) -> LedgerClient:
        return await self._processes.talk(self.serving)

    async def kill_serve(self) -> None:
        await self.serving.kill()
        self.serving = await self._processes.begin(LEDGER_PORT=self._port)

    async def kill_worker(self) -> None:
        await self.working.kill()
        self.working = await self._processes.begin("worker")

    async def kill_backend(self) -> None:
        """Kill the server process of one connection: PostgreSQL restarts all of them."""
        pids = [pid for (pid,) in await asyncio.to_thread(self.server.ask, LEDGERS)]
        os.kill(self._chance.choice(pids), signal.SIGKILL)

        async def answers() -> bool:
            try:
                return bool(await asyncio.to_thread(self.server.ask, "select 1"))
            except Exception:
                return False

        await eventually(answers, "PostgreSQL has recovered")

    async def kill_postmaster(self) -> None:
        await asyncio.to_thread(self.server.kill)
        await asyncio.to_thread(self.server.start_again)

    async def cut_connections(self) -> None:
        assert self.proxy.cut() > 0

    async def refuse_writes(self) -> None:
        """Refuse them, as a server on a disk that was mounted read-only, until this is noticed."""
        await asyncio.to_thread(self.server.set, "default_transaction_read_only", "on")
        await self._until_unready()
        await asyncio.to_thread(self.server.set, "default_transaction_read_only", "off")

    async def swallow_bytes(self) -> None:
        assert self.proxy.swallow() > 0

    async def black_hole(self) -> None:
        """Answer nothing to old and new connections, until this is noticed."""
        with self.proxy.black_hole():
            await self._until_unready()

    async def _until_unready(self) -> None:
        async with LedgerClient.to(self.serving) as web:
            await eventually(web.is_unready, "the ledger is not ready", patience=BACK_WITHIN)

    @property
    def slow(self) -> list[Callable[[], Awaitable[None]]]:
        """Return the disasters after which the ledger waits for its own limits of time."""
        return [self.swallow_bytes, self.black_hole]

    @property
    def quick(self) -> list[Callable[[], Awaitable[None]]]:
        """Return the disasters that a ledger gets over within seconds."""
        return [
            self.kill_serve,
            self.kill_worker,
            self.kill_backend,
            self.kill_postmaster,
            self.cut_connections,
            self.refuse_writes,
        ]


@pytest.fixture
async def broken(stripe: SimulatorControl) -> AsyncIterator[BrokenWorld]:
    with servers() as (server,):
        migrate.up(server.url())
        async with TcpProxy(server.port) as proxy, AsyncExitStack() as stack:
            url = f"{server.url().partition('@')[0]}@127.0.0.1:{proxy.port}/ledger"
            processes = Processes(environment(url, stripe.url), stack)
            world = BrokenWorld(server, proxy, processes, Random(1))
            await world.start()
            yield world


async def survive(
    broken: BrokenWorld,
    stripe: SimulatorControl,
    disasters: list[Callable[[], Awaitable[None]]],
) -> None:
    """Let these disasters happen under load, and check all that was acknowledged."""
    async with AsyncExitStack() as stack:
        load = SteadyLoad([await broken.client()])
        async with load.running():
            await load.until_acknowledged(BETWEEN)
            for disaster in disasters:
                began = monotonic()
                await disaster()
                within = SILENCE_ENDS_WITHIN if disaster in broken.slow else BACK_WITHIN
                await load.until_acknowledged(BETWEEN, within)
                sys.stdout.write(f"{disaster.__name__}: {monotonic() - began:.1f} s\n")
        view = await stack.enter_async_context(LedgerView.of(broken.server.url()))
        await load.assert_nothing_lost(view, stripe)
        await books_agree(stripe, view.pool)
        sys.stdout.write(f"{len(disasters)} disasters: {load.figures}\n")


@pytest.mark.timeout(120 + 60 * DISASTERS)
async def test_disasters_under_load_lose_no_acknowledged_call(
    broken: BrokenWorld, stripe: SimulatorControl
) -> None:
    disasters = broken.quick
    if DISASTERS:
        disasters = [*Random(2).choices([*broken.quick, *broken.slow], k=DISASTERS)]
    await survive(broken, stripe, disasters)


@pytest.mark.skipif(not DISASTERS, reason="takes two minutes: DISASTERS=1 python -m pytest …")
@pytest.mark.timeout(300)
async def test_silent_network_loses_no_acknowledged_call(
    broken: BrokenWorld, stripe: SimulatorControl
) -> None:
    await survive(broken, stripe, broken.slow)
