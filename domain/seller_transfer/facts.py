"""The facts of a seller transfer: the business vocabulary of the ledger.

`leads_to` is the status a fact leads to, None where it leaves the status alone. `enter` below is the only place in the
code base that assigns a status (tests/domain/test_one_gate.py scans for others).
"""

from datetime import UTC, datetime
from typing import ClassVar

from domain.fact import Fact, Opening
from domain.identity import SALE
from domain.lifecycle import TransferStatus
from domain.provider_call.operation import TRANSFER, Operation
from domain.provider_call.request_body import ReversalBody, TransferBody
from domain.seller_transfer.reversal import Reason, Reversal, ReversalStatus
from domain.seller_transfer.state import TransferState

LONG_AGO = datetime(2010, 1, 1, tzinfo=UTC)
"""Before Stripe held any transfer."""
ABSENT = "absent"
"""`AttemptDeferred.why` after Stripe's books were read and did not show the operation."""


def enter(transfer: TransferState, status: TransferStatus | None) -> None:
    """The one gate through which a transfer's status changes."""
    if status is not None:
        transfer.status = status


class TransferFact(Fact):
    """A fact about a transfer that exists already."""

    LEADS_TO: ClassVar[TransferStatus | None] = None

    @property
    def leads_to(self) -> TransferStatus | None:
        """The status after this fact; None leaves it alone."""
        return self.LEADS_TO

    def apply(self, aggregate: TransferState) -> None:
        self.change(aggregate)
        enter(aggregate, self.leads_to)

    def change(self, transfer: TransferState) -> None:
        """What this fact changes besides the status."""


def _identify(transfer: TransferState, fact: "Created | Imported") -> None:
    """Take over what an opening fact says of this transfer."""
    transfer.order_id, transfer.seller_id, transfer.destination = fact.order_id, fact.seller_id, fact.destination
    transfer.currency, transfer.transfer_group, transfer.cause = fact.currency, fact.transfer_group, fact.cause
    transfer.source_transaction = fact.source_transaction
    transfer.begun_at = fact.timestamp
    transfer.original = transfer.amount = fact.amount


class Created(Opening):
    """A seller is to be paid `amount` (minor units) for an order, or is given back what was taken in vain."""

    TOPIC = "ledger.seller_transfer.created"
    order_id: str
    seller_id: str
    destination: str
    amount: int
    currency: str
    transfer_group: str
    next_retry_at: datetime
    source_transaction: str | None = None
    cause: str = SALE

    def apply(self, aggregate: TransferState) -> None:
        _identify(aggregate, self)
        aggregate.operation = Operation(TRANSFER)
        aggregate.next_retry_at = self.next_retry_at
        enter(aggregate, TransferStatus.PENDING)


