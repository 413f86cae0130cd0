"""Inbox worker: results of events, and alarms that end when their event is handled."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from application.ports import Alarms
from application.webhooks.handler import (
    Ignored,
    Parked,
    StoredEvent,
    WebhookAlarm,
    WebhookHandler,
    WebhookResult,
)
from application.webhooks.inbox_worker import MAX_ATTEMPTS, InboxLoop
from infrastructure.clock import DatabaseClock
from tests.support.storage import Storage, in_memory


class WatchedAlarms:
    """Alarms that signal when one is raised and when a subject's alarms are cleared."""

    def __init__(self, alarms: Alarms) -> None:
        self._alarms, self.told, self.over = alarms, asyncio.Event(), asyncio.Event()

    async def raise_alarm(self, kind: str, subject: str, detail: str) -> None:
        await self._alarms.raise_alarm(kind, subject, detail)
        self.told.set()

    async def clear(self, kind: str, subject: str) -> bool:
        return await self._alarms.clear(kind, subject)

    async def clear_all(self, subject: str) -> None:
        await self._alarms.clear_all(subject)
        self.over.set()


@pytest.fixture
async def storage() -> AsyncIterator[Storage]:
    async with in_memory() as storage:
        yield storage


@pytest.mark.parametrize(
    "alarm",
    [
        WebhookAlarm.REFUND_DISAGREES,
        WebhookAlarm.PAYMENT_DISAGREES,
        WebhookAlarm.REVERSED_AT_STRIPE,
    ],
)
async def test_alarm_about_an_event_ends_when_it_is_handled(
    storage: Storage, alarm: WebhookAlarm
) -> None:
    ends: list[WebhookResult] = [
        Parked("order:o1", "it disagrees", alarm),
        Ignored("it agrees now"),
    ]

    async def react(event: StoredEvent) -> WebhookResult:
        return ends.pop(0)

    clock, alarms = DatabaseClock(), WatchedAlarms(storage.alarms)
    loop = InboxLoop(
        storage.inbox,
        WebhookHandler(stripe={"transfer.updated": react}),
        alarms,
        clock,
        parked_deadline=timedelta(hours=1),
    )
    await storage.inbox.put("stripe", "evt_1", "transfer.updated", b"{}", await storage.now())
    running = asyncio.create_task(loop.run())
    async with asyncio.timeout(10):
        await alarms.told.wait()
        assert [(one.kind, one.subject) for one in await storage.alarms.raised()] == [
            (alarm, "stripe:evt_1")
        ]
        await storage.let_pass(timedelta(minutes=6))
        loop.wake()
        await alarms.over.wait()
    assert await storage.alarms.raised() == []
    loop.stop()
    await running


class FrozenAlarms(WatchedAlarms):
    """Alarms of a process that is frozen while another one handles the event."""

    def __init__(self, storage: Storage) -> None:
        super().__init__(storage.alarms)
        self._storage, self.handled_elsewhere = storage, 0

    async def raise_alarm(self, kind: str, subject: str, detail: str) -> None:
        await self._storage.inbox.ignore({self.handled_elsewhere: "it agrees now"})
        await super().raise_alarm(kind, subject, detail)


async def test_alarm_of_a_frozen_process_about_a_handled_event_ends(storage: Storage) -> None:
    """`simulate-faults --seed 50` found it."""

    async def disagree(event: StoredEvent) -> WebhookResult:
        alarms.handled_elsewhere = event.inbox_id
        return Parked("order:o1", "it disagrees", WebhookAlarm.REFUND_DISAGREES)

    alarms = FrozenAlarms(storage)
    loop = InboxLoop(
        storage.inbox,
        WebhookHandler(stripe={"transfer.created": disagree}),
        alarms,
        DatabaseClock(),
        parked_deadline=timedelta(hours=1),
    )
    await storage.inbox.put("stripe", "evt_1", "transfer.created", b"{}", await storage.now())
    running = asyncio.create_task(loop.run())
    async with asyncio.timeout(10):
        await alarms.told.wait()
    loop.stop()
    await running
    assert await storage.alarms.raised() == []


async def test_event_handled_in_its_last_attempt_leaves_no_alarm(storage: Storage) -> None:
    """The process ended between the alarm and the burial."""

    async def handle(event: StoredEvent) -> WebhookResult:
        return Ignored("no concern")

    loop = InboxLoop(
        storage.inbox,
        WebhookHandler(stripe={"transfer.updated": handle}),
        storage.alarms,
        DatabaseClock(),
        parked_deadline=timedelta(days=7),
    )
    await storage.inbox.put("stripe", "evt_1", "transfer.updated", b"{}", await storage.now())
    for _ in range(MAX_ATTEMPTS - 1):
        (event,) = (await storage.inbox.claim("w", 1, timedelta(seconds=9))).events
        await storage.inbox.retry_later(event.inbox_id, await storage.now(), "odd", counted=True)
    await storage.alarms.raise_alarm(WebhookAlarm.DEAD, "stripe:evt_1", "odd")
    await loop.turn()
    await loop.drain()
    assert await storage.alarms.raised() == []


async def test_parked_event_waits_longer_and_longer(storage: Storage) -> None:
    async def park(event: StoredEvent) -> WebhookResult:
        return Parked("order:o1", "there is no order:o1 yet")

    clock = StoredClock(storage)
    loop = InboxLoop(
        storage.inbox,
        WebhookHandler(stripe={"transfer.updated": park}),
        storage.alarms,
        clock,
        parked_deadline=timedelta(days=7),
    )
    await storage.inbox.put("stripe", "evt_1", "transfer.updated", b"{}", await storage.now())
    waits = []
    for _ in range(16):
        clock.at = await storage.now()
        await loop.turn()
        await loop.drain()
        due = await storage.inbox.next_due()
        assert due is not None
        waits.append(due - clock.at)
        await storage.let_pass(waits[-1])
    assert (waits[0], waits[-1]) == (timedelta(minutes=5), timedelta(hours=6))
    assert waits == sorted(waits)


async def test_slow_webhook_delays_no_later_one(storage: Storage) -> None:
    slow_began, slow_ends, later = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def slow(event: StoredEvent) -> WebhookResult:
        slow_began.set()
        await slow_ends.wait()
        return Ignored("at last")

    async def fast(event: StoredEvent) -> WebhookResult:
        later.set()
        return Ignored("at once")

    loop = InboxLoop(
        storage.inbox,
        WebhookHandler(stripe={"transfer.created": slow, "transfer.updated": fast}),
        storage.alarms,
        DatabaseClock(),
        parked_deadline=timedelta(hours=1),
    )
    await storage.inbox.put("stripe", "evt_1", "transfer.created", b"{}", await storage.now())
    running = asyncio.create_task(loop.run())
    async with asyncio.timeout(10):
        await slow_began.wait()
        await storage.inbox.put("stripe", "evt_2", "transfer.updated", b"{}", await storage.now())
        loop.wake()
        await later.wait()
        loop.stop()
        slow_ends.set()
        await running
    assert await storage.inbox.next_due() is None


class StoredClock(DatabaseClock):
    """A clock that shows a given instant."""

    def __init__(self, storage: Storage) -> None:
        super().__init__()
        self.at = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at
