"""The listener for PostgreSQL notifications."""

import asyncio
from datetime import timedelta

import psycopg
import pytest

from infrastructure.postgres.event_store import EventStore
from infrastructure.postgres.listener import Listener
from tests.infrastructure.postgres.conftest import ConnectionProxy, Make, Person


async def awake(event: asyncio.Event) -> None:
    async with asyncio.timeout(10):
        await event.wait()
    event.clear()


async def test_append_wakes_only_listeners_for_facts(
    database_url: str, store: EventStore, fact: Make, person: Person
) -> None:
    facts, webhooks = asyncio.Event(), asyncio.Event()
    listener = Listener(database_url)
    listener.on("ledger_events", facts.set)
    listener.on("webhook_inbox", webhooks.set)
    await listener.start()
    await store.append([fact()])
    await awake(facts)
    assert not webhooks.is_set()
    await person.execute("notify webhook_inbox")
    await awake(webhooks)
    await listener.aclose()


async def test_lost_connection_wakes_all_listeners_once(database_url: str, person: Person) -> None:
    facts, webhooks = asyncio.Event(), asyncio.Event()
    listener = Listener(database_url)
    listener.on("ledger_events", facts.set)
    listener.on("webhook_inbox", webhooks.set)
    await listener.start()
    killed = await person.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity where query like 'listen%' and "
        "datname = current_database()"
    )
    assert await killed.fetchall() == [(True,)]
    await awake(facts)
    await awake(webhooks)
    await person.execute("notify ledger_events")
    await awake(facts)
    assert not webhooks.is_set()
    await listener.aclose()


async def test_listener_survives_database_outage(proxy: ConnectionProxy, person: Person) -> None:
    news = asyncio.Event()
    listener = Listener(proxy.url)
    listener.on("news", news.set)
    await listener.start()
    await proxy.aclose()
    await asyncio.sleep(0.1)
    assert not news.is_set()
    await proxy.start()
    await awake(news)
    await person.execute("notify news")
    await awake(news)
    await listener.aclose()


async def test_idle_connection_is_probed(database_url: str, person: Person) -> None:
    news = asyncio.Event()
    listener = Listener(database_url, probe_interval=timedelta(milliseconds=20))
    listener.on("news", news.set)
    await listener.start()
    probed = "select from pg_stat_activity where query = 'show transaction_read_only' and datname = current_database()"
    async with asyncio.timeout(10):
        while not await (await person.execute(probed)).fetchall():  # noqa: ASYNC110 - the event is in the database
            await asyncio.sleep(0.01)
    for _ in range(20):  # notifications that come while it asks are not lost
        await person.execute("notify news")
        await awake(news)
    await listener.aclose()


async def test_failing_callback_does_not_silence_others(
    database_url: str, person: Person, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise RuntimeError("boom")

    news = asyncio.Event()
    listener = Listener(database_url)
    listener.on("news", fail)
    listener.on("news", news.set)
    await listener.start()
    await person.execute("notify news")
    await awake(news)
    await listener.aclose()
    assert "boom" in caplog.text


async def test_start_without_database_is_reported(proxy: ConnectionProxy) -> None:
    await proxy.aclose()
    with pytest.raises(psycopg.OperationalError):
        await Listener(proxy.url).start()
