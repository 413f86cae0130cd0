"""The feed of all facts: in order, complete, and endless."""

import httpx
import pytest
from jsonschema import Draft202012Validator

from domain.provider_call.outcome import Rejected
from tests.infrastructure.web.conftest import Shop, StripeWorker


async def test_feed_by_position_shows_every_fact_once(
    client: httpx.AsyncClient, shop: Shop
) -> None:
    await shop.paid("o1", ada=10, bob=20)
    await shop.refund("r1", "o1")
    whole = (await client.get("/v1/facts", params={"limit": 1000})).json()["data"]
    seen, after = [], 0
    while True:
        page = (await client.get("/v1/facts", params={"after": after, "limit": 2})).json()
        seen += page["data"]
        if not page["data"]:
            break
        after = page["next_after"]
    assert seen == whole
    assert [fact["position"] for fact in whole] == list(range(1, len(whole) + 1))
    assert page == {"data": [], "next_after": whole[-1]["position"]}
    await shop.order("o2")
    (fresh,) = (await client.get("/v1/facts", params={"after": after})).json()["data"]
    assert (fresh["fact"], fresh["payload"]["order_id"]) == ("Registered", "o2")


async def test_fact_names_its_stream(client: httpx.AsyncClient, shop: Shop) -> None:
    transfers = await shop.paid("o1", ada=10)
    await shop.refund("r1", "o1")
    facts = (await client.get("/v1/facts")).json()["data"]
    kinds = {(fact["stream"], fact["fact"]) for fact in facts}
    assert kinds >= {
        ("order", "Registered"),
        ("order", "Paid"),
        ("seller_transfer", "Created"),
        ("seller_transfer", "Cancelled"),
        ("refund", "Opened"),
        ("refund", "Succeeded"),
    }
    created = next(fact for fact in facts if fact["fact"] == "Created")
    assert (created["stream_id"], created["version"]) == (str(transfers["ada"]), 1)
    assert created["payload"]["next_retry_at"].endswith("Z")


@pytest.mark.parametrize(
    "query", ["after=-1", "after=9007199254740992", "limit=0", "limit=1001", "after=x", "after=1.0"]
)
async def test_feed_position_must_be_a_count(offline_client: httpx.AsyncClient, query: str) -> None:
    answer = await offline_client.get(f"/v1/facts?{query}")
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


async def test_every_fact_of_the_feed_fits_the_schema_of_its_topic(
    client: httpx.AsyncClient, shop: Shop, at_stripe: StripeWorker
) -> None:
    transfers = await shop.paid("o1", ada=10, bob=20)
    await at_stripe.does(transfers["ada"])
    await shop.refund("r1", "o1")
    await at_stripe.answers(
        transfers["ada"], Rejected(404, "resource_missing", "gone", stored=False)
    )
    by_mia = {"actor": "mia", "reason": "a test"}
    await client.post("/v1/pause", json=by_mia)
    await client.post(f"/v1/transfers/{transfers['ada']}/resolve", json={**by_mia, "evidence": "a"})
    schemas = (await client.get("/v1/facts/schemas")).json()["schemas"]
    facts = (await client.get("/v1/facts?limit=1000")).json()["data"]
    for fact in facts:
        Draft202012Validator(schemas[fact["topic"]]).validate(fact["payload"])
        assert schemas[fact["topic"]]["title"] == fact["fact"]
    assert len({fact["topic"] for fact in facts}) >= 12
