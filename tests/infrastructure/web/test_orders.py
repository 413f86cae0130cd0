"""Orders over HTTP: registered once, paid once, shown with their transfers and refunds."""

import json

import httpx
import pytest

from application.webhooks.handler import Parked, StoredEvent
from application.webhooks.hyperswitch.payments_refunds import HyperswitchPaymentsRefunds
from domain.fact import opened
from domain.provider_call.psp_objects import ConnectorPayment
from domain.seller_transfer.aggregate import SellerTransfer
from infrastructure.postgres.directory import PostgresDirectory
from infrastructure.postgres.ledger import PostgresEventLog
from infrastructure.service import Service, Storage
from tests.infrastructure.web.conftest import Shop
from tests.support.json_types import Json
from tests.support.service import imported


async def test_order_is_registered_once_when_repeated(
    client: httpx.AsyncClient, shop: Shop
) -> None:
    first = await client.post("/v1/orders", json=shop.an_order())
    again = await client.post("/v1/orders", json=shop.an_order())
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    assert first.json() | {"created_at": "", "updated_at": ""} == {
        "order_id": "o1",
        "currency": "EUR",
        "amount": 10_000,
        "refunded": 0,
        "collected": None,
        "status": "open",
        "payment_id": None,
        "source_transaction": None,
        "connector_payment": None,
        "last_error": None,
        "shares": [
            {"seller_id": "ada", "destination": "acct_ada", "amount": 8_000, "currency": "EUR"}
        ],
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
async def test_order_id_with_other_content_is_a_conflict(
    client: httpx.AsyncClient, shop: Shop, change: Json
) -> None:
    await client.post("/v1/orders", json=shop.an_order() | {"payment_id": "pay_1"})
    other = await client.post("/v1/orders", json=shop.an_order() | {"payment_id": "pay_1"} | change)
    assert (other.status_code, other.json()["code"]) == (409, "content_differs")
    assert next(iter(change)) in other.json()["detail"]


async def test_currency_is_stored_in_upper_case_per_share(client: httpx.AsyncClient) -> None:
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


async def test_payment_creates_transfers_once(client: httpx.AsyncClient, shop: Shop) -> None:
    await shop.order(ada=8_000, bob=1_500)
    first = await client.post(
        "/v1/orders/o1/paid", json={"payment_id": "pay_1", "source_transaction": "ch_1"}
    )
    again = await client.post("/v1/orders/o1/paid", json={"payment_id": "pay_1"})
    assert (first.status_code, again.status_code) == (200, 200)
    assert first.json() == again.json()
    assert first.json()["status"] == "paid"
    assert {t["seller_id"]: (t["amount"], t["status"]) for t in first.json()["transfers"]} == {
        "ada": (8_000, "pending"),
        "bob": (1_500, "pending"),
    }


async def test_payment_needs_no_body(client: httpx.AsyncClient, shop: Shop) -> None:
    await shop.order()
    assert (await client.post("/v1/orders/o1/paid")).json()["status"] == "paid"


async def test_order_is_paid_by_one_payment(client: httpx.AsyncClient, shop: Shop) -> None:
    await shop.order()
    await client.post("/v1/orders/o1/paid", json={"payment_id": "pay_1"})
    other = await client.post("/v1/orders/o1/paid", json={"payment_id": "pay_2"})
    assert (other.status_code, other.json()["code"]) == (409, "content_differs")


async def test_order_shows_its_transfers_and_refunds(client: httpx.AsyncClient, shop: Shop) -> None:
    transfers = await shop.paid(ada=8_000)
    await shop.refund("r1", amount=1_000)
    await shop.refund("r2", amount=2_000)
    order = (await client.get("/v1/orders/o1")).json()
    assert (order["refunded"], [refund["refund_id"] for refund in order["refunds"]]) == (
        3_000,
        ["r1", "r2"],
    )
    assert order["transfers"] == [await shop.transfer(transfers["ada"])]


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/v1/orders/nobody"), ("POST", "/v1/orders/nobody/paid")]
)
async def test_unknown_order_is_not_found(
    client: httpx.AsyncClient, method: str, path: str
) -> None:
    answer = await client.request(method, path)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_payment_is_not_created_without_provider(
    client: httpx.AsyncClient, shop: Shop
) -> None:
    await shop.order()
    answer = await client.post("/v1/orders/o1/payment")
    assert (answer.status_code, answer.json()["code"]) == (409, "psp_not_configured")


