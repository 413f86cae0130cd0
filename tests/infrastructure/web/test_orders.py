"""Orders over HTTP: recorded once, paid once, shown with everything that belongs to them."""

import json

import pytest

from application.webhooks.handler import Parked, StoredEvent
from application.webhooks.hyperswitch.payments_refunds import HyperswitchPayments
from domain.fact import opened
from domain.seller_transfer.aggregate import SellerTransfer
from infrastructure.postgres.directory import PostgresDirectory
from infrastructure.postgres.ledger import PostgresEventLog
from tests.support.service import imported


async def test_an_order_is_recorded_once_and_the_same_again_is_no_news(client, shop):
    first = await client.post("/v1/orders", json=shop.an_order())
    again = await client.post("/v1/orders", json=shop.an_order())
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    assert first.json() | {"created_at": "", "updated_at": ""} == {
        "order_id": "o1",
        "currency": "EUR",
        "amount": 10_000,
        "refunded": 0,
        "status": "open",
        "payment_id": None,
        "source_transaction": None,
        "shares": [{"seller_id": "ada", "destination": "acct_ada", "amount": 8_000, "currency": "EUR"}],
        "transfers": [],
        "refunds": [],
        "created_at": "",
        "updated_at": "",
    }


@pytest.mark.parametrize(
    "change",
    [
        {"amount": 9_999},
        {"currency": "USD"},
        {"payment_id": "pay_2"},
        {"shares": [{"seller_id": "ada", "destination": "acct_eve", "amount": 8_000}]},
    ],
)
async def test_the_same_id_with_other_content_is_a_conflict(client, shop, change):
    await client.post("/v1/orders", json=shop.an_order() | {"payment_id": "pay_1"})
    other = await client.post("/v1/orders", json=shop.an_order() | {"payment_id": "pay_1"} | change)
    assert (other.status_code, other.json()["code"]) == (409, "content_differs")
    assert next(iter(change)) in other.json()["detail"]


async def test_currencies_are_stored_in_upper_case_and_a_share_may_have_its_own(client):
    shares = [
        {"seller_id": "ada", "destination": "acct_ada", "amount": 900},
        {"seller_id": "bob", "destination": "acct_bob", "amount": 5_000, "currency": "usd"},
        {"seller_id": "eve", "destination": "acct_eve", "amount": 100, "currency": "eur"},
    ]
    order = {"order_id": "o1", "currency": "eur", "amount": 1_000, "shares": shares}
    answer = await client.post("/v1/orders", json=order)
    assert answer.status_code == 201
    assert answer.json()["currency"] == "EUR"
    assert [share["currency"] for share in answer.json()["shares"]] == ["EUR", "USD", "EUR"]
    del shares[2]["currency"]  # which says the same
    assert (await client.post("/v1/orders", json=order)).status_code == 200


async def test_paying_creates_the_transfers_and_paying_again_changes_nothing(client, shop):
    await shop.order(ada=8_000, bob=1_500)
    first = await client.post("/v1/orders/o1/paid", json={"payment_id": "pay_1", "source_transaction": "ch_1"})
    again = await client.post("/v1/orders/o1/paid", json={"payment_id": "pay_1"})
    assert (first.status_code, again.status_code) == (200, 200)
    assert first.json() == again.json()
    assert first.json()["status"] == "paid"
    assert {t["seller_id"]: (t["amount"], t["status"]) for t in first.json()["transfers"]} == {
        "ada": (8_000, "pending"),
        "bob": (1_500, "pending"),
    }


async def test_paying_needs_no_body(client, shop):
    await shop.order()
    assert (await client.post("/v1/orders/o1/paid")).json()["status"] == "paid"


async def test_an_order_is_paid_by_one_payment(client, shop):
    await shop.order()
    await client.post("/v1/orders/o1/paid", json={"payment_id": "pay_1"})
    other = await client.post("/v1/orders/o1/paid", json={"payment_id": "pay_2"})
    assert (other.status_code, other.json()["code"]) == (409, "content_differs")


async def test_an_order_shows_its_transfers_and_refunds(client, shop):
    transfers = await shop.paid(ada=8_000)
    await shop.refund("r1", amount=1_000)
    await shop.refund("r2", amount=2_000)
    order = (await client.get("/v1/orders/o1")).json()
    assert (order["refunded"], [refund["refund_id"] for refund in order["refunds"]]) == (3_000, ["r1", "r2"])
    assert order["transfers"] == [await shop.transfer(transfers["ada"])]


@pytest.mark.parametrize(("method", "path"), [("GET", "/v1/orders/nobody"), ("POST", "/v1/orders/nobody/paid")])
async def test_an_unknown_order_is_not_found(client, method, path):
    answer = await client.request(method, path)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_without_a_payment_provider_no_payment_is_created(client, shop):
    await shop.order()
    answer = await client.post("/v1/orders/o1/payment")
    assert (answer.status_code, answer.json()["code"]) == (409, "psp_not_configured")


