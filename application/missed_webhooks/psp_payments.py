"""The PSP's payments that have succeeded, and no webhook has told. Until somebody does, sellers are not paid.

Asked for are the payments that unpaid orders name, one by one, since the PSP shows no list of those that changed. An order is
looked at at the same ages as a refund, so a lost payment is found when its order is about twice as old as it was then.

Most orders that stay unpaid were never meant to be paid: buyers leave. So a look is bounded, to a share of each slice that
changes with the age: whoever is left out at one age has the same chance at the next.
"""

import json
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import datetime, timedelta

from application.gateways import PaymentGateway
from application.missed_webhooks.ports import PolledInbox, Span, Told, UnpaidOrders
from application.missed_webhooks.psp_reader import AGES, Asking, is_old_enough
from domain.provider_call.outcome import NotExecuted, Rejected, Unknown
from domain.provider_call.psp_objects import PaymentAtPsp

READ = "psp.payments.retrieve"
"""Its name in the pace."""
MOST_ASKED = 25
"""Of a slice: with thirteen ages some three hundred reads a round, a quarter of a minute at twenty per second."""
WIDEST = timedelta(hours=1)
"""A wider slice, after an outage, is read in parts, so that it is looked at no less closely."""
SUCCEEDED = "payment_succeeded"


class MissedPayments:
    """A part of the provider `hyperswitch`."""

    def __init__(self, provider: str, psp: PaymentGateway, orders: UnpaidOrders, inbox: PolledInbox, asking: Asking) -> None:
        self._provider, self._psp, self._orders, self._inbox, self._asking = provider, psp, orders, inbox, asking

    async def told(self, span: Span) -> AsyncIterator[Sequence[Told]]:
        """A slice for each age. Our own books show every order at once, so no slice is read twice. Raises LookUpFailed."""
        for nth, age in enumerate(AGES):
            for since, until in _parts(max(span.asked_until - age, span.begun_at), span.until - age):
                names = await self._orders.unpaid(since, until, nth, MOST_ASKED)
                yield [_told(payment) for payment in await self._untold(names, span.horizon)]

    async def _untold(self, names: Sequence[str], horizon: datetime) -> list[PaymentAtPsp]:
        read = [await self._read(name) for name in names]
        paid = {
            payment.payment_id: payment
            for payment in read
            if payment is not None and payment.status == "succeeded" and is_old_enough(payment.updated_at, horizon)
        }
        if not paid:
            return []
        # What waits in the inbox first, then what is recorded: the other way round, what is handled in between is in neither.
        waiting = await self._inbox.waiting(self._provider, [(SUCCEEDED, name) for name in paid])
        unpaid = await self._orders.still_unpaid(list(paid))
        return [payment for name, payment in paid.items() if name in unpaid and (SUCCEEDED, name) not in waiting]

    async def _read(self, name: str) -> PaymentAtPsp | None:
        """As it is now; None where the PSP has no such payment: it may not have been begun, or be somebody else's."""
        await self._asking.turn(READ)
        try:
            read = await self._psp.payment(name)
        except ValueError:  # a name that it cannot have
            return None
        if isinstance(read, Rejected):
            return None
        if isinstance(read, NotExecuted | Unknown):
            raise await self._asking.failed(READ, "payments", read)
        return read


def _parts(since: datetime, until: datetime) -> Iterator[tuple[datetime, datetime]]:
    while since < until:
        end = min(since + WIDEST, until)
        yield since, end
        since = end


def _told(payment: PaymentAtPsp) -> Told:
    """The event in the shape of the PSP's own webhooks, under the same name however often it is found."""
    event_id = f"polled:{SUCCEEDED}:{payment.payment_id}"
    shown = {
        "payment_id": payment.payment_id,
        "status": payment.status,
        "amount": payment.amount,
        "amount_received": payment.amount_received,
        "currency": payment.currency,
        "metadata": {"order_id": payment.order_id} if payment.order_id else None,
    }
    content = {"type": "payment_details", "object": shown}
    return Told(event_id, SUCCEEDED, json.dumps({"event_id": event_id, "event_type": SUCCEEDED, "content": content}).encode())
