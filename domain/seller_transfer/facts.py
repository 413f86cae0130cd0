"""The facts of a seller transfer: the business vocabulary of the ledger.

`leads_to` is the status that a fact leads to, or None if the status stays. The opening facts and
the facts about reversals are defined in modules of their own and belong to the same vocabulary.
"""

from datetime import datetime

from domain.alarm import TransferAlarmAcknowledged as TransferAlarmAcknowledged
from domain.lifecycle import TransferStatus
from domain.provider_call.operation import TRANSFER, Deferral, Operation
from domain.provider_call.reasons import DeferralReason
from domain.provider_call.request_body import ReversalBody, TransferBody
from domain.seller_transfer.opening_facts import LONG_AGO as LONG_AGO
from domain.seller_transfer.opening_facts import Created as Created
from domain.seller_transfer.opening_facts import Imported as Imported
from domain.seller_transfer.opening_facts import TransferOpening as TransferOpening
from domain.seller_transfer.resolution_facts import OwedOutside as OwedOutside
from domain.seller_transfer.resolution_facts import ResolutionLapsed as ResolutionLapsed
from domain.seller_transfer.resolution_facts import ResolutionReinstated as ResolutionReinstated
from domain.seller_transfer.reversal import ReversalStatus
from domain.seller_transfer.reversal_facts import MissingCauseReported as MissingCauseReported
from domain.seller_transfer.reversal_facts import PartiallyReversed as PartiallyReversed
from domain.seller_transfer.reversal_facts import ReversalAttributed as ReversalAttributed
from domain.seller_transfer.reversal_facts import ReversalContested as ReversalContested
from domain.seller_transfer.reversal_facts import ReversalQueued as ReversalQueued
from domain.seller_transfer.reversal_facts import ReversalReduced as ReversalReduced
from domain.seller_transfer.reversal_facts import ReversalRequested as ReversalRequested
from domain.seller_transfer.reversal_facts import ReversalWithdrawn as ReversalWithdrawn
from domain.seller_transfer.reversal_facts import Reversed as Reversed
from domain.seller_transfer.state import TransferState
from domain.seller_transfer.transfer_fact import TransferFact as TransferFact


class CallStarted(TransferFact):
    """A call is about to be made. Committed before the call, with the frozen key and body."""

    TOPIC = "ledger.seller_transfer.call_started"
    what: str
    attempt: int
    epoch: int
    key: str
    body: TransferBody | ReversalBody

    def change(self, transfer: TransferState) -> None:
        if transfer.operation is not None:
            transfer.operation = transfer.operation.started(
                self.timestamp, self.attempt, self.epoch, self.key
            )


class Completed(TransferFact):
    """Stripe holds the transfer: the seller has been paid `amount`."""

    TOPIC = "ledger.seller_transfer.completed"
    LEADS_TO = TransferStatus.COMPLETED
    stripe_transfer_id: str
    amount: int
    request_id: str | None = None
    note: str | None = None

    def change(self, transfer: TransferState) -> None:
        transfer.undo_reductions(self.amount - transfer.amount)
        transfer.stripe_transfer_id, transfer.amount, transfer.paid = (
            self.stripe_transfer_id,
            self.amount,
            True,
        )
        transfer.operation, transfer.next_retry_at, transfer.held = None, None, None


class Failed(TransferFact):
    """Stripe definitely refused the transfer. The next attempt is at `next_retry_at`, or when
    `waiting_for` is over."""

    TOPIC = "ledger.seller_transfer.failed"
    LEADS_TO = TransferStatus.FAILED
    reason: str
    """A value of `FailureReason`."""
    code: str | None
    detail: str
    retry_count: int
    next_retry_at: datetime | None
    epoch: int
    """The epoch of the next call."""
    waiting_for: str | None = None
    """A value of `WaitingFor`."""
    awaiting_since: datetime | None = None
    request_id: str | None = None

    def change(self, transfer: TransferState) -> None:
        transfer.next_retry_at = self.next_retry_at
        if transfer.operation is not None:
            at = self.next_retry_at or self.timestamp
            failed = Deferral(
                self.reason,
                self.detail,
                at,
                self.retry_count,
                self.epoch,
                awaiting_since=self.awaiting_since,
            )
            transfer.operation = transfer.operation.deferred(failed, self.timestamp)


