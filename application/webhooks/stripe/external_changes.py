"""Taking in what Stripe's books show without our having asked: a transfer we lost sight of, reversals by others.

The books are believed as a whole, never an event's delta. What carries our id is the outcome of our own call; what does not
is attributed to others, and only when no call of ours could have made it.
"""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from application.command_handler import CommandHandler
from application.ports import Clock, EventLog
from application.reconciliation.comparison import lacks_only_the_id
from application.unit_of_work import CommitExtras, UnitOfWork, recover_again
from domain.errors import UnknownId
from domain.provider_call.operation import TRANSFER
from domain.provider_call.stripe_objects import TransferAtStripe
from domain.seller_transfer import reversal_outcome, transfer_outcome
from domain.seller_transfer.aggregate import SellerTransfer, causes_to_recover
from domain.seller_transfer.stripe_call import keep_evidence


class Left(StrEnum):
    """What could not be taken in yet, and why."""

    NOTHING = "nothing"
    OPEN_CALL = "a reversal of ours is open, and its outcome comes first"
    BUSY = "a reversal of ours is due, and what others took is attributed after it"
    STUCK = "others took money back from a transfer that waits for a person"
    DRIFT = "Stripe shows more reversed than is recorded here, and it cannot be attributed"


class StripesBooks:
    """Every method may be repeated and then changes nothing."""

    def __init__(self, ledger: EventLog, clock: Clock) -> None:
        self._ledger, self._handler = ledger, CommandHandler(ledger, clock)

    async def transfer(self, transfer_id: UUID) -> SellerTransfer | None:
        """One of our transfers as it is now."""
        try:
            return (await self._ledger.load([transfer_id])).transfer(transfer_id)
        except UnknownId:
            return None

    async def take_in(self, transfer_id: UUID, seen: TransferAtStripe, done: CommitExtras) -> Left:
        """Bring the transfer in line with what Stripe shows; stored with `done` if nothing is left. Raises UnknownId."""

        def decide(uow: UnitOfWork, now: datetime) -> Left:
            transfer = uow.transfer(transfer_id)
            reduced = dict(transfer.reductions)
            left = _take_in(transfer, seen, now)
            order = uow.known_order(transfer.order_id)
            for cause_id in causes_to_recover(transfer, reduced) if order is not None else ():
                recover_again(uow, uow.order(transfer.order_id), cause_id, now)
            return left

        around = self._handler.around
        return await self._handler.handle(
            lambda: around(transfer_id), decide, lambda left: done if left is Left.NOTHING else CommitExtras()
        )


def _take_in(transfer: SellerTransfer, seen: TransferAtStripe, now: datetime) -> Left:
    stranger = _disagreement(transfer, seen)
    if stranger is not None:
        keep_evidence(transfer, TRANSFER, seen.stripe_transfer_id, seen.amount, stranger, None, now)
        return Left.NOTHING
    if lacks_only_the_id(transfer) and seen.amount == transfer.amount:  # its metadata names ours: somebody has marked it
        actor = f"stripe:{seen.stripe_transfer_id}"
        transfer.backfill(seen.stripe_transfer_id, actor, "a webhook of Stripe, by metadata transfer_id", now)
    transfer_outcome.complete(transfer, seen.stripe_transfer_id, seen.amount, None, now, note="told by a webhook of Stripe")
    if transfer.stripe_transfer_id != seen.stripe_transfer_id:
        return Left.NOTHING  # kept as evidence, with an alarm
    for made in reversed(seen.reversals):
        if made.reversal_id in transfer.reversals:
            reversal_outcome.complete_reversal(
                transfer, made.reversal_id, made.stripe_reversal_id, made.amount, None, now, "told by a webhook of Stripe"
            )
    if not reversal_outcome.external_reversals(transfer, seen):
        return Left.DRIFT if _unexplained(transfer, seen) else Left.NOTHING
    return _attribute(transfer, seen, now)


def _disagreement(transfer: SellerTransfer, seen: TransferAtStripe) -> str | None:
    """Why this object, although it names our transfer, is not the one that we asked for."""
    asked = (transfer.destination, transfer.currency)
    if (seen.destination, seen.currency) == asked and seen.amount <= transfer.original:
        return None
    paid = f"{seen.amount} {seen.currency} to {seen.destination}"
    ours = f"{transfer.original} {transfer.currency} to {transfer.destination}"
    return f"Stripe's {seen.stripe_transfer_id} names this transfer, but pays {paid}, where {ours} was asked."


def _attribute(transfer: SellerTransfer, seen: TransferAtStripe, now: datetime) -> Left:
    """What nobody of us asked for. A call of ours that is open could still turn out to have made it."""
    running = transfer.in_flight
    if running is not None:
        return Left.OPEN_CALL if transfer.is_open(running) else Left.BUSY
    reversal_outcome.record_external(transfer, seen, now)
    return Left.STUCK if reversal_outcome.external_reversals(transfer, seen) else Left.NOTHING


def _unexplained(transfer: SellerTransfer, seen: TransferAtStripe) -> bool:
    """Of what Stripe shows as reversed, evidence that is held has an alarm of its own."""
    held = sum(made.amount for made in seen.reversals if made.stripe_reversal_id in transfer.evidence)
    return seen.amount_reversed - held > transfer.amount_reversed
