"""A simulated Hyperswitch for each test, the client that talks to it over HTTP, and somebody who listens to its webhooks."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest

from infrastructure.hyperswitch.gateway import HyperswitchGateway
from infrastructure.simulators.hyperswitch import HyperswitchConfig, HyperswitchControl, running_hyperswitch
from tests.support.fault_server import FaultServer
from tests.support.notification_listener import Listener

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


@pytest.fixture
async def listener() -> AsyncIterator[Listener]:
    listener = Listener("X-Webhook-Signature-512")
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
