"""The whole ledger behind PgBouncer in session mode: listening, leases, appends."""

from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from infrastructure.simulators.stripe import SimulatorControl
from tests.e2e.conftest import Processes
from tests.infrastructure.postgres.test_server_checks import pgbouncer
from tests.support.ledger_process import environment
from tests.support.ledger_view import LedgerView
from tests.support.postgres_server import servers

pytestmark = [
    pytest.mark.usefixtures("kindness"),
    pytest.mark.skipif(
        not Path("/usr/sbin/pgbouncer").exists(), reason="PgBouncer is not installed"
    ),
]


async def test_ledger_works_through_a_pooler_that_keeps_sessions(stripe: SimulatorControl) -> None:
    async with AsyncExitStack() as stack:
        (server,) = stack.enter_context(servers())
        url = stack.enter_context(pgbouncer(server, "session"))
        processes = Processes(environment(url, stripe.url), stack)
        web = await processes.talk(await processes.start())
        view = await stack.enter_async_context(LedgerView.of(server.url()))
        await web.order("o1", 1_000, anna=900)
        await web.pay("o1", 1_000)
        await view.reached("o1", "completed")
        await web.refund("r1", "o1", 1_000)
        await view.reached("o1", "reversed")
        assert (await web.http.get("/readyz")).status_code == 200
