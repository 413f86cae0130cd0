"""An operator's calls: alarms, pauses, and the resolution of stuck transfers."""

import httpx

from domain.provider_call.outcome import Rejected
from tests.infrastructure.web.conftest import Shop, StripeWorker

NO_SUCH_TRANSFER = Rejected(404, "resource_missing", "No such transfer", stored=False)
MIA = {"actor": "mia", "reason": "account under review"}


async def stuck(shop: Shop, at_stripe: StripeWorker) -> str:
    """Make a paid transfer whose reversal has failed for good; return its path."""
    transfer_id = (await shop.paid(ada=8_000))["ada"]
    await at_stripe.does(transfer_id)
    await shop.refund("r1")
    await at_stripe.answers(transfer_id, NO_SUCH_TRANSFER)
    return f"/v1/transfers/{transfer_id}"


async def test_resolved_transfer_ends_its_alarm(
    client: httpx.AsyncClient, shop: Shop, at_stripe: StripeWorker
) -> None:
    path = await stuck(shop, at_stripe)
    assert [alarm["kind"] for alarm in (await client.get("/v1/alarms")).json()["data"]] == [
        "permanently_failed"
    ]
    answer = await client.post(f"{path}/resolve", json=MIA | {"evidence": "ticket 4711"})
    assert (answer.status_code, answer.json()["status"]) == (200, "partially_reversed")
    assert [reversal["status"] for reversal in answer.json()["reversals"]] == ["resolved"]
    last = (await client.get(f"{path}/history")).json()["data"][-1]
    assert (last["fact"], last["payload"]["evidence"], last["payload"]["actor"]) == (
        "Resolved",
        "ticket 4711",
        "mia",
    )
    assert (await client.get("/v1/alarms")).json()["data"] == []
    (cleared,) = (await client.get("/v1/alarms", params={"cleared": "true"})).json()["data"]
    assert cleared["cleared_at"] is not None
    (balance,) = (await client.get("/v1/sellers/ada/balance")).json()["balances"]
    assert (balance["stuck"], balance["reversal_pending"]) == (0, 0)
    again = await client.post(f"{path}/resolve", json=MIA | {"evidence": "ticket 4711"})
    assert (again.status_code, again.json()["code"]) == (409, "nothing_to_resolve")


async def test_resolving_with_stripe_object_reads_it_first(
    client: httpx.AsyncClient, shop: Shop, at_stripe: StripeWorker
) -> None:
    path = await stuck(shop, at_stripe)
    for evidence in ("tr_1Other", "trr_1Other"):
        answer = await client.post(f"{path}/resolve", json=MIA | {"evidence": evidence})
        assert (answer.status_code, answer.json()["code"]) == (503, "stripe_silent"), (
            "nobody answers here"
        )
    assert (await client.get(path)).json()["status"] == "permanently_failed"


async def test_pause_shows_actor_and_reason_until_resumed(client: httpx.AsyncClient) -> None:
    paused = await client.post("/v1/pause", json=MIA | {"seller_id": "ada"})
    assert (paused.status_code, paused.json()["scope"], paused.json()["paused"]) == (
        200,
        "seller:ada",
        True,
    )
    (shown,) = (await client.get("/v1/pauses")).json()["data"]
    assert (shown["actor"], shown["reason"]) == ("mia", "account under review")
    metrics = (await client.get("/metrics")).text
    assert "ledger_pauses 1.0" in metrics
    assert "ledger_stripe_outage 0.0" in metrics
    resumed = await client.post(
        "/v1/resume", json={"actor": "tom", "reason": "all is well", "seller_id": "ada"}
    )
    assert (resumed.json()["paused"], resumed.json()["actor"]) == (False, "tom")
    assert (await client.get("/v1/pauses")).json()["data"] == []


async def test_pause_without_scope_stops_everything(client: httpx.AsyncClient) -> None:
    assert (await client.post("/v1/pause", json=MIA)).json()["scope"] == "everything"
    assert (await client.post("/v1/resume", json=MIA | {"work": "reversing"})).json() == {
        "scope": "work:reversing", "paused": False, "actor": None, "reason": None,
        "updated_at": None,
    }  # fmt: skip


async def test_pause_takes_one_scope_and_known_work_only(client: httpx.AsyncClient) -> None:
    both = await client.post("/v1/pause", json=MIA | {"work": "reversing", "seller_id": "ada"})
    unknown = await client.post("/v1/pause", json=MIA | {"work": "guessing"})
    nobody = await client.post("/v1/pause", json=MIA | {"actor": "stripe:evt_1"})
    assert [answer.status_code for answer in (both, unknown, nobody)] == [422, 422, 422]
