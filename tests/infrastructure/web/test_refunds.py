"""Refunds over HTTP: recorded once under all their ids, allocated to sellers, with the status of
each part."""

import httpx
import pytest

from domain.provider_call.outcome import Rejected
from tests.infrastructure.web.conftest import Shop, StripeWorker
from tests.support.json_types import Json


async def test_refund_is_recorded_once_when_repeated(client: httpx.AsyncClient, shop: Shop) -> None:
    await shop.paid()
    body = {
        "refund_id": "r1",
        "order_id": "o1",
        "amount": 2_500,
        "reason": "too small",
        "settled": True,
    }
    first, again = (
        await client.post("/v1/refunds", json=body),
        await client.post("/v1/refunds", json=body),
    )
    assert (first.status_code, again.status_code) == (202, 200)
    assert first.json() == again.json() == (await client.get("/v1/refunds/r1")).json()
    assert {
        name: first.json()[name]
        for name in ("refund_id", "amount", "currency", "status", "psp_refund_id")
    } == {
        "refund_id": "r1",
        "amount": 2_500,
        "currency": "EUR",
        "status": "succeeded",
        "psp_refund_id": "r1",
    }


async def test_refund_id_with_other_body_is_a_conflict(
    client: httpx.AsyncClient, shop: Shop
) -> None:
    await shop.paid()
    await shop.refund("r1", amount=1_000)
    other = await client.post(
        "/v1/refunds", json={"refund_id": "r1", "order_id": "o1", "amount": 1_001, "settled": True}
    )
    assert (other.status_code, other.json()["code"]) == (409, "content_differs")


async def test_refund_without_amount_takes_the_rest(client: httpx.AsyncClient, shop: Shop) -> None:
    await shop.paid()
    await shop.refund("r1", amount=1_000)
    assert (await shop.refund("r2"))["amount"] == 9_000
    nothing_left = await client.post(
        "/v1/refunds", json={"refund_id": "r3", "order_id": "o1", "settled": True}
    )
    assert (nothing_left.status_code, nothing_left.json()["code"]) == (409, "exceeds_order")


async def test_refund_above_the_rest_is_a_conflict(client: httpx.AsyncClient, shop: Shop) -> None:
    await shop.paid()
    answer = await client.post(
        "/v1/refunds", json={"refund_id": "r1", "order_id": "o1", "amount": 10_001, "settled": True}
    )
    assert (answer.status_code, answer.json()["code"]) == (409, "exceeds_order")
    assert "only 10000 is left" in answer.json()["detail"]


@pytest.mark.parametrize(
    "allocation", [[{"seller_id": "eve", "amount": 1}], [{"seller_id": "ada", "amount": 8_001}]]
)
async def test_invalid_allocation_is_refused(
    client: httpx.AsyncClient, shop: Shop, allocation: list[Json]
) -> None:
    await shop.paid()
    body = {
        "refund_id": "r1",
        "order_id": "o1",
        "amount": 9_000,
        "settled": True,
        "allocation": allocation,
    }
    answer = await client.post("/v1/refunds", json=body)
    assert (answer.status_code, answer.json()["code"]) == (409, "refused")


async def test_unknown_order_or_refund_is_not_found(client: httpx.AsyncClient) -> None:
    refund = await client.post(
        "/v1/refunds", json={"refund_id": "r1", "order_id": "nobody", "settled": True}
    )
    shown = await client.get("/v1/refunds/nobody")
    assert (refund.status_code, shown.status_code) == (404, 404)


async def test_refund_is_not_requested_without_provider(
    client: httpx.AsyncClient, shop: Shop
) -> None:
    await shop.paid()
    answer = await client.post("/v1/refunds", json={"refund_id": "r1", "order_id": "o1"})
    assert (answer.status_code, answer.json()["code"]) == (409, "psp_not_configured")
    assert (await client.get("/v1/refunds/r1")).status_code == 404


