"""Opening facts of a seller transfer: created for an order, or imported from an older system."""

from datetime import UTC, datetime
from typing import NotRequired, TypedDict

from domain.fact import Opening
from domain.identity import SALE
from domain.lifecycle import TransferStatus
from domain.provider_call.operation import TRANSFER, Operation
from domain.provider_call.reasons import WaitingFor
from domain.seller_transfer.reversal import Reason, Reversal, ReversalStatus
from domain.seller_transfer.state import UNSENT, TransferState
from domain.seller_transfer.transfer_fact import enter

LONG_AGO = datetime(2010, 1, 1, tzinfo=UTC)
"""An instant before the first transfer at Stripe."""


class TransferOpening(TypedDict):
    """The caller's part of `Created`; the other fields follow from it."""

    order_id: str
    seller_id: str
    destination: str
    amount: int
    currency: str
    source_transaction: NotRequired[str | None]
    cause: NotRequired[str]


def _identify(transfer: TransferState, fact: "Created | Imported") -> None:
    """Apply the fields that both opening facts have."""
    transfer.order_id, transfer.seller_id, transfer.destination = (
        fact.order_id,
        fact.seller_id,
        fact.destination,
    )
    transfer.currency, transfer.transfer_group, transfer.cause = (
        fact.currency,
        fact.transfer_group,
        fact.cause,
    )
    transfer.source_transaction = fact.source_transaction
    transfer.begun_at = fact.timestamp
    transfer.original = transfer.amount = fact.amount


class Created(Opening):
    """A seller is owed `amount` (minor units) for an order, or as compensation for a reversal
    without a cause."""

    TOPIC = "ledger.seller_transfer.created"
    order_id: str
    seller_id: str
    destination: str
    amount: int
    currency: str
    transfer_group: str
    next_retry_at: datetime | None
    source_transaction: str | None = None
    cause: str = SALE
    waiting_for: str | None = None
    """`charge`: the transfer is sent once the charge of its order is known, or cannot be found."""

    def apply(self, aggregate: TransferState) -> None:
        _identify(aggregate, self)
        aggregate.operation = Operation(TRANSFER)
        aggregate.awaits_charge = self.waiting_for == WaitingFor.CHARGE
        aggregate.next_retry_at = self.next_retry_at
        enter(aggregate, TransferStatus.PENDING)


class Imported(Opening):
    """A row of an older system, imported as it was. Its past is evidence and consists of no facts
    of this ledger."""

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
    """When the older system made the transfer: Stripe may hold it since then. None: the instant is
    not known."""
    reversal_amount: int | None = None
    """Amount of a pending reversal; None: all that is not reversed yet."""

    def apply(self, aggregate: TransferState) -> None:
        _identify(aggregate, self)
        aggregate.begun_at = self.created_at or LONG_AGO
        aggregate.imported = True
        aggregate.stripe_transfer_id = self.stripe_transfer_id or None
        aggregate.amount_reversed = self.amount_reversed
        aggregate.next_retry_at = self.next_retry_at
        status = TransferStatus(self.status)
        unpaid = (*UNSENT, TransferStatus.CANCELLED, TransferStatus.PERMANENTLY_FAILED)
        paid = bool(self.stripe_transfer_id) or status not in unpaid
        aggregate.paid = paid or self.reversal_id is not None or self.amount_reversed > 0
        if self.reversal_id is not None and status is TransferStatus.REVERSAL_PENDING:
            reversal = Reversal(
                self.reversal_id,
                self.refund_id,
                self.reversal_due,
                Reason.IMPORTED,
                ReversalStatus.REQUESTED,
            )
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
        """Return an operation that begins with a look-up, since a call of the older system may have
        done it."""
        return Operation(what, retry_count=self.retry_count, unknown=True, look_first=True)

    @property
    def uncleared(self) -> bool:
        """Return whether a person has to clear it: it may have been paid, and no time of its next
        attempt is given."""
        return self.next_retry_at is None and self.status in UNSENT

    @property
    def reversal_due(self) -> int:
        """Return the amount of its pending reversal."""
        left = self.amount - self.amount_reversed
        return left if self.reversal_amount is None else self.reversal_amount