async def test_accepted_order_id_can_be_read_and_paid(
    client: httpx.AsyncClient, shop: Shop
) -> None:
    for order_id in ("a/b", "a%2Fb", "?", "#1", "..", "a+b", "'\"", "~" * 128):
        await client.post("/v1/orders", json=shop.an_order(order_id))
        path = "/v1/orders/" + "".join(f"%{byte:02X}" for byte in order_id.encode())
        assert (await client.get(path)).json()["order_id"] == order_id
        paid = (await client.post(f"{path}/paid")).json()
        assert (paid["order_id"], paid["status"]) == (order_id, "paid")


# --- taken over from an older system --------------------------------------------------------------


async def taken_over(storage: Storage, order_id: str = "o1", **columns: object) -> None:
    ledger = PostgresEventLog(storage.store)
    uow = await ledger.load([])
    uow.add([opened(SellerTransfer, imported(order_id, **columns))])
    await ledger.append(uow)


def imported_order(**share: object) -> Json:
    one = {"seller_id": "anna", "destination": "acct_1anna", "amount": 900} | share
    return {"order_id": "o1", "currency": "EUR", "amount": 1_000, "shares": [one]}


async def facts_of(client: httpx.AsyncClient, transfer: Json) -> list[str]:
    history = await client.get(f"/v1/transfers/{transfer['transfer_id']}/history")
    return [entry["fact"] for entry in history.json()["data"]]


@pytest.mark.parametrize("status", ["completed", "pending"])
async def test_imported_order_keeps_transfers_and_is_paid_once(
    client: httpx.AsyncClient, storage: Storage, status: str
) -> None:
    await taken_over(
        storage, status=status, stripe_transfer_id="tr_1" if status == "completed" else None
    )
    assert (await client.post("/v1/orders", json=imported_order())).status_code == 201
    for _ in range(2):
        paid = await client.post("/v1/orders/o1/paid", json={"payment_id": "pay_1"})
        assert (paid.status_code, paid.json()["status"]) == (200, "paid")
    (transfer,) = paid.json()["transfers"]
    assert (transfer["status"], await facts_of(client, transfer)) == (status, ["Imported"])


async def test_refund_of_imported_order_is_reversed(
    client: httpx.AsyncClient, storage: Storage
) -> None:
    await taken_over(storage, stripe_transfer_id="tr_1", amount_reversed=600)
    await client.post("/v1/orders", json=imported_order())
    await client.post("/v1/orders/o1/paid", json={})
    refund = {"refund_id": "r1", "order_id": "o1", "amount": 500, "settled": True}
    (part,) = (await client.post("/v1/refunds", json=refund)).json()["allocation"]
    assert part["amount"] == 300, "no more than is left of the transfer"
    (transfer,) = (await client.get("/v1/orders/o1")).json()["transfers"]
    assert (transfer["status"], await facts_of(client, transfer)) == (
        "reversal_pending",
        ["Imported", "ReversalRequested"],
    )


@pytest.mark.parametrize(
    ("share", "told"),
    [
        ({"amount": 899}, "899 EUR to acct_1anna in the order"),
        ({"currency": "USD"}, "900 USD to acct_1anna in the order"),
        ({"destination": "acct_eve"}, "900 EUR to acct_eve in the order"),
        (
            {"seller_id": "bert"},
            "seller 'anna' has 900 EUR to acct_1anna in the import and no share in the order",
        ),
    ],
    ids=str,
)
async def test_order_differing_from_import_is_refused_and_unpaid(
    client: httpx.AsyncClient, storage: Storage, share: Json, told: str
) -> None:
    await taken_over(storage)
    answer = await client.post("/v1/orders", json=imported_order(**share))
    assert (answer.status_code, answer.json()["code"]) == (409, "import_differs")
    assert told in answer.json()["detail"]
    assert (await client.get("/v1/orders/o1")).status_code == 404


