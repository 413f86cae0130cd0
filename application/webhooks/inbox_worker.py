"""The loop that handles stored webhooks: claim, react, and say of each what became of it."""

import asyncio
from datetime import timedelta
from typing import assert_never
from uuid import uuid4

import structlog

from application.loop import Loop
from application.ports import LEASE, Alarms, ClaimedEvent, Clock, Inbox
from application.webhooks.handler import Disposition, Done, Ignored, Later, Parked, StoredEvent, WebhookReactions
from domain.backoff import next_delay
from domain.errors import Conflict, Unavailable

BATCH, AT_ONCE = 64, 16
MAX_ATTEMPTS = 8
"""An event that fails this often for reasons of its own is buried, and can be replayed."""
FIRST_RETRY, LONGEST_RETRY = timedelta(seconds=1), timedelta(minutes=5)
PARKED_RETRY = timedelta(minutes=5)
"""What is parked is released by what it waits for; this is for the case that the release was missed."""
OVERDUE_RETRY = timedelta(hours=6)
PARKED_TOO_LONG = "webhook_parked_too_long"
"""Kind of alarm."""
LONGEST_SLEEP = 60.0

log = structlog.get_logger()


class InboxLoop(Loop):
    """One loop over the inbox: `run` until `stop`."""

    def __init__(
        self,
        inbox: Inbox,
        reactions: WebhookReactions,
        alarms: Alarms,
        clock: Clock,
        *,
        parked_deadline: timedelta,
        lease: timedelta = LEASE,
    ) -> None:
        super().__init__()
        self._inbox, self._reactions, self._alarms, self._clock = inbox, reactions, alarms, clock
        self._parked_deadline, self._lease = parked_deadline, lease
        self._holder = f"inbox-{uuid4().hex[:12]}"
        self._at_once = asyncio.Semaphore(AT_ONCE)

    async def turn(self) -> float:
        """Handle a batch of webhooks; return the seconds until the next one is due."""
        return 0 if await self._claim_and_handle() else await self._until_due()

    async def _claim_and_handle(self) -> bool:
        claimed = await self._inbox.claim(self._holder, BATCH, self._lease)
        self._clock.observe(claimed.now)
        ignored: dict[int, str] = {}
        ends = await asyncio.gather(*(self._one(event, ignored) for event in claimed.events), return_exceptions=True)
        for event, end in zip(claimed.events, ends, strict=True):
            if isinstance(end, BaseException):  # its lease runs out, and it is claimed again: no attempt of the event's
                log.warning("a webhook could not be closed", event_id=event.event_id, error=str(end))
        await self._inbox.ignore(ignored)
        return bool(claimed.events)

    async def _one(self, event: ClaimedEvent, ignored: dict[int, str]) -> None:
        async with self._at_once:
            stored = StoredEvent(event.inbox_id, event.provider, event.event_id, event.event_type, event.body)
            try:
                disposition = await self._reactions.react(stored)
            except (Unavailable, Conflict) as later:
                await self._later(event, str(later), counted=False)
            except Exception as error:  # a poison event must not stop the others
                log.exception("a webhook failed", event_id=event.event_id, event_type=event.event_type)
                await self._failed(event, f"{type(error).__name__}: {error}")
            else:
                await self._dispose(event, disposition, ignored)

    async def _dispose(self, event: ClaimedEvent, disposition: Disposition, ignored: dict[int, str]) -> None:
        match disposition:
            case Ignored(reason=reason):
                ignored[event.inbox_id] = reason  # closed together with the others of the batch
                await self._is_over(event)
            case Parked():
                await self._park(event, disposition, ignored)
            case Later(reason=reason, wait=wait):
                await self._again(event, reason, wait)
            case Done():
                await self._is_over(event)  # the row was marked in the transaction of its facts
            case _:
                assert_never(disposition)

    async def _is_over(self, event: ClaimedEvent) -> None:
        """Nobody has to look any more. Few events have alarmed anybody: what was parked, or came after the deadline."""
        about = f"{event.provider}:{event.event_id}"
        if event.subject is not None:
            await self._alarms.clear_all(about)
        elif self._overdue(event):
            await self._alarms.clear(PARKED_TOO_LONG, about)

    def _overdue(self, event: ClaimedEvent) -> bool:
        return self._clock.now() - event.received_at > self._parked_deadline

    async def _again(self, event: ClaimedEvent, reason: str, wait: timedelta) -> None:
        await self._inbox.retry_later(event.inbox_id, self._clock.now() + wait, reason, counted=False)
        if self._overdue(event):
            await self._alarms.raise_(PARKED_TOO_LONG, f"{event.provider}:{event.event_id}", reason)

    async def _park(self, event: ClaimedEvent, parked: Parked, ignored: dict[int, str]) -> None:
        overdue = self._overdue(event)
        if overdue and parked.passing:
            ignored[event.inbox_id] = f"{parked.reason}, and nothing has come of it"
            await self._is_over(event)
            return
        due_at = self._clock.now() + (OVERDUE_RETRY if overdue else PARKED_RETRY)
        await self._inbox.park(event.inbox_id, parked.subject, due_at, parked.reason)
        kind = parked.alarm or (PARKED_TOO_LONG if overdue else None)
        if kind is not None:
            await self._alarms.raise_(kind, f"{event.provider}:{event.event_id}", parked.reason)

    async def _failed(self, event: ClaimedEvent, reason: str) -> None:
        if event.attempts + 1 >= MAX_ATTEMPTS:
            # the alarm first: what dies in between is tried once more, and not buried in silence
            await self._alarms.raise_("webhook_dead", f"{event.provider}:{event.event_id}", reason)
            await self._inbox.bury(event.inbox_id, reason)
        else:
            await self._later(event, reason, counted=True)

    async def _later(self, event: ClaimedEvent, reason: str, *, counted: bool) -> None:
        wait = next_delay(FIRST_RETRY, LONGEST_RETRY, event.attempts)
        await self._inbox.retry_later(event.inbox_id, self._clock.now() + wait, reason, counted)

    async def _until_due(self) -> float:
        due = await self._inbox.next_due()
        until = LONGEST_SLEEP if due is None else (due - self._clock.now()).total_seconds()
        return min(max(until, 0.01), LONGEST_SLEEP)
