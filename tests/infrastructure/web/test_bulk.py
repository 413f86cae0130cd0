"""Bulk jobs: all transfers that match, retried as one job that survives the end of its process."""

import asyncio
from uuid import UUID

import httpx
import pytest

from application.bulk import BulkLoop
from domain.provider_call.outcome import Rejected
from infrastructure.postgres import bulk_jobs
from infrastructure.postgres.bulk_jobs import PostgresBulkJobs
from infrastructure.service import Service
from tests.infrastructure.web.conftest import Shop, StripeWorker
from tests.support.json_types import Json

NO_SUCH_TRANSFER = Rejected(404, "resource_missing", "No such transfer", stored=False)
JOB = {"job_id": "j1", "actor": "mia", "reason": "the accounts are ready"}
STUCK = {"filter": {"status": "permanently_failed"}}


async def given_up(shop: Shop, at_stripe: StripeWorker, count: int) -> list[UUID]:
    """Make transfers whose reversal was given up."""
    made: list[UUID] = []
    for number in range(count):
        transfers = await shop.paid(f"o{number}", ada=10)
        await at_stripe.does(transfers["ada"])
        await shop.refund(f"r{number}", f"o{number}")
        await at_stripe.answers(transfers["ada"], NO_SUCH_TRANSFER)
        made += transfers.values()
    return made


async def begun(client: httpx.AsyncClient, **body: object) -> Json:
    answer = await client.post("/v1/bulk/retries", json={**JOB, **STUCK, **body})
    assert answer.status_code == 202, answer.text
    job: Json = answer.json()
    return job


async def shown(client: httpx.AsyncClient, job_id: str = "j1") -> Json:
    answer: Json = (await client.get(f"/v1/bulk/{job_id}")).json()
    return answer


def a_loop(service: Service, name: str = "a process") -> BulkLoop:
    return BulkLoop(PostgresBulkJobs(service.pool), name, service.commands.operator.retry)


async def retries(client: httpx.AsyncClient) -> list[str]:
    """The transfers that were retried, once for each retry."""
    facts = (await client.get("/v1/facts?limit=1000")).json()["data"]
    return [fact["stream_id"] for fact in facts if fact["payload"].get("actor") == "mia"]


async def test_job_retries_each_match_with_progress(
    client: httpx.AsyncClient, shop: Shop, at_stripe: StripeWorker, service: Service
) -> None:
    stuck = await given_up(shop, at_stripe, 3)
    await shop.paid("another", ben=5)
    dry = await client.post("/v1/bulk/retries", json={**JOB, **STUCK, "dry_run": True})
    assert (dry.status_code, dry.json()["status"], dry.json()["total"]) == (200, "planned", 3)
    assert "idempotent-replayed" not in dry.headers
    assert [UUID(one) for one in dry.json()["sample"]] == stuck
    assert dry.json()["money"] == [
        {"currency": "EUR", "direction": "from_sellers", "amount": 30, "number": 3}
    ]
    assert (await client.get("/v1/bulk/j1")).status_code == 404, "a dry run begins nothing"
    job = await begun(client)
    assert (job["status"], job["total"], job["done"]) == ("running", 3, 0)
    await a_loop(service).turn()
    job = await shown(client)
    assert (job["status"], job["done"], job["refused"], job["actor"]) == ("ended", 3, 0, "mia")
    assert job["ended_at"] is not None
    assert [UUID(one) for one in await retries(client)] == stuck
    assert (await shop.transfer(stuck[0]))["status"] != "permanently_failed"
    entries = (await client.get(f"/v1/transfers/{stuck[0]}/history")).json()["data"]
    assert any("the accounts are ready (bulk job j1)" in str(one["payload"]) for one in entries)


