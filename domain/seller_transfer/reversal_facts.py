"""Facts about the reversals of a seller transfer. `domain.seller_transfer.facts` lists the whole
vocabulary."""

from datetime import datetime

from domain.lifecycle import TransferStatus
from domain.provider_call.operation import Operation
from domain.seller_transfer.reversal import Reason, Reversal, ReversalStatus
from domain.seller_transfer.state import NOT_RECORDED, TransferState
from domain.seller_transfer.transfer_fact import TransferFact


class ReversalQueued(TransferFact):
    """A reversal is owed and waits for `waiting_for`."""

    TOPIC = "ledger.seller_transfer.reversal_queued"
    reversal_id: str
    refund_id: str | None
    amount: int
    reason: str
    waiting_for: str
    """`WaitingFor.TRANSFER`, `REVERSAL` or `OPERATOR`."""

    def change(self, transfer: TransferState) -> None:
        transfer.reversals[self.reversal_id] = Reversal(
            self.reversal_id, self.refund_id, self.amount, self.reason, ReversalStatus.QUEUED
        )


class ReversalRequested(TransferFact):
    """A reversal is due: it is sent at `next_retry_at`."""

    TOPIC = "ledger.seller_transfer.reversal_requested"
    LEADS_TO = TransferStatus.REVERSAL_PENDING
    reversal_id: str
    refund_id: str | None
    amount: int
    reason: str
    next_retry_at: datetime
    epoch: int = 1
    """The epoch of the next call. Under the present one, the operation goes on as it is."""
    note: str | None = None
    found: bool = False
    """Stripe holds it already, made by this ledger before a restore: nothing is sent."""
    missing: bool = False
    """Its refund or dispute is not recorded here."""

    def change(self, transfer: TransferState) -> None:
        before = transfer.reversals.get(self.reversal_id)
        reversal = Reversal(
            self.reversal_id, self.refund_id, self.amount, self.reason, ReversalStatus.REQUESTED
        )
        transfer.reversals[self.reversal_id] = reversal._replace(
            contested=before is not None and before.contested, missing=self.missing
        )
        if self.reason == Reason.EXTERNAL or self.found:
            return  # its outcome is in the same append, and the running operation goes on
        running = transfer.operation
        same = (
            running
            if running is not None and running.what == self.reversal_id
            else Operation(self.reversal_id)
        )
        transfer.operation = same if same.epoch == self.epoch else same.again(self.epoch)
        transfer.next_retry_at = self.next_retry_at


class ReversalReduced(TransferFact):
    """The cause of an unsent reversal became smaller: `amount` remains."""

    TOPIC = "ledger.seller_transfer.reversal_reduced"
    reversal_id: str
    amount: int
    cause_id: str
    epoch: int

    def change(self, transfer: TransferState) -> None:
        transfer.reversals[self.reversal_id] = transfer.reversals[self.reversal_id]._replace(
            amount=self.amount
        )
        operation = transfer.operation
        if (
            operation is not None
            and operation.what == self.reversal_id
            and self.epoch != operation.epoch
        ):
            transfer.operation = operation._replace(epoch=self.epoch, epoch_began=None)


class ReversalWithdrawn(TransferFact):
    """The cause of a reversal disappeared before the reversal was sent."""

    TOPIC = "ledger.seller_transfer.reversal_withdrawn"
    reversal_id: str
    refund_id: str | None
    amount: int
    amount_reversed: int
    in_flight: bool
    """True if it was the running reversal of the transfer, which ends `reversal_pending`."""
    cause_id: str

    @property
    def leads_to(self) -> TransferStatus | None:
        return TransferStatus.PARTIALLY_REVERSED if self.in_flight else None

    def change(self, transfer: TransferState) -> None:
        transfer.reversals[self.reversal_id] = transfer.reversals[self.reversal_id]._replace(
            state=ReversalStatus.WITHDRAWN
        )
        if self.in_flight:
            transfer.operation, transfer.next_retry_at = None, None


class ReversalContested(TransferFact):
    """The cause of a reversal disappeared while its call was open; the reversed amount will be
    given back."""

    TOPIC = "ledger.seller_transfer.reversal_contested"
    reversal_id: str
    cause_id: str

    def change(self, transfer: TransferState) -> None:
        transfer.reversals[self.reversal_id] = transfer.reversals[self.reversal_id]._replace(
            contested=True
        )


class MissingCauseReported(TransferFact):
    """A refund or dispute was reported that explains an amount which Stripe showed as taken, and
    which nothing recorded here explained.

    The amount was taken by a reversal for it, or (`by`) the transfer was sent smaller.
    """

    TOPIC = "ledger.seller_transfer.missing_cause_reported"
    refund_id: str
    by: int
    """Part of the amount not sent that it explains."""
    left: int
    """Amount that nothing explains yet."""

    def change(self, transfer: TransferState) -> None:
        for name, reversal in transfer.reversals.items():
            if reversal.refund_id == self.refund_id:
                transfer.reversals[name] = reversal._replace(missing=False)
        if self.by:
            reductions = transfer.reductions
            reductions[NOT_RECORDED] = reductions.get(NOT_RECORDED, 0) - self.by
            reductions[self.refund_id] = reductions.get(self.refund_id, 0) + self.by


class ReversalSettled(TransferFact):
    """Fields and effects that `PartiallyReversed` and `Reversed` share."""

    reversal_id: str
    stripe_reversal_id: str | None
    amount: int
    """Amount that this reversal added to `amount_reversed`."""
    amount_reversed: int
    settled_by: str
    """`us`, or `external` if the reversal was not made by this ledger."""
    drift: int = 0
    """Reversed amount minus requested amount."""
    note: str | None = None
    request_id: str | None = None

    def change(self, transfer: TransferState) -> None:
        reversal = transfer.reversals[self.reversal_id]
        transfer.reversals[self.reversal_id] = reversal._replace(
            state=ReversalStatus.REVERSED,
            settled=self.amount,
            stripe_reversal_id=self.stripe_reversal_id,
        )
        transfer.amount_reversed, transfer.stripe_reversal_id = (
            self.amount_reversed,
            self.stripe_reversal_id,
        )
        if transfer.operation is not None and transfer.operation.what == self.reversal_id:
            transfer.operation, transfer.next_retry_at = None, None


class ReversalAttributed(TransferFact):
    """A reversal that was recorded as external was made by this refund itself, and counts for
    it."""

    TOPIC = "ledger.seller_transfer.reversal_attributed"
    reversal_id: str
    refund_id: str
    amount: int
    """The refund's part, for which the reversal stands; Stripe may have rounded differently."""

    def change(self, transfer: TransferState) -> None:
        transfer.reversals[self.reversal_id] = transfer.reversals[self.reversal_id]._replace(
            refund_id=self.refund_id,
            reason=Reason.REFUND.value,
            amount=self.amount,
            attributed=True,
        )


class PartiallyReversed(ReversalSettled):
    """A part of the transfer is reversed."""

    TOPIC = "ledger.seller_transfer.partially_reversed"
    LEADS_TO = TransferStatus.PARTIALLY_REVERSED


class Reversed(ReversalSettled):
    """The whole transfer is reversed."""

    TOPIC = "ledger.seller_transfer.reversed"
    LEADS_TO = TransferStatus.REVERSED