async def test_every_id_that_is_accepted_can_be_asked_for_and_paid(client, shop):
    for order_id in ("a/b", "a%2Fb", "?", "#1", "..", "a+b", "'\"", "~" * 128):
        await client.post("/v1/orders", json=shop.an_order(order_id))
        path = "/v1/orders/" + "".join(f"%{byte:02X}" for byte in order_id.encode())
        assert (await client.get(path)).json()["order_id"] == order_id
        paid = (await client.post(f"{path}/paid")).json()
        assert (paid["order_id"], paid["status"]) == (order_id, "paid")


# --- taken over from an older system ----------------------------------------------------------------------------------


async def taken_over(storage, order_id="o1", **columns):
    ledger = PostgresEventLog(storage.store)
    uow = await ledger.load([])
    uow.add([opened(SellerTransfer, imported(order_id, **columns))])
    await ledger.append(uow)


def imported_order(**share):
    one = {"seller_id": "anna", "destination": "acct_1anna", "amount": 900} | share
    return {"order_id": "o1", "currency": "EUR", "amount": 1_000, "shares": [one]}


async def facts_of(client, transfer):
    history = await client.get(f"/v1/transfers/{transfer['transfer_id']}/history")
    return [entry["fact"] for entry in history.json()["data"]]


@pytest.mark.parametrize("status", ["completed", "pending"])
async def test_an_imported_order_has_its_transfers_and_pays_nobody_again(client, storage, status):
    await taken_over(storage, status=status, stripe_transfer_id="tr_1" if status == "completed" else None)
    assert (await client.post("/v1/orders", json=imported_order())).status_code == 201
    for _ in range(2):
        paid = await client.post("/v1/orders/o1/paid", json={"payment_id": "pay_1"})
        assert (paid.status_code, paid.json()["status"]) == (200, "paid")
    (transfer,) = paid.json()["transfers"]
    assert (transfer["status"], await facts_of(client, transfer)) == (status, ["Imported"])


async def test_refunds_of_an_imported_order_are_reversed(client, storage):
    await taken_over(storage, stripe_transfer_id="tr_1", amount_reversed=600)
    await client.post("/v1/orders", json=imported_order())
    await client.post("/v1/orders/o1/paid", json={})
    refund = {"refund_id": "r1", "order_id": "o1", "amount": 500, "settled": True}
    (part,) = (await client.post("/v1/refunds", json=refund)).json()["allocation"]
    assert part["amount"] == 300, "no more than is left of the transfer"
    (transfer,) = (await client.get("/v1/orders/o1")).json()["transfers"]
    assert (transfer["status"], await facts_of(client, transfer)) == ("reversal_pending", ["Imported", "ReversalRequested"])


@pytest.mark.parametrize(
    ("share", "told"),
    [
        ({"amount": 899}, "899 EUR to acct_1anna in the order"),
        ({"currency": "USD"}, "900 USD to acct_1anna in the order"),
        ({"destination": "acct_eve"}, "900 EUR to acct_eve in the order"),
        ({"seller_id": "bert"}, "seller 'anna' has 900 EUR to acct_1anna by the import, and no share in the order"),
    ],
    ids=str,
)
async def test_an_order_that_is_not_what_was_imported_is_a_clear_problem_and_pays_nobody(client, storage, share, told):
    await taken_over(storage)
    answer = await client.post("/v1/orders", json=imported_order(**share))
    assert (answer.status_code, answer.json()["code"]) == (409, "import_differs")
    assert told in answer.json()["detail"]
    assert (await client.get("/v1/orders/o1")).status_code == 404


async def test_nor_when_it_was_registered_before_the_import(client, storage):
    assert (await client.post("/v1/orders", json=imported_order(amount=800))).status_code == 201
    await taken_over(storage)
    answer = await client.post("/v1/orders/o1/paid", json={})
    assert (answer.status_code, answer.json()["code"]) == (409, "import_differs")
    (transfer,) = (await client.get("/v1/orders/o1")).json()["transfers"]
    assert await facts_of(client, transfer) == ["Imported"]


async def test_nor_by_the_payments_webhook_which_waits_with_an_alarm(client, storage, service):
    await client.post("/v1/orders", json=imported_order(amount=800))
    await taken_over(storage)
    payment = {"payment_id": "pay_1", "status": "succeeded", "amount": 1_000, "currency": "EUR", "metadata": {"order_id": "o1"}}
    body = json.dumps({"event_id": "evt_1", "event_type": "payment_succeeded", "content": {"object": payment}}).encode()
    hyperswitch = HyperswitchPayments(service.commands, PostgresDirectory(service.pool)).handlers()
    parked = await hyperswitch["payment_succeeded"](StoredEvent(1, "hyperswitch", "evt_1", "payment_succeeded", body))
    assert isinstance(parked, Parked)
    assert parked.alarm == "payment_disagrees"
    (transfer,) = (await client.get("/v1/orders/o1")).json()["transfers"]
    assert await facts_of(client, transfer) == ["Imported"]
