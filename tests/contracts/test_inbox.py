"""Contract of `Inbox`: the row is the job, done once, never lost, and closed permanently."""

import asyncio
from datetime import timedelta

import pytest

from application.commands import commands_on
from application.ports import ClaimedEvent
from application.unit_of_work import CommitExtras, InboxMark
from domain.order.state import Share
from infrastructure.clock import DatabaseClock
from tests.support.storage import Storage
from tests.support.streams import NOW, transfer

LEASE, HOUR = timedelta(seconds=10), timedelta(hours=1)


async def put(storage: Storage, event_id: str = "evt_1", body: bytes = b"{}") -> bool:
    return await storage.inbox.put("hyperswitch", event_id, "refund_succeeded", body, NOW)


async def claimed(storage: Storage, holder: str = "w", limit: int = 100) -> list[ClaimedEvent]:
    return list((await storage.inbox.claim(holder, limit, LEASE)).events)


async def the_one(storage: Storage) -> int:
    await put(storage)
    (event,) = await claimed(storage)
    return event.inbox_id


async def released(storage: Storage, subject: str) -> None:
    uow = await storage.ledger.load([])
    uow.add([transfer()])
    await storage.ledger.append(uow, CommitExtras(released=[subject]))


async def test_event_is_stored_once_with_its_first_body(storage: Storage) -> None:
    assert await put(storage, body=b"\x00 one")
    assert not await put(storage, body=b"two")
    (event,) = await claimed(storage)
    assert (event.provider, event.event_id, event.event_type) == (
        "hyperswitch",
        "evt_1",
        "refund_succeeded",
    )
    assert (bytes(event.body), event.received_at, event.attempts) == (b"\x00 one", NOW, 0)


async def test_event_wakes_the_inbox_workers(storage: Storage) -> None:
    woken = asyncio.Event()
    await storage.listen("webhook_inbox", woken.set)
    await put(storage)
    async with asyncio.timeout(30):
        await woken.wait()


async def test_leased_event_has_one_holder(storage: Storage) -> None:
    for number in range(20):
        await put(storage, f"evt_{number}")
    reversals = await asyncio.gather(*(claimed(storage, f"w{n}", limit=5) for n in range(4)))
    ids = [event.event_id for claim in reversals for event in claim]
    while more := await claimed(storage, "w9"):
        ids += [event.event_id for event in more]
    assert sorted(ids) == sorted(f"evt_{number}" for number in range(20))
    await storage.let_pass(LEASE)
    assert len(await claimed(storage, "w10")) == 20, "and those of the dead come back"


async def test_claim_returns_the_database_time(storage: Storage) -> None:
    before, claim, after = (
        await storage.now(),
        await storage.inbox.claim("w", 10, LEASE),
        await storage.now(),
    )
    assert before <= claim.now <= after


@pytest.mark.parametrize("close", ["ignore", "bury"])
async def test_closed_event_stays_closed(storage: Storage, close: str) -> None:
    inbox_id = await the_one(storage)
    await (
        storage.inbox.ignore({inbox_id: "why"})
        if close == "ignore"
        else storage.inbox.bury(inbox_id, "why")
    )
    assert await storage.inbox.next_due() is None
    await storage.inbox.park(inbox_id, "order:o1", await storage.now(), "too late")
    await storage.inbox.retry_later(inbox_id, await storage.now(), "too late", True)
    await storage.let_pass(HOUR)
    assert await claimed(storage) == []
    assert not await put(storage), "and it is not stored again"


@pytest.mark.parametrize("status", ["done", "discarded"])
async def test_alarms_of_an_event_end_with_its_commit(storage: Storage, status: str) -> None:
    """A process that dies after the commit clears nothing (`simulate-faults --seed 492`)."""
    inbox_id = await the_one(storage)
    await storage.inbox.park(inbox_id, "refund:r1", await storage.now(), "it disagrees")
    await storage.alarms.raise_alarm("refund_disagrees", "hyperswitch:evt_1", "it disagrees")
    await storage.alarms.raise_alarm("refund_disagrees", "hyperswitch:evt_2", "it disagrees")
    uow = await storage.ledger.load([])
    uow.add([transfer()])
    await storage.ledger.append(uow, CommitExtras(inbox=InboxMark(inbox_id, status)))
    assert [one.subject for one in await storage.alarms.raised()] == ["hyperswitch:evt_2"]


async def test_parked_event_comes_back_when_due(storage: Storage) -> None:
    inbox_id = await the_one(storage)
    due_at = await storage.now() + HOUR
    await storage.inbox.park(inbox_id, "order:o1", due_at, "there is no order yet")
    assert await claimed(storage) == []
    assert await storage.inbox.next_due() == due_at
    await storage.let_pass(HOUR)
    assert [event.inbox_id for event in await claimed(storage)] == [inbox_id]


