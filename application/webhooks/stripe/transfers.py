"""Stripe's webhooks about transfers: the outcome of a call of ours, or a change that others
made."""

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from uuid import UUID

from application.commands.subjects import subject_of_order
from application.gateways import TransferGateway
from application.ports import Directory
from application.reconciliation.lost_compensations import lost_compensation
from application.webhooks.handler import (
    DONE,
    EventHandler,
    Ignored,
    Later,
    Parked,
    StoredEvent,
    WebhookAlarm,
    WebhookResult,
)
from application.webhooks.stripe.event_object import READ_WITHIN, UNREADABLE_RETRY, StripeObjects
from application.webhooks.stripe.events import TRANSFER, StripeEvent, TransferObject
from application.webhooks.stripe.external_changes import ExternalChanges, NotRecorded
from domain.errors import NotAdoptable, UnknownId
from domain.provider_call.outcome import LookUpFailed, NotAtStripe
from domain.provider_call.stripe_objects import TransferAtStripe
from domain.seller_transfer.aggregate import SellerTransfer

SOON = timedelta(seconds=2)
"""Wait of an event for the answer of a call that is under way."""
FOREIGN = "no transfer of this ledger"
NO_NEWS = "its content is recorded already"


class StripeTransfers:
    """Handlers of transfer events. An event that may be news is never trusted: the whole transfer
    is read at Stripe."""

    def __init__(
        self, changes: ExternalChanges, directory: Directory, gateway: TransferGateway
    ) -> None:
        self._changes, self._directory, self._gateway = changes, directory, gateway

    def handlers(self) -> Mapping[str, EventHandler]:
        """Return the handlers by event type."""
        return dict.fromkeys(
            ("transfer.created", "transfer.updated", "transfer.reversed"), self._transfer
        )

    async def _transfer(self, event: StoredEvent) -> WebhookResult:
        envelope = StripeObjects.envelope(event)
        carried = (
            TRANSFER.validate_python(envelope.data.object) if envelope.data is not None else None
        )
        if carried is None:
            return await self._thin(event, _id_of_related(envelope))
        ours = await self._ours(carried.at_stripe)
        if ours is None:
            return await self._unknown(event, carried)
        early = _result_without_read(ours, carried)
        if early is not None:
            return early
        # a transfer without reversals is contained completely in its event, which is signed
        seen = carried.at_stripe if carried.amount_reversed == 0 else await self._read(carried.id)
        return seen if isinstance(seen, Later | Parked) else await self._record(event, ours, seen)

    async def _unknown(self, event: StoredEvent, carried: TransferObject) -> WebhookResult:
        """Record a compensation that a restored backup has lost; ignore any other transfer."""
        if "compensates" not in carried.metadata:
            return Ignored(FOREIGN)
        seen = await self._read(carried.id)
        if isinstance(seen, Later | Parked):
            return seen
        lost = lost_compensation(seen)
        if lost is None:
            return Ignored(FOREIGN)
        subject = subject_of_order(lost.order_id)
        taken_from = await self._changes.transfer(lost.taken_from)
        if taken_from is None or taken_from.stripe_transfer_id is None:
            reason = f"{carried.id} compensates a transfer that is not recorded as paid here"
            return Parked(subject, reason, maybe_foreign=True)
        paid_by = await self._read(taken_from.stripe_transfer_id)
        if isinstance(paid_by, Later | Parked):
            return paid_by
        try:
            await self._changes.record_compensation(lost, paid_by, event.done)
        except (UnknownId, NotAdoptable) as refused:
            return Parked(subject, str(refused))
        return DONE

    async def _thin(self, event: StoredEvent, stripe_id: str) -> WebhookResult:
        seen = await self._read(stripe_id)
        if isinstance(seen, Later | Parked):
            return seen
        ours = await self._ours(seen)
        return Ignored(FOREIGN) if ours is None else await self._record(event, ours, seen)

    async def _record(
        self, event: StoredEvent, ours: SellerTransfer, seen: TransferAtStripe
    ) -> WebhookResult:
        missing = await self._changes.record(ours.id, seen, event.done)
        match missing:
            case None:
                return DONE
            case NotRecorded.OPEN_CALL:
                return Later(missing.value, UNREADABLE_RETRY)
            case NotRecorded.BUSY:
                return Parked(f"transfer:{ours.id}", missing.value)
            case NotRecorded.STUCK | NotRecorded.DRIFT:
                return Parked(f"transfer:{ours.id}", missing.value, WebhookAlarm.REVERSED_AT_STRIPE)

    async def _read(self, stripe_id: str) -> TransferAtStripe | Later | Parked:
        try:
            async with asyncio.timeout(READ_WITHIN):
                return await self._gateway.get_transfer(stripe_id)
        except TimeoutError:
            return Later(
                f"{stripe_id} could not be read within {READ_WITHIN:.0f} s", UNREADABLE_RETRY
            )
        except LookUpFailed as failed:
            return Later(f"{stripe_id} could not be read: {failed}", UNREADABLE_RETRY)
        except NotAtStripe as absent:
            reason = f"Stripe sent an event about it, but does not know it: {absent}"
            return Parked(f"object:{stripe_id}", reason, WebhookAlarm.UNREADABLE)

    async def _ours(self, seen: TransferAtStripe) -> SellerTransfer | None:
        known = await self._directory.transfer_at_stripe(seen.stripe_transfer_id)
        transfer_id = known or _uuid(seen.transfer_id)
        return await self._changes.transfer(transfer_id) if transfer_id is not None else None


def _result_without_read(ours: SellerTransfer, carried: TransferObject) -> WebhookResult | None:
    """Return the result if it can be decided without reading Stripe, else None. Most events only
    echo our own calls."""
    if ours.stripe_transfer_id == carried.id and carried.amount_reversed <= ours.amount_reversed:
        return Ignored(NO_NEWS)
    if ours.in_flight is not None and ours.operation is not None and ours.operation.in_call:
        return Later("a call of ours is under way, and its answer comes first", SOON)
    return None


def _id_of_related(envelope: StripeEvent) -> str:
    """Return the id of the object that a thin event names, or an empty id, which matches no
    transfer."""
    return (
        envelope.related_object.url.rpartition("/")[2]
        if envelope.related_object is not None
        else ""
    )


def _uuid(name: str | None) -> UUID | None:
    try:
        return UUID(name) if name else None
    except ValueError:
        return None
