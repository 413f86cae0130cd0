"""Bulk jobs on webhooks: all that are parked after an outage, replayed or discarded as one job."""

from uuid import UUID

import httpx
import pytest

from application.bulk import BulkLoop
from infrastructure.bulk_webhooks import webhook_actions
from infrastructure.postgres.bulk_jobs import PostgresBulkJobs
from infrastructure.service import Service
from tests.support.json_types import Json

JOB: Json = {"job_id": "w1", "actor": "mia", "reason": "the orders are registered now"}
PARKED: Json = {"filter": {"status": "parked"}}
REPLAYS, DISCARDS = "/v1/bulk/webhook-replays", "/v1/bulk/webhook-discards"


@pytest.fixture
async def parked(service: Service) -> list[int]:
    """Five webhooks that wait for their orders, one that is done, and one that is dead."""
    inbox, now = service.inbox, service.clock.now()
    for number in range(7):
        event_type = "payment_succeeded" if number % 2 else "refund_succeeded"
        await inbox.put("hyperswitch", f"evt_{number}", event_type, b"{}", now)
    ids = sorted(row.inbox_id for row in await inbox.newest())
    for inbox_id in ids[:5]:
        await inbox.park(inbox_id, "order:o1", None, "the order is unknown")
    await inbox.ignore({ids[5]: "of no concern"})
    await inbox.bury(ids[6], "it failed eight times")
    return ids[:5]


def a_loop(service: Service) -> BulkLoop:
    async def retry(transfer_id: UUID, actor: str, reason: str) -> None:
        raise AssertionError("no transfer is concerned")

    jobs = PostgresBulkJobs(service.pool)
    return BulkLoop(jobs, "a process", retry, webhook_actions(service))


async def begun(client: httpx.AsyncClient, path: str, **body: object) -> Json:
    answer = await client.post(path, json={**JOB, **PARKED, **body})
    assert answer.status_code == 202, answer.text
    job: Json = answer.json()
    return job


async def statuses(service: Service) -> list[str]:
    return [row.status for row in reversed(await service.inbox.newest())]


async def test_dry_run_counts_and_begins_nothing(
    client: httpx.AsyncClient, service: Service, parked: list[int]
) -> None:
    dry = await client.post(DISCARDS, json={**JOB, "filter": {}, "dry_run": True})
    assert (dry.json()["status"], dry.json()["total"]) == ("planned", 6)
    assert dry.json()["inbox_ids"][:5] == parked
    assert await a_loop(service).turn() > 0
    assert (await statuses(service)).count("discarded") == 0


@pytest.mark.parametrize(("path", "status"), [(REPLAYS, "stored"), (DISCARDS, "discarded")])
async def test_job_acts_on_each_match_once_and_names_the_actor(
    client: httpx.AsyncClient,
    service: Service,
    parked: list[int],
    path: str,
    status: str,
) -> None:
    job = await begun(client, path)
    assert (job["status"], job["total"]) == ("running", 5)
    again = await client.post(path, json={**JOB, **PARKED})
    assert (again.status_code, again.json()["total"]) == (200, 5)
    await service.commands.inbox.discard(parked[2], "tom", "a test of the PSP")
    await a_loop(service).turn()
    shown = (await client.get("/v1/bulk/w1")).json()
    assert (shown["status"], shown["done"], shown["refused"]) == ("ended", 5, 0)
    assert await statuses(service) == [
        *(status if one != parked[2] else "discarded" for one in parked),
        "ignored",
        "dead",
    ]
    facts = (await client.get("/v1/facts?limit=1000")).json()["data"]
    acts = [one["payload"]["reason"] for one in facts if one["payload"].get("actor") == "mia"]
    assert acts == ["the orders are registered now (bulk job w1)"] * 4


async def test_job_that_a_crash_interrupted_goes_on(
    client: httpx.AsyncClient, service: Service, parked: list[int]
) -> None:
    await begun(client, REPLAYS)
    replay = webhook_actions(service)["replay_webhooks"]
    await replay(parked[0], "mia", "the step that the dead process did not count")
    await a_loop(service).turn()
    assert (await client.get("/v1/bulk/w1")).json()["refused"] == 0
    assert (await statuses(service))[:5] == ["stored"] * 5


@pytest.mark.parametrize(
    ("given", "count"),
    [
        ({}, 6),
        ({"status": "dead"}, 1),
        ({"provider": "stripe"}, 0),
        ({"event_type": "payment_succeeded"}, 2),
        ({"reason": "the order"}, 5),
        ({"reason": "%"}, 0),
        ({"received_from": "2020-01-01T00:00:00Z"}, 6),
        ({"received_to": "2020-01-01T00:00:00Z"}, 0),
    ],
)
async def test_filter_chooses_the_webhooks(
    client: httpx.AsyncClient, parked: list[int], given: dict[str, str], count: int
) -> None:
    dry = await client.post(REPLAYS, json={**JOB, "filter": given, "dry_run": True})
    assert (dry.status_code, dry.json()["total"]) == (200, count), dry.text


async def test_id_of_another_job_is_refused(client: httpx.AsyncClient, parked: list[int]) -> None:
    await begun(client, REPLAYS)
    other = await client.post(DISCARDS, json={**JOB, **PARKED})
    assert (other.status_code, other.json()["code"]) == (409, "content_differs")
