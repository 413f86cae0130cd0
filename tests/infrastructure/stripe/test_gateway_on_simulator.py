"""The simulator's faults seen through the gateway: the outcome, Stripe's books, and the call that
settles them."""

from collections.abc import AsyncIterator

import pytest

from domain.provider_call.outcome import Rejected, Succeeded, Unknown
from domain.provider_call.request_body import TransferBody
from infrastructure.simulators.stripe import (
    KIND,
    SimulatorConfig,
    SimulatorControl,
    running_simulator,
)
from infrastructure.stripe.gateway import StripeGateway
from tests.infrastructure.stripe.conftest import OpenGateway

BODY: TransferBody = {
    "amount": 1000,
    "currency": "usd",
    "destination": "acct_seller",
    "transfer_group": "o1",
    "metadata": {"transfer_id": "t1"},
}
HEARD = {
    "reset_on_arrival": ("connection", 0),
    "reset_before_commit": ("connection", 0),
    "reset_after_commit": ("connection", 1),
    "timeout_before_commit": ("timeout", 0),
    "timeout_after_commit": ("timeout", 1),
    "truncate_body": ("unreadable", 1),
    "cut_body": ("unreadable", 1),
    "partial_headers": ("connection", 1),
}


@pytest.fixture
async def control() -> AsyncIterator[SimulatorControl]:
    async with running_simulator(SimulatorConfig(manners=KIND)) as (_, control):
        yield control


@pytest.fixture
async def gateway(control: SimulatorControl, gateway_at: OpenGateway) -> StripeGateway:
    return await gateway_at(control.url, timeout=0.5)


async def count(control: SimulatorControl) -> int:
    return len((await control.ledger())["transfers"])


@pytest.mark.parametrize(
    ("kind", "why", "made"), [(kind, *heard) for kind, heard in HEARD.items()], ids=HEARD
)
async def test_spoilt_call_is_unknown_executed_or_not(
    control: SimulatorControl, gateway: StripeGateway, kind: str, why: str, made: int
) -> None:
    await control.fault(kind, "transfers.create", times=1)
    outcome = await gateway.create(BODY, "k")
    assert isinstance(outcome, Unknown)
    assert (outcome.why, await count(control)) == (why, made)
    settled = await gateway.create(BODY, "k")
    assert isinstance(settled, Succeeded)
    assert (settled.replayed, await count(control)) == (made == 1, 1)


async def test_slow_answer_within_limit_is_success(
    control: SimulatorControl, gateway_at: OpenGateway
) -> None:
    gateway = await gateway_at(control.url, timeout=20)
    await control.fault("slow_drip", "transfers.create", times=1, seconds=0.1)
    assert isinstance(await gateway.create(BODY, "k"), Succeeded)


@pytest.mark.parametrize(
    ("kind", "made"), [("stored_500_then_created", 1), ("stored_500_not_created", 0)]
)
async def test_stored_500_is_unknown_until_books_are_read(
    control: SimulatorControl, gateway: StripeGateway, kind: str, made: int
) -> None:
    await control.fault(kind, "transfers.create", times=1)
    heard = [await gateway.create(BODY, "k") for _ in range(3)]
    assert [
        (outcome.why, outcome.replayed) for outcome in heard if isinstance(outcome, Unknown)
    ] == [
        ("http_500", False),
        ("http_500", True),
        ("http_500", True),
    ]
    assert await count(control) == made


@pytest.mark.parametrize(
    "name", ["already_fully_reversed", "reversal_above_rest", "seller_balance_too_low"]
)
async def test_refusal_with_other_wording_stays_refusal(
    control: SimulatorControl, gateway: StripeGateway, name: str
) -> None:
    await control.reword(name, message="Computer says no.", code="invented_tomorrow", param=None)
    transfer = await gateway.create(BODY, "k")
    assert isinstance(transfer, Succeeded)
    match name:
        case "already_fully_reversed":
            await control.external_reversal(transfer.stripe_id)
        case "seller_balance_too_low":
            await control.drain("usd", account="acct_seller")
    amount = 1001 if name == "reversal_above_rest" else 400
    refused = await gateway.reverse(transfer.stripe_id, amount, "refund", "k2")
    assert isinstance(refused, Rejected)
    assert (refused.message, refused.code, refused.stored) == (
        "Computer says no.",
        "invented_tomorrow",
        True,
    )
