"""Stripe's webhooks about transfers: the outcome of a call of ours, or a change that others
made."""

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from uuid import UUID

from application.commands.subjects import subject_of_order
from application.gateways import TransferGateway
from application.log_ids import bind_ids
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
from application.webhooks.stripe.event_object import (
    READ_WITHIN,
    UNREADABLE_RETRY,
    StripeObjects,
    names_no_object,
)
from application.webhooks.stripe.events import (
    NAMED_TRANSFER,
    TRANSFER,
    NamedTransfer,
    StripeEvent,
)
from application.webhooks.stripe.external_changes import ExternalChanges, NotRecorded
from domain.errors import BadMoney, NotAdoptable, UnknownId
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
        self,
        changes: ExternalChanges,
        directory: Directory,
        gateway: TransferGateway,
        ledger_id: str | None = None,
    ) -> None:
        self._changes, self._directory, self._gateway = changes, directory, gateway
        self._ledger_id = ledger_id

    def handlers(self) -> Mapping[str, EventHandler]:
        """Return the handlers by event type."""
        return dict.fromkeys(
            ("transfer.created", "transfer.updated", "transfer.reversed"), self._transfer
        )

    async def _transfer(self, event: StoredEvent) -> WebhookResult:
        envelope = StripeObjects.envelope(event)
        if envelope.data is None or envelope.data.object is None:
            stripe_id = _id_of_related(envelope)
            return await self._thin(event, stripe_id) if stripe_id else names_no_object(event)
        # ours first: the transfers of strangers may have any shape
        named = NAMED_TRANSFER.validate_python(envelope.data.object)
        metadata = named.metadata
        ours = await self._ours(named.id, metadata.get("transfer_id"), metadata.get("ledger_id"))
        if ours is None:
            return await self._unknown(event, named)
        carried = TRANSFER.validate_python(envelope.data.object)
        try:
            shown = carried.at_stripe
        except BadMoney as fraction:
            return Parked(f"event:{event.event_id}", str(fraction), WebhookAlarm.UNREADABLE)
        early = _result_without_read(ours, shown)
        if early is not None:
            return early
        # a transfer without reversals is contained completely in its event, which is signed
        whole = shown.amount_reversed == 0 and not _awaits_stripe(ours)
        seen = shown if whole else await self._read(carried.id)
        return seen if isinstance(seen, Later | Parked) else await self._record(event, ours, seen)

    async def _unknown(self, event: StoredEvent, named: NamedTransfer) -> WebhookResult:
        """Record a compensation that a restored backup has lost, let an event about a transfer
        that it has lost wait for the payment of its order, and ignore any other transfer."""
        if named.id is None or "compensates" not in named.metadata:
            return self._lost(named)
        seen = await self._read(named.id)
        if isinstance(seen, Later | Parked):
            return seen
        lost = lost_compensation(seen)
        if lost is None or seen.is_foreign(self._ledger_id):
            return Ignored(FOREIGN)
        subject = subject_of_order(lost.order_id)
        taken_from = await self._changes.transfer(lost.taken_from)
        if taken_from is None or taken_from.stripe_transfer_id is None:
            reason = f"{named.id} compensates a transfer that is not recorded as paid here"
            return Parked(subject, reason, maybe_foreign=True)
        paid_by = await self._read(taken_from.stripe_transfer_id)
        if isinstance(paid_by, Later | Parked):
            return paid_by
        try:
            await self._changes.record_compensation(lost, paid_by, event.done)
        except (UnknownId, NotAdoptable) as refused:
            return Parked(subject, str(refused))
        return DONE

    def _lost(self, named: NamedTransfer) -> WebhookResult:
        metadata = named.metadata
        order_id, transfer_id = metadata.get("order_id"), _uuid(metadata.get("transfer_id"))
        if not order_id or transfer_id is None or self._is_foreign(metadata.get("ledger_id")):
            return Ignored(FOREIGN)
        reason = f"{named.id} names a transfer of order {order_id} that is not recorded here"
        return Parked(subject_of_order(order_id), reason, maybe_foreign=True)

    async def _thin(self, event: StoredEvent, stripe_id: str) -> WebhookResult:
        seen = await self._read(stripe_id)
        if isinstance(seen, Later | Parked):
            return seen
        ours = await self._ours(seen.stripe_transfer_id, seen.transfer_id, seen.ledger_id)
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
            case NotRecorded.BUSY | NotRecorded.PENDING:
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

    async def _ours(
        self, stripe_id: str | None, our_id: str | None, ledger_id: str | None
    ) -> SellerTransfer | None:
        known = await self._directory.transfer_at_stripe(stripe_id) if stripe_id else None
        transfer_id = known or (None if self._is_foreign(ledger_id) else _uuid(our_id))
        ours = await self._changes.transfer(transfer_id) if transfer_id is not None else None
        if ours is not None:
            bind_ids(transfer_id=ours.id, order_id=ours.order_id, seller_id=ours.seller_id)
        return ours

    def _is_foreign(self, ledger_id: str | None) -> bool:
        return None not in (ledger_id, self._ledger_id) and ledger_id != self._ledger_id


def _result_without_read(ours: SellerTransfer, shown: TransferAtStripe) -> WebhookResult | None:
    """Return the result if it can be decided without reading Stripe, else None. Most events only
    echo our own calls."""
    known = shown.amount_reversed <= ours.amount_reversed and not _awaits_stripe(ours)
    if ours.stripe_transfer_id == shown.stripe_transfer_id and known:
        return Ignored(NO_NEWS)
    if ours.in_flight is not None and ours.operation is not None and ours.operation.in_call:
        return Later("a call of ours is under way, and its answer comes first", SOON)
    return None


def _awaits_stripe(ours: SellerTransfer) -> bool:
    """Return whether a reversal is pending at Stripe, so that any event may tell its end."""
    return ours.operation is not None and ours.operation.pending


def _id_of_related(envelope: StripeEvent) -> str:
    """Return the id of the transfer that a thin event names; empty if it names none."""
    related = envelope.related_object
    url = related.url if related is not None else None
    return url.rpartition("/")[2] if url is not None and url.startswith("/v1/transfers/") else ""


def _uuid(name: str | None) -> UUID | None:
    try:
        return UUID(name) if name else None
    except ValueError:
        return None
