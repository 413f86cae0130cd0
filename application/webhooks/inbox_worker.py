"""Worker of the inbox: claims stored webhooks, handles them and records the result of each."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import assert_never
from uuid import uuid4

import structlog

from application.log_ids import bind_webhook
from application.loop import Loop
from application.ports import LEASE, Alarms, ClaimedEvent, Clock, Inbox
from application.webhooks.handler import (
    Dead,
    Done,
    Ignored,
    Later,
    Parked,
    StoredEvent,
    WebhookAlarm,
    WebhookHandler,
    WebhookResult,
)
from domain.backoff import next_delay
from domain.errors import Conflict, NewerRelease, Unavailable

BATCH, AT_ONCE = 64, 16
"""Webhooks that this process holds, and those that it handles at a time."""
MAX_ATTEMPTS = 8
"""Failed attempts after which an event is dead. `transfer-ledger inbox replay` revives it."""
FIRST_RETRY, LONGEST_RETRY = timedelta(seconds=1), timedelta(minutes=5)
PARKED_RETRY = timedelta(minutes=5)
"""First retry of a parked event in case the release by its subject was missed."""
OVERDUE_RETRY = timedelta(hours=6)
LONGEST_SLEEP = 60.0

AWAY = (Unavailable, Conflict)
"""Failures that no event causes: they count as no attempt."""

log = structlog.get_logger()


class InboxLoop(Loop):
    """Loop over the inbox: `run` until `stop`."""

    def __init__(
        self,
        inbox: Inbox,
        handler: WebhookHandler,
        alarms: Alarms,
        clock: Clock,
        *,
        parked_deadline: timedelta,
        lease: timedelta = LEASE,
    ) -> None:
        super().__init__()
        self._inbox, self._handler, self._alarms, self._clock = inbox, handler, alarms, clock
        self._parked_deadline, self._lease = parked_deadline, lease
        self._holder = f"inbox-{uuid4().hex[:12]}"
        self._at_once, self._held = asyncio.Semaphore(AT_ONCE), set[int]()
        self._batches: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Take turns until `stop`, then end the batches under way."""
        await super().run()
        await self.drain()

    async def drain(self) -> None:
        """Wait for the batches under way."""
        await asyncio.gather(*self._batches, return_exceptions=True)

    async def turn(self) -> float:
        """Begin a batch of webhooks; return the seconds until the next one is due.

        Batches overlap, so that no webhook waits for a slow one of another batch.
        """
        free = BATCH - len(self._held)
        if free <= 0:
            return LONGEST_SLEEP  # the end of a webhook wakes this loop
        asked = self._clock.now()
        claimed = await self._inbox.claim(self._holder, free, self._lease)
        self._clock.observe(asked, claimed.now)
        # an event that is still being handled here was claimed again, which prolongs its lease
        events = [event for event in claimed.events if event.inbox_id not in self._held]
        if not events:
            return await self._until_due()
        self._held |= {event.inbox_id for event in events}
        batch = asyncio.create_task(self._handle_batch(events))
        self._batches.add(batch)
        batch.add_done_callback(self._batches.discard)
        return 0

    async def _handle_batch(self, events: Sequence[ClaimedEvent]) -> None:
        ignored: dict[int, str] = {}
        handled = (self._one(event, ignored) for event in events)
        await asyncio.gather(*handled, return_exceptions=True)
        await self._ignore({event.inbox_id: event for event in events}, ignored)

    async def _ignore(self, events: Mapping[int, ClaimedEvent], reasons: Mapping[int, str]) -> None:
        """Close the ignored events together. If that fails, close them one by one, so that one
        event cannot hinder the others."""
        try:
            await self._inbox.ignore(reasons)
        except Exception as error:
            log.warning("ignored webhooks are closed one by one", error=str(error))
            for inbox_id, reason in reasons.items():
                event = events[inbox_id]
                bind_webhook(event.provider, event.event_id, event.event_type, inbox_id)
                await self._attempt(event, partial(self._inbox.ignore, {inbox_id: reason}))

    async def _one(self, event: ClaimedEvent, ignored: dict[int, str]) -> None:
        bind_webhook(event.provider, event.event_id, event.event_type, event.inbox_id)
        try:
            async with self._at_once:
                await self._attempt(event, partial(self._handle, event, ignored))
        except Exception as error:
            # its lease expires, and it is claimed again; that counts as no attempt
            log.warning("a webhook's result could not be recorded", error=str(error))
        finally:
            self._held.discard(event.inbox_id)
            if len(self._held) in (0, BATCH // 2):
                self.wake()  # there is room for the next batch, or another due time to wait for

    async def _handle(self, event: ClaimedEvent, ignored: dict[int, str]) -> None:
        stored = StoredEvent(
            event.inbox_id, event.provider, event.event_id, event.event_type, event.body
        )
        await self._record(event, await self._handler.handle(stored), ignored)

    async def _attempt(self, event: ClaimedEvent, step: Callable[[], Awaitable[None]]) -> None:
        """Take a step for one event. A failure counts as an attempt, whether it is of the handling
        or of the closing, and the last one buries the event with an alarm."""
        try:
            await step()
        except NewerRelease as newer:
            wait = self._growing(event, FIRST_RETRY, LONGEST_RETRY)
            await self._inbox.retry_later(
                event.inbox_id, self._clock.now() + wait, str(newer), counted=False
            )
        except AWAY as later:
            await self._later(event, str(later), counted=False)
        except Exception as error:  # one failing event must not stop the others
            log.exception("a webhook failed")
            await self._failed(event, f"{type(error).__name__}: {error}")

    async def _record(
        self, event: ClaimedEvent, result: WebhookResult, ignored: dict[int, str]
    ) -> None:
        match result:
            case Ignored(reason=reason):
                ignored[event.inbox_id] = (
                    reason  # closed together with the other ignored events of the batch
                )
                await self._clear_alarms(event)
            case Parked():
                await self._park(event, result, ignored)
            case Later(reason=reason, wait=wait):
                await self._again(event, reason, wait)
            case Dead(reason=reason, alarm=alarm):
                await self._bury(event, reason, alarm)
            case Done():
                pass  # the transaction of its facts has closed the row and cleared its alarms
            case _:
                assert_never(result)

    async def _clear_alarms(self, event: ClaimedEvent) -> None:
        """Clear the event's alarms. Only an event that was parked, is overdue, or is in its last
        attempt, can have any."""
        about = f"{event.provider}:{event.event_id}"
        if event.subject is not None or event.attempts + 1 >= MAX_ATTEMPTS:
            await self._alarms.clear_all(about)
        elif self._overdue(event):
            await self._alarms.clear(WebhookAlarm.PARKED_TOO_LONG, about)

    def _overdue(self, event: ClaimedEvent) -> bool:
        return self._clock.now() - event.received_at > self._parked_deadline

    async def _again(self, event: ClaimedEvent, reason: str, wait: timedelta) -> None:
        await self._inbox.retry_later(
            event.inbox_id, self._clock.now() + wait, reason, counted=False
        )
        self.wake()
        if self._overdue(event):
            await self._alarms.raise_alarm(
                WebhookAlarm.PARKED_TOO_LONG, f"{event.provider}:{event.event_id}", reason
            )

    async def _park(self, event: ClaimedEvent, parked: Parked, ignored: dict[int, str]) -> None:
        overdue = self._overdue(event)
        if overdue and parked.maybe_foreign:
            ignored[event.inbox_id] = f"{parked.reason}, and it did not come before the deadline"
            await self._clear_alarms(event)
            return
        due_at = self._clock.now() + (
            OVERDUE_RETRY if overdue else self._growing(event, PARKED_RETRY, OVERDUE_RETRY)
        )
        alarm = parked.alarm
        if parked.alarm_after:
            looked_again = event.received_at + parked.alarm_after
            waits = self._clock.now() < looked_again
            due_at = looked_again if waits else self._clock.now() + OVERDUE_RETRY
            alarm = None if waits else parked.alarm
        kind = alarm or (WebhookAlarm.PARKED_TOO_LONG if overdue else None)
        still = await self._inbox.park(event.inbox_id, parked.subject, due_at, parked.reason)
        if still and kind is not None:
            about = f"{event.provider}:{event.event_id}"
            await self._alarms.raise_alarm(kind, about, parked.reason)

    async def _failed(self, event: ClaimedEvent, reason: str) -> None:
        if event.attempts + 1 >= MAX_ATTEMPTS:
            await self._bury(event, reason, WebhookAlarm.DEAD)
        else:
            await self._later(event, reason, counted=True)

    async def _bury(self, event: ClaimedEvent, reason: str, alarm: WebhookAlarm) -> None:
        # the alarm first: if the process ends in between, the event is tried once more, and does
        # not die silently
        await self._alarms.raise_alarm(alarm, f"{event.provider}:{event.event_id}", reason)
        await self._inbox.bury(event.inbox_id, reason)

    def _growing(self, event: ClaimedEvent, first: timedelta, longest: timedelta) -> timedelta:
        """Return a wait that grows with the age of the event: one that nothing releases most likely
        waits for long."""
        return min(max(first, (self._clock.now() - event.received_at) / 2), longest)

    async def _later(self, event: ClaimedEvent, reason: str, *, counted: bool) -> None:
        wait = next_delay(FIRST_RETRY, LONGEST_RETRY, event.attempts)
        await self._inbox.retry_later(event.inbox_id, self._clock.now() + wait, reason, counted)
        self.wake()  # its due time may be the next one

    async def _until_due(self) -> float:
        due = await self._inbox.next_due()
        until = LONGEST_SLEEP if due is None else (due - self._clock.now()).total_seconds()
        return min(max(until, 0.01), LONGEST_SLEEP)