async def test_repeated_job_begins_no_second_one(
    client: httpx.AsyncClient, shop: Shop, at_stripe: StripeWorker, service: Service
) -> None:
    await given_up(shop, at_stripe, 1)
    await begun(client)
    again = await client.post("/v1/bulk/retries", json={**JOB, **STUCK})
    assert (again.status_code, again.headers["idempotent-replayed"]) == (200, "true")
    changes: list[Json] = [{"actor": "tom"}, {"reason": "x"}, {"filter": {}}]
    for change in changes:
        other = await client.post("/v1/bulk/retries", json={**JOB, **STUCK, **change})
        assert (other.status_code, other.json()["code"]) == (409, "content_differs")
    await a_loop(service).turn()
    assert len(await retries(client)) == 1
    assert await a_loop(service).turn() > 0, "there is no job left"


async def test_job_goes_on_in_another_process_after_a_crash(
    client: httpx.AsyncClient, shop: Shop, at_stripe: StripeWorker, service: Service
) -> None:
    stuck = await given_up(shop, at_stripe, 4)
    await begun(client)
    second_began = asyncio.Event()

    async def dies_at_the_second(transfer_id: UUID, actor: str, reason: str) -> None:
        if transfer_id == stuck[1]:
            second_began.set()
            await asyncio.Event().wait()
        await service.commands.operator.retry(transfer_id, actor, reason)

    jobs = PostgresBulkJobs(service.pool)
    first = asyncio.create_task(BulkLoop(jobs, "the first", dies_at_the_second).turn())
    await asyncio.wait_for(second_began.wait(), 20)
    assert await a_loop(service).turn() > 0, "one process at a time works on a job"
    assert (await shown(client))["done"] == 1
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    async with service.pool.connection() as connection:
        await connection.execute("update bulk_jobs set leased_until = now() - interval '1 s'")
    await a_loop(service, "the second").turn()
    assert ((await shown(client))["status"], [UUID(one) for one in await retries(client)]) == (
        "ended",
        stuck,
    )


async def test_process_that_has_lost_its_lease_stops(
    client: httpx.AsyncClient, shop: Shop, at_stripe: StripeWorker, service: Service
) -> None:
    stuck = await given_up(shop, at_stripe, 3)
    await begun(client)
    seen: list[UUID] = []

    async def loses_its_lease(transfer_id: UUID, actor: str, reason: str) -> None:
        seen.append(transfer_id)
        async with service.pool.connection() as connection:
            await connection.execute("update bulk_jobs set leased_by = 'another'")

    jobs = PostgresBulkJobs(service.pool)
    await BulkLoop(jobs, "the first", loses_its_lease).turn()
    assert (seen, (await shown(client))["done"]) == (stuck[:1], 0)


async def test_stopping_process_leaves_its_job_to_others(
    client: httpx.AsyncClient, shop: Shop, at_stripe: StripeWorker, service: Service
) -> None:
    await given_up(shop, at_stripe, 3)
    await begun(client)

    async def stops(transfer_id: UUID, actor: str, reason: str) -> None:
        stopping.stop()

    stopping = BulkLoop(PostgresBulkJobs(service.pool), "the first", stops)
    await stopping.run()
    assert (await shown(client))["done"] == 1
    await a_loop(service, "the second").turn()
    assert (await shown(client))["status"] == "ended"


async def test_refusal_is_counted_and_ends_no_job(
    client: httpx.AsyncClient, shop: Shop, at_stripe: StripeWorker, service: Service
) -> None:
    stuck = await given_up(shop, at_stripe, 2)
    await begun(client)
    by_tom = {"actor": "tom", "reason": "paid by bank", "evidence": "ticket 4711"}
    await client.post(f"/v1/transfers/{stuck[0]}/resolve", json=by_tom)
    await a_loop(service).turn()
    job = await shown(client)
    assert (job["status"], job["done"], job["refused"]) == ("ended", 2, 1)
    assert "nothing to retry" in job["last_refusal"]
    refused = {"transfer_id": str(stuck[0]), "inbox_id": None, "reason": job["last_refusal"]}
    assert job["refusals"] == [refused]


