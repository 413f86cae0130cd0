"""Health, readiness and metrics: about this process, and answered without the database."""

from dataclasses import replace

import httpx
import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families

from domain.pause import KINDS
from domain.provider_call.outcome import Rejected
from infrastructure.service import Service
from infrastructure.web.app import application_of
from tests.infrastructure.web.conftest import Connect, Shop, StripeWorker


async def samples(client: httpx.AsyncClient) -> dict[tuple[str, ...], float]:
    text = (await client.get("/metrics")).text
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_liveness_is_ok_while_process_answers(offline_client: httpx.AsyncClient) -> None:
    assert (await offline_client.get("/healthz")).json() == {"status": "alive"}


async def test_readiness_is_ok_when_process_can_serve(anonymous_client: httpx.AsyncClient) -> None:
    answer = await anonymous_client.get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"ready": True})


async def test_readiness_fails_while_draining(service: Service, connect: Connect) -> None:
    async with connect(application_of(replace(service, draining=True))) as client:
        answer = await client.get("/readyz")
    assert (answer.status_code, answer.json()["code"]) == (503, "not_ready")
    assert answer.json()["reasons"] == ["it is shutting down"]


async def test_readiness_fails_without_database(offline_client: httpx.AsyncClient) -> None:
    answer = await offline_client.get("/readyz")
    assert (answer.status_code, answer.json()["reasons"]) == (503, ["the database does not answer"])


@pytest.mark.parametrize(
    "damage", ["delete from ledger_migrations where version > 3", "drop table ledger_migrations"]
)
async def test_readiness_fails_when_migrations_are_reverted(
    anonymous_client: httpx.AsyncClient, database_url: str, damage: str
) -> None:
    with psycopg.connect(database_url, autocommit=True) as person:
        person.execute(damage)
    answer = await anonymous_client.get("/readyz")
    assert (answer.status_code, len(answer.json()["reasons"])) == (503, 1)
    assert "schema" in answer.json()["detail"]


async def test_metrics_count_stored_rows(
    client: httpx.AsyncClient, shop: Shop, at_stripe: StripeWorker
) -> None:
    transfers = await shop.paid(ada=8_000, bob=1_000)
    await at_stripe.does(transfers["ada"])
    await at_stripe.answers(transfers["bob"], Rejected(400, None, "Refused.", stored=True))
    await shop.refund("r1", amount=1_000)
    seen = await samples(client)
    assert seen["ledger_transfers", "reversal_pending"] == 1
    assert seen["ledger_transfers", "permanently_failed"] == 1
    assert seen["ledger_transfers", "pending"] == 0
    assert seen["ledger_alarms_open", "permanently_failed"] == 1
    assert 0 <= seen["ledger_oldest_pending_reversal_seconds",] < 60
    assert seen["ledger_inbox_events", "stored"] == 0
    assert seen["ledger_mode", "simulator"] == seen["ledger_database_up",] == 1
    assert (
        seen["ledger_facts_total",]
        == (await client.get("/v1/facts?limit=1000")).json()["next_after"]
    )
    assert seen["ledger_http_requests_total", "/v1/orders", "201", "POST"] == 1
    assert seen["ledger_http_request_seconds_count", "/v1/orders", "POST"] == 1


async def test_metrics_tell_the_age_of_due_work_of_every_kind(client: httpx.AsyncClient) -> None:
    """The alarm `work_overdue` watches the same ages."""
    shown = await samples(client)
    kinds = {kind for name, *labels in shown for kind in labels if name.endswith("due_seconds")}
    assert kinds == {*KINDS, "webhooks"}


async def test_metrics_ignore_paths_invented_by_callers(client: httpx.AsyncClient) -> None:
    for number in range(5):
        await client.get(f"/v1/nothing/{number}")
        await client.get(f"/v1/orders/o{number}")
        await client.request(f"INVENT{number}", "/healthz")
    seen = await samples(client)
    assert seen["ledger_http_requests_total", "404", "any", "unmatched"] == 5
    assert seen["ledger_http_requests_total", "/v1/orders/{order_id}", "404", "GET"] == 5
    assert not any("INVENT" in label for name in seen for label in name)


async def test_metrics_are_answered_without_database(offline_client: httpx.AsyncClient) -> None:
    await offline_client.get("/healthz")
    seen = await samples(offline_client)
    assert seen["ledger_database_up",] == 0
    assert seen["ledger_http_requests_total", "/healthz", "200", "GET"] == 1
    assert ("ledger_facts_total",) not in seen
