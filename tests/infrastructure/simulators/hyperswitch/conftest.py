"""Fixtures of the simulated Hyperswitch: the simulator, its control client, bare HTTP, and a
receiver of webhooks."""

from collections.abc import AsyncIterator, Callable
from typing import cast

import httpx
import pytest

from domain.provider_call.request_body import PaymentBody, RefundBody
from infrastructure.simulators.common.http_server import LoopbackServer
from infrastructure.simulators.hyperswitch import (
    HyperswitchConfig,
    HyperswitchControl,
    running_hyperswitch,
)
from tests.support.webhook_receiver import WebhookReceiver

API_KEY = "snd_SecretOfThisTestSuite"
NINE_O_CLOCK = 1_800_000_000.0

MakePayment = Callable[..., PaymentBody]
MakeRefund = Callable[..., RefundBody]


@pytest.fixture
def config() -> HyperswitchConfig:
    """A test that needs other settings parametrizes `config`."""
    return HyperswitchConfig(virtual_start=NINE_O_CLOCK)


@pytest.fixture
async def running(
    config: HyperswitchConfig,
) -> AsyncIterator[tuple[LoopbackServer, HyperswitchControl]]:
    async with running_hyperswitch(config) as both:
        yield both


@pytest.fixture
def simulator(running: tuple[LoopbackServer, HyperswitchControl]) -> LoopbackServer:
    return running[0]


@pytest.fixture
async def control(
    running: tuple[LoopbackServer, HyperswitchControl],
) -> AsyncIterator[HyperswitchControl]:
    """After each test the refunded amounts may not exceed the received ones."""
    yield running[1]
    assert (await running[1].ledger())["violations"] == []


@pytest.fixture
async def api(
    simulator: LoopbackServer, control: HyperswitchControl
) -> AsyncIterator[httpx.AsyncClient]:
    """Bare HTTP with a valid key."""
    async with httpx.AsyncClient(
        base_url=simulator.url, headers={"api-key": API_KEY}, timeout=10, trust_env=False
    ) as client:
        yield client


@pytest.fixture
async def receiver() -> AsyncIterator[WebhookReceiver]:
    receiver = WebhookReceiver("X-Webhook-Signature-512")
    await receiver.start()
    yield receiver
    await receiver.stop()


def a_payment(payment_id: str = "o1", amount: int = 5000, **more: object) -> PaymentBody:
    body = {
        "payment_id": payment_id,
        "amount": amount,
        "currency": "USD",
        "metadata": {"order_id": "o1"},
        **more,
    }
    return cast(PaymentBody, body)  # `more` may be any member, also a wrong one


def a_refund(
    refund_id: str = "r1", amount: int = 1000, payment_id: str = "o1", **more: object
) -> RefundBody:
    body = {
        "refund_id": refund_id,
        "payment_id": payment_id,
        "amount": amount,
        "metadata": {"order_id": "o1"},
        **more,
    }
    return cast(RefundBody, body)


@pytest.fixture
def payment_body() -> MakePayment:
    return a_payment


@pytest.fixture
def refund_body() -> MakeRefund:
    return a_refund
