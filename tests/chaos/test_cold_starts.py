"""Many processes that start at the same instant, on an empty database, on a migrated one, and on a
server with too few connections for all of them.

Sixty of them: `COLD_STARTS=60 python -m pytest -n0 -s --timeout=900 tests/chaos/test_cold_starts.py`.
"""

import asyncio
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from time import monotonic

import pytest

from infrastructure.postgres import migrate
from infrastructure.postgres.migration_files import read_migrations
from infrastructure.simulators.stripe import SimulatorControl
from tests.e2e.conftest import Processes
from tests.support import ledger_process
from tests.support.ledger_process import READY, LedgerProcess, environment
from tests.support.postgres_server import PostgresServer, servers

pytestmark = [pytest.mark.usefixtures("kindness"), pytest.mark.timeout(600)]

STARTS = int(os.environ.get("COLD_STARTS", "6"))
IN_CI = "COLD_STARTS" not in os.environ
ENOUGH, TOO_FEW = str(20 + 9 * STARTS), str(3 + 2 * STARTS)
"""Connections for all processes, and for about half of them."""


@pytest.fixture
async def stack(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AsyncExitStack]:
    monkeypatch.setattr(ledger_process, "STARTS_WITHIN", 300.0)
    async with AsyncExitStack() as stack:
        yield stack


@pytest.mark.parametrize("is_migrated", [False] if IN_CI else [False, True])
async def test_processes_that_start_at_once_are_all_ready(
    stripe: SimulatorControl, stack: AsyncExitStack, is_migrated: bool
) -> None:
    with servers() as (server,):
        server.stop()
        server.start(max_connections=ENOUGH)
        if is_migrated:
            migrate.up(server.url())
        began = monotonic()
        started = await start_all(server, stripe, stack)
        await asyncio.gather(*(process.said(word) for process, word in started))
        took = monotonic() - began
        done = server.ask("select version from ledger_migrations order by version", "ledger")
        assert done == [(migration.version,) for migration in read_migrations()]
        assert server.ask("select count(*) from ledger_binding", "ledger") == [(1,)]
        assert server.ask("select deadlocks from pg_stat_database where datname = 'ledger'") == [
            (0,)
        ]
        (used,) = server.ask("select count(*) from pg_stat_activity where datname = 'ledger'")
        where = "a migrated" if is_migrated else "an empty"
        sys.stdout.write(
            f"{STARTS} starts on {where} database: all ready after {took:.1f} s, "
            f"{used[0]} connections\n"
        )


@pytest.mark.skipif(
    IN_CI, reason="waits half a minute for connections: COLD_STARTS=6 python -m pytest …"
)
async def test_start_without_a_free_connection_ends_with_one_sentence(
    stripe: SimulatorControl, stack: AsyncExitStack
) -> None:
    with servers() as (server,):
        server.stop()
        server.start(max_connections=TOO_FEW)
        migrate.up(server.url())
        started = await start_all(server, stripe, stack, LEDGER_START_TIMEOUT="2s")
        ends = await asyncio.gather(*(ready_or_reason(*one) for one in started))
        assert Counter(end == "" for end in ends)[True] >= 1, "some have their connections"
        reasons = {end for end in ends if end}
        assert reasons, "not all can have them"
        for reason in reasons:
            assert reason.startswith("The database cannot be "), reason
        sys.stdout.write(
            f"{STARTS} starts with {TOO_FEW} connections: {ends.count('')} ready, the others said "
            f"{reasons}\n"
        )


async def start_all(
    server: PostgresServer, stripe: SimulatorControl, stack: AsyncExitStack, **changes: str
) -> list[tuple[LedgerProcess, str]]:
    """Start the processes, of which every third serves; return each with its word when it is
    ready."""
    processes = Processes(environment(server.url(), stripe.url), stack)
    commands = ["serve" if number % 3 == 0 else "worker" for number in range(STARTS)]
    begun = await asyncio.gather(*(processes.begin(command, **changes) for command in commands))
    return [(process, READY[command]) for process, command in zip(begun, commands, strict=True)]


async def ready_or_reason(process: LedgerProcess, word: str) -> str:
    """Return an empty text for a process that is ready, else its last line, and check that there is
    no traceback."""
    try:
        await process.said(word)
    except AssertionError:
        assert "Traceback" not in process.log, process.log
        assert await process.ended() in (2, 75)
        return process.lines[-1]
    return ""
