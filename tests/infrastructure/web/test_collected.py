"""Collected amounts over HTTP: reported with the payment, shown with the order, corrected later."""

import httpx

from tests.infrastructure.web.conftest import Shop


async def paid(client: httpx.AsyncClient, **members: object) -> httpx.Response:
    return await client.post("/v1/orders/o1/paid", json={"payment_id": "pay_1", **members})


async def test_order_shows_its_collected_amount(client: httpx.AsyncClient, shop: Shop) -> None:
    await shop.order(ada=9_000)
    assert (await client.get("/v1/orders/o1")).json()["collected"] is None
    assert (await paid(client)).json()["collected"] == 10_000


async def test_collected_amount_can_be_refunded(client: httpx.AsyncClient, shop: Shop) -> None:
    await shop.order(ada=9_000)
    assert (await paid(client, amount_received=10_300)).json()["collected"] == 10_300
    refund = await shop.refund("r1")
    assert refund["amount"] == 10_300, "without an amount: all that is not refunded yet"
    assert [part["amount"] for part in refund["allocation"]] == [9_000]


async def test_payment_of_less_than_the_order_is_refused(
    client: httpx.AsyncClient, shop: Shop
) -> None:
    await shop.order(ada=9_000)
    answer = await paid(client, amount_received=9_999)
    assert (answer.status_code, answer.json()["code"]) == (409, "content_differs")
    assert "10000 EUR were ordered" in answer.json()["detail"]
    assert (await client.get("/v1/orders/o1")).json()["status"] == "open"


async def test_collected_amount_is_corrected_after_payment(
    client: httpx.AsyncClient, shop: Shop
) -> None:
    await shop.order(ada=9_000)
    await paid(client)
    for _ in range(2):
        assert (await paid(client, amount_received=10_300)).json()["collected"] == 10_300
    below = await paid(client, amount_received=9_000)
    assert (below.status_code, below.json()["code"]) == (409, "refused")


async def test_correction_needs_the_payment_of_the_order(
    client: httpx.AsyncClient, shop: Shop
) -> None:
    await shop.order(ada=9_000)
    await paid(client)
    answer = await paid(client, payment_id="pay_2", amount_received=10_300)
    assert (answer.status_code, answer.json()["code"]) == (409, "content_differs")
    assert (await client.get("/v1/orders/o1")).json()["collected"] == 10_000
