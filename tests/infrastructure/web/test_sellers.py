"""A seller's balance: paid, reversed, being reversed, and waiting for a person."""

from uuid import UUID

import httpx

from domain.fact import opened
from domain.identity import transfer_stream
from domain.provider_call.outcome import Rejected
from domain.provider_call.retry_policy import Policy
from domain.seller_transfer.aggregate import TOPIC, SellerTransfer
from domain.seller_transfer.opening_facts import Imported
from domain.seller_transfer.stripe_call import begin
from infrastructure.postgres.ledger import PostgresEventLog
from infrastructure.service import Service
from tests.infrastructure.web.conftest import Shop, StripeWorker
from tests.support.json_types import Json

NO_SUCH_TRANSFER = Rejected(404, "resource_missing", "No such transfer.", stored=True)


async def balances(client: httpx.AsyncClient, seller_id: str) -> dict[str, Json]:
    answer = (await client.get(f"/v1/sellers/{seller_id}/balance")).json()
    assert answer["seller_id"] == seller_id
    folded = await client.get(
        f"/v1/sellers/{seller_id}/balance", params={"as_of": "2999-01-01T00:00:00Z"}
    )
    assert folded.json() == answer, "SQL and the fold of the facts are one rule"
    return {line.pop("currency"): line for line in answer["balances"]}


async def test_seller_without_transfers_has_no_balances(client: httpx.AsyncClient) -> None:
    assert await balances(client, "nobody") == {}


async def test_balance_follows_the_money(
    client: httpx.AsyncClient, shop: Shop, at_stripe: StripeWorker
) -> None:
    transfers = await shop.paid("o1", ada=8_000)
    line = {"transferred": 0, "reversed": 0, "reversal_pending": 0, "stuck": 0}
    assert await balances(client, "ada") == {"EUR": line}
    await at_stripe.does(transfers["ada"])
    assert await balances(client, "ada") == {"EUR": line | {"transferred": 8_000}}
    await shop.refund("r1", "o1", amount=1_000)
    await shop.refund("r2", "o1", amount=2_000)
    assert await balances(client, "ada") == {
        "EUR": line | {"transferred": 8_000, "reversal_pending": 2_400}
    }
    await at_stripe.does(transfers["ada"])
    assert await balances(client, "ada") == {
        "EUR": line | {"transferred": 8_000, "reversed": 800, "reversal_pending": 1_600}
    }
    await shop.refund("r3", "o1", amount=3_000)
    await at_stripe.answers(transfers["ada"], NO_SUCH_TRANSFER)
    # what is queued behind the one that was given up waits for the same person
    assert await balances(client, "ada") == {
        "EUR": line | {"transferred": 8_000, "reversed": 800, "stuck": 4_000}
    }


async def test_unpaid_transfer_is_not_in_balance(
    client: httpx.AsyncClient, shop: Shop, at_stripe: StripeWorker
) -> None:
    transfers = await shop.paid("o1", ada=8_000)
    refused = Rejected(400, "parameter_invalid", "Refused.", stored=True)
    await at_stripe.answers(transfers["ada"], refused)
    assert (await shop.transfer(transfers["ada"]))["status"] == "permanently_failed"
    assert (await balances(client, "ada"))["EUR"]["transferred"] == 0


async def test_imported_payment_without_stripe_id_stays_in_balance(
    client: httpx.AsyncClient, service: Service
) -> None:
    """Its reversal fails, as there is no id to name at Stripe; the seller keeps the money."""
    now = service.clock.now()
    imported = Imported(
        originator_id=transfer_stream("old", "ada"),
        originator_version=1,
        originator_topic=TOPIC,
        timestamp=now,
        order_id="old",
        seller_id="ada",
        destination="acct_ada",
        amount=100,
        currency="EUR",
        transfer_group="old",
        status="completed",
        amount_reversed=0,
        evidence="an older table",
    )
    transfer = opened(SellerTransfer, imported)
    transfer.take_back("r1", 100, now)
    begin(transfer, now, Policy())
    assert transfer.status == "permanently_failed"
    ledger = PostgresEventLog(service.store)
    uow = await ledger.load([])
    uow.add([transfer])
    await ledger.append(uow)
    line = {"transferred": 100, "reversed": 0, "reversal_pending": 0, "stuck": 100}
    assert await balances(client, "ada") == {"EUR": line}


async def test_balances_are_kept_per_currency(
    client: httpx.AsyncClient, at_stripe: StripeWorker
) -> None:
    shares = [{"seller_id": "ada", "destination": "acct_ada", "amount": 900, "currency": "USD"}]
    await client.post(
        "/v1/orders", json={"order_id": "o1", "currency": "EUR", "amount": 1_000, "shares": shares}
    )
    shares = [{"seller_id": "ada", "destination": "acct_ada", "amount": 500}]
    await client.post(
        "/v1/orders", json={"order_id": "o2", "currency": "EUR", "amount": 1_000, "shares": shares}
    )
    for order_id in ("o1", "o2"):
        order = (await client.post(f"/v1/orders/{order_id}/paid")).json()
        await at_stripe.does(UUID(order["transfers"][0]["transfer_id"]))
    found = await balances(client, "ada")
    assert {currency: line["transferred"] for currency, line in found.items()} == {
        "EUR": 500,
        "USD": 900,
    }
