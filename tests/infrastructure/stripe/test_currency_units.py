"""Amounts between the ledger and Stripe: sent, answered, read, listed and reversed in the units of
each side."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from domain.provider_call.outcome import LookUpFailed, Rejected, Succeeded
from domain.provider_call.request_body import TransferBody
from infrastructure.simulators.stripe import (
    KIND,
    SimulatorConfig,
    SimulatorControl,
    running_simulator,
)
from infrastructure.stripe.gateway import StripeGateway
from infrastructure.stripe.response_checks import reversal_at_stripe, transfer_at_stripe
from tests.infrastructure.stripe.conftest import OpenGateway

START = datetime(2020, 1, 1, tzinfo=UTC)
CASES = [("ugx", 342_000, 34_200_000), ("isk", 5_000, 500_000), ("jpy", 5_000, 5_000)]


@pytest.fixture
async def control() -> AsyncIterator[SimulatorControl]:
    async with running_simulator(SimulatorConfig(manners=KIND)) as (_, control):
        yield control


@pytest.fixture
async def gateway(control: SimulatorControl, gateway_at: OpenGateway) -> StripeGateway:
    return await gateway_at(control.url, timeout=20)


def body(currency: str, amount: int) -> TransferBody:
    return {
        "amount": amount,
        "currency": currency,
        "destination": "acct_seller",
        "transfer_group": "o1",
        "metadata": {"transfer_id": "t1"},
    }


@pytest.mark.parametrize(("currency", "ours", "theirs"), CASES)
async def test_transfer_has_the_amount_of_each_side(
    control: SimulatorControl, gateway: StripeGateway, currency: str, ours: int, theirs: int
) -> None:
    made = await gateway.create(body(currency, ours), "k")
    assert isinstance(made, Succeeded)
    assert made.amount == ours
    (held,) = (await control.ledger())["transfers"]
    assert (held["amount"], held["currency"]) == (theirs, currency)
    assert (await gateway.get_transfer(made.stripe_id)).amount == ours
    found = await gateway.find_similar("acct_seller", currency.upper(), ours, START)
    assert [transfer.stripe_transfer_id for transfer in found] == [made.stripe_id]
    until = datetime.now(UTC) + timedelta(days=10_000)
    (listed,) = (await gateway.page(START, until, None)).listed
    assert listed.transfer.amount == ours


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize(("currency", "ours", "theirs"), CASES)
async def test_reversal_has_the_amount_of_each_side(
    control: SimulatorControl,
    gateway: StripeGateway,
    currency: str,
    ours: int,
    theirs: int,
    whole: bool,
) -> None:
    made = await gateway.create(body(currency, ours), "k")
    assert isinstance(made, Succeeded)
    amount = None if whole else ours // 2
    named = "" if whole else currency.upper()
    taken = await gateway.reverse(made.stripe_id, amount, "refund", "k2", None, named)
    assert isinstance(taken, Succeeded)
    assert taken.amount == (amount or ours)
    (held,) = (await control.ledger())["transfers"]
    assert held["amount_reversed"] == (theirs if whole else theirs // 2)
    seen = await gateway.get_transfer(made.stripe_id)
    assert (seen.amount_reversed, seen.reversals[0].amount) == (taken.amount, taken.amount)


async def test_reversal_above_the_rest_is_refused_in_units_of_stripe(
    gateway: StripeGateway,
) -> None:
    made = await gateway.create(body("ugx", 1_000), "k")
    assert isinstance(made, Succeeded)
    refused = await gateway.reverse(made.stripe_id, 1_001, "refund", "k2", None, "UGX")
    assert isinstance(refused, Rejected)


def test_fraction_in_an_answer_cannot_be_read() -> None:
    transfer = {
        "object": "transfer",
        "id": "tr_1",
        "amount": 150,
        "amount_reversed": 0,
        "currency": "ugx",
        "destination": "acct_1",
    }
    with pytest.raises(LookUpFailed, match="amount"):
        transfer_at_stripe(transfer)
    reversal = {"object": "transfer_reversal", "id": "trr_1", "transfer": "tr_1", "amount": 150}
    with pytest.raises(LookUpFailed, match="multiple of 100"):
        reversal_at_stripe(reversal, "tr_1", "UGX")
