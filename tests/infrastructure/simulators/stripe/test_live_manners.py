"""Manners of a live account: no balance of its own, pending money, payouts, and events at the
sellers."""

import pytest
import stripe

from infrastructure.simulators.stripe import (
    KIND,
    LIVE,
    ControlRefused,
    SimulatorConfig,
    SimulatorControl,
    running_simulator,
)
from tests.infrastructure.simulators.stripe.conftest import (
    NINE_O_CLOCK,
    ErrorOf,
    OpenCaller,
    StripeCaller,
)
from tests.infrastructure.simulators.stripe.test_shapes import declared
from tests.support.json_types import Json

DAY = 86_400


@pytest.fixture
def config() -> SimulatorConfig:
    return SimulatorConfig(virtual_start=NINE_O_CLOCK)


@pytest.fixture
async def sale(api: StripeCaller, control: SimulatorControl) -> Json:
    """2,000 of a charge of 3,000 go to the seller."""
    await control.create_charge("ch_1", "usd", 3_000)
    return await api.made(source_transaction="ch_1")


async def balances(control: SimulatorControl, holder: str) -> tuple[int, int]:
    """Return the available and the pending amount."""
    held = (await control.ledger())["balances"][holder]
    return held["available"].get("usd", 0), held["pending"].get("usd", 0)


async def types(api: StripeCaller, account: str | None = None) -> list[str]:
    headers = {} if account is None else {"Stripe-Account": account}
    events = (await api.get("/v1/events", **headers)).json()["data"]
    return [event["type"] for event in reversed(events)]


async def test_new_platform_owns_nothing(
    api: StripeCaller, control: SimulatorControl, refused: ErrorOf
) -> None:
    balance = (await api.get("/v1/balance")).json()
    nothing = [{"amount": 0, "currency": "usd", "source_types": {"card": 0}}]
    assert [balance[name] for name in ("available", "pending", "instant_available")] == [
        nothing
    ] * 3
    assert refused(await api.transfer())[2] == "balance_insufficient"


async def test_card_money_is_pending_for_days(
    api: StripeCaller, control: SimulatorControl, refused: ErrorOf, sale: Json
) -> None:
    assert await balances(control, "platform") == (0, 1_000)
    assert await balances(control, "acct_seller") == (0, 2_000)
    assert refused(await api.transfer(amount=5))[2] == "balance_insufficient"
    await control.advance_clock(LIVE.pending_days * DAY - 1)
    assert await balances(control, "acct_seller") == (0, 2_000)
    await control.advance_clock(1)
    assert "balance.available" in await types(api)
    assert "balance.available" in await types(api, "acct_seller")


async def test_payouts_sweep_platform_and_sellers(
    api: StripeCaller, control: SimulatorControl, refused: ErrorOf, sale: Json
) -> None:
    await control.advance_clock(LIVE.pending_days * DAY)
    assert await balances(control, "platform") == (0, 0)
    assert await balances(control, "acct_seller") == (0, 0)
    for account in (None, "acct_seller"):
        assert (await types(api, account))[-3:] == [
            "balance.available",
            "payout.created",
            "payout.paid",
        ]
    answer = await api.reverse(sale["id"], 2_000)
    assert "does not have sufficient funds" in answer.json()["error"]["message"]


async def test_account_without_payouts_keeps_its_money(
    api: StripeCaller, control: SimulatorControl, sale: Json
) -> None:
    await control.change_account("acct_seller", payouts_enabled=False)
    await control.advance_clock(LIVE.pending_days * DAY)
    assert await balances(control, "acct_seller") == (2_000, 0)


async def test_reversed_money_is_pending_at_the_platform(
    api: StripeCaller, control: SimulatorControl, sale: Json
) -> None:
    await control.change_account("acct_seller", payouts_enabled=False)
    await control.advance_clock(LIVE.pending_days * DAY)
    reversal = (await api.reverse(sale["id"], 500, **{"expand[]": "balance_transaction"})).json()
    transaction = reversal["balance_transaction"]
    assert (transaction["source"], transaction["status"]) == (sale["id"], "pending")
    assert transaction["available_on"] == transaction["created"] + LIVE.pending_days * DAY
    assert await balances(control, "platform") == (0, 500)
    await control.advance_clock(LIVE.pending_days * DAY - 1)
    assert await balances(control, "platform") == (0, 500)
    path = f"/v1/balance_transactions/{transaction['id']}"
    assert (await api.get(path)).json()["status"] == "pending"
    await control.advance_clock(1)
    assert (await api.get(path)).json()["status"] == "available"
    assert await balances(control, "platform") == (0, 0), "and it is swept"


