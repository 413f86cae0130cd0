"""`create_app`: the whole ledger in one application, at work during its lifespan."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import httpx
import pytest

from infrastructure.postgres.listener import Listener
from infrastructure.settings import BadSetting, Settings
from infrastructure.simulators.stripe import KIND, SimulatorConfig, SimulatorControl
from infrastructure.simulators.stripe.server import running_simulator
from infrastructure.web.app import create_app
from tests.infrastructure.web.conftest import Connect
from tests.support.json_types import Json


@pytest.fixture
async def stripe() -> AsyncIterator[SimulatorControl]:
    async with running_simulator(SimulatorConfig(manners=KIND)) as (_, control):
        yield control


async def _shown(client: httpx.AsyncClient, path: str) -> Json:
    shown: Json = (await client.get(path)).json()
    return shown


async def until(client: httpx.AsyncClient, database_url: str, path: str, status: str) -> Json:
    """Follow the ledger's facts until the transfer has this status."""
    something = asyncio.Event()
    listener = Listener(database_url)
    listener.on("ledger_events", something.set)
    await listener.start()
    try:
        async with asyncio.timeout(20):
            while (shown := await _shown(client, path))["status"] != status:
                await something.wait()
                something.clear()
    finally:
        await listener.aclose()
    return shown


async def test_app_pays_and_refunds_order_at_stripe(
    settings: Settings, stripe: SimulatorControl, connect: Connect, database_url: str
) -> None:
    await stripe.fund("eur", 100_000)
    app = create_app(replace(settings, stripe_api_base=stripe.url))
    async with connect(app, settings.api_token) as client, app.router.lifespan_context(app):
        shares = [{"seller_id": "ada", "destination": "acct_1ada", "amount": 8_000}]
        await client.post(
            "/v1/orders",
            json={"order_id": "o1", "currency": "EUR", "amount": 10_000, "shares": shares},
        )
        (transfer,) = (await client.post("/v1/orders/o1/paid")).json()["transfers"]
        path = f"/v1/transfers/{transfer['transfer_id']}"
        paid = await until(client, database_url, path, "completed")
        await client.post(
            "/v1/refunds", json={"refund_id": "r1", "order_id": "o1", "settled": True}
        )
        back = await until(client, database_url, path, "reversed")
    assert paid["stripe_transfer_id"].startswith("tr_")
    assert back["amount_reversed"] == 8_000
    assert back["reversals"][0]["stripe_reversal_id"].startswith("trr_")


async def test_app_outside_its_lifespan_refuses_requests(
    settings: Settings, stripe: SimulatorControl, connect: Connect
) -> None:
    app = create_app(replace(settings, stripe_api_base=stripe.url))
    async with connect(app, settings.api_token) as client:
        before = await client.get("/v1/transfers")
        async with app.router.lifespan_context(app):
            during = await client.get("/v1/transfers")
        after = await client.get("/v1/transfers")
    assert [answer.status_code for answer in (before, during, after)] == [503, 200, 503]


def test_app_without_settings_reads_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEDGER_PORT", "none")
    with pytest.raises(BadSetting, match="LEDGER_PORT"):
        create_app()
    monkeypatch.delenv("LEDGER_PORT")
    assert create_app().routes
    assert create_app(Settings()).routes