class Imported(Opening):
    """A row of an older system, taken over as it stood. Its past is evidence, not facts of ours."""

    TOPIC = "ledger.seller_transfer.imported"
    order_id: str
    seller_id: str
    destination: str
    amount: int
    currency: str
    transfer_group: str
    status: str
    amount_reversed: int
    evidence: str
    cause: str = SALE
    source_transaction: str | None = None
    stripe_transfer_id: str | None = None
    stripe_reversal_id: str | None = None
    retry_count: int = 0
    next_retry_at: datetime | None = None
    reversal_id: str | None = None
    refund_id: str | None = None
    created_at: datetime | None = None
    """When the older system made it: Stripe may hold it since then. None: nobody knows since when."""
    reversal_amount: int | None = None
    """What a pending reversal is to take; None: all that is not back yet."""

    def apply(self, aggregate: TransferState) -> None:
        _identify(aggregate, self)
        aggregate.begun_at = self.created_at or LONG_AGO
        aggregate.imported = True
        aggregate.stripe_transfer_id = self.stripe_transfer_id or None
        aggregate.amount_reversed = self.amount_reversed
        aggregate.next_retry_at = self.next_retry_at
        status = TransferStatus(self.status)
        unpaid = (TransferStatus.PENDING, TransferStatus.FAILED, TransferStatus.CANCELLED, TransferStatus.PERMANENTLY_FAILED)
        paid = bool(self.stripe_transfer_id) or status not in unpaid
        aggregate.paid = paid or self.reversal_id is not None or self.amount_reversed > 0
        if self.reversal_id is not None and status is TransferStatus.REVERSAL_PENDING:
            reversal = Reversal(self.reversal_id, self.refund_id, self.reversal_due, Reason.IMPORTED, ReversalStatus.REQUESTED)
            aggregate.reversals[self.reversal_id] = reversal
            aggregate.operation = self._open(self.reversal_id)
        elif not aggregate.paid and status is not TransferStatus.CANCELLED:
            aggregate.operation = self._open(TRANSFER)
        if self.refund_id is not None and (aggregate.reversals or self.amount_reversed):
            aggregate.refunds_before.add(self.refund_id)
        elif status is TransferStatus.PERMANENTLY_FAILED and aggregate.paid:
            aggregate.refund_given_up = self.refund_id
        enter(aggregate, status)

    def _open(self, what: str) -> Operation:
        """An old time-out may have done it: Stripe's books come first."""
        return Operation(what, retry_count=self.retry_count, unknown=True, look_first=True)

    @property
    def uncleared(self) -> bool:
        """It may have been paid, and no time is given: a person has to clear it."""
        return self.next_retry_at is None and self.status in (TransferStatus.PENDING, TransferStatus.FAILED)

    @property
    def reversal_due(self) -> int:
        """What its pending reversal is to take."""
        left = self.amount - self.amount_reversed
        return left if self.reversal_amount is None else self.reversal_amount


class CallStarted(TransferFact):
    """The intent of one call, committed before it is made: key and body are frozen here."""

    TOPIC = "ledger.seller_transfer.call_started"
    what: str
    attempt: int
    epoch: int
    key: str
    body: TransferBody | ReversalBody

    def change(self, transfer: TransferState) -> None:
        if transfer.operation is not None:
            transfer.operation = transfer.operation.started(self.timestamp, self.attempt, self.epoch)


class Completed(TransferFact):
    """Stripe holds the transfer: the seller is paid `amount`."""

    TOPIC = "ledger.seller_transfer.completed"
    LEADS_TO = TransferStatus.COMPLETED
    stripe_transfer_id: str
    amount: int
    request_id: str | None = None
    note: str | None = None

    def change(self, transfer: TransferState) -> None:
        transfer.undo_reductions(self.amount - transfer.amount)
        transfer.stripe_transfer_id, transfer.amount, transfer.paid = self.stripe_transfer_id, self.amount, True
        transfer.operation, transfer.next_retry_at, transfer.held = None, None, None


class Failed(TransferFact):
    """Stripe definitely refused the transfer; it is tried again at `next_retry_at`, or waits for something named."""

    TOPIC = "ledger.seller_transfer.failed"
    LEADS_TO = TransferStatus.FAILED
    reason: str
    code: str | None
    detail: str
    retry_count: int
    next_retry_at: datetime | None
    epoch: int
    """The epoch that the next call will use."""
    waiting_for: str | None = None
    awaiting_since: datetime | None = None
    request_id: str | None = None

    def change(self, transfer: TransferState) -> None:
        transfer.next_retry_at = self.next_retry_at
        if transfer.operation is not None:
            transfer.operation = transfer.operation.paused(
                epoch=self.epoch, open_=False, retry_count=self.retry_count, awaiting_since=self.awaiting_since
            )


