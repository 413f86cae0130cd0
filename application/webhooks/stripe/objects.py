"""The object that a Stripe event is about: carried by the event, or, for a thin event, read at Stripe."""

import asyncio
from datetime import timedelta
from typing import TypeVar

from pydantic import TypeAdapter

from application.gateways import TransferGateway
from application.webhooks.handler import Later, Parked, StoredEvent
from application.webhooks.stripe.events import EVENT, Object, StripeEvent
from domain.provider_call.outcome import LookUpFailed, NotAtStripe, ProviderSignal

READ_WITHIN = 5.0
"""Seconds; an event is leased for ten, and its batch waits for it."""
SILENT = timedelta(seconds=30)
"""How long an event waits that needs Stripe's books while they cannot be read."""

T = TypeVar("T")


class Unread(Exception):
    """The object could not be had; `so` is what becomes of its event. `closed`: our key may not read it."""

    def __init__(self, so: Later | Parked, *, closed: bool = False) -> None:
        self.so, self.closed = so, closed
        super().__init__(so.reason)


class StripesObjects:
    """Reads events, and the objects that they are about."""

    def __init__(self, gateway: TransferGateway) -> None:
        self._gateway = gateway

    @staticmethod
    def envelope(event: StoredEvent) -> StripeEvent:
        """Raises ValidationError."""
        return EVENT.validate_json(event.body)

    async def subject(self, event: StoredEvent, kind: TypeAdapter[T]) -> T:
        """What the event is about. Raises Unread, and ValidationError for what is no such object."""
        told = self.envelope(event)
        if told.data is not None:
            return kind.validate_python(told.data.object)
        if told.related_object is None or not told.related_object.url.startswith("/v1/"):
            raise Unread(Parked(f"event:{event.event_id}", "it does not say what it is about", "webhook_unreadable"))
        return kind.validate_python(await self.read(told.related_object.url, told.of_account))

    async def read(self, path: str, account: str | None = None) -> Object:
        """An object at Stripe, as it is now. Raises Unread."""
        try:
            async with asyncio.timeout(READ_WITHIN):
                return await self._gateway.get_object(path, account)
        except TimeoutError:
            raise Unread(Later(f"{path} could not be read within {READ_WITHIN:.0f} s", SILENT)) from None
        except LookUpFailed as silent:
            closed = silent.signal is ProviderSignal.KEY_REFUSED
            raise Unread(Later(f"{path} could not be read: {silent}", SILENT), closed=closed) from None
        except NotAtStripe as absent:
            raise Unread(
                Parked(f"object:{path}", f"Stripe does not know {path}: {absent}", "webhook_unreadable"), closed=True
            ) from None
