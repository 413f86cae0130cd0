"""Acknowledgement of an alarm without an end of its own: once, seen, and until it is raised
again."""

import asyncio
from uuid import UUID

import httpx
import pytest

from domain.alarm import ACKNOWLEDGED
from domain.provider_call.outcome import Succeeded
from infrastructure.postgres.integrity.verify import verify
from projections.alarm_causes import CAUSES
from tests.infrastructure.web.conftest import Shop, StripeWorker
from tests.support.database_edits import quiet
from tests.support.json_types import Json

SAID: Json = {"actor": "mia", "reason": "settled by bank, ticket 7"}


@pytest.fixture
async def transfer(shop: Shop, at_stripe: StripeWorker) -> UUID:
    """A transfer whose reversal took another amount than was asked for."""
    transfer = (await shop.paid(ada=8_000))["ada"]
    await at_stripe.does(transfer)
    await takes_too_much(shop, at_stripe, transfer, "r1")
    return transfer


async def takes_too_much(
    shop: Shop, at_stripe: StripeWorker, transfer: UUID, refund_id: str
) -> None:
    await shop.refund(refund_id, amount=1_000)
    await at_stripe.answers(transfer, Succeeded(f"trr_{refund_id}", 1_300))


def path(transfer: UUID, kind: str = "drift") -> str:
    return f"/v1/alarms/{kind}/{transfer}"


async def facts_of(client: httpx.AsyncClient, transfer: UUID) -> list[Json]:
    found: list[Json] = (await client.get(f"/v1/transfers/{transfer}/history")).json()["data"]
    return [one for one in found if one["fact"] == "TransferAlarmAcknowledged"]


def test_kinds_that_can_be_acknowledged_have_the_lever() -> None:
    levers = {kind for kind, cause in CAUSES.items() if "acknowledge" in cause.levers}
    assert levers == set(ACKNOWLEDGED)


async def test_acknowledged_alarm_ends_once_and_the_history_names_the_actor(
    client: httpx.AsyncClient, transfer: UUID
) -> None:
    shown = (await client.get(path(transfer))).json()
    assert (shown["cleared_at"], shown["count"]) == (None, 1)
    for _ in range(2):
        ended = await client.post(f"{path(transfer)}/acknowledge", json=SAID)
        assert (ended.status_code, ended.json()["cleared_at"] is None) == (200, False)
    (fact,) = await facts_of(client, transfer)
    assert "'mia' has dealt with the alarm 'drift'" in fact["sentence"]
    assert "ticket 7" in fact["sentence"]
    assert (await client.get("/v1/alarms")).json()["data"] == []


async def test_acknowledged_alarm_that_fires_again_is_open_again(
    client: httpx.AsyncClient, transfer: UUID, shop: Shop, at_stripe: StripeWorker
) -> None:
    await client.post(f"{path(transfer)}/acknowledge", json=SAID)
    await takes_too_much(shop, at_stripe, transfer, "r2")
    (again,) = (await client.get("/v1/alarms")).json()["data"]
    assert (again["kind"], again["count"]) == ("drift", 1)
    await takes_too_much(shop, at_stripe, transfer, "r3")
    late = await client.post(f"{path(transfer)}/acknowledge", json={**SAID, "count": 1})
    assert (late.status_code, late.json()["code"]) == (409, "alarm_seen_again")
    seen = await client.post(f"{path(transfer)}/acknowledge", json={**SAID, "count": 2})
    assert seen.json()["cleared_at"] is not None


async def test_alarm_with_an_end_of_its_own_is_not_acknowledged(
    client: httpx.AsyncClient, transfer: UUID
) -> None:
    other = await client.post(f"{path(transfer, 'awaiting_funds')}/acknowledge", json=SAID)
    assert (other.status_code, other.json()["code"]) == (409, "ends_with_its_cause")
    for missing in (path(transfer, "evidence_held"), "/v1/alarms/drift/nothing"):
        assert (await client.post(f"{missing}/acknowledge", json=SAID)).status_code == 404
        assert (await client.get(missing)).status_code == 404


async def test_acknowledgement_is_part_of_what_verify_and_rebuild_fold(
    client: httpx.AsyncClient, transfer: UUID, database_url: str
) -> None:
    await client.post(f"{path(transfer)}/acknowledge", json=SAID)
    assert (await asyncio.to_thread(verify, database_url, [], None, quiet)).findings == []
