"""The object of a Stripe event: carried by a snapshot event, read at Stripe for a thin one."""

import asyncio
from datetime import timedelta
from typing import TypeVar

from pydantic import TypeAdapter

from application.gateways import TransferGateway
from application.webhooks.handler import Later, Parked, StoredEvent, WebhookAlarm
from application.webhooks.stripe.events import EVENT, Object, StripeEvent
from domain.provider_call.outcome import NO_PERMISSION, LookUpFailed, NotAtStripe

READ_WITHIN = 5.0
"""Seconds; an event is leased for ten, and its batch waits for the read."""
UNREADABLE_RETRY = timedelta(seconds=30)
"""Wait of an event while its object cannot be read at Stripe."""

T = TypeVar("T")


def names_no_object(event: StoredEvent) -> Parked:
    """Return the result of an event that neither carries nor names an object."""
    return Parked(f"event:{event.event_id}", "the event names no object", WebhookAlarm.UNREADABLE)


class ObjectUnread(Exception):
    """The object could not be read; `result` is the result of its event. `closed`: our API key may
    not read it."""

    def __init__(self, result: Later | Parked, *, closed: bool = False) -> None:
        self.result, self.closed = result, closed
        super().__init__(result.reason)


class StripeObjects:
    """Reads events and their objects."""

    def __init__(self, gateway: TransferGateway, own_account: str | None = None) -> None:
        """`own_account`: the id of the platform's account, if it is known."""
        self._gateway, self._own_account = gateway, own_account

    @staticmethod
    def envelope(event: StoredEvent) -> StripeEvent:
        """Return the parsed event. Raises ValidationError."""
        return EVENT.validate_json(event.body)

    def account_of(self, event: StoredEvent) -> str | None:
        """Return the connected account that tells the event; None: the platform. Raises
        ValidationError."""
        account = self.envelope(event).of_account
        return account if account != self._own_account else None

    async def subject(self, event: StoredEvent, kind: TypeAdapter[T]) -> T:
        """Return the object of an event. Raises ObjectUnread, and ValidationError for an object of
        another kind."""
        return kind.validate_python(await self.members(event))

    async def members(self, event: StoredEvent) -> Object:
        """Return the members of the object of an event. Raises ObjectUnread, ValidationError."""
        envelope = self.envelope(event)
        if envelope.data is not None and envelope.data.object is not None:
            return envelope.data.object
        url = envelope.related_object.url if envelope.related_object is not None else None
        if url is None or not url.startswith("/v1/"):
            raise ObjectUnread(names_no_object(event))
        return await self.read(url, self.account_of(event))

    async def read(self, path: str, account: str | None = None) -> Object:
        """Return an object as Stripe shows it now. Raises ObjectUnread."""
        try:
            async with asyncio.timeout(READ_WITHIN):
                return await self._gateway.get_object(path, account)
        except TimeoutError:
            raise ObjectUnread(
                Later(f"{path} could not be read within {READ_WITHIN:.0f} s", UNREADABLE_RETRY)
            ) from None
        except LookUpFailed as failed:
            closed = failed.signal in NO_PERMISSION
            raise ObjectUnread(
                Later(f"{path} could not be read: {failed}", UNREADABLE_RETRY), closed=closed
            ) from None
        except NotAtStripe as absent:
            reason = f"Stripe does not know {path}: {absent}"
            raise ObjectUnread(
                Parked(f"object:{path}", reason, WebhookAlarm.UNREADABLE), closed=True
            ) from None
