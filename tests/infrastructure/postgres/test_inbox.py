"""The inbox: each received webhook is stored once, handled by one worker at a time, and never
lost."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from domain.errors import ConstraintBroken
from infrastructure.postgres.alarms import PostgresAlarms
from infrastructure.postgres.connections import Pool
from infrastructure.postgres.event_store import EventStore, StoredFact
from infrastructure.postgres.inbox import PostgresInbox
from tests.infrastructure.postgres.conftest import ConnectionProxy, Make, Person

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
LEASE = timedelta(seconds=10)


@pytest.fixture
def open_inbox(database_url: str, pool: Pool) -> Make:
    @asynccontextmanager
    async def opened(url: str = database_url, **options: Any) -> AsyncIterator[PostgresInbox]:
        inbox = PostgresInbox(url, pool, **options)
        await inbox.start()
        try:
            yield inbox
        finally:
            await inbox.aclose()

    return opened


async def put(inbox: PostgresInbox, name: str, body: bytes = b"{}") -> bool:
    return await inbox.put("stripe", name, "transfer.created", body, NOW)


async def claimed(inbox: PostgresInbox, holder: str = "worker-1", limit: int = 10) -> list[str]:
    return [event.event_id for event in (await inbox.claim(holder, limit, LEASE)).events]


async def test_five_concurrent_webhooks_are_one_row(open_inbox: Make, person: Person) -> None:
    async with open_inbox() as one, open_inbox() as two:
        new = await asyncio.gather(
            *(put(inbox, "e1", b"{}") for inbox in (one, two, one, two, one))
        )
    assert sorted(new) == [False, False, False, False, True]
    assert len(await (await person.execute("select from webhook_inbox")).fetchall()) == 1


async def test_concurrent_intakes_do_not_deadlock(inbox: PostgresInbox, person: Person) -> None:
    """The other process stores a, then b; ours receives b, then a, in one group."""
    store = (
        "insert into webhook_inbox (provider, event_id, event_type, body, received_at, due_at) "
        "values ('stripe', %s, 't', '', now(), now())"
    )
    async with person.transaction():
        await person.execute(store, ("a",))
        ours = asyncio.gather(put(inbox, "b"), put(inbox, "a"))
        await until_somebody_waits_for_a_transaction(person)
        await person.execute("set local lock_timeout to '500ms'")
        await person.execute(store, ("b",))
    assert list(await ours) == [False, False]


async def until_somebody_waits_for_a_transaction(
    person: Person, lock: str = "transactionid"
) -> None:
    waiting = (
        "select from pg_locks join pg_stat_activity using (pid) where locktype = %s and not "
        "granted "
        "and datname = current_database()"
    )
    async with asyncio.timeout(10):
        while not await (await person.execute(waiting, (lock,))).fetchall():  # noqa: ASYNC110 - the event is in the database
            await asyncio.sleep(0.01)


async def test_equal_event_ids_of_two_providers_are_two_events(inbox: PostgresInbox) -> None:
    assert await inbox.put("stripe", "1", "t", b"{}", NOW)
    assert await inbox.put("hyperswitch", "1", "t", b"{}", NOW)


async def test_body_of_first_webhook_is_kept_byte_by_byte(inbox: PostgresInbox) -> None:
    body = bytes(range(256))
    await put(inbox, "e1", body)
    await put(inbox, "e1", b"another")
    [event] = (await inbox.claim("worker-1", 1, LEASE)).events
    assert event.body == body == await inbox.body(event.inbox_id)
    assert (event.provider, event.event_type, event.received_at) == (
        "stripe",
        "transfer.created",
        NOW,
    )


async def test_unstorable_event_fails_alone(inbox: PostgresInbox) -> None:
    answers = await asyncio.gather(
        *(put(inbox, f"a{n}") for n in range(5)),
        put(inbox, "with\x00nul"),
        *(put(inbox, f"b{n}") for n in range(5)),
        return_exceptions=True,
    )
    assert isinstance(answers.pop(5), ConstraintBroken)
    assert answers == [True] * 10


async def test_webhook_with_lost_acknowledgement_is_stored_once(
    open_inbox: Make, proxy: ConnectionProxy, inbox: PostgresInbox
) -> None:
    async with open_inbox(proxy.url) as distant:
        proxy.lose_the_reply_to(b"transfer.created")
        await put(distant, "e1")
        assert proxy.lost == 1
        proxy.lose_the_request(b"transfer.created")
        assert await put(distant, "e2")
        assert proxy.lost == 2
    assert await claimed(inbox) == ["e1", "e2"]


async def test_intake_notifies_listeners(inbox: PostgresInbox, person: Person) -> None:
    await person.execute("listen webhook_inbox")
    await put(inbox, "e1")
    assert [n.channel async for n in person.notifies(timeout=10, stop_after=1)] == ["webhook_inbox"]
    await put(inbox, "e1")
    await put(inbox, "e2")
    assert len([n async for n in person.notifies(timeout=0.2)]) == 1, "a duplicate is no news"


async def test_event_is_claimed_by_one_worker(inbox: PostgresInbox) -> None:
    await asyncio.gather(*(put(inbox, f"e{n}") for n in range(200)))
    reversals = await asyncio.gather(*(claimed(inbox, f"worker-{n}", 25) for n in range(8)))
    names = [name for claim in reversals for name in claim]
    while more := await claimed(inbox, "worker-9", 25):
        names += more
    assert len(names) == len(set(names)) == 200


async def test_claim_returns_database_clock_even_when_empty(
    inbox: PostgresInbox, person: Person
) -> None:
    before = await (await person.execute("select now()")).fetchone()
    claim = await inbox.claim("worker-1", 10, LEASE)
    after = await (await person.execute("select now()")).fetchone()
    assert claim.events == []
    assert before
    assert after
    assert before[0] <= claim.now <= after[0]
    assert claim.now.utcoffset() == timedelta(0)


async def test_event_is_claimable_after_its_lease(inbox: PostgresInbox, person: Person) -> None:
    await put(inbox, "e1")
    assert await claimed(inbox) == ["e1"]
    assert await claimed(inbox, "worker-2") == []
    await person.execute("update webhook_inbox set leased_until = now() - interval '1 second'")
    assert await claimed(inbox, "worker-2") == ["e1"]


async def test_parked_event_returns_when_due_or_released(
    inbox: PostgresInbox, store: EventStore
) -> None:
    for name in ("due", "later", "released"):
        await put(inbox, name)
    claim = await inbox.claim("worker-1", 10, LEASE)
    due, later, released = (event.inbox_id for event in claim.events)
    await inbox.park(due, "order a", claim.now, "its order is not known yet")
    await inbox.park(later, "order b", claim.now + timedelta(hours=1), "its order is not known yet")
    await inbox.park(released, "order c", None, "its order is not known yet")
    assert await claimed(inbox) == ["due"]
    await store.append([], {"released": [{"subject": "order c"}, {"subject": "order z"}]})
    assert await claimed(inbox) == ["released"]


async def test_retried_event_returns_and_counts_real_attempts(inbox: PostgresInbox) -> None:
    await put(inbox, "e1")
    for counted, attempts in ((True, 1), (False, 1), (True, 2)):
        claim = await inbox.claim("worker-1", 10, LEASE)
        await inbox.retry_later(
            claim.events[0].inbox_id, claim.now, "the database was away", counted
        )
        assert [row.attempts for row in await inbox.newest()] == [attempts]
    claim = await inbox.claim("worker-1", 10, LEASE)
    await inbox.retry_later(
        claim.events[0].inbox_id, claim.now + timedelta(hours=1), "rate limited", True
    )
    assert await claimed(inbox) == []


async def test_closed_event_stays_closed_until_replayed(inbox: PostgresInbox) -> None:
    for name in ("ignored", "dead"):
        await put(inbox, name)
    claim = await inbox.claim("worker-1", 10, LEASE)
    ignored, dead = (event.inbox_id for event in claim.events)
    await inbox.ignore({ignored: "not the authority"})
    await inbox.bury(dead, "five attempts failed")
    await inbox.retry_later(dead, claim.now, "too late", True)
    await inbox.park(ignored, "order a", claim.now, "too late")
    assert [(row.event_id, row.status, row.reason) for row in await inbox.newest()] == [
        ("dead", "dead", "five attempts failed"),
        ("ignored", "ignored", "not the authority"),
    ]
    assert await claimed(inbox) == []
    assert await inbox.counts() == {"stored": 0, "parked": 0, "dead": 1}
    assert await inbox.replay(dead)
    assert not await inbox.replay(-1)
    assert await claimed(inbox) == ["dead"]
    assert not await inbox.replay(dead), "somebody works on it"


async def test_replayed_event_is_no_longer_dead_or_alarming(
    inbox: PostgresInbox, pool: Pool
) -> None:
    alarms = PostgresAlarms(pool)
    for name in ("e1", "e2"):
        await put(inbox, name)
        await alarms.raise_alarm("webhook_dead", f"stripe:{name}", "it failed eight times")
    for event in (await inbox.claim("worker-1", 10, LEASE)).events:
        await inbox.bury(event.inbox_id, "it failed eight times")
    assert await inbox.replay(event.inbox_id)
    assert [alarm.subject for alarm in await alarms.raised()] == ["stripe:e1"]


async def test_events_are_listed_by_status(inbox: PostgresInbox) -> None:
    for name in ("e1", "e2", "e3"):
        await put(inbox, name)
    [event] = (await inbox.claim("worker-1", 1, LEASE)).events
    await inbox.ignore({event.inbox_id: "no concern of ours"})
    assert [row.event_id for row in await inbox.newest("stored")] == ["e3", "e2"]
    assert [row.event_id for row in await inbox.newest(limit=2)] == ["e3", "e2"]
    assert await inbox.counts() == {"stored": 2, "parked": 0, "dead": 0}


async def test_next_due_instant_includes_leases_of_others(inbox: PostgresInbox) -> None:
    assert await inbox.next_due() is None
    await put(inbox, "e1")
    await put(inbox, "e2")
    claim = await inbox.claim("worker-1", 1, LEASE)
    due = await inbox.next_due()
    assert due is not None
    assert due <= claim.now
    claim = await inbox.claim("worker-1", 1, 2 * LEASE)
    due = await inbox.next_due()
    assert due is not None
    assert claim.now < due < claim.now + LEASE, "the first lease ends first"


async def test_parking_waits_for_order_being_stored(
    inbox: PostgresInbox, person: Person, fact: Make
) -> None:
    """The release has run and found nothing parked; the order that it belongs to is not committed
    yet."""
    await put(inbox, "e1")
    ((event,), now) = await inbox.claim("worker-1", 1, LEASE)
    stream = fact()
    order = (
        "insert into orders (order_id, stream_id, currency, amount, refunded, status, shares, "
        "version, created_at, updated_at) "
        "values ('o1', %s, 'EUR', 1, 0, 'open', '[]', 1, now(), now())"
    )
    async with person.transaction():
        await append(person, stream, ["order:o1"])
        await person.execute(order, (stream.originator_id,))
        parking = asyncio.create_task(
            inbox.park(event.inbox_id, "order:o1", now + timedelta(hours=1), "no order")
        )
        await until_somebody_waits_for_a_transaction(person, "advisory")
    await parking
    assert await claimed(inbox) == ["e1"]


async def append(person: Person, stored: StoredFact, released: list[str]) -> None:
    """As the event store does."""
    one = {
        "id": str(stored.originator_id),
        "version": 1,
        "topic": stored.topic,
        "state": json.loads(stored.state),
    }
    rows = {"released": [{"subject": subject} for subject in released]}
    await person.execute("select ledger_append(%s, %s)", (json.dumps([one]), json.dumps(rows)))


async def test_polled_event_is_marked_and_late_webhook_is_duplicate(inbox: PostgresInbox) -> None:
    await put(inbox, "e1")
    assert await inbox.unknown("stripe", ["e1", "e2"]) == {"e2"}
    assert await inbox.put("stripe", "e2", "transfer.created", b"{}", NOW, "poller")
    assert not await put(inbox, "e2")
    assert not await inbox.put("stripe", "e1", "transfer.created", b"{}", NOW, "poller")
    assert [(row.event_id, row.source) for row in await inbox.newest()] == [
        ("e2", "poller"),
        ("e1", "webhook"),
    ]
    assert await inbox.missed() == {"stripe": (1, 0)}
    (row, _) = await inbox.newest()
    await inbox.ignore({row.inbox_id: "a test"})
    assert await inbox.missed() == {"stripe": (1, 1)}


async def test_unhandled_event_is_found_by_object_id(inbox: PostgresInbox) -> None:
    for event_id, body in (("e1", b'{"refund_id":"r10"}'), ("e2", b'\xff{"refund_id": "r2"}')):
        await inbox.put("hyperswitch", event_id, "refund_succeeded", body, NOW)
    asked = [
        ("refund_succeeded", "r1"),
        ("refund_succeeded", "r10"),
        ("refund_failed", "r10"),
        ("refund_succeeded", "r2"),
    ]
    assert await inbox.waiting("hyperswitch", asked) == {asked[1], asked[3]}
    assert await inbox.waiting("stripe", asked) == set()
    await inbox.ignore({row.inbox_id: "handled" for row in await inbox.newest()})
    assert await inbox.waiting("hyperswitch", asked) == set()
