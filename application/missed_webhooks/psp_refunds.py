"""The PSP's refunds whose end no webhook has told. The PSP keeps no list of events, so its refunds are compared with ours.

A refund is listed by when it was made, which does not move when it ends days later, and it may end twice (a bank refuses after
it had succeeded). So every refund is looked at again at certain ages, whatever it was before: each round lists one slice per
age, as wide as the time since the last round. That needs no memory of single refunds, costs hardly more with a million
unfinished ones than with none, and finds a lost end when the refund is about twice as old as it was then.

What is found becomes an event of the shape that the webhook has, under a name made of refund and status: it is stored once,
and the webhook itself, should it come after all, finds nothing left to do.
"""

import json
from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta

import structlog

from application.gateways import PaymentGateway
from application.missed_webhooks.ports import KnownRefunds, PolledInbox, Span, Told
from application.missed_webhooks.psp_reader import AGES, Asking, is_old_enough
from domain.provider_call.outcome import LookUpFailed, NotExecuted, Rejected, Unknown
from domain.provider_call.psp_objects import RefundAtPsp

LIST, READ = "psp.refunds.list", "psp.refunds.retrieve"
"""Names of the PSP's endpoints in the pace."""
MOST_UNREAD = 3
"""Refunds that cannot be read before the PSP counts as away; fewer keep nobody else waiting."""
SHORTEST = timedelta(minutes=1)
"""A slice that is read with a hole is halved, down to this."""
ENDS = {"succeeded": "refund_succeeded", "failed": "refund_failed"}
"""The event that tells of a final status."""

log = structlog.get_logger()


class MissedRefunds:
    """A part of the provider `hyperswitch`."""

    def __init__(self, provider: str, psp: PaymentGateway, known: KnownRefunds, inbox: PolledInbox, asking: Asking) -> None:
        self._provider, self._psp, self._known, self._inbox, self._asking = provider, psp, known, inbox, asking

    async def told(self, span: Span) -> AsyncIterator[Sequence[Told]]:
        """A slice for each age. Raises LookUpFailed, after all else was told where it is about single refunds."""
        unread: list[LookUpFailed] = []
        for age in AGES:
            since, until = max(span.since - age, span.begun_at), span.until - age
            if since < until:
                async for refunds in self._listed(since, until):
                    yield [_told(refund) for refund in await self._untold(refunds, span.horizon, unread)]
        if unread:
            raise unread[0]

    async def _listed(self, since: datetime, until: datetime) -> AsyncIterator[Sequence[RefundAtPsp]]:
        await self._asking.turn(LIST)
        listed = await self._psp.refunds(since, until)
        if isinstance(listed, Unknown) and listed.why == "incomplete" and until - since > SHORTEST:
            middle = since + (until - since) / 2
            for half in (self._listed(since, middle), self._listed(middle, until)):
                async for refunds in half:
                    yield refunds
        elif isinstance(listed, Rejected | NotExecuted | Unknown):
            raise await self._asking.failed(LIST, "refunds", listed)
        else:
            yield listed

    async def _untold(self, listed: Sequence[RefundAtPsp], horizon: datetime, unread: list[LookUpFailed]) -> list[RefundAtPsp]:
        """Those that ended before `horizon`, and of whose end nobody has told us."""
        read = [await self._read(refund.refund_id, unread) for refund in await self._unrecorded(listed)]
        ended = [
            refund
            for refund in read
            if refund is not None and refund.status in ENDS and is_old_enough(refund.updated_at, horizon)
        ]
        # What waits in the inbox first, then what is recorded: the other way round, what is handled in between is in neither.
        waiting = await self._inbox.waiting(self._provider, [_about(refund) for refund in ended]) if ended else ()
        return [refund for refund in await self._unrecorded(ended) if _about(refund) not in waiting]

    async def _unrecorded(self, refunds: Sequence[RefundAtPsp]) -> list[RefundAtPsp]:
        """Those whose status is not what the ledger has heard."""
        heard_of = await self._known.refunds_heard_of([refund.refund_id for refund in refunds]) if refunds else {}
        return [refund for refund in refunds if heard_of.get(refund.refund_id) != refund.status]

    async def _read(self, name: str, unread: list[LookUpFailed]) -> RefundAtPsp | None:
        """As it is now, asked anew at whoever carries it out; None where the PSP does not show it, or not now (`unread`)."""
        await self._asking.turn(READ)
        try:
            read = await self._psp.refund(name)
        except ValueError as unaskable:  # another program made it, under a name that no path can hold
            log.warning("a listed refund cannot be asked for", refund_id=name, error=str(unaskable))
            return None
        match read:
            case Rejected():  # one that cannot be read must not keep the others waiting
                log.warning("a listed refund could not be read", refund_id=name, error=read.message)
                return None
            case NotExecuted():
                raise await self._asking.failed(READ, "refunds", read)
            case Unknown():  # it is asked for again next time, and the others are not its hostages
                unread.append(await self._asking.failed(READ, "refunds", read))
                if len(unread) >= MOST_UNREAD:
                    raise unread[0]
                return None
        return read


def _about(refund: RefundAtPsp) -> tuple[str, str]:
    return ENDS[refund.status], refund.refund_id


def _told(refund: RefundAtPsp) -> Told:
    """The event of its end, in the shape of the PSP's own webhooks, under the same name however often it is found."""
    event_type = ENDS[refund.status]
    event_id = f"polled:{event_type}:{refund.refund_id}"
    shown = {
        "refund_id": refund.refund_id,
        "payment_id": refund.payment_id,
        "amount": refund.amount,
        "currency": refund.currency,
        "status": refund.status,
        "error_code": refund.error_code,
        "error_message": refund.error_message,
        "metadata": {"order_id": refund.order_id} if refund.order_id else None,
        "updated_at": refund.updated_at.isoformat() if refund.updated_at else None,
    }
    content = {"type": "refund_details", "object": shown}
    return Told(event_id, event_type, json.dumps({"event_id": event_id, "event_type": event_type, "content": content}).encode())
