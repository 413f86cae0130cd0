"""Gateways to the simulated Hyperswitch, and to a server that is not Hyperswitch."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest

from infrastructure.hyperswitch.gateway import HyperswitchGateway
from infrastructure.simulators.common.http_server import LoopbackServer
from infrastructure.simulators.hyperswitch import HyperswitchControl
from tests.infrastructure.simulators.hyperswitch.conftest import (
    API_KEY,
    api,
    config,
    control,
    payment_body,
    refund_body,
    running,
    simulator,
)
from tests.support.fault_server import FaultServer

__all__ = ["api", "config", "control", "payment_body", "refund_body", "running", "simulator"]

OpenGateway = Callable[..., Awaitable[HyperswitchGateway]]


@pytest.fixture
async def gateway_at() -> AsyncIterator[OpenGateway]:
    """Build gateways that are closed at the end; `timeout` in seconds."""
    async with AsyncExitStack() as stack:

        async def build(
            url: str, timeout: float = 20, api_key: str = API_KEY
        ) -> HyperswitchGateway:
            return await stack.enter_async_context(HyperswitchGateway(api_key, url, timeout))

        yield build


@pytest.fixture
async def gateway(
    simulator: LoopbackServer,
    control: HyperswitchControl,
    gateway_at: OpenGateway,
) -> HyperswitchGateway:
    return await gateway_at(simulator.url)


@pytest.fixture
async def psp() -> AsyncIterator[FaultServer]:
    """A server that is not Hyperswitch."""
    server = FaultServer()
    await server.start()
    yield server
    await server.stop()
