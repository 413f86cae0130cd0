"""Deadlines of disputes: told by the provider, kept, and shown to the person who has to answer."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import httpx
import pytest

from application.webhooks.deadlines import psp_deadline, stripe_deadline
from infrastructure.service import Service
from tests.support.alarm_world import AlarmWorld
from tests.support.json_types import Json
from tests.support.storage import on_postgres

SOON, LATER = datetime(2026, 12, 9, 23, 59, tzinfo=UTC), datetime(2026, 12, 20, tzinfo=UTC)
SHOWN: Json = {
    "amount": 400,
    "currency": "eur",
    "status": "needs_response",
    "payment_intent": "pi_1",
}


@pytest.fixture
async def world(service: Service, database_url: str) -> AsyncIterator[AlarmWorld]:
    async with on_postgres(database_url) as storage:
        world = AlarmWorld(service, storage)
        await world.told.sells(payment_id="pi_1")
        yield world


async def disputed(world: AlarmWorld, name: str, due: datetime | None) -> None:
    details = {"due_by": int(due.timestamp()) if due is not None else None}
    named = {"id": name, "metadata": {"order_id": "o1"}, "evidence_details": details}
    await world.stripe_tells("charge.dispute.created", **SHOWN, **named)


@pytest.mark.parametrize(
    "details",
    [None, [], "soon", {}, {"due_by": None}, {"due_by": True}, {"due_by": -1}, {"due_by": 1e20},
     {"due_by": 10**30}, {"due_by": "1765324740"}, {"due_by": 0}],
)  # fmt: skip
def test_deadline_of_another_form_is_none(details: object) -> None:
    assert stripe_deadline(details) is None


def test_deadlines_are_read_in_utc() -> None:
    assert stripe_deadline({"due_by": int(SOON.timestamp()), "past_due": False}) == SOON
    for text in ("2026-12-09T23:59:00.000Z", "2026-12-09T23:59:00", "2026-12-10T00:59:00+01:00"):
        assert psp_deadline(text) == SOON
    for odd in (None, "", "soon", "2026-13-01", "0001-01-01T00:00:00+14:00"):
        assert psp_deadline(odd) is None


async def test_deadline_is_in_the_list_the_overview_and_the_alarm(
    world: AlarmWorld, client: httpx.AsyncClient
) -> None:
    await disputed(world, "dp_late", LATER)
    await disputed(world, "dp_none", None)
    await disputed(world, "dp_soon", SOON)
    listed = (await client.get("/v1/disputes")).json()["data"]
    assert {one["dispute_id"]: one["evidence_due_by"] for one in listed} == {
        "dp_late": "2026-12-20T00:00:00Z",
        "dp_none": None,
        "dp_soon": "2026-12-09T23:59:00Z",
    }
    (group,) = (await client.get("/v1/overview")).json()["alarms"]
    assert (group["kind"], group["deadline"]) == ("dispute_open", "2026-12-09T23:59:00Z")
    assert [one["subject_id"] for one in group["examples"]] == ["dp_soon", "dp_late", "dp_none"]
    assert "until 2026-12-09 23:59 UTC" in group["examples"][0]["detail"]


async def test_moved_deadline_counts_until_the_dispute_is_decided(
    world: AlarmWorld, client: httpx.AsyncClient
) -> None:
    await disputed(world, "dp_1", SOON)
    await disputed(world, "dp_1", SOON)
    await disputed(world, "dp_1", LATER)
    await disputed(world, "dp_1", None)
    (shown,) = (await client.get("/v1/disputes")).json()["data"]
    assert shown["evidence_due_by"] == "2026-12-20T00:00:00Z"
    (alarm,) = await world.open("dispute_open")
    assert alarm.times == 3, "the opening, and two deadlines"
    ended = {"id": "dp_1", "metadata": {"order_id": "o1"}, **SHOWN, "status": "lost"}
    late = {"evidence_details": {"due_by": int(SOON.timestamp())}}
    await world.stripe_tells("charge.dispute.closed", **ended, **late)
    assert await world.open("dispute_open") == []
