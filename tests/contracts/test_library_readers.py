"""The readers of `eventsourcing` on our table; its writer is refused.

A program can point an `Application` at the ledger: repository, notification log and subscription
work.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from uuid import UUID

import pytest
from eventsourcing.application import AggregateNotFoundError, Application
from eventsourcing.domain import Aggregate, event
from eventsourcing.persistence import PersistenceError
from psycopg.conninfo import conninfo_to_dict

from infrastructure.postgres.connections import new_pool
from infrastructure.postgres.event_store import EventStore, StoredFact


class Account(Aggregate):
    TOPIC = "test.account"

    class Created(Aggregate.Created):
        TOPIC = "test.account.opened"
        owner: str

    class Paid(Aggregate.Event):
        TOPIC = "test.account.paid"
        amount: int

    @event(Created)
    def __init__(self, owner: str) -> None:
        self.owner, self.balance = owner, 0

    @event(Paid)
    def pay(self, amount: int) -> None:
        self.balance += amount


class Ledger(Application[UUID]):
    name = "ledger"


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[EventStore]:
    async with new_pool(database_url) as pool:
        store = EventStore(database_url, pool)
        await store.start()
        yield store
        await store.aclose()


@pytest.fixture
def app(database_url: str) -> Iterator[Ledger]:
    given = conninfo_to_dict(database_url)
    environment = {
        "PERSISTENCE_MODULE": "eventsourcing.postgres",
        "CREATE_TABLE": "n",
        "POSTGRES_DBNAME": str(given["dbname"]),
        "POSTGRES_HOST": str(given.get("host", "localhost")),
        "POSTGRES_PORT": str(given.get("port", 5432)),
        "POSTGRES_USER": str(given.get("user", "")),
        "POSTGRES_PASSWORD": str(given.get("password", "")),
    }
    with closing(Ledger(environment)) as app:
        yield app


async def save(store: EventStore, app: Ledger, *accounts: Account) -> int:
    """Save as `Application.save` does, but through our event store."""
    stored: list[StoredFact] = []
    for account in accounts:
        for new in account.collect_events():
            mapped = app.mapper.to_stored_event(new)
            stored.append(
                StoredFact(account.id, mapped.originator_version, mapped.topic, mapped.state)
            )
    return await store.append(stored)


async def test_repository_finds_aggregates_at_any_version(store: EventStore, app: Ledger) -> None:
    account = Account("Ada")
    for amount in (10, 20, 30):
        account.pay(amount)
    await save(store, app, account)

    found: Account = app.repository.get(account.id)
    assert found == account
    assert found.balance == 60
    earlier: Account = app.repository.get(account.id, version=2)
    assert (earlier.owner, earlier.balance, earlier.version) == ("Ada", 10, 2)
    with pytest.raises(AggregateNotFoundError):
        app.repository.get(UUID(int=0))


async def test_notification_log_has_our_positions(store: EventStore, app: Ledger) -> None:
    ada, bob = Account("Ada"), Account("Bob")
    await save(store, app, ada, bob)
    ada.pay(5)
    assert await save(store, app, ada) == 3

    notifications = app.notification_log.select(start=1, limit=10)
    assert [(n.id, n.originator_id, n.topic) for n in notifications] == [
        (1, ada.id, "test.account.opened"),
        (2, bob.id, "test.account.opened"),
        (3, ada.id, "test.account.paid"),
    ]
    assert [n.id for n in app.notification_log.select(start=2, limit=1)] == [2]
    assert [
        n.id for n in app.notification_log.select(start=1, limit=9, topics=["test.account.paid"])
    ] == [3]
    assert app.recorder.max_notification_id() == 3


async def test_subscription_is_woken_by_our_appends(store: EventStore, app: Ledger) -> None:
    account = Account("Ada")
    await save(store, app, account)
    with app.recorder.subscribe(gt=0) as subscription:
        assert (await asyncio.to_thread(next, subscription)).id == 1
        waiting = asyncio.create_task(asyncio.to_thread(next, subscription))
        account.pay(7)
        await save(store, app, account)
        async with asyncio.timeout(10):
            news = await waiting
        assert (news.id, news.topic) == (2, "test.account.paid")


async def test_library_cannot_write_past_the_hash_chain(store: EventStore, app: Ledger) -> None:
    with pytest.raises(PersistenceError):
        app.save(Account("Mallory"))
    assert await store.head() == 0


async def test_library_reads_the_stored_facts(store: EventStore, app: Ledger) -> None:
    account = Account("Ädä 😀")
    await save(store, app, account)
    [read] = app.recorder.select_events(account.id)
    [recorded] = (await store.load([account.id]))[account.id]
    assert (read.originator_id, read.originator_version, read.topic, read.state) == recorded[:4]
