"""The list of events: the way to find an event whose webhook was lost."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from infrastructure.simulators.stripe import SimulatorControl
from tests.infrastructure.simulators.stripe.conftest import ErrorOf, StripeCaller

THIRTY_DAYS = 30 * 86_400
NOWHERE = "http://127.0.0.1:9/hook"
"""Nothing listens there."""


async def types(api: StripeCaller, **query: object) -> list[str]:
    answer = await api.get("/v1/events", query)
    assert answer.status_code == 200, answer.text
    return [event["type"] for event in answer.json()["data"]]


async def test_events_are_filtered_by_type_and_instant(
    api: StripeCaller, control: SimulatorControl
) -> None:
    transfer = await api.made()
    await control.advance_clock(10)
    await api.reverse(transfer["id"], 5)
    await control.fund("usd", 1)
    assert await types(api) == ["balance.available", "transfer.reversed", "transfer.created"]
    assert await types(api, type="transfer.*") == ["transfer.reversed", "transfer.created"]
    chosen = {"types[0]": "transfer.created", "types[1]": "balance.available"}
    assert await types(api, **chosen) == ["balance.available", "transfer.created"]
    assert await types(api, **{"created[gt]": 1_800_000_000}) == [
        "balance.available",
        "transfer.reversed",
    ]
    assert await types(api, **{"created[lte]": 1_800_000_000}) == ["transfer.created"]


async def test_type_and_types_exclude_each_other(
    api: StripeCaller, control: SimulatorControl, refused: ErrorOf
) -> None:
    answer = await api.get("/v1/events", {"type": "a", "types[0]": "b"})
    assert refused(answer)[:2] == (400, "invalid_request_error")


async def test_event_is_readable_for_thirty_days(
    api: StripeCaller, control: SimulatorControl, refused: ErrorOf
) -> None:
    await api.made()
    (event,) = (await api.get("/v1/events")).json()["data"]
    await control.advance_clock(THIRTY_DAYS)
    assert (await api.get(f"/v1/events/{event['id']}")).json() == event
    assert await types(api) == ["transfer.created"]
    await control.advance_clock(1)
    assert refused(await api.get(f"/v1/events/{event['id']}"))[:3] == (
        404,
        "invalid_request_error",
        "resource_missing",
    )
    assert await types(api) == []
    assert await types(api, **{"created[gte]": 0}) == []


@pytest.fixture
async def taker() -> AsyncIterator[str]:
    """A webhook endpoint that takes everything."""

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
    server.close()
    await server.wait_closed()


async def test_undelivered_event_is_found_by_delivery_success(
    api: StripeCaller, control: SimulatorControl, taker: str
) -> None:
    await control.add_webhook_endpoint(taker, ["whsec_1"], knobs={"duplicates": 1})
    lossy = await control.add_webhook_endpoint(
        NOWHERE, ["whsec_1"], types=["transfer.reversed"], knobs={"paused": True}
    )
    transfer = await api.made()
    await api.reverse(transfer["id"], 5)
    await control.change_webhook_endpoint(lossy, knobs={"paused": False, "retry_schedule": []})
    await control.webhooks_quiet()
    assert await types(api, delivery_success="true") == ["transfer.created"]
    assert await types(api, delivery_success="false") == ["transfer.reversed"]
    assert [
        event["pending_webhooks"] for event in (await api.get("/v1/events")).json()["data"]
    ] == [1, 0]


async def test_lost_webhook_is_found_in_event_list(
    api: StripeCaller, control: SimulatorControl, taker: str
) -> None:
    await control.add_webhook_endpoint(taker, ["whsec_1"], knobs={"drop": ["*"]})
    await api.made()
    assert await types(api, delivery_success="false") == ["transfer.created"]
