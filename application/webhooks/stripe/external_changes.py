"""Changes that Stripe shows and no call of ours has reported: the outcome of a lost call, and
reversals that others made.

The transfer at Stripe is believed as a whole, never the difference in an event. A reversal with our
id is the outcome of our own call. One without it is attributed to others, and only when no call of
ours could have made it.
"""

from collections.abc import Collection
from datetime import datetime
from enum import StrEnum
from functools import partial
from uuid import UUID

from application.command_handler import NO_EXTRAS, CommandHandler
from application.reconciliation.comparison import lacks_only_the_id
from application.reconciliation.lost_compensations import (
    LostCompensation,
    record_compensation,
    recover_after,
)
from application.unit_of_work import CommitExtras, UnitOfWork, recover_again
from domain.errors import UnknownId
from domain.identity import streams_of_cause
from domain.provider_call.operation import TRANSFER
from domain.provider_call.reasons import DeferralReason
from domain.provider_call.stripe_objects import TransferAtStripe
from domain.seller_transfer import reversal_outcome, transfer_outcome
from domain.seller_transfer.aggregate import SellerTransfer, causes_to_recover
from domain.seller_transfer.external_reversals import external_reversals, record_external
from domain.seller_transfer.found_reversals import not_recorded, take_in
from domain.seller_transfer.stripe_call import keep_evidence, postpone


class NotRecorded(StrEnum):
    """The reason why a change cannot be recorded completely yet."""

    OPEN_CALL = "a reversal of ours is open, and its outcome comes first"
    BUSY = "a reversal of ours is due, and reversals by others are attributed after it"
    STUCK = "others reversed a transfer that waits for a person"
    PENDING = "a reversal that others made is pending at Stripe, and counts once it has succeeded"
    DRIFT = "Stripe shows more reversed than is recorded here, and it cannot be attributed"


class ExternalChanges:
    """Records changes that Stripe shows. Every method may be repeated and then changes nothing."""

    def __init__(self, handler: CommandHandler) -> None:
        self._handler = handler

    async def transfer(self, transfer_id: UUID) -> SellerTransfer | None:
        """Return one of our transfers as it is now."""
        try:
            return (await self._handler.load(transfer_id)).transfer(transfer_id)
        except UnknownId:
            return None

    async def record(
        self, transfer_id: UUID, seen: TransferAtStripe, done: CommitExtras
    ) -> NotRecorded | None:
        """Bring the transfer in line with Stripe; with `done` in the same append if that is
        complete. Raises UnknownId."""

        def decide(uow: UnitOfWork, now: datetime) -> NotRecorded | None:
            transfer = uow.transfer(transfer_id)
            reduced, recorded = (
                dict(transfer.reductions),
                uow.recorded_causes(transfer.order_id),
            )
            missing, found = _record(transfer, seen, recorded, now)
            order = uow.known_order(transfer.order_id)
            causes = [*causes_to_recover(transfer, reduced), *found]
            for cause_id in causes if order is not None else ():
                recover_again(uow, uow.order(transfer.order_id), cause_id, now)
            return missing

        return await self._handler.handle(
            partial(self._load, transfer_id, seen),
            decide,
            lambda missing: done if missing is None else NO_EXTRAS,
        )

    async def record_compensation(
        self, lost: LostCompensation, paid_by: TransferAtStripe, done: CommitExtras
    ) -> None:
        """Record a compensation that a restored backup does not contain. See
        `record_compensation` of `lost_compensations`."""

        def decide(uow: UnitOfWork, now: datetime) -> None:
            recover_after(uow, lost, record_compensation(uow, lost, paid_by, now), now)

        streams = streams_of_cause(lost.cause_id)
        await self._handler.handle(
            partial(self._handler.load_order_with_transfers, lost.order_id, *streams),
            decide,
            done,
        )

    async def _load(self, transfer_id: UUID, seen: TransferAtStripe) -> UnitOfWork:
        uow = await self._handler.load_transfer_with_order(transfer_id)
        return await self._handler.with_causes(uow, transfer_id, seen)