async def test_parking_of_a_closed_event_changes_nothing_and_says_so(storage: Storage) -> None:
    """A process that was frozen parks an event that another one has handled."""
    inbox_id = await the_one(storage)
    assert await storage.inbox.park(inbox_id, "order:o1", None, "there is no order yet")
    await storage.inbox.ignore({inbox_id: "it changes nothing"})
    assert not await storage.inbox.park(inbox_id, "order:o1", None, "there is no order yet")
    assert await storage.inbox.next_due() is None


async def test_parked_event_comes_back_when_its_order_exists(storage: Storage) -> None:
    inbox_id = await the_one(storage)
    await storage.inbox.park(inbox_id, "order:o1", None, "there is no order yet")
    assert await storage.inbox.next_due() is None
    await released(storage, "order:o2")
    assert await claimed(storage) == []
    woken = asyncio.Event()
    await storage.listen("webhook_inbox", woken.set)
    await released(storage, "order:o1")
    async with asyncio.timeout(30):
        await woken.wait()
    assert [event.inbox_id for event in await claimed(storage)] == [inbox_id]


async def register(storage: Storage, order_id: str, payment_id: str | None = None) -> None:
    commands = commands_on(storage.ledger, storage.directory, DatabaseClock())
    shares = [Share(seller_id="anna", destination="acct_anna", amount=900)]
    await commands.orders.register(
        order_id=order_id, currency="EUR", amount=1_000, shares=shares, payment_id=payment_id
    )


@pytest.mark.parametrize("subject", ["order:o1", "payment:pay_1"])
@pytest.mark.parametrize("parked_before", [False, True])
async def test_event_parked_after_its_order_came_is_due_at_once(
    storage: Storage, subject: str, parked_before: bool
) -> None:
    inbox_id = await the_one(storage)
    later = await storage.now() + HOUR
    if parked_before:
        await storage.inbox.park(inbox_id, subject, await storage.now(), "nothing there yet")
        assert await claimed(storage)
    await register(storage, "o1", "pay_1")
    await storage.inbox.park(inbox_id, subject, later, "nothing there yet")
    assert [event.inbox_id for event in await claimed(storage)] == [inbox_id]
    await storage.inbox.park(inbox_id, subject, later, "it was there, and something else is wrong")
    assert await claimed(storage) == [], "what the look has seen is no news"


async def test_unrelated_append_releases_no_parked_event(storage: Storage) -> None:
    inbox_id = await the_one(storage)
    await register(storage, "o2", "pay_2")
    await storage.inbox.park(inbox_id, "order:o1", await storage.now() + HOUR, "nothing there yet")
    assert await claimed(storage) == []


@pytest.mark.parametrize(("counted", "attempts"), [(True, 1), (False, 0)])
async def test_only_the_events_own_failure_is_counted(
    storage: Storage, counted: bool, attempts: int
) -> None:
    inbox_id = await the_one(storage)
    due_at = await storage.now() + HOUR
    await storage.inbox.retry_later(inbox_id, due_at, "not now", counted)
    assert await storage.inbox.next_due() == due_at
    await storage.let_pass(HOUR)
    assert [event.attempts for event in await claimed(storage)] == [attempts]


async def test_leased_event_is_due_when_its_lease_ends(storage: Storage) -> None:
    await put(storage)
    claim = await storage.inbox.claim("another", 10, LEASE)
    assert await storage.inbox.next_due() == claim.now + LEASE


async def test_new_event_comes_before_thousands_of_parked_ones(storage: Storage) -> None:
    for number in range(200):
        await put(storage, f"parked_{number}")
    later = await storage.now() + HOUR
    while batch := await claimed(storage):
        for event in batch:
            await storage.inbox.park(event.inbox_id, "order:none", later, "no order")
    await storage.let_pass(2 * HOUR)
    await put(storage, "new")
    first = await claimed(storage, limit=64)
    assert first[0].event_id == "new"
    assert len(first) == 64


async def test_parked_events_get_a_part_of_each_claim(storage: Storage) -> None:
    await put(storage, "parked")
    (event,) = await claimed(storage)
    await storage.inbox.park(event.inbox_id, "order:none", await storage.now(), "no order")
    for number in range(100):
        await put(storage, f"new_{number}")
    names = [event.event_id for event in await claimed(storage, limit=64)]
    assert names[-1] == "parked"
    assert len(names) == 57
