"""What a seller has received and given back, folded from the seller's transfers: what the query `balance` says of now.

One rule twice, in SQL for the present and here for any moment; a test compares them after every command.
"""

from typing import NamedTuple

from domain.lifecycle import TransferStatus
from domain.provider_call.reasons import WaitingFor
from domain.seller_transfer.reversal import ReversalStatus
from projections.registry import TransferFold
from projections.transfer_reversals import ReversalRow

_PAID = frozenset({
    TransferStatus.COMPLETED, TransferStatus.REVERSAL_PENDING, TransferStatus.PARTIALLY_REVERSED, TransferStatus.REVERSED,
})  # fmt: skip
_OWED = (ReversalStatus.QUEUED, ReversalStatus.REQUESTED)


class Balance(NamedTuple):
    """What a seller has received and given back in one currency, in minor units."""

    currency: str
    transferred: int
    reversed: int
    reversal_pending: int
    stuck: int

    def plus(self, other: "Balance") -> "Balance":
        """Both together; of one currency, which the caller sees to."""
        return Balance(self.currency, *(mine + theirs for mine, theirs in zip(self[1:], other[1:], strict=True)))


def balance_of(transfer: TransferFold) -> Balance:
    """What one transfer adds to its seller's balance."""
    reversals = transfer.reversals.rows.values()
    stuck = [row for row in reversals if _stuck(row)]
    owed = [row for row in reversals if row.status in _OWED and not _stuck(row)]
    return Balance(
        transfer.transfer.currency,
        paid(transfer),
        transfer.transfer.amount_reversed,
        sum(row.amount for row in owed),
        sum(row.amount for row in stuck),
    )


def paid(transfer: TransferFold) -> int:
    """What the seller was sent by this transfer, whatever came back since."""
    row = transfer.transfer
    if row.status in _PAID:
        return row.amount
    # given up: the transfer itself, or, where it has a name at Stripe or a reversal that failed, only what takes it back
    reversal_failed = any(reversal.status == ReversalStatus.FAILED for reversal in transfer.reversals.rows.values())
    known = row.status == TransferStatus.PERMANENTLY_FAILED and (row.stripe_transfer_id is not None or reversal_failed)
    return row.amount if known else 0


def _stuck(row: ReversalRow) -> bool:
    return row.status == ReversalStatus.FAILED or row.waiting_for == WaitingFor.OPERATOR
