"""Commands of an operator: retry, resolve and backfill a transfer; pause and resume a scope."""

from datetime import datetime
from functools import partial
from uuid import UUID

from application.command_handler import CommandHandler
from application.commands.subjects import subject_of_transfer
from application.gateways import TransferGateway
from application.ports import Directory
from application.unit_of_work import CommitExtras, UnitOfWork, recover_again
from domain.errors import CallInFlight, EvidenceDiffers, NotAdoptable, StripeSilent
from domain.identity import pause_stream
from domain.lifecycle import TransferStatus
from domain.pause import scopes_within
from domain.provider_call.outcome import LookUpFailed, NotAtStripe
from domain.provider_call.stripe_objects import TransferAtStripe
from domain.seller_transfer import manual_resolution
from domain.seller_transfer.aggregate import SellerTransfer
from domain.seller_transfer.transfer_outcome import complete

TRANSFER, REVERSAL = "tr_", "trr_"
"""Prefixes of Stripe's ids."""


class OperatorCommands:
    """Commands of an operator, each with its actor and reason."""

    def __init__(self, handler: CommandHandler, directory: Directory) -> None:
        self._handler, self._directory = handler, directory

    async def retry(self, transfer_id: UUID, actor: str, reason: str) -> None:
        """Make the transfer's waiting call due now. Raises UnknownId, CallInFlight,
        NothingToRetry."""
        await self._handler.handle(
            partial(self._handler.load, transfer_id),
            lambda uow, now: uow.transfer(transfer_id).retry(actor, reason, now),
        )

    async def resolve(
        self, gateway: TransferGateway, transfer_id: UUID, actor: str, reason: str, evidence: str
    ) -> None:
        """End the wait of a stuck transfer. `evidence` is a Stripe object (`tr_…`, `trr_…`), which
        is read first, or a text.

        Raises UnknownId, CallInFlight, NothingToResolve, EvidenceDiffers, StripeSilent.
        """
        transfer = await self.transfer(transfer_id)
        outside = transfer.lapsed and transfer.owed is None
        stripe_id = None if outside else _transfer_to_read(transfer.stripe_transfer_id, evidence)
        seen = await _read(gateway, stripe_id, evidence) if stripe_id is not None else None
        if seen is not None and transfer.stripe_transfer_id is None:
            seen = await self._as_ours(transfer, seen)

        def decide(uow: UnitOfWork, now: datetime) -> None:
            _resolve(uow, transfer_id, seen, actor, reason, evidence, now)

        await self._handler.handle(
            partial(self._handler.load_transfer_with_order, transfer_id),
            decide,
            # reversals by others that waited for the decision are attributed now
            CommitExtras(released=[subject_of_transfer(transfer_id)]),
        )

    async def backfill(
        self, transfer_id: UUID, stripe_transfer_id: str, actor: str, evidence: str
    ) -> None:
        """Record the transfer at Stripe that has paid ours.

        Raises ConstraintBroken when it has paid another of ours, and the errors of
        `record_stripe_id`.
        """
        await self._handler.handle(
            partial(self._handler.load, transfer_id),
            lambda uow, now: record_stripe_id(
                uow.transfer(transfer_id), stripe_transfer_id, actor, evidence, now
            ),
        )

    async def pause(
        self, scope: str, actor: str, reason: str, lost_since: datetime | None = None
    ) -> bool:
        """Send nothing of this scope from now on; return whether that is news. See
        `domain.pause`."""
        return await self._handler.handle(
            partial(self._handler.load, pause_stream(scope)),
            lambda uow, now: uow.pause_of(scope, now).pause(actor, reason, now, lost_since),
        )

    async def resume(self, scope: str, actor: str, reason: str) -> bool:
        """Send due work of this scope again; return whether it was paused. See
        `domain.pause.scopes_within`."""
        scopes = scopes_within(scope)

        def decide(uow: UnitOfWork, now: datetime) -> bool:
            pauses = [pause for pause in map(uow.pause, scopes) if pause is not None]
            resumed = [pause.resume(actor, reason, now) for pause in pauses]
            return any(resumed)

        return await self._handler.handle(
            partial(self._handler.load, *map(pause_stream, scopes)), decide
        )

    async def transfer(self, transfer_id: UUID) -> SellerTransfer:
        """Return the transfer as it is now. Raises UnknownId."""
        return (await self._handler.load(transfer_id)).transfer(transfer_id)

    async def _as_ours(self, transfer: SellerTransfer, seen: TransferAtStripe) -> TransferAtStripe:
        """Return `seen` as evidence for `transfer`. Raises EvidenceDiffers when it belongs to
        another transfer of ours.

        For an imported transfer the id in Stripe's metadata is removed, because an older system may
        have written it.
        """
        if seen.transfer_id == str(transfer.id):
            return seen
        if await self._directory.claimed([seen]):
            raise EvidenceDiffers(
                seen.stripe_transfer_id, "belongs to another transfer of this ledger"
            )
        return seen._replace(transfer_id=None) if transfer.imported else seen