class AttemptDeferred(TransferFact):
    """An attempt came to nothing certain, or to nothing yet; the operation goes on at `next_retry_at`."""

    TOPIC = "ledger.seller_transfer.attempt_deferred"
    what: str
    why: str
    detail: str
    retry_count: int
    next_retry_at: datetime
    epoch: int
    open: bool
    """Whether money may have moved: sticky until success, a stored rejection or a look-up."""
    exhausted: bool = False
    """No attempt is left: the next step reads Stripe's books, and sends nothing."""
    look_first: bool = False
    """The key can tell nothing any more: the next step reads Stripe's books."""
    hindered: int = 0
    lost: int = 0
    waiting_for: str | None = None
    awaiting_since: datetime | None = None
    request_id: str | None = None
    hindered_since: datetime | None = None
    """Since when Stripe has not begun to execute any call of it."""
    given_back: int | None = None
    """The attempt that an outage had spent, and that does not count."""

    def change(self, transfer: TransferState) -> None:
        transfer.next_retry_at = self.next_retry_at
        if self.why == ABSENT:
            transfer.evidence = {id_: what for id_, what in transfer.evidence.items() if what != self.what}
        if transfer.operation is not None:
            transfer.operation = transfer.operation.paused(
                epoch=self.epoch,
                open_=self.open,
                retry_count=self.retry_count,
                hindered=self.hindered,
                exhausted=self.exhausted,
                look_first=self.look_first,
                awaiting_since=self.awaiting_since,
                hindered_since=self.hindered_since,
                lost=self.lost,
                looked_at=self.timestamp if self.why == ABSENT else None,
                forgiven=self.given_back,
            )


class AmountReduced(TransferFact):
    """A refund came before the money left: `by` less is sent, `amount` remains."""

    TOPIC = "ledger.seller_transfer.amount_reduced"
    refund_id: str
    by: int
    amount: int
    epoch: int

    def change(self, transfer: TransferState) -> None:
        transfer.amount = self.amount
        transfer.reductions[self.refund_id] = transfer.reductions.get(self.refund_id, 0) + self.by
        if transfer.operation is not None and self.epoch != transfer.operation.epoch:
            transfer.operation = transfer.operation._replace(epoch=self.epoch, epoch_began=None)


class Cancelled(TransferFact):
    """Refunds took all of it before the money left: nothing is sent."""

    TOPIC = "ledger.seller_transfer.cancelled"
    LEADS_TO = TransferStatus.CANCELLED
    refund_id: str
    by: int

    def change(self, transfer: TransferState) -> None:
        transfer.reductions[self.refund_id] = transfer.reductions.get(self.refund_id, 0) + self.by
        transfer.operation, transfer.next_retry_at, transfer.held = None, None, None


class ReversalQueued(TransferFact):
    """A reversal is owed and waits: for the `transfer`, for the `reversal` before it, or for an `operator`."""

    TOPIC = "ledger.seller_transfer.reversal_queued"
    reversal_id: str
    refund_id: str | None
    amount: int
    reason: str
    waiting_for: str

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
    note: str | None = None

    def change(self, transfer: TransferState) -> None:
        before = transfer.reversals.get(self.reversal_id)
        reversal = Reversal(self.reversal_id, self.refund_id, self.amount, self.reason, ReversalStatus.REQUESTED)
        transfer.reversals[self.reversal_id] = reversal._replace(contested=before is not None and before.contested)
        if self.reason == Reason.EXTERNAL:
            return  # its outcome is in the same append: what is running goes on
        running = transfer.operation
        same = running if running is not None and running.what == self.reversal_id else Operation(self.reversal_id)
        transfer.operation, transfer.next_retry_at = same.again(self.epoch), self.next_retry_at


class ReversalReduced(TransferFact):
    """A reversal not yet sent takes less than was asked: its cause shrank. `amount` remains."""

    TOPIC = "ledger.seller_transfer.reversal_reduced"
    reversal_id: str
    amount: int
    cause_id: str
    epoch: int

    def change(self, transfer: TransferState) -> None:
        transfer.reversals[self.reversal_id] = transfer.reversals[self.reversal_id]._replace(amount=self.amount)
        operation = transfer.operation
        if operation is not None and operation.what == self.reversal_id and self.epoch != operation.epoch:
            transfer.operation = operation._replace(epoch=self.epoch, epoch_began=None)


