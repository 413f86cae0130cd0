"""Forecasts over the API and on the command line."""

import json

import httpx
import pytest

from tests.infrastructure.web.conftest import Shop, StripeWorker
from tests.scripts.test_command_line import run

ORDER = {"order_id": "o1"}


async def test_forecast_tells_reversals_residue_and_sentences(
    client: httpx.AsyncClient, shop: Shop, at_stripe: StripeWorker, database_url: str
) -> None:
    transfers = await shop.paid("o1", amount=100, ada=33, bob=33)
    await at_stripe.does(transfers["ada"])
    facts = (await client.get("/v1/facts?limit=1000")).json()
    answer = (await client.post("/v1/what-if", json={**ORDER, "amount": 10})).json()
    assert answer["sellers"] == [
        {"seller_id": seller, "currency": "EUR", "share": 33, "before": 0, "amount": 3, "after": 3}
        for seller in ("ada", "bob")
    ]
    assert (answer["kind"], answer["amount"], answer["residue"]) == ("refund", 10, 4)
    assert [(one["transfer_id"], one["fact"], one["amount"]) for one in answer["steps"]] == [
        (str(transfers["ada"]), "ReversalRequested", 3),
        (str(transfers["bob"]), "AmountReduced", 3),
    ]
    assert all(one["sentence"].endswith(".") for one in answer["steps"])
    assert answer["sentences"][0] == (
        "A refund of 0.10 EUR takes 0.06 EUR from the sellers, and the platform bears 0.04 EUR."
    )
    shown = run("what-if", "o1", "--amount", "10", "--json", DATABASE_URL=database_url)
    (told,) = json.loads(shown.stdout)
    assert {**told, "steps": []} == {**answer, "steps": []}
    assert [step["fact"] for step in told["steps"]] == ["ReversalRequested", "AmountReduced"]
    assert (await client.get("/v1/facts?limit=1000")).json() == facts
    await shop.refund("r1", amount=10)
    real = (await client.get("/v1/refunds/r1")).json()["allocation"]
    real.sort(key=lambda part: part["seller_id"])
    assert [(part["seller_id"], part["amount"]) for part in real] == [("ada", 3), ("bob", 3)]


async def test_forecast_of_allocation_and_dispute(
    client: httpx.AsyncClient, shop: Shop, database_url: str
) -> None:
    await shop.paid("o1", amount=100, ada=33, bob=33)
    parts = [{"seller_id": "ada", "amount": 30}]
    answer = await client.post("/v1/what-if", json={**ORDER, "amount": 40, "allocation": parts})
    assert [one["amount"] for one in answer.json()["sellers"]] == [30, 0]
    answer = await client.post("/v1/what-if", json={**ORDER, "kind": "dispute"})
    assert (answer.json()["amount"], answer.json()["residue"]) == (100, 34)
    shown = run("what-if", "o1", "--dispute", DATABASE_URL=database_url)
    assert "A dispute of 1.00 EUR takes 0.66 EUR" in shown.stdout
    assert shown.returncode == 0


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"order_id": "o2"}, 404, "not_found"),
        ({**ORDER, "amount": 101}, 409, "exceeds_order"),
        ({**ORDER, "amount": 0}, 422, "invalid_request"),
        ({**ORDER, "kind": "chargeback"}, 422, "invalid_request"),
        ({**ORDER, "allocation": [{"seller_id": "x", "amount": 1}]}, 409, "refused"),
        ({**ORDER, "kind": "dispute", "allocation": []}, 422, "invalid_request"),
    ],
)
async def test_impossible_forecast_is_refused_in_one_sentence(
    client: httpx.AsyncClient, shop: Shop, body: dict[str, object], status: int, code: str
) -> None:
    await shop.paid("o1", amount=100, ada=33)
    answer = await client.post("/v1/what-if", json=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_wrong_options_end_with_one_sentence(database_url: str) -> None:
    for options in (
        ("o2",),
        ("o1", "--dispute", "--allocation", "anna=1"),
        ("o1", "--amount", "0"),
    ):
        ended = run("what-if", *options, DATABASE_URL=database_url)
        assert ended.returncode == 2
        assert "Traceback" not in ended.stderr