async def test_order_registered_before_differing_import_is_unpaid(
    client: httpx.AsyncClient, storage: Storage
) -> None:
    assert (await client.post("/v1/orders", json=imported_order(amount=800))).status_code == 201
    await taken_over(storage)
    answer = await client.post("/v1/orders/o1/paid", json={})
    assert (answer.status_code, answer.json()["code"]) == (409, "import_differs")
    (transfer,) = (await client.get("/v1/orders/o1")).json()["transfers"]
    assert await facts_of(client, transfer) == ["Imported"]


async def test_payment_webhook_for_differing_import_is_parked(
    client: httpx.AsyncClient, storage: Storage, service: Service
) -> None:
    await client.post("/v1/orders", json=imported_order(amount=800))
    await taken_over(storage)
    payment = {
        "payment_id": "pay_1",
        "status": "succeeded",
        "amount": 1_000,
        "currency": "EUR",
        "metadata": {"order_id": "o1"},
    }
    body = json.dumps(
        {"event_id": "evt_1", "event_type": "payment_succeeded", "content": {"object": payment}}
    ).encode()
    hyperswitch = HyperswitchPaymentsRefunds(
        service.commands, PostgresDirectory(service.pool)
    ).handlers()
    parked = await hyperswitch["payment_succeeded"](
        StoredEvent(1, "hyperswitch", "evt_1", "payment_succeeded", body)
    )
    assert isinstance(parked, Parked)
    assert parked.alarm == "payment_disagrees"
    (transfer,) = (await client.get("/v1/orders/o1")).json()["transfers"]
    assert await facts_of(client, transfer) == ["Imported"]


async def test_order_shows_each_refund_as_the_refund_itself(
    client: httpx.AsyncClient, shop: Shop
) -> None:
    await shop.paid("o1", 10_000, ada=8_000, ben=1_000)
    for number in range(3):
        body = {"refund_id": f"r{number}", "order_id": "o1", "amount": 1_000, "settled": True}
        assert (await client.post("/v1/refunds", json=body)).status_code == 202
    order = (await client.get("/v1/orders/o1")).json()
    alone = [(await client.get(f"/v1/refunds/r{number}")).json() for number in range(3)]
    assert order["refunds"] == alone
    assert all(part["status"] for refund in alone for part in refund["allocation"])


async def test_order_shows_its_payment_and_charge_until_they_are_known(
    client: httpx.AsyncClient, shop: Shop, service: Service
) -> None:
    await client.post("/v1/orders", json=shop.an_order())
    await service.commands.orders.record_payment(
        "o1", "pay_1", None, "test", connector=ConnectorPayment("stripe", "pi_1")
    )
    shown = (await client.get("/v1/orders/o1")).json()
    assert (shown["connector_payment"], shown["source_transaction"]) == ("pi_1", None)
    assert [(one["waiting_for"], one["next_retry_at"]) for one in shown["transfers"]] == [
        ("charge", None)
    ]


async def test_charge_is_read_again_for_an_operator(
    client: httpx.AsyncClient, shop: Shop, service: Service
) -> None:
    await client.post("/v1/orders", json=shop.an_order())
    asked = {"actor": "mia", "reason": "the key may read payments now"}
    nothing = await client.post("/v1/orders/o1/read-charge", json=asked)
    assert (nothing.status_code, nothing.json()["code"]) == (409, "nothing_to_read")
    await service.commands.orders.record_payment(
        "o1", "pay_1", None, "test", connector=ConnectorPayment("stripe", "pi_1")
    )
    again = await client.post("/v1/orders/o1/read-charge", json=asked)
    assert (again.status_code, again.json()["connector_payment"]) == (202, "pi_1")
    history = (await client.get("/v1/orders/o1/history")).json()["data"]
    asks = "'mia' asks the ledger to read the charge of the payment again"
    assert any(entry["sentence"].startswith(asks) for entry in history)
