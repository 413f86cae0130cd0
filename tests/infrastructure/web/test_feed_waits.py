"""The feed's long poll and its stream: woken by appends, silent without a connection, ended by the
end of the process."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from infrastructure.postgres.listener import Listener
from infrastructure.service import Service
from infrastructure.web.endpoints import facts as feed
from tests.infrastructure.web.conftest import TOKEN, Shop
from tests.support.ledger_view import eventually
from tests.support.web_server import served

STREAM = {"Accept": "text/event-stream"}


@pytest.fixture(autouse=True)
async def listening(service: Service) -> AsyncIterator[None]:
    """Pass on the database's notifications, as the loops of a process do."""
    listener = Listener(service.database_url)
    listener.on("ledger_events", service.news.wake)
    await listener.start()
    yield
    await listener.aclose()


@pytest.fixture
async def http(app: Starlette) -> AsyncIterator[httpx.AsyncClient]:
    """A client over a socket, so that an answer arrives in pieces."""
    async with (
        served(app) as url,
        httpx.AsyncClient(
            base_url=url, headers={"Authorization": f"Bearer {TOKEN}"}, trust_env=False, timeout=30
        ) as client,
    ):
        yield client


async def waits(service: Service, count: int = 1) -> None:
    """Wait until so many calls wait for facts, and hold no connection."""

    async def they_do() -> bool:
        pool = service.pool.get_stats()
        return service.news.readers == count and pool["pool_available"] == pool["pool_size"]

    await eventually(they_do, f"{count} calls wait")


async def test_long_poll_is_answered_by_the_next_append(
    client: httpx.AsyncClient, shop: Shop, service: Service
) -> None:
    poll = asyncio.create_task(client.get("/v1/facts?after=0&wait=60"))
    await waits(service)
    await shop.order("o1")
    page = (await asyncio.wait_for(poll, 10)).json()
    assert [fact["topic"] for fact in page["data"]] == ["ledger.order.registered"]
    assert page["next_after"] == page["data"][-1]["position"]
    again = asyncio.create_task(client.get(f"/v1/facts?after={page['next_after']}&wait=60"))
    await waits(service)
    service.news.wake()  # news without facts: a wake-up is a hint only
    await shop.order("o2")
    assert (await asyncio.wait_for(again, 10)).json()["data"][0]["payload"]["order_id"] == "o2"
    await waits(service, 0)


async def test_long_poll_without_news_ends_after_its_seconds(client: httpx.AsyncClient) -> None:
    began = asyncio.get_running_loop().time()
    answer = await client.get("/v1/facts?after=7&wait=1")
    assert answer.json() == {"data": [], "next_after": 7}
    assert 0.9 < asyncio.get_running_loop().time() - began < 20


async def test_long_poll_ends_with_the_process(client: httpx.AsyncClient, service: Service) -> None:
    poll = asyncio.create_task(client.get("/v1/facts?wait=60"))
    await waits(service)
    service.news.end()
    assert (await asyncio.wait_for(poll, 10)).json()["data"] == []


async def test_caller_who_hangs_up_waits_no_longer(
    http: httpx.AsyncClient, service: Service
) -> None:
    poll = asyncio.create_task(http.get("/v1/facts?wait=60"))
    await waits(service)
    poll.cancel()
    await waits(service, 0)


async def test_too_many_followers_are_refused(
    client: httpx.AsyncClient, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "MOST_FOLLOWERS", 1)
    poll = asyncio.create_task(client.get("/v1/facts?wait=60"))
    await waits(service)
    for headers in ({}, STREAM):
        answer = await client.get("/v1/facts?wait=1", headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (503, "too_many_followers")
    service.news.end()
    await poll


# --- the stream -----------------------------------------------------------------------------------


class Events:
    """The messages of a stream, as a browser reads them."""

    def __init__(self, lines: AsyncIterator[str]) -> None:
        self._lines = lines

    async def next(self) -> tuple[str, Any]:
        """Return the id and the data of the next event; a comment has no id."""
        message: dict[str, str] = {}
        async with asyncio.timeout(10):
            async for line in self._lines:
                if not line:
                    if message.keys() & {"data", ""}:
                        break
                    continue
                name, _, value = line.partition(": " if not line.startswith(":") else ":")
                message[name] = value
        if "data" not in message:
            return message.get("", "the end"), None
        return message["id"], json.loads(message["data"])


@asynccontextmanager
async def streamed(http: httpx.AsyncClient, query: str = "", **more: str) -> AsyncIterator[Events]:
    async with http.stream("GET", f"/v1/facts{query}", headers={**STREAM, **more}) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield Events(answer.aiter_lines())


async def test_stream_shows_old_and_new_facts_once_in_order(
    http: httpx.AsyncClient, shop: Shop
) -> None:
    await shop.paid("o1", ada=1, bob=2)
    whole = (await http.get("/v1/facts?limit=1000")).json()["data"]
    async with streamed(http, "?limit=2") as events:
        seen = [await events.next() for _ in whole]
        await shop.order("o2")
        position, fresh = await events.next()
    assert [fact for _, fact in seen] == whole
    assert [int(position) for position, _ in seen] == [fact["position"] for fact in whole]
    assert (int(position), fresh["payload"]["order_id"]) == (len(whole) + 1, "o2")


async def test_stream_continues_after_the_last_event_id(
    http: httpx.AsyncClient, shop: Shop
) -> None:
    await shop.order("o1")
    await shop.order("o2")
    async with streamed(http, "?after=0", **{"Last-Event-ID": "1"}) as events:
        assert (await events.next())[1]["payload"]["order_id"] == "o2"
    page = await http.get("/v1/facts?after=0", headers={"Last-Event-ID": "2"})
    assert page.json()["data"] == []
    for wrong in ("-1", "x", "", "1.0", "9" * 17):
        answer = await http.get("/v1/facts", headers={**STREAM, "Last-Event-ID": wrong})
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


async def test_silent_stream_has_heartbeats_and_ends_with_the_process(
    http: httpx.AsyncClient, service: Service, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "HEARTBEAT_SECONDS", 0.05)
    async with streamed(http) as events:
        assert await events.next() == (" heartbeat", None)
        await shop.order("o1")
        while (message := await events.next())[1] is None:
            pass
        assert message[0] == "1"
        service.news.end()
        while (message := await events.next())[0] != "the end":
            assert message[1] is None
    await waits(service, 0)


async def test_stream_that_loses_its_database_ends(
    http: httpx.AsyncClient, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with streamed(http) as events:
        await waits(service)
        await service.pool.close()
        service.news.wake()
        assert await events.next() == ("the end", None)
    answer = await http.get("/v1/facts", headers=STREAM)
    assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")


async def test_stream_ends_after_its_longest_life(
    http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "STREAM_SECONDS", 0.05)
    async with streamed(http) as events:
        while (message := await events.next())[0] != "the end":
            assert message[0] == " heartbeat"


async def test_head_of_the_feed_does_not_stream(client: httpx.AsyncClient) -> None:
    answer = await client.head("/v1/facts", headers=STREAM)
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize("query", ["wait=-1", "wait=61", "wait=x", "wait=1.5"])
async def test_wait_must_be_a_bounded_count(offline_client: httpx.AsyncClient, query: str) -> None:
    answer = await offline_client.get(f"/v1/facts?{query}")
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