class ReversalWithdrawn(TransferFact):
    """A reversal whose cause was gone before it was sent."""

    TOPIC = "ledger.seller_transfer.reversal_withdrawn"
    reversal_id: str
    refund_id: str | None
    amount: int
    amount_reversed: int
    in_flight: bool
    """True when it was the transfer's running reversal, which ends `reversal_pending`."""
    cause_id: str

    @property
    def leads_to(self) -> TransferStatus | None:
        return TransferStatus.PARTIALLY_REVERSED if self.in_flight else None

    def change(self, transfer: TransferState) -> None:
        transfer.reversals[self.reversal_id] = transfer.reversals[self.reversal_id]._replace(state=ReversalStatus.WITHDRAWN)
        if self.in_flight:
            transfer.operation, transfer.next_retry_at = None, None


class ReversalContested(TransferFact):
    """The cause of a reversal vanished while its call was open; what it takes will be given back."""

    TOPIC = "ledger.seller_transfer.reversal_contested"
    reversal_id: str
    cause_id: str

    def change(self, transfer: TransferState) -> None:
        transfer.reversals[self.reversal_id] = transfer.reversals[self.reversal_id]._replace(contested=True)


class ReversalSettled(TransferFact):
    """What the two endings of a reversal share."""

    reversal_id: str
    stripe_reversal_id: str | None
    amount: int
    """What this reversal added to `amount_reversed`."""
    amount_reversed: int
    settled_by: str
    """`us`, or `external` when somebody else had taken the money back."""
    drift: int = 0
    """What came back beyond (above 0) or below what was asked."""
    note: str | None = None
    request_id: str | None = None

    def change(self, transfer: TransferState) -> None:
        reversal = transfer.reversals[self.reversal_id]
        transfer.reversals[self.reversal_id] = reversal._replace(
            state=ReversalStatus.REVERSED, settled=self.amount, stripe_reversal_id=self.stripe_reversal_id
        )
        transfer.amount_reversed, transfer.stripe_reversal_id = self.amount_reversed, self.stripe_reversal_id
        if transfer.operation is not None and transfer.operation.what == self.reversal_id:
            transfer.operation, transfer.next_retry_at = None, None


class PartiallyReversed(ReversalSettled):
    """Some of the transfer is back."""

    TOPIC = "ledger.seller_transfer.partially_reversed"
    LEADS_TO = TransferStatus.PARTIALLY_REVERSED


class Reversed(ReversalSettled):
    """All of the transfer is back."""

    TOPIC = "ledger.seller_transfer.reversed"
    LEADS_TO = TransferStatus.REVERSED


class PermanentlyFailed(TransferFact):
    """No automatic way on: a person is needed."""

    TOPIC = "ledger.seller_transfer.permanently_failed"
    LEADS_TO = TransferStatus.PERMANENTLY_FAILED
    reason: str
    detail: str
    request_id: str | None = None

    def change(self, transfer: TransferState) -> None:
        transfer.next_retry_at, transfer.held = None, None
        operation = transfer.operation
        if operation is not None:
            transfer.operation = operation._replace(in_call=False, unknown=False, look_first=True, exhausted=False)
            reversal = transfer.reversals.get(operation.what)
            if reversal is not None:
                transfer.reversals[operation.what] = reversal._replace(state=ReversalStatus.FAILED)


class EvidenceHeld(TransferFact):
    """Stripe did something that the present status cannot take in: kept, alarmed, and nothing more is sent for it."""

    TOPIC = "ledger.seller_transfer.evidence_held"
    what: str
    stripe_id: str
    amount: int
    detail: str
    request_id: str | None = None
    unclaimed: bool = False
    """It bears no name of ours and is only like ours: an older system may have made it for this, or for something else."""

    def change(self, transfer: TransferState) -> None:
        transfer.paid = transfer.paid or (self.what == TRANSFER and not self.unclaimed)
        transfer.evidence[self.stripe_id] = self.what