async def test_refund_is_found_under_provider_id(client: httpx.AsyncClient, shop: Shop) -> None:
    await shop.paid()
    await shop.refund("ours", amount=500, psp_refund_id="theirs")
    ours, theirs = await client.get("/v1/refunds/ours"), await client.get("/v1/refunds/theirs")
    assert ours.json() == theirs.json()
    assert ours.json()["psp_refund_id"] == "theirs"


async def test_explicit_allocation_is_kept_and_empty_spares_sellers(shop: Shop) -> None:
    await shop.paid(ada=6_000, bob=2_000)
    some = await shop.refund("r1", amount=1_000, allocation=[{"seller_id": "bob", "amount": 700}])
    none = await shop.refund("r2", amount=1_000, allocation=[])
    assert [(part["seller_id"], part["amount"]) for part in some["allocation"]] == [("bob", 700)]
    assert none["allocation"] == []


async def test_allocation_part_shows_its_status(
    client: httpx.AsyncClient, shop: Shop, at_stripe: StripeWorker
) -> None:
    transfers = await shop.paid(ada=6_000, bob=2_000)
    await at_stripe.does(transfers["ada"])

    async def parts(refund_id: str) -> dict[str, tuple[int, str, str]]:
        found = (await client.get(f"/v1/refunds/{refund_id}")).json()["allocation"]
        return {
            part["seller_id"]: (part["amount"], part["transfer_id"], part["status"])
            for part in found
        }

    await shop.refund("r1", amount=5_000)
    ada, bob = str(transfers["ada"]), str(transfers["bob"])
    assert await parts("r1") == {"ada": (3_000, ada, "requested"), "bob": (1_000, bob, "reduced")}
    await shop.refund("r2", amount=1_000)
    assert (await parts("r2"))["ada"] == (600, ada, "queued")
    await at_stripe.does(transfers["ada"])
    assert (await parts("r1"))["ada"] == (3_000, ada, "reversed")
    await at_stripe.answers(
        transfers["ada"], Rejected(404, "resource_missing", "No such transfer", stored=True)
    )
    assert (await parts("r2"))["ada"] == (600, ada, "failed")
    await shop.refund("r3", amount=4_000)
    assert (await parts("r1"))["bob"][2] == "cancelled"


async def test_allocation_part_before_payment_reduces_transfer(
    client: httpx.AsyncClient, shop: Shop
) -> None:
    await shop.order(ada=8_000)
    refund = await shop.refund("r1", amount=1_000)
    (part,) = refund["allocation"]
    assert part == {
        "seller_id": "ada",
        "amount": 800,
        "transfer_id": None,
        "reversal_id": None,
        "status": "waiting_for_payment",
    }
    paid = (await client.post("/v1/orders/o1/paid")).json()
    (part,) = paid["refunds"][0]["allocation"]
    assert (part["status"], part["transfer_id"]) == ("reduced", paid["transfers"][0]["transfer_id"])


async def test_allocation_part_with_needless_reversal_was_not_sent(
    client: httpx.AsyncClient, shop: Shop, at_stripe: StripeWorker
) -> None:
    transfers = await shop.paid(ada=8_000)
    await at_stripe.is_called(transfers["ada"])
    await shop.refund("r1", amount=5_000)
    assert (await shop.transfer(transfers["ada"]))["reversals"][0]["status"] == "queued"
    await at_stripe.refuses_the_open_call(transfers["ada"])
    (part,) = (await client.get("/v1/refunds/r1")).json()["allocation"]
    assert (part["amount"], part["status"]) == (4_000, "reduced")


async def test_refund_to_be_requested_gets_ledger_id(client: httpx.AsyncClient, shop: Shop) -> None:
    await shop.paid()
    answer = await client.post(
        "/v1/refunds", json={"refund_id": "r1", "order_id": "o1", "psp_refund_id": "theirs"}
    )
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert "psp_refund_id is given without settled" in answer.json()["detail"]
