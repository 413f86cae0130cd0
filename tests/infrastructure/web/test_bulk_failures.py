"""Bulk jobs whose targets fail: each failure is told, no job stops, and no effect is repeated."""

from uuid import UUID

import httpx
import orjson
import pytest

from application import bulk
from application.bulk import BulkLoop
from domain.errors import Unavailable
from infrastructure.postgres.bulk_jobs import PostgresBulkJobs
from infrastructure.postgres.event_store import StoredFact
from infrastructure.service import Service
from tests.infrastructure.web.conftest import Shop, StripeWorker
from tests.infrastructure.web.test_bulk import a_loop, begun, given_up, retries, shown


@pytest.fixture(autouse=True)
def no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "WAITS", (0.0, 0.0, 0.0))


async def with_a_newer_fact(service: Service, stream: UUID) -> None:
    version = len((await service.store.load([stream]))[stream]) + 1
    at = {"_type_": "datetime_iso", "_data_": service.clock.now().isoformat()}
    state = orjson.dumps({"timestamp": at, "note": "gift"})
    topic = "ledger.seller_transfer.gift_noted"
    await service.store.append([StoredFact(stream, version, topic, state)])


async def test_target_with_a_newer_fact_fails_alone(
    client: httpx.AsyncClient, shop: Shop, at_stripe: StripeWorker, service: Service
) -> None:
    stuck = await given_up(shop, at_stripe, 3)
    await with_a_newer_fact(service, stuck[1])
    await begun(client)
    await begun(client, job_id="j2", filter={"order_id": "o0"})
    loop = a_loop(service)
    await loop.turn()
    job = await shown(client)
    assert (job["status"], job["done"], job["refused"]) == ("ended", 3, 1)
    assert "gift_noted" in job["last_refusal"]
    assert [UUID(one) for one in await retries(client)] == [stuck[0], stuck[2]]
    await loop.turn()
    assert (await shown(client, "j2"))["status"] == "ended", "the job behind it goes on"


@pytest.mark.parametrize("error", [Unavailable("a lock"), OSError("lost"), KeyError("r1")])
async def test_error_that_passes_is_tried_again_and_one_that_stays_is_told(
    client: httpx.AsyncClient,
    shop: Shop,
    at_stripe: StripeWorker,
    service: Service,
    error: Exception,
) -> None:
    stuck = await given_up(shop, at_stripe, 2)
    await begun(client)
    tried: list[UUID] = []

    async def fails(transfer_id: UUID, actor: str, reason: str) -> None:
        tried.append(transfer_id)
        if transfer_id == stuck[0] or tried.count(transfer_id) < 3:
            raise error
        await service.commands.operator.retry(transfer_id, actor, reason)

    await BulkLoop(PostgresBulkJobs(service.pool), "a process", fails).turn()
    job = await shown(client)
    assert (job["status"], job["done"], job["refused"]) == ("ended", 2, 1)
    assert job["last_refusal"].startswith(f"{type(error).__name__}: ")
    assert (tried.count(stuck[0]), tried.count(stuck[1])) == (4, 3)
    assert [UUID(one) for one in await retries(client)] == [stuck[1]]


@pytest.mark.parametrize("crash", [True, False], ids=["crash", "lost answer"])
async def test_stored_effect_that_was_not_counted_is_not_repeated(
    client: httpx.AsyncClient,
    shop: Shop,
    at_stripe: StripeWorker,
    service: Service,
    crash: bool,
) -> None:
    """The process dies after the retry is stored, or the connection is lost in COMMIT."""
    stuck = await given_up(shop, at_stripe, 2)
    await begun(client)

    async def breaks_off(transfer_id: UUID, actor: str, reason: str) -> None:
        await service.commands.operator.retry(transfer_id, actor, reason)
        if transfer_id == stuck[1]:
            raise KeyboardInterrupt if crash else Unavailable("gone", in_doubt=True)

    first = BulkLoop(PostgresBulkJobs(service.pool), "a process", breaks_off)
    if crash:
        with pytest.raises(KeyboardInterrupt):
            await first.turn()
        assert (await shown(client))["done"] == 1
        await a_loop(service).turn()
    else:
        await first.turn()
    job = await shown(client)
    assert (job["status"], job["done"], job["refused"]) == ("ended", 2, 0)
    assert [UUID(one) for one in await retries(client)] == stuck