class AttemptDeferred(TransferFact):
    """An attempt has no final outcome; the operation goes on at `next_retry_at`."""

    TOPIC = "ledger.seller_transfer.attempt_deferred"
    what: str
    why: str
    """A value of `DeferralReason`."""
    detail: str
    retry_count: int
    next_retry_at: datetime
    epoch: int
    open: bool
    """True if money may have moved; stays true until success, a stored rejection or a look-up."""
    exhausted: bool = False
    """No attempt is left: the next step is a look-up at Stripe, and nothing is sent."""
    look_first: bool = False
    """The key gives no new answer any more: the next step is a look-up at Stripe."""
    hindered: int = 0
    lost: int = 0
    waiting_for: str | None = None
    awaiting_since: datetime | None = None
    request_id: str | None = None
    hindered_since: datetime | None = None
    """Begin of the time in which Stripe has not begun to execute any call."""
    given_back: int | None = None
    """The attempt that an outage had consumed and that does not count."""

    def change(self, transfer: TransferState) -> None:
        transfer.next_retry_at = self.next_retry_at
        if self.why == DeferralReason.ABSENT:
            transfer.evidence = {
                id_: what for id_, what in transfer.evidence.items() if what != self.what
            }
        if transfer.operation is not None:
            transfer.operation = transfer.operation.deferred(self._deferral(), self.timestamp)

    def _deferral(self) -> Deferral:
        return Deferral(
            why=self.why,
            detail=self.detail,
            next_retry_at=self.next_retry_at,
            retry_count=self.retry_count,
            epoch=self.epoch,
            open=self.open,
            exhausted=self.exhausted,
            look_first=self.look_first,
            hindered=self.hindered,
            hindered_since=self.hindered_since,
            lost=self.lost,
            awaiting_since=self.awaiting_since,
            given_back=self.given_back,
        )


class SourceDecided(TransferFact):
    """The transfer is paid from this charge, or (None) from the platform's balance, from the key of
    `epoch` on."""

    TOPIC = "ledger.seller_transfer.source_decided"
    source_transaction: str | None
    why: str
    epoch: int
    next_retry_at: datetime | None
    """Due time of the transfer, if the decision makes it due; None leaves it."""

    def change(self, transfer: TransferState) -> None:
        transfer.source_transaction, transfer.sourced_from = self.source_transaction, self.epoch
        transfer.awaits_charge = False
        transfer.next_retry_at = self.next_retry_at or transfer.next_retry_at
        operation = transfer.operation
        free = operation is not None and not operation.may_move_money
        if operation is not None and free and operation.epoch < self.epoch:
            transfer.operation = operation._replace(epoch=self.epoch, epoch_began=None)


class AmountReduced(TransferFact):
    """A refund was recorded before the money left: `by` less is sent, `amount` remains."""

    TOPIC = "ledger.seller_transfer.amount_reduced"
    refund_id: str
    """`NOT_RECORDED` if Stripe shows that less was sent, and no refund recorded here explains
    it."""
    by: int
    amount: int
    epoch: int

    def change(self, transfer: TransferState) -> None:
        transfer.amount = self.amount
        transfer.reductions[self.refund_id] = transfer.reductions.get(self.refund_id, 0) + self.by
        if transfer.operation is not None and self.epoch != transfer.operation.epoch:
            transfer.operation = transfer.operation._replace(epoch=self.epoch, epoch_began=None)


class Cancelled(TransferFact):
    """Refunds took the whole amount before the money left: nothing is sent."""

    TOPIC = "ledger.seller_transfer.cancelled"
    LEADS_TO = TransferStatus.CANCELLED
    refund_id: str
    by: int

    def change(self, transfer: TransferState) -> None:
        transfer.reductions[self.refund_id] = transfer.reductions.get(self.refund_id, 0) + self.by
        transfer.operation, transfer.next_retry_at, transfer.held = None, None, None


class PermanentlyFailed(TransferFact):
    """The automatic attempts have ended: an operator has to decide."""

    TOPIC = "ledger.seller_transfer.permanently_failed"
    LEADS_TO = TransferStatus.PERMANENTLY_FAILED
    reason: str
    """A value of `FailureReason`."""
    detail: str
    request_id: str | None = None

    def change(self, transfer: TransferState) -> None:
        transfer.next_retry_at, transfer.held = None, None
        operation = transfer.operation
        if operation is not None:
            transfer.operation = operation._replace(
                in_call=False,
                unknown=False,
                look_first=True,
                exhausted=False,
                doubtful=operation.doubtful or operation.open,
            )
            reversal = transfer.reversals.get(operation.what)
            if reversal is not None:
                transfer.reversals[operation.what] = reversal._replace(state=ReversalStatus.FAILED)


class EvidenceHeld(TransferFact):
    """Stripe holds an object that the present status cannot take. It raises an alarm, and the
    operation sends nothing more."""

    TOPIC = "ledger.seller_transfer.evidence_held"
    what: str
    stripe_id: str
    amount: int
    detail: str
    request_id: str | None = None
    unclaimed: bool = False
    """The object does not carry an id of this ledger and only looks similar. An older system may
    have made it."""

    def change(self, transfer: TransferState) -> None:
        transfer.paid = transfer.paid or (self.what == TRANSFER and not self.unclaimed)
        transfer.evidence[self.stripe_id] = self.what


