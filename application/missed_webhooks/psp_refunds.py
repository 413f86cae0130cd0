"""Refunds that have ended at the PSP without a webhook. The PSP keeps no list of events, so its
refunds are compared with ours.

A refund is listed by its creation time, which does not change when it ends days later. It may end
twice, because a bank can refuse a refund that had succeeded. So every refund, of any status, is
read again at certain ages: each round lists one slice per age, as long as the time since the last
round. That needs no memory of single refunds, costs hardly more with a million unfinished refunds
than with none, and finds a lost end when the refund is about twice as old as it was then.

A missed end becomes an event in the shape of its webhook, with an id made of refund, status and
time of change: it is stored once, and a webhook that arrives later changes nothing. A refund that
reaches the same status again, after a correction by the bank, has another time. If the PSP shows no
time, the version of the refund here takes its place.
"""

import json
from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta

import structlog

from application.missed_webhooks.ports import (
    KnownRefund,
    KnownRefunds,
    PolledEvent,
    PolledInbox,
    Span,
)
from application.missed_webhooks.psp_reader import AGES, PspReader, is_old_enough
from application.split_members import STRIPE_REFUND
from domain.provider_call.outcome import LookUpFailed, NotExecuted, Rejected, Unknown
from domain.provider_call.psp_objects import RefundAtPsp

LIST, READ = "psp.refunds.list", "psp.refunds.retrieve"
"""Endpoints of the rate limiter."""
MOST_UNREAD = 3
"""Refunds that cannot be read before the round is given up; fewer do not delay the other
refunds."""
SHORTEST = timedelta(minutes=1)
"""Shortest slice. A slice with an incomplete list is halved, down to this."""
ENDS = {"succeeded": "refund_succeeded", "failed": "refund_failed"}
"""The event type of each final status."""

log = structlog.get_logger()


class MissedRefunds:
    """Missed refunds of the provider `hyperswitch`."""

    def __init__(
        self, provider: str, reader: PspReader, known: KnownRefunds, inbox: PolledInbox
    ) -> None:
        self._provider, self._reader, self._known, self._inbox = provider, reader, known, inbox

    async def events(self, span: Span) -> AsyncIterator[Sequence[PolledEvent]]:
        """Yield a slice for each age. Raises LookUpFailed; if only single refunds cannot be read,
        after all other events."""
        unread: list[LookUpFailed] = []
        for age in AGES:
            since, until = max(span.since - age, span.begun_at), span.until - age
            if since < until:
                async for refunds in self._listed(since, until):
                    missed = await self._missed(refunds, span.horizon, unread)
                    yield [_event(refund, known) for refund, known in missed]
        if unread:
            raise unread[0]

    async def _listed(
        self, since: datetime, until: datetime
    ) -> AsyncIterator[Sequence[RefundAtPsp]]:
        await self._reader.turn(LIST)
        listed = await self._reader.psp.refunds(since, until)
        if isinstance(listed, Unknown) and listed.why == "incomplete" and until - since > SHORTEST:
            middle = since + (until - since) / 2
            for half in (self._listed(since, middle), self._listed(middle, until)):
                async for refunds in half:
                    yield refunds
        elif isinstance(listed, Rejected | NotExecuted | Unknown):
            raise await self._reader.failed(LIST, "refunds", listed)
        else:
            yield listed

    async def _missed(
        self, listed: Sequence[RefundAtPsp], horizon: datetime, unread: list[LookUpFailed]
    ) -> list[tuple[RefundAtPsp, KnownRefund | None]]:
        """Return the refunds that ended before `horizon` without a webhook, each as it is known
        here: neither the inbox nor the ledger has their end."""
        read = [
            await self._read(refund.refund_id, unread)
            for refund, _ in await self._unrecorded(listed)
        ]
        ended = [
            refund
            for refund in read
            if refund is not None
            and refund.status in ENDS
            and is_old_enough(refund.updated_at, horizon)
        ]
        # The inbox first, then the ledger: the other way round, an event that is handled in between
        # would be in neither.
        waiting = (
            await self._inbox.waiting(self._provider, [_about(refund) for refund in ended])
            if ended
            else ()
        )
        return [
            (refund, known)
            for refund, known in await self._unrecorded(ended)
            if _about(refund) not in waiting
        ]

    async def _unrecorded(
        self, refunds: Sequence[RefundAtPsp]
    ) -> list[tuple[RefundAtPsp, KnownRefund | None]]:
        """Return the refunds that have another status at the PSP than the last one that the ledger
        knows."""
        known = (
            await self._known.refund_statuses([refund.refund_id for refund in refunds])
            if refunds
            else {}
        )
        pairs = [(refund, known.get(refund.refund_id)) for refund in refunds]
        return [
            (refund, here) for refund, here in pairs if here is None or here.status != refund.status
        ]

    async def _read(self, name: str, unread: list[LookUpFailed]) -> RefundAtPsp | None:
        """Return the refund as its connector shows it now; None if the PSP does not show it, or not
        now (added to `unread`)."""
        await self._reader.turn(READ)
        try:
            read = await self._reader.psp.refund(name)
        except (
            ValueError
        ) as unaskable:  # another program made it, with an id that no URL path can hold
            log.warning("a listed refund cannot be asked for", refund_id=name, error=str(unaskable))
            return None
        match read:
            case Rejected():  # one that cannot be read must not delay the others
                log.warning("a listed refund could not be read", refund_id=name, error=read.message)
                return None
            case NotExecuted():
                raise await self._reader.failed(READ, "refunds", read)
            case Unknown():  # it is read again next time, and the others go on
                unread.append(await self._reader.failed(READ, "refunds", read))
                if len(unread) >= MOST_UNREAD:
                    raise unread[0]
                return None
        return read


def _about(refund: RefundAtPsp) -> tuple[str, str]:
    return ENDS[refund.status], refund.refund_id


def _event(refund: RefundAtPsp, known: KnownRefund | None) -> PolledEvent:
    """Return the event of a refund's end in the shape of the PSP's own webhooks, under the same id
    however often this end is found."""
    event_type = ENDS[refund.status]
    changed_at = refund.updated_at.isoformat() if refund.updated_at is not None else None
    change = changed_at or f"v{known.version if known is not None else 0}"
    event_id = f"polled:{event_type}:{refund.refund_id}:{change}"
    shown = {
        "refund_id": refund.refund_id,
        "payment_id": refund.payment_id,
        "amount": refund.amount,
        "currency": refund.currency,
        "status": refund.status,
        "error_code": refund.error_code,
        "error_message": refund.error_message,
        "metadata": {"order_id": refund.order_id} if refund.order_id else None,
        "split_refunds": {STRIPE_REFUND: {"revert_transfer": refund.reverts_transfer}},
        "updated_at": changed_at,
    }
    content = {"type": "refund_details", "object": shown}
    body = {"event_id": event_id, "event_type": event_type, "content": content}
    return PolledEvent(event_id, event_type, json.dumps(body).encode())