class HeldBack(TransferFact):
    """The buyer's payment is said to have failed: nothing is sent before a person says so. An open call is looked up first."""

    TOPIC = "ledger.seller_transfer.held_back"
    why: str
    next_retry_at: datetime | None
    """When Stripe's books are read for the call that is open; None where none is."""

    def change(self, transfer: TransferState) -> None:
        transfer.held, transfer.next_retry_at = self.why, self.next_retry_at
        operation = transfer.operation
        if operation is not None and operation.open:
            transfer.operation = operation._replace(look_first=True)


class RetryRequested(TransferFact):
    """A person wants it tried now."""

    TOPIC = "ledger.seller_transfer.retry_requested"
    actor: str
    reason: str
    next_retry_at: datetime

    def change(self, transfer: TransferState) -> None:
        transfer.next_retry_at, transfer.held = self.next_retry_at, None


class Reopened(TransferFact):
    """A named actor takes a permanently failed transfer up again; Stripe's books are read before anything is sent."""

    TOPIC = "ledger.seller_transfer.reopened"
    to: str
    actor: str
    reason: str
    next_retry_at: datetime
    epoch: int
    reversal_id: str | None = None
    amount: int | None = None
    """What is due now: of the reversal, where there is one."""

    @property
    def leads_to(self) -> TransferStatus | None:
        return TransferStatus(self.to)

    def change(self, transfer: TransferState) -> None:
        transfer.next_retry_at = self.next_retry_at
        if self.leads_to is TransferStatus.REVERSAL_PENDING and self.reversal_id is None:
            transfer.operation = None  # nothing is owed of it; `Resolved` follows in the same append
            return
        before = transfer.operation
        what = self.reversal_id or TRANSFER
        same = before if before is not None and before.what == what else Operation(what)
        transfer.operation = same._replace(epoch=self.epoch, epoch_began=None, retry_count=0, hindered=0, look_first=True)
        if self.reversal_id is not None:
            transfer.reversals[self.reversal_id] = transfer.reversals[self.reversal_id]._replace(state=ReversalStatus.REQUESTED)


class Resolved(TransferFact):
    """A person says how it ended. `to` is the status it leads to, None where it stays what it is."""

    TOPIC = "ledger.seller_transfer.resolved"
    actor: str
    reason: str
    evidence: str
    """A Stripe object that was read at Stripe (`tr_…`, `trr_…`), or where it is written what happened outside of Stripe."""
    to: str | None = None
    reversal_id: str | None = None
    """The reversal that is settled outside of Stripe, or written off."""

    @property
    def leads_to(self) -> TransferStatus | None:
        return TransferStatus(self.to) if self.to is not None else None

    def change(self, transfer: TransferState) -> None:
        if self.reversal_id is not None:
            transfer.reversals[self.reversal_id] = transfer.reversals[self.reversal_id]._replace(state=ReversalStatus.RESOLVED)
        if self.to is not None:
            transfer.operation, transfer.next_retry_at = None, None
        elif not transfer.paid:
            transfer.settled_outside = f"{self.actor} resolved it: {self.reason}"


class StripeTransferIdBackfilled(TransferFact):
    """The Stripe id of a transfer that had none, with the evidence for it."""

    TOPIC = "ledger.seller_transfer.stripe_transfer_id_backfilled"
    stripe_transfer_id: str
    actor: str
    evidence: str

    def change(self, transfer: TransferState) -> None:
        transfer.stripe_transfer_id = self.stripe_transfer_id


AnyTransferFact = (
    Created
    | Imported
    | CallStarted
    | Completed
    | Failed
    | AttemptDeferred
    | AmountReduced
    | Cancelled
    | ReversalQueued
    | ReversalRequested
    | ReversalReduced
    | ReversalWithdrawn
    | ReversalContested
    | PartiallyReversed
    | Reversed
    | PermanentlyFailed
    | EvidenceHeld
    | HeldBack
    | RetryRequested
    | Reopened
    | Resolved
    | StripeTransferIdBackfilled
)
