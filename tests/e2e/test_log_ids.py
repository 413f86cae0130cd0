"""Log lines of workers have the ids of their work, as those of the inbox and of the web do."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import httpx
import psycopg
import pytest
import structlog
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from application.webhooks.handler import StoredEvent, WebhookHandler, WebhookResult
from application.webhooks.inbox_worker import InboxLoop
from domain.identity import transfer_stream
from infrastructure.clock import DatabaseClock
from infrastructure.service import Service
from infrastructure.settings import Settings
from infrastructure.simulators.stripe import SimulatorControl
from infrastructure.web.app import application_of
from infrastructure.web.operation import ApiCall, ApiOperation, Reply
from infrastructure.web.requests import OrderIn, Parameters
from tests.infrastructure.web.conftest import TOKEN, offline_service
from tests.support.ledger_view import LedgerView, eventually
from tests.support.service import SystemUnderTest
from tests.support.storage import in_memory

__all__ = ["offline_service"]
REFUSE_PAID = """
create function refuse() returns trigger language plpgsql as
    $$ begin raise exception 'no transfer may be paid' using errcode = '23514'; end $$;
create trigger refuse_paid before update on seller_transfers
   for each row when (new.status = 'completed') execute function refuse();
"""

Lines = list[dict[str, Any]]


@pytest.fixture
def lines() -> Iterator[Lines]:
    with capture_logs([merge_contextvars]) as lines:
        yield lines  # type: ignore[misc]


async def test_line_of_a_worker_has_the_ids_of_the_call(
    settings: Settings, view: LedgerView, stripe: SimulatorControl, kindness: None, lines: Lines
) -> None:
    system, database_url = SystemUnderTest(settings, view, stripe), settings.database_url or ""
    with psycopg.connect(database_url, autocommit=True) as owner:
        owner.execute(REFUSE_PAID.encode())

    async def told() -> Lines:
        return [line for line in lines if line["event"] == "an outcome cannot be recorded"]

    async with system.at_work() as caller:
        await caller.order("o1", 1_000, anna=900)
        await caller.pay("o1")
        (line,) = await eventually(told, "the line")
    transfer_id = str(transfer_stream("o1", "anna"))
    assert (line["kind"], line["transfer_id"]) == ("transferring", transfer_id)
    assert (line["order_id"], line["seller_id"]) == ("o1", "anna")
    assert line["idempotency_key"].startswith(f"transfer:{transfer_id}:")
    assert line["provider_request_id"].startswith("req_")


async def test_line_about_a_webhook_has_its_names(lines: Lines) -> None:
    async def fail(event: StoredEvent) -> WebhookResult:
        raise RuntimeError("a fault")

    async def told() -> Lines:
        return [line for line in lines if line["event"] == "a webhook failed"]

    async with in_memory() as storage:
        handler = WebhookHandler(stripe={"transfer.updated": fail})
        loop = InboxLoop(
            storage.inbox,
            handler,
            storage.alarms,
            DatabaseClock(),
            parked_deadline=timedelta(days=1),
        )
        await storage.inbox.put("stripe", "evt_1", "transfer.updated", b"{}", await storage.now())
        await loop.turn()
        await loop.drain()
    (line,) = await told()
    assert (line["provider"], line["event_id"], line["inbox_id"]) == ("stripe", "evt_1", 1)


async def test_line_of_a_request_has_the_ids_in_path_and_body(
    offline_service: Service, lines: Lines
) -> None:
    async def serve(call: ApiCall[OrderIn, Parameters]) -> Reply:
        structlog.get_logger().warning("served")
        return Reply(200, {})

    op = ApiOperation("POST", "/v1/sellers/{seller_id}", serve, "A test.", {200: dict}, (), OrderIn)
    app = application_of(offline_service, [op])
    shares = [{"seller_id": "ada", "destination": "acct_1", "amount": 5}]
    body = {"order_id": "o7", "currency": "EUR", "amount": 5, "shares": shares}
    headers = {"Authorization": f"Bearer {TOKEN}"}
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://l", headers=headers) as web:
        (await web.post("/v1/sellers/ada", json=body)).raise_for_status()
        await web.post("/v1/sellers/bob", json=body)
    served = [line for line in lines if line["event"] == "served"]
    assert [(line["seller_id"], line["order_id"]) for line in served] == [
        ("ada", "o7"),
        ("bob", "o7"),
    ]
    assert "seller_id" not in structlog.contextvars.get_contextvars()
