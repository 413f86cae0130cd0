"""A fail-over, a read-only period, and blocked appends: the ledger is back soon, and `/readyz` is
true all the time. On servers of the tests' own, whose settings a superuser changes."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from time import monotonic

import httpx
import pytest

from infrastructure.postgres import migrate
from infrastructure.simulators.stripe import SimulatorControl
from tests.e2e.conftest import Processes
from tests.scripts.test_command_line import run
from tests.support.ledger_process import LedgerClient, environment, free_port
from tests.support.ledger_view import LedgerView
from tests.support.postgres_server import PostgresServer, servers

pytestmark = pytest.mark.usefixtures("kindness")

BACK_WITHIN = 30.0
NOTICED_WITHIN = 6.0
"""Seconds: a success counts for two, and a probe has two."""


@pytest.fixture
async def ledgers(stripe: SimulatorControl) -> AsyncIterator[Callable[[str], Processes]]:
    async with AsyncExitStack() as stack:
        yield lambda url: Processes(environment(url, stripe.url), stack)


async def readiness(web: LedgerClient) -> tuple[int, str]:
    try:
        answer = await web.http.get("/readyz")
    except httpx.TransportError as error:
        return 0, str(error)
    return answer.status_code, answer.text


async def until_ready(web: LedgerClient, wanted: bool, within: float) -> tuple[float, str]:
    """Wait for readiness or its end; return the seconds and the last answer."""
    began = monotonic()
    while ((told := await readiness(web))[0] == 200) is not wanted:
        assert monotonic() - began < within, f"/readyz answers {told} after {within} s"
        await asyncio.sleep(0.1)
    return monotonic() - began, told[1]


async def order_answer(web: LedgerClient, order_id: str) -> int:
    share = {"seller_id": "anna", "destination": "acct_1anna", "amount": 900}
    body = {"order_id": order_id, "currency": "EUR", "amount": 1000, "shares": [share]}
    return (await web.http.post("/v1/orders", json=body)).status_code


async def test_failover_is_over_within_30_seconds(ledgers: Callable[[str], Processes]) -> None:
    with servers(2) as (primary, standby):
        migrate.up(primary.url())
        both = (
            f"{primary.url().partition('@')[0]}@127.0.0.1:{primary.port},127.0.0.1:{standby.port}"
            "/ledger"
        )
        processes = ledgers(both)
        web = await processes.talk(await processes.start())
        await web.order("o1", 1_000, anna=900)
        await web.pay("o1", 1_000)
        async with LedgerView.of(primary.url()) as view:
            await view.reached("o1", "completed")
        assert (await readiness(web))[0] == 200

        primary.stop()
        _, why = await until_ready(web, False, NOTICED_WITHIN)
        assert "database" in why
        assert (await readiness(web))[0] != 200  # it stays so, as long as there is no primary
        standby.promote()
        await until_ready(web, True, BACK_WITHIN)
        assert await order_answer(web, "o2") == 201  # ready means that a write succeeds at once
        await web.refund("r1", "o1", 1_000)
        async with LedgerView.of(standby.url()) as view:
            await view.reached("o1", "reversed")


async def test_read_only_period_ends_by_itself(ledgers: Callable[[str], Processes]) -> None:
    with servers() as (server,):
        migrate.up(server.url())
        processes = ledgers(server.url())
        web = await processes.talk(await processes.start())
        metrics_port = free_port()
        await processes.start("worker", WORKER_METRICS_PORT=str(metrics_port))
        assert await order_answer(web, "o1") == 201

        server.set("default_transaction_read_only", "on")
        _, why = await until_ready(web, False, NOTICED_WITHIN)
        assert "read-only" in why or "read only" in why
        assert await order_answer(web, "o2") == 503
        told = run("doctor", DATABASE_URL=server.url())
        assert (told.returncode, told.stdout.splitlines()[0]) == (
            1,
            "WRONG database: read only: use the address of the primary",
        )
        server.set("default_transaction_read_only", "off")
        await until_ready(web, True, 5.0)
        assert await order_answer(web, "o2") == 201
        page = f"http://127.0.0.1:{metrics_port}"
        async with httpx.AsyncClient(base_url=page, trust_env=False) as client:
            await until_ready(LedgerClient(client), True, 5.0)
            assert (await client.get("/metrics")).status_code == 200
            assert (await client.get("/v1/orders/o1")).status_code == 404


async def test_outage_of_half_a_minute_is_over_within_5_seconds(
    ledgers: Callable[[str], Processes],
) -> None:
    """The pauses between attempts must not grow with the outage."""
    with servers() as (server,):
        migrate.up(server.url())
        processes = ledgers(server.url())
        web = await processes.talk(await processes.start())
        server.stop()
        await until_ready(web, False, NOTICED_WITHIN)
        await asyncio.sleep(25)
        server.start()
        await until_ready(web, True, 5.0)
        assert await order_answer(web, "o1") == 201


async def test_blocked_appends_end_readiness(
    ledgers: Callable[[str], Processes],
) -> None:
    with servers() as (server,):
        migrate.up(server.url())
        processes = ledgers(server.url())
        web = await processes.talk(await processes.start())
        await blocked(server, web)
        await until_ready(web, True, BACK_WITHIN)


async def blocked(server: PostgresServer, web: LedgerClient) -> None:
    """Hold the lock of the appends until it is noticed, as any role could that may connect."""
    async with LedgerView.of(server.url()) as view:
        await view.select("select pg_advisory_lock(x'6c6564676572'::bigint)::text")
        _, why = await until_ready(web, False, NOTICED_WITHIN)
        assert "lock of the appends" in why
        told = run("doctor", DATABASE_URL=server.url())
        assert told.stdout.startswith("WRONG database: appends are blocked by session ")


class Address:
    """A TCP address in front of a server, as a service name or a virtual IP is. Connections that
    are open stay with the server that they were opened to."""

    def __init__(self, server: PostgresServer) -> None:
        self.target = server
        self._pipes: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> "Address":
        self._listener = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = self._listener.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._listener.close()
        for pipe in self._pipes:
            pipe.cancel()
        await asyncio.gather(*self._pipes, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        theirs = await asyncio.open_connection("127.0.0.1", self.target.port)
        for source, sink in ((reader, theirs[1]), (theirs[0], writer)):
            pipe = asyncio.create_task(_forward(source, sink))
            self._pipes.add(pipe)
            pipe.add_done_callback(self._pipes.discard)


async def _forward(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(1 << 16):
            sink.write(data)
            await sink.drain()
    except ConnectionError:
        pass
    finally:
        sink.close()


async def test_demoted_server_that_stays_up_is_left(ledgers: Callable[[str], Processes]) -> None:
    """The former primary answers every read: nothing breaks a session, only its writes fail."""
    with servers(2) as (former, new):
        migrate.up(former.url())
        async with Address(former) as address:
            url = f"postgresql://ledger_test@127.0.0.1:{address.port}/ledger"
            processes = ledgers(url)
            web = await processes.talk(await processes.start())
            await web.order("o1", 1_000, anna=900)
            await web.pay("o1", 1_000)
            async with LedgerView.of(former.url()) as view:
                await view.reached("o1", "completed")
            former.set("default_transaction_read_only", "on")
            new.promote()
            address.target = new
            await until_ready(web, True, BACK_WITHIN)
            assert await order_answer(web, "o2") == 201
            await web.refund("r1", "o1", 1_000)
            async with LedgerView.of(new.url()) as view:
                await view.reached("o1", "reversed")
            assert (await web.get("/v1/orders/o2"))["order_id"] == "o2"  # reads are at the new one