class HeldBack(TransferFact):
    """The payment is reported as failed: nothing is sent before an operator decides.

    If a call is open, the ledger first looks up its outcome.
    """

    TOPIC = "ledger.seller_transfer.held_back"
    why: str
    next_retry_at: datetime | None
    """Instant of the look-up at Stripe for the open call; None if no call is open."""

    def change(self, transfer: TransferState) -> None:
        transfer.held, transfer.next_retry_at = self.why, self.next_retry_at
        operation = transfer.operation
        if operation is not None and operation.open:
            asked = operation.reopened or not operation.look_first
            transfer.operation = operation._replace(look_first=True, reopened=asked)


class Redirected(TransferFact):
    """The seller has moved: the transfer, which is not sent, goes to `destination`."""

    TOPIC = "ledger.seller_transfer.redirected"
    destination: str
    former: str
    actor: str
    reason: str
    epoch: int
    """The epoch of the next call: a key that was used belongs to the former account."""
    next_retry_at: datetime | None
    due_now: bool
    """True if it waited for the former account."""

    def change(self, transfer: TransferState) -> None:
        transfer.destination = self.destination
        transfer.former_destinations.append(self.former)
        transfer.next_retry_at = self.next_retry_at
        if transfer.operation is not None and self.epoch != transfer.operation.epoch:
            transfer.operation = transfer.operation._replace(epoch=self.epoch, epoch_began=None)


class RetryRequested(TransferFact):
    """An operator asked for an attempt now."""

    TOPIC = "ledger.seller_transfer.retry_requested"
    actor: str
    reason: str
    next_retry_at: datetime

    def change(self, transfer: TransferState) -> None:
        transfer.next_retry_at, transfer.held = self.next_retry_at, None
        transfer.awaits_charge = False


class Reopened(TransferFact):
    """A named actor reopened a permanently failed transfer. A look-up at Stripe precedes the next
    call."""

    TOPIC = "ledger.seller_transfer.reopened"
    to: str
    actor: str
    reason: str
    next_retry_at: datetime
    epoch: int
    reversal_id: str | None = None
    amount: int | None = None
    """Amount due now: of the reversal if one is named, else of the transfer."""

    @property
    def leads_to(self) -> TransferStatus | None:
        return TransferStatus(self.to)

    def change(self, transfer: TransferState) -> None:
        transfer.next_retry_at = self.next_retry_at
        if self.leads_to is TransferStatus.REVERSAL_PENDING and self.reversal_id is None:
            transfer.operation = None  # no reversal is owed; `Resolved` follows in the same append
            return
        before = transfer.operation
        what = self.reversal_id or TRANSFER
        same = before if before is not None and before.what == what else Operation(what)
        transfer.operation = same._replace(
            epoch=self.epoch, retry_count=0, hindered=0, look_first=True, reopened=True
        )
        if self.reversal_id is not None:
            transfer.reversals[self.reversal_id] = transfer.reversals[self.reversal_id]._replace(
                state=ReversalStatus.REQUESTED
            )


class Resolved(TransferFact):
    """An operator ended the transfer, or one reversal of it (`reversal_id`), by evidence instead of
    a call to Stripe.

    `to` is the new status; None leaves the status.
    """

    TOPIC = "ledger.seller_transfer.resolved"
    actor: str
    reason: str
    evidence: str
    """An object that was read at Stripe (`tr_…`, `trr_…`), or a reference to the record of an event
    outside Stripe."""
    to: str | None = None
    reversal_id: str | None = None
    """The reversal that was paid outside Stripe or written off."""
    reversal_amount: int | None = None
    """Amount of it that stays closed: less if a part had lapsed. None: all of it."""

    @property
    def leads_to(self) -> TransferStatus | None:
        return TransferStatus(self.to) if self.to is not None else None

    def change(self, transfer: TransferState) -> None:
        if self.reversal_id is not None:
            reversal = transfer.reversals[self.reversal_id]
            left = reversal.amount if self.reversal_amount is None else self.reversal_amount
            transfer.reversals[self.reversal_id] = reversal._replace(
                state=ReversalStatus.RESOLVED, amount=left, lapsed=0
            )
        if self.to is not None:
            transfer.operation, transfer.next_retry_at = None, None
        elif not transfer.paid and self.reversal_id is None:
            transfer.settled_outside = f"{self.actor} resolved it: {self.reason}"


class StripeTransferIdBackfilled(TransferFact):
    """A missing Stripe id of a transfer was added, with its evidence."""

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
    | SourceDecided
    | AmountReduced
    | Cancelled
    | ReversalQueued
    | ReversalRequested
    | ReversalReduced
    | ReversalWithdrawn
    | ReversalContested
    | ReversalAttributed
    | MissingCauseReported
    | PartiallyReversed
    | Reversed
    | PermanentlyFailed
    | EvidenceHeld
    | HeldBack
    | RetryRequested
    | Redirected
    | Reopened
    | Resolved
    | ResolutionLapsed
    | ResolutionReinstated
    | OwedOutside
    | StripeTransferIdBackfilled
    | TransferAlarmAcknowledged
)
