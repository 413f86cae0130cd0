"""A server that is not Stripe, and gateways to it."""

import gc
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack

import pytest

from infrastructure.stripe.gateway import StripeGateway
from tests.support.fault_server import FaultServer

API_KEY = "sk_test_51SecretOfThisTestSuite"

OpenGateway = Callable[..., Awaitable[StripeGateway]]


@pytest.fixture
def api_key() -> str:
    return API_KEY


@pytest.fixture
async def stripe() -> AsyncIterator[FaultServer]:
    server = FaultServer()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def gateway_at() -> AsyncIterator[OpenGateway]:
    """Build gateways that are closed at the end; `timeout` in seconds."""
    async with AsyncExitStack() as stack:

        async def build(url: str, timeout: float = 20, max_concurrency: int = 100) -> StripeGateway:
            return await stack.enter_async_context(
                StripeGateway(API_KEY, url, timeout, max_concurrency)
            )

        yield build


@pytest.fixture
def without_collector() -> Iterator[None]:
    """For tests that must not depend on the garbage collector."""
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
async def gateway(stripe: FaultServer, gateway_at: OpenGateway) -> StripeGateway:
    return await gateway_at(stripe.url)
