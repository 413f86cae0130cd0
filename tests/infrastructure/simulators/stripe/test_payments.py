"""PaymentIntents and charges that a PSP makes through the simulated Stripe."""

import pytest

from infrastructure.simulators.hyperswitch import HyperswitchConfig, running_hyperswitch
from infrastructure.simulators.stripe import (
    RunningSimulator,
    SimulatorConfig,
    SimulatorControl,
    running_simulator,
)
from tests.infrastructure.simulators.stripe.conftest import StripeCaller
from tests.support.json_types import Json

EXPAND = {"expand[]": "latest_charge.balance_transaction"}


async def _intent(api: StripeCaller, id_: str) -> Json:
    answer = await api.get(f"/v1/payment_intents/{id_}", EXPAND)
    assert answer.status_code == 200, answer.text
    shown: Json = answer.json()
    return shown


async def test_payment_intent_shows_its_charge_and_settlement(
    api: StripeCaller, control: SimulatorControl
) -> None:
    made = await control.add_payment("usd", 3000, available_in=3600, metadata={"order_id": "o1"})
    shown = await _intent(api, made["id"])
    charge = shown["latest_charge"]
    line = charge["balance_transaction"]
    assert (shown["status"], shown["metadata"]) == ("succeeded", {"order_id": "o1"})
    assert (charge["id"][:3], charge["payment_intent"]) == ("ch_", shown["id"])
    assert (line["amount"], line["currency"], line["status"]) == (3000, "usd", "pending")
    await control.advance_clock(3601)
    again = (await _intent(api, made["id"]))["latest_charge"]
    assert again["balance_transaction"]["status"] == "available"


async def test_latest_charge_without_expand_is_an_id(
    api: StripeCaller, control: SimulatorControl
) -> None:
    made = await control.add_payment("usd", 3000)
    plain = (await api.get(f"/v1/payment_intents/{made['id']}")).json()["latest_charge"]
    expand = {"expand[]": "balance_transaction"}
    charge = (await api.get(f"/v1/charges/{plain}", expand)).json()
    assert (charge["id"], charge["balance_transaction"]["amount"]) == (plain, 3000)


async def test_sourced_transfer_needs_no_platform_balance(
    api: StripeCaller, control: SimulatorControl
) -> None:
    await control.drain("usd")
    made = await control.add_payment("usd", 3000, available_in=3600)
    charge = made["latest_charge"]
    refused = await api.transfer(amount=1000)
    assert refused.json()["error"]["code"] == "balance_insufficient"
    transfer = await api.made(amount=1000, source_transaction=charge, transfer_group="o1")
    assert transfer["transfer_group"] == f"group_{made['id']}"
    assert await control.violations() == []


async def test_source_in_another_settled_currency_is_refused(
    api: StripeCaller, control: SimulatorControl
) -> None:
    made = await control.add_payment("usd", 1000, settled_currency="cad", settled_amount=1356)
    refused = await api.transfer(amount=1000, source_transaction=made["latest_charge"])
    assert "balance transaction (cad)" in refused.json()["error"]["message"]
    await api.made(amount=1356, currency="cad", source_transaction=made["latest_charge"])


async def test_asynchronous_charge_can_fail_after_its_transfer(
    api: StripeCaller, control: SimulatorControl
) -> None:
    made = await control.add_payment("eur", 3000, status="pending", available_in=86_400)
    transfer = await api.made(amount=1000, currency="eur", source_transaction=made["latest_charge"])
    await control.fail_charge(made["latest_charge"])
    refused = await api.transfer(
        amount=1000, currency="eur", source_transaction=made["latest_charge"]
    )
    assert refused.status_code == 400
    kept = (await api.get(f"/v1/transfers/{transfer['id']}")).json()
    assert (kept["amount_reversed"], await control.violations()) == (0, [])


async def test_payment_intent_without_charge_gets_it_later(
    api: StripeCaller, control: SimulatorControl
) -> None:
    made = await control.add_payment("usd", 3000, status=None)
    assert (await _intent(api, made["id"]))["latest_charge"] is None
    await control.charge_payment(made["id"])
    assert (await _intent(api, made["id"]))["latest_charge"]["amount"] == 3000


async def test_unknown_payment_intent_is_not_found(api: StripeCaller) -> None:
    answer = await api.get("/v1/payment_intents/pi_elsewhere", EXPAND)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "resource_missing")


async def _stripe_of(simulator: RunningSimulator, id_: str) -> Json:
    caller = StripeCaller(simulator.url)
    try:
        return await _intent(caller, id_)
    finally:
        await caller.http.aclose()


@pytest.mark.parametrize("status", ["succeeded", "failed"])
async def test_psp_payment_makes_a_charge_at_its_connector(status: str) -> None:
    """A payment of the simulated PSP is a PaymentIntent at the simulated Stripe; if the payment
    fails later, its charge does."""
    async with running_simulator(SimulatorConfig()) as (stripe, control):
        config = HyperswitchConfig(connector=stripe.connector())
        async with running_hyperswitch(config) as (_, psp):
            await psp.take_payment("pay_1", 5000, "EUR", metadata={"order_id": "o1"})
            await psp.settle_payment("pay_1", status)
            payment = (await psp.ledger())["payments"][0]
        shown = await _stripe_of(stripe, payment["connector_transaction_id"])
        assert shown["latest_charge"]["status"] == status
        assert (shown["amount"], shown["currency"]) == (5000, "eur")
        assert shown["metadata"] == {"payment_id": "pay_1", "order_id": "o1"}
        assert await control.violations() == []
