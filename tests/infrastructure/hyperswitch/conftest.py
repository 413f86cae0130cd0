"""A simulated Hyperswitch for each test, the client that talks to it over HTTP, and somebody who listens to its webhooks."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, NamedTuple

import httpx
import pytest

from infrastructure.hyperswitch.gateway import HyperswitchGateway
from infrastructure.hyperswitch.simulator import HyperswitchConfig, HyperswitchControl, running_hyperswitch
from tests.infrastructure.fault_server import FaultServer

API_KEY = "snd_SecretOfThisTestSuite"
NINE_O_CLOCK = 1_800_000_000.0


@pytest.fixture
def config() -> HyperswitchConfig:
    """A test that wants another one parametrizes `config`."""
    return HyperswitchConfig(virtual_start=NINE_O_CLOCK)


@pytest.fixture
async def running(config) -> AsyncIterator[tuple[Any, HyperswitchControl]]:
    async with running_hyperswitch(config) as both:
        yield both


@pytest.fixture
def simulator(running):
    return running[0]


@pytest.fixture
async def control(running) -> AsyncIterator[HyperswitchControl]:
    """After each test no more may be refunded than was received."""
    yield running[1]
    assert (await running[1].ledger())["violations"] == []


@pytest.fixture
async def gateway_at() -> AsyncIterator[Callable[..., Awaitable[HyperswitchGateway]]]:
    """Builds gateways that are closed at the end; seconds of `timeout`."""
    async with AsyncExitStack() as stack:

        async def build(url: str, timeout: float = 20, api_key: str = API_KEY) -> HyperswitchGateway:
            return await stack.enter_async_context(HyperswitchGateway(api_key, url, timeout))

        yield build


@pytest.fixture
async def gateway(simulator, control, gateway_at) -> HyperswitchGateway:
    return await gateway_at(simulator.url)


@pytest.fixture
async def api(simulator, control) -> AsyncIterator[httpx.AsyncClient]:
    """Bare HTTP with a valid key."""
    async with httpx.AsyncClient(base_url=simulator.url, headers={"api-key": API_KEY}, timeout=10, trust_env=False) as client:
        yield client


@pytest.fixture
async def psp() -> AsyncIterator[FaultServer]:
    """A server that is not Hyperswitch."""
    server = FaultServer()
    await server.start()
    yield server
    await server.stop()


class Heard(NamedTuple):
    body: bytes
    signature: str | None

    @property
    def event(self) -> dict[str, Any]:
        return json.loads(self.body)


class Listener:
    """A webhook endpoint that answers with the next of `answers`, then 200. None: no answer at all."""

    def __init__(self) -> None:
        self.heard: list[Heard] = []
        self.answers: list[int | None] = []
        self._news = asyncio.Condition()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/webhooks/hyperswitch"

    async def stop(self) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def has(self, count: int) -> list[dict[str, Any]]:
        """The events, as soon as there are so many."""
        async with asyncio.timeout(10), self._news:
            await self._news.wait_for(lambda: len(self.heard) >= count)
        return [heard.event for heard in self.heard]

    @property
    def types(self) -> list[str]:
        return [heard.event["event_type"] for heard in self.heard]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in head[1:] if line)
        headers = {name.lower(): value for name, value in headers.items()}
        body = await reader.readexactly(int(headers["content-length"]))
        async with self._news:
            self.heard.append(Heard(body, headers.get("x-webhook-signature-512")))
            self._news.notify_all()
        status = self.answers.pop(0) if self.answers else 200
        if status is None:
            await reader.read()  # until the sender gives up
        else:
            writer.write(f"HTTP/1.1 {status} So\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
            await writer.drain()
        writer.close()


@pytest.fixture
async def listener() -> AsyncIterator[Listener]:
    listener = Listener()
    await listener.start()
    yield listener
    await listener.stop()


def a_payment(payment_id: str = "o1", amount: int = 5000, **more: Any) -> dict[str, Any]:
    return {"payment_id": payment_id, "amount": amount, "currency": "USD", "metadata": {"order_id": "o1"}, **more}


def a_refund(refund_id: str = "r1", amount: int = 1000, payment_id: str = "o1", **more: Any) -> dict[str, Any]:
    return {"refund_id": refund_id, "payment_id": payment_id, "amount": amount, "metadata": {"order_id": "o1"}, **more}


@pytest.fixture
def payment_body():
    return a_payment


@pytest.fixture
def refund_body():
    return a_refund
