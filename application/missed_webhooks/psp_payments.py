"""Payments that have moved money at the PSP without a webhook. Until such a payment is recorded,
its sellers are not paid, or no person knows of a partial capture.

The PSP has no list of changed payments, so the payments that unpaid orders name are read one by
one. An order is read at the same ages as a refund: a lost payment is found when its order is about
twice as old as it was when it was paid.

Most orders that stay unpaid will never be paid, because buyers leave. So each slice is read up to a
limit, and the choice changes with the age: an order that is left out at one age has the same chance
at the next.
"""

import json
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import datetime, timedelta

from application.missed_webhooks.ports import PolledEvent, PolledInbox, Span, UnpaidOrders
from application.missed_webhooks.psp_reader import AGES, PspReader, is_old_enough
from application.split_members import shown_split
from domain.provider_call.outcome import NotExecuted, Rejected, Unknown
from domain.provider_call.payment_status import POLLED
from domain.provider_call.psp_objects import PaymentAtPsp

READ = "psp.payments.retrieve"
"""Endpoint of the rate limiter."""
MOST_READ = 25
"""Reads per slice. With thirteen ages: about three hundred per round, a quarter of a minute at
twenty per second."""
WIDEST = timedelta(hours=1)
"""Longest slice. A longer one, after an outage, is read in parts, so that the limit applies to each
part."""


class MissedPayments:
    """Missed payments of the provider `hyperswitch`."""

    def __init__(
        self, provider: str, reader: PspReader, orders: UnpaidOrders, inbox: PolledInbox
    ) -> None:
        self._provider, self._reader, self._orders, self._inbox = provider, reader, orders, inbox

    async def events(self, span: Span) -> AsyncIterator[Sequence[PolledEvent]]:
        """Yield a slice for each age. The ledger shows every order at once, so no slice is read
        twice. Raises LookUpFailed.

        The begin of the ledger is no limit: a process with a clock behind the database's registers
        an order with a time from before it.
        """
        for nth, age in enumerate(AGES):
            for since, until in _parts(span.asked_until - age, span.until - age):
                names = await self._orders.unpaid(since, until, nth, MOST_READ)
                yield [_event(payment) for payment in await self._missed(names, span.horizon)]

    async def _missed(self, names: Sequence[str], horizon: datetime) -> list[PaymentAtPsp]:
        read = [await self._read(name) for name in names]
        paid = {
            payment.payment_id: payment
            for payment in read
            if payment is not None
            and payment.status in POLLED
            and is_old_enough(payment.updated_at, horizon)
        }
        if not paid:
            return []
        # The inbox first, then the ledger: the other way round, an event that is handled in between
        # would be in neither.
        told = {name: POLLED[payment.status] for name, payment in paid.items()}
        waiting = await self._inbox.waiting(
            self._provider, [(event_type, name) for name, event_type in told.items()]
        )
        unpaid = await self._orders.still_unpaid(list(paid))
        return [
            payment
            for name, payment in paid.items()
            if name in unpaid and (told[name], name) not in waiting
        ]

    async def _read(self, name: str) -> PaymentAtPsp | None:
        """Return the payment as it is now; None if the PSP has no such payment: it may not be
        created, or be another system's."""
        await self._reader.turn(READ)
        try:
            read = await self._reader.psp.payment(name)
        except ValueError:  # an id that the PSP cannot have
            return None
        if isinstance(read, Rejected):
            return None
        if isinstance(read, NotExecuted | Unknown):
            raise await self._reader.failed(READ, "payments", read)
        return read


def _parts(since: datetime, until: datetime) -> Iterator[tuple[datetime, datetime]]:
    while since < until:
        end = min(since + WIDEST, until)
        yield since, end
        since = end


def _event(payment: PaymentAtPsp) -> PolledEvent:
    """Build an event like the PSP's webhook. Its id depends only on the payment, its status, the
    received amount and the time of its change, so that each change is told once."""
    event_type = POLLED[payment.status]
    event_id = f"polled:{event_type}:{payment.payment_id}"
    if payment.status != "succeeded":
        event_id += f":{payment.status}:{payment.amount_received}"
    if payment.updated_at is not None:
        event_id += f":{payment.updated_at.isoformat()}"
    shown = {
        "payment_id": payment.payment_id,
        "status": payment.status,
        "amount": payment.amount,
        "amount_received": payment.amount_received,
        "currency": payment.currency,
        "connector": payment.connector,
        "connector_transaction_id": payment.connector_transaction_id,
        "metadata": {"order_id": payment.order_id} if payment.order_id else None,
        "split_payments": shown_split(payment.split),
    }
    content = {"type": "payment_details", "object": shown}
    body = {"event_id": event_id, "event_type": event_type, "content": content}
    return PolledEvent(event_id, event_type, json.dumps(body).encode())