def record_stripe_id(
    transfer: SellerTransfer, stripe_transfer_id: str, actor: str, evidence: str, now: datetime
) -> None:
    """Record which transfer at Stripe has paid ours: a paid one gets its id, an unpaid one is
    completed and never sent.

    Raises ContentDiffers when ours has another id, CallInFlight, NotAdoptable.
    """
    if transfer.paid or transfer.stripe_transfer_id == stripe_transfer_id:
        transfer.backfill(stripe_transfer_id, actor, evidence, now)
        return
    operation = transfer.operation
    if operation is not None and operation.in_call:
        raise CallInFlight(transfer.id)
    if operation is not None and operation.first_began is not None:
        raise NotAdoptable(
            stripe_transfer_id,
            f"transfer {transfer.id} was sent by this ledger, and its own look-up at Stripe "
            "decides",
        )
    waiting = (TransferStatus.PENDING, TransferStatus.FAILED, TransferStatus.PERMANENTLY_FAILED)
    if transfer.status not in waiting or transfer.settled_outside is not None:
        raise NotAdoptable(stripe_transfer_id, f"transfer {transfer.id} is {transfer.status} here")
    complete(transfer, stripe_transfer_id, transfer.amount, None, now, note=f"{actor}: {evidence}")


def _resolve(
    uow: UnitOfWork,
    transfer_id: UUID,
    seen: TransferAtStripe | None,
    actor: str,
    reason: str,
    evidence: str,
    now: datetime,
) -> None:
    """Resolve with `seen`, the transfer that Stripe shows, if the evidence is an object of
    Stripe's."""
    transfer = uow.transfer(transfer_id)
    reduced, lapsed = dict(transfer.reductions), transfer.lapsed
    if seen is None:
        manual_resolution.resolve(transfer, actor, reason, evidence, now)
    elif evidence == seen.stripe_transfer_id:
        manual_resolution.resolve_by_transfer(transfer, seen, actor, reason, now)
    else:
        manual_resolution.resolve_by_reversal(transfer, seen, evidence, actor, reason, now)
    causes = [*transfer.undone_since(reduced), *sorted(transfer.shortened)]
    order = uow.known_order(transfer.order_id)
    if lapsed and order is not None and order.causes:
        # a settled resolution makes room for refunds that came meanwhile
        causes = [*causes, order.causes[-1]]
    for cause_id in causes:
        recover_again(uow, uow.order(transfer.order_id), cause_id, now)


def _transfer_to_read(known: str | None, evidence: str) -> str | None:
    """Return the id of the transfer at Stripe that this evidence names, or that the named reversal
    belongs to.

    None if the evidence is not the id of a Stripe transfer or reversal. Raises EvidenceDiffers when
    it is the id of a reversal and `known`, the Stripe id of our transfer, is missing.
    """
    if evidence.startswith(REVERSAL) and known is None:
        raise EvidenceDiffers(
            evidence,
            "cannot be read, since the Stripe id of its transfer is missing here",
            "run `backfill` for the transfer first",
        )
    return (
        known
        if evidence.startswith(REVERSAL)
        else evidence
        if evidence.startswith(TRANSFER)
        else None
    )


async def _read(
    gateway: TransferGateway, stripe_transfer_id: str, evidence: str
) -> TransferAtStripe:
    try:
        return await gateway.get_transfer(stripe_transfer_id)
    except NotAtStripe as absent:
        raise EvidenceDiffers(
            evidence, f"does not exist in this Stripe account ({absent})"
        ) from None
    except LookUpFailed as unread:
        raise StripeSilent(evidence, str(unread)) from None
