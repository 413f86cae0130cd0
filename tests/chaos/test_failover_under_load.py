"""A primary with a synchronous standby is lost while calls are acknowledged: none of them is lost.

More fail-overs, after each of which the former primary becomes the standby:
`FAILOVERS=10 CALLS=500 python -m pytest -n0 -s tests/chaos/test_failover_under_load.py`.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from functools import partial

import pytest

from infrastructure.postgres import migrate
from infrastructure.simulators.stripe import SimulatorControl
from tests.e2e.conftest import Processes
from tests.support.ledger_process import environment
from tests.support.ledger_view import LedgerView, eventually
from tests.support.postgres_books import books_agree
from tests.support.postgres_server import servers
from tests.support.steady_load import SteadyLoad

pytestmark = pytest.mark.usefixtures("kindness")

FAILOVERS = int(os.environ.get("FAILOVERS", "1"))
CALLS = int(os.environ.get("CALLS", "30"))
"""Calls that are acknowledged before each fail-over, and after it."""
BACK_WITHIN = 30.0
"""Seconds."""


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


@pytest.mark.timeout(120 + 120 * FAILOVERS)
async def test_failover_under_load_loses_no_acknowledged_call(
    stripe: SimulatorControl, stack: AsyncExitStack
) -> None:
    with servers(2) as (primary, standby):
        migrate.up(primary.url())
        hosts = f"127.0.0.1:{primary.port},127.0.0.1:{standby.port}"
        url = f"{primary.url().partition('@')[0]}@{hosts}/ledger"
        processes = Processes(environment(url, stripe.url), stack)
        serving = [await processes.start(), await processes.start()]
        await processes.start("worker")
        load = SteadyLoad([await processes.talk(one) for one in serving])
        async with load.running():
            for number in range(FAILOVERS):
                if number:
                    await asyncio.to_thread(standby.rejoin, primary)
                primary.require_standby()
                await eventually(partial(asyncio.to_thread, primary.is_synchronous), "a standby")
                await load.until_acknowledged(CALLS, within=60 + CALLS / 4)
                await asyncio.to_thread(primary.stop)
                await asyncio.to_thread(standby.promote)
                await load.until_acknowledged(CALLS, within=60 + CALLS / 4)
                primary, standby = standby, primary
        async with LedgerView.of(primary.url()) as view:
            await load.assert_nothing_lost(view, stripe)
            await books_agree(stripe, view.pool)
        sys.stdout.write(f"{FAILOVERS} fail-overs: {load.figures}\n")
        assert load.longest_gap() < BACK_WITHIN
