"""What Stripe's webhooks say of transfers: what became of a call of ours, and what others did to its money."""

import asyncio
from datetime import timedelta
from uuid import UUID

from application.gateways import TransferGateway
from application.ports import Directory
from application.webhooks.handler import DONE, Disposition, Ignored, Later, Parked, Reaction, StoredEvent, marked
from application.webhooks.stripe.events import TRANSFER, StripeEvent, Transfer
from application.webhooks.stripe.external_changes import Left, StripesBooks
from application.webhooks.stripe.objects import READ_WITHIN, SILENT, StripesObjects
from domain.provider_call.outcome import LookUpFailed, NotAtStripe
from domain.provider_call.stripe_objects import TransferAtStripe
from domain.seller_transfer.aggregate import SellerTransfer

SOON = timedelta(seconds=2)
"""How long an event waits for the answer of a call that is under way."""
STRANGER = "no transfer of this ledger"
NO_NEWS = "what it tells is recorded already"


class StripeTransfers:
    """Never trusts what an event says has changed: what may be news is read at Stripe as a whole."""

    def __init__(self, books: StripesBooks, directory: Directory, gateway: TransferGateway) -> None:
        self._books, self._directory, self._gateway = books, directory, gateway

    def by_type(self) -> dict[str, Reaction]:
        """The reactions by event type."""
        return dict.fromkeys(("transfer.created", "transfer.updated", "transfer.reversed"), self._transfer)

    async def _transfer(self, event: StoredEvent) -> Disposition:
        envelope = StripesObjects.envelope(event)
        told = TRANSFER.validate_python(envelope.data.object) if envelope.data is not None else None
        stripe_id = told.id if told is not None else _named(envelope)
        seen = None if told is not None else await self._seen(stripe_id)
        if isinstance(seen, Later | Parked):
            return seen
        ours = await self._ours(stripe_id, told.at_stripe if told is not None else seen)
        if ours is None:
            return Ignored(STRANGER)
        if told is not None:
            waits = _hasty(ours, told)
            if waits is not None:
                return waits
            # all of a transfer that nobody has reversed is in the event itself, which is signed
            seen = told.at_stripe if told.amount_reversed == 0 else await self._seen(stripe_id)
        return seen if isinstance(seen, Later | Parked) else await self._take_in(event, ours, seen)

    async def _take_in(self, event: StoredEvent, ours: SellerTransfer, seen: TransferAtStripe | None) -> Disposition:
        assert seen is not None
        left = await self._books.take_in(ours.id, seen, marked(event))
        match left:
            case Left.NOTHING:
                return DONE
            case Left.OPEN_CALL:
                return Later(left.value, SILENT)
            case Left.BUSY:
                return Parked(f"transfer:{ours.id}", left.value)
            case Left.STUCK | Left.DRIFT:
                return Parked(f"transfer:{ours.id}", left.value, "reversed_at_stripe")

    async def _seen(self, stripe_id: str) -> TransferAtStripe | Later | Parked:
        try:
            async with asyncio.timeout(READ_WITHIN):
                return await self._gateway.get_transfer(stripe_id)
        except TimeoutError:
            return Later(f"{stripe_id} could not be read within {READ_WITHIN:.0f} s", SILENT)
        except LookUpFailed as silent:
            return Later(f"{stripe_id} could not be read: {silent}", SILENT)
        except NotAtStripe as absent:
            return Parked(f"object:{stripe_id}", f"Stripe told of it, but does not know it: {absent}", "webhook_unreadable")

    async def _ours(self, stripe_id: str, shown: TransferAtStripe | None) -> SellerTransfer | None:
        known = await self._directory.transfer_at_stripe(stripe_id)
        named = known or _uuid(shown.transfer_id if shown is not None else None)
        return await self._books.transfer(named) if named is not None else None


def _hasty(ours: SellerTransfer, told: Transfer) -> Disposition | None:
    """What can be said without reading Stripe's books; they are not asked about each call of our own."""
    if ours.stripe_transfer_id == told.id and told.amount_reversed <= ours.amount_reversed:
        return Ignored(NO_NEWS)
    if ours.in_flight is not None and ours.operation is not None and ours.operation.in_call:
        return Later("a call of ours is under way, and its answer comes first", SOON)
    return None


def _named(envelope: StripeEvent) -> str:
    """The id of the object that a thin event names; raises nothing: an empty one is of nobody."""
    return envelope.related_object.url.rpartition("/")[2] if envelope.related_object is not None else ""


def _uuid(name: str | None) -> UUID | None:
    try:
        return UUID(name) if name else None
    except ValueError:
        return None