async def test_reversal_of_pending_money_matures_with_its_charge(
    api: StripeCaller, control: SimulatorControl, sale: Json
) -> None:
    await control.advance_clock(DAY)
    assert (await api.reverse(sale["id"], 500)).status_code == 200
    assert await balances(control, "platform") == (0, 1_500)
    await control.advance_clock(DAY)
    assert await balances(control, "platform") == (0, 0)
    assert (await control.ledger())["balances"]["world"]["available"] == {"usd": 0}


async def test_reversal_is_told_to_the_seller_as_a_refund(
    api: StripeCaller, control: SimulatorControl, sale: Json
) -> None:
    reversal = (await api.reverse(sale["id"], 500, **{"metadata[refund_id]": "r1"})).json()
    events = (await api.get("/v1/events", **{"Stripe-Account": "acct_seller"})).json()["data"]
    (event,) = events
    refund = event["data"]["object"]
    assert (event["type"], event["account"]) == ("refund.created", "acct_seller")
    assert refund["id"] == reversal["destination_payment_refund"]
    assert (refund["source_transfer_reversal"], refund["metadata"]) == (reversal["id"], {})
    assert (refund["charge"], refund["amount"]) == (sale["destination_payment"], 500)
    fields = declared(stripe.Refund)
    assert set(refund) <= set(fields)
    assert {name for name, optional in fields.items() if not optional} <= set(refund)


async def test_days_of_pending_money_are_a_setting(api_at: OpenCaller) -> None:
    slow = LIVE._replace(pending_days=7)
    config = SimulatorConfig(virtual_start=NINE_O_CLOCK, manners=slow)
    async with running_simulator(config) as (simulator, control):
        await control.create_charge("ch_1", "usd", 3_000)
        await control.advance_clock(7 * DAY - 1)
        assert (await api_at(simulator.url).get("/v1/balance")).json()["pending"][0][
            "amount"
        ] == 3_000


async def test_kindness_is_asked_for_by_name(api_at: OpenCaller) -> None:
    config = SimulatorConfig(virtual_start=NINE_O_CLOCK, manners=KIND)
    async with running_simulator(config) as (simulator, control):
        made = await api_at(simulator.url).made()
        await control.advance_clock(30 * DAY)
        assert await balances(control, "acct_seller") == (2_000, 0), "no payout sweeps it"
        assert (await api_at(simulator.url).reverse(made["id"])).status_code == 200


async def test_failed_charge_leaves_the_platform_short_of_its_transfers(
    api: StripeCaller, control: SimulatorControl
) -> None:
    made = await control.add_payment("usd", 3_000, status="pending")
    await api.made(source_transaction=made["latest_charge"])
    await control.fail_charge(made["latest_charge"])
    await control.advance_clock(LIVE.pending_days * DAY)
    assert await balances(control, "platform") == (-2_000, 0)


@pytest.mark.parametrize("livemode", [False, True])
async def test_notice_comes_in_test_mode_only(api_at: OpenCaller, livemode: bool) -> None:
    config = SimulatorConfig(virtual_start=NINE_O_CLOCK, livemode=livemode)
    async with running_simulator(config) as (simulator, _):
        answer = await api_at(simulator.url).get("/v1/balance")
        assert ("stripe-notice" in answer.headers) is not livemode


async def test_manners_change_while_the_simulator_runs(
    api: StripeCaller, control: SimulatorControl, refused: ErrorOf
) -> None:
    assert refused(await api.transfer())[2] == "balance_insufficient"
    await control.change_manners("kind")
    made = await api.made()
    await control.advance_clock(30 * DAY)
    assert (await api.reverse(made["id"])).status_code == 200, "no payout swept it"
    await control.change_manners("live", pending_days=0)
    await control.create_charge("ch_1", "usd", 500)
    assert (await control.ledger())["balances"]["platform"]["pending"].get("usd", 0) == 0
    with pytest.raises(ControlRefused, match="choose one of live, kind"):
        await control.change_manners("rude")