@pytest.mark.parametrize(
    ("given", "count"),
    [
        ({}, 4),
        ({"status": "pending"}, 2),
        ({"seller_id": "ada", "status": "permanently_failed"}, 2),
        ({"seller_id": "nobody"}, 0),
        ({"order_id": "o1"}, 1),
        ({"destination": "acct_ben"}, 1),
        ({"waiting_for": "funds"}, 0),
        ({"error": "Not_Found"}, 2),
        ({"currency": "EUR", "min_amount": 5}, 3),
        ({"currency": "USD"}, 0),
        ({"min_amount": 11}, 0),
        ({"attempts": 1}, 0),
        ({"refund_id": "r1"}, 1),
        ({"error": "%"}, 0),
        ({"created_from": "2020-01-01T00:00:00Z"}, 4),
        ({"created_to": "2020-01-01T00:00:00Z"}, 0),
    ],
)
async def test_filter_chooses_the_transfers(
    client: httpx.AsyncClient,
    shop: Shop,
    at_stripe: StripeWorker,
    given: Json,
    count: int,
) -> None:
    await given_up(shop, at_stripe, 2)
    await shop.paid("another", ben=5, ada=3)
    dry = await client.post("/v1/bulk/retries", json={**JOB, "filter": given, "dry_run": True})
    assert (dry.status_code, dry.json()["total"]) == (200, count), dry.text


async def test_job_without_a_match_is_at_its_end(client: httpx.AsyncClient) -> None:
    job = await begun(client)
    assert (job["status"], job["total"]) == ("ended", 0)


async def test_too_many_matches_are_refused_in_one_sentence(
    client: httpx.AsyncClient,
    shop: Shop,
    at_stripe: StripeWorker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await given_up(shop, at_stripe, 2)
    monkeypatch.setattr(bulk_jobs, "MOST_TARGETS", 1)
    answer = await client.post("/v1/bulk/retries", json={**JOB, **STUCK})
    assert (answer.status_code, answer.json()["code"]) == (409, "refused")
    assert "narrow the filter" in answer.json()["detail"]


async def test_job_with_more_transfers_than_seen_is_refused(
    client: httpx.AsyncClient, shop: Shop, at_stripe: StripeWorker
) -> None:
    await given_up(shop, at_stripe, 2)
    seen_one = await client.post("/v1/bulk/retries", json={**JOB, **STUCK, "at_most": 1})
    assert (seen_one.status_code, seen_one.json()["code"]) == (409, "refused")
    assert (await client.get("/v1/bulk")).json() == {"data": []}
    await begun(client, at_most=2)
    assert [job["job_id"] for job in (await client.get("/v1/bulk")).json()["data"]] == ["j1"]


async def test_cancelled_job_ends_before_its_next_transfer(
    client: httpx.AsyncClient, shop: Shop, at_stripe: StripeWorker, service: Service
) -> None:
    await given_up(shop, at_stripe, 3)
    await begun(client)
    cancel = {"actor": "tom", "reason": "the wrong filter"}

    async def is_cancelled(transfer_id: UUID, actor: str, reason: str) -> None:
        seen.append(transfer_id)
        assert (await client.post("/v1/bulk/j1/cancel", json=cancel)).status_code == 200

    seen: list[UUID] = []
    loop = BulkLoop(PostgresBulkJobs(service.pool), "a process", is_cancelled)
    await loop.turn()
    assert await loop.turn() > 0, "a cancelled job is not claimed again"
    job = await shown(client)
    assert (len(seen), job["status"], job["total"]) == (1, "cancelled", 3)
    assert (job["cancelled_by"], job["cancel_reason"]) == ("tom", "the wrong filter")
    again = await client.post("/v1/bulk/j1/cancel", json=cancel)
    assert (again.status_code, again.json()) == (200, job)


async def test_job_at_its_end_is_not_cancelled(client: httpx.AsyncClient) -> None:
    await begun(client)
    cancel = {"actor": "tom", "reason": "too late"}
    assert (await client.post("/v1/bulk/j1/cancel", json=cancel)).json()["code"] == "refused"
    assert (await client.post("/v1/bulk/j2/cancel", json=cancel)).status_code == 404