def _record(
    transfer: SellerTransfer, seen: TransferAtStripe, recorded: Collection[str], now: datetime
) -> tuple[NotRecorded | None, list[str]]:
    """Return the reason if the record is incomplete, and the causes for which shares must be
    recovered again."""
    disagreement = _disagreement(transfer, seen)
    if disagreement is not None:
        keep_evidence(
            transfer, TRANSFER, seen.stripe_transfer_id, seen.amount, disagreement, None, now
        )
        return None, []
    if (
        lacks_only_the_id(transfer) and seen.amount == transfer.amount
    ):  # our id was written into its metadata at Stripe
        actor = f"stripe:{seen.stripe_transfer_id}"
        transfer.backfill(
            seen.stripe_transfer_id, actor, "a webhook of Stripe, by metadata transfer_id", now
        )
    transfer_outcome.complete(
        transfer,
        seen.stripe_transfer_id,
        seen.amount,
        None,
        now,
        note="told by a webhook of Stripe",
        made=seen.reversals,
    )
    if transfer.stripe_transfer_id != seen.stripe_transfer_id:
        return None, []  # kept as evidence, with an alarm
    found = take_in(transfer, seen, recorded, now, "told by a webhook of Stripe")
    ours = not_recorded(transfer, seen)
    for made in reversed(seen.reversals):
        if made.taken and made.reversal_id in transfer.reversals and made not in ours:
            reversal_outcome.complete_reversal(
                transfer,
                made.reversal_id,
                made.stripe_reversal_id,
                made.amount,
                None,
                now,
                "told by a webhook of Stripe",
            )
    if ours and transfer.operation is not None and transfer.operation.open:
        return NotRecorded.OPEN_CALL, found
    _look_now(transfer, seen, now)
    if external_reversals(transfer, seen):
        return _attribute(transfer, seen, now), found
    if _unexplained(transfer, seen):
        return NotRecorded.DRIFT, found
    others = any(made.pending and made.reversal_id is None for made in seen.reversals)
    return (NotRecorded.PENDING if others else None), found


def _look_now(transfer: SellerTransfer, seen: TransferAtStripe, now: datetime) -> None:
    """Let our pending reversal be looked up at once, since Stripe has decided about it."""
    operation = transfer.operation
    if operation is not None and operation.pending and not seen.pending:
        why = DeferralReason.PENDING
        postpone(transfer, why, "Stripe has decided about the pending reversal", now, now)


def _disagreement(transfer: SellerTransfer, seen: TransferAtStripe) -> str | None:
    """Return why the transfer at Stripe, although it names ours, is not the one that the ledger
    requested."""
    ours_too = seen.destination in transfer.accounts and seen.currency == transfer.currency
    if ours_too and seen.amount <= transfer.original:
        return None
    paid = f"{seen.amount} {seen.currency} to {seen.destination}"
    ours = f"{transfer.original} {transfer.currency} to {transfer.destination}"
    return (
        f"Stripe's {seen.stripe_transfer_id} names this transfer, but pays {paid}, where {ours} "
        "was asked."
    )


def _attribute(
    transfer: SellerTransfer, seen: TransferAtStripe, now: datetime
) -> NotRecorded | None:
    """Record reversals by others, unless an open call of ours could still turn out to have made
    them."""
    running = transfer.in_flight
    if running is not None:
        return NotRecorded.OPEN_CALL if transfer.is_open(running) else NotRecorded.BUSY
    record_external(transfer, seen, now)
    return NotRecorded.STUCK if external_reversals(transfer, seen) else None


def _unexplained(transfer: SellerTransfer, seen: TransferAtStripe) -> bool:
    """Return whether Stripe shows more reversed than is recorded. Kept evidence has an alarm of its
    own."""
    kept = sum(
        made.amount for made in seen.reversals if made.stripe_reversal_id in transfer.evidence
    )
    return seen.amount_reversed - kept > transfer.amount_reversed
