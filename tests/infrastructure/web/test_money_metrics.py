"""Metrics of the money that is not settled."""

import httpx

from domain.provider_call.outcome import Rejected
from infrastructure.postgres.read_side.overview import MoneyState
from tests.infrastructure.web.conftest import Shop, StripeWorker
from tests.infrastructure.web.test_health import samples

REFUSED = Rejected(400, None, "Refused.", stored=True)


async def test_metrics_tell_open_money_by_currency_and_state(
    client: httpx.AsyncClient, shop: Shop, at_stripe: StripeWorker
) -> None:
    transfers = await shop.paid(ada=8_000, bob=1_000)
    await shop.paid("o2", 500, eve=400)
    await at_stripe.does(transfers["ada"])
    await at_stripe.answers(transfers["bob"], REFUSED)
    await shop.refund("r1", amount=1_000)
    seen = await samples(client)
    money = {
        labels[1]: value
        for (name, *labels), value in seen.items()
        if name == "ledger_money_minor_units" and labels[0] == "EUR"
    }
    back = (await client.get("/v1/sellers/ada/balance")).json()["balances"][0]["reversal_pending"]
    assert back > 0
    open_money = {"moving": 400 + back, "stuck": 900}  # the refund has reduced bob's transfer
    assert money == dict.fromkeys(map(str, MoneyState), 0) | open_money


async def test_metrics_tell_the_age_of_the_oldest_money_by_state(
    client: httpx.AsyncClient, shop: Shop
) -> None:
    await shop.paid(ada=8_000)
    seen = await samples(client)
    assert 0 < seen["ledger_oldest_seconds", "moving"] < 60
    assert seen["ledger_oldest_seconds", "stuck"] == 0
