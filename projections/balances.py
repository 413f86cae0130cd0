"""Balance of a seller at any time, folded from the seller's transfers.

The SQL query `balance` computes the present balance by the same rule; a test compares both after
every command.
"""

from typing import NamedTuple

from domain.lifecycle import TransferStatus
from domain.provider_call.reasons import WaitingFor
from domain.seller_transfer.reversal import ReversalStatus
from projections.transfer_and_reversals import TransferFold
from projections.transfer_reversals import ReversalRow

_PAID = frozenset({
    TransferStatus.COMPLETED, TransferStatus.REVERSAL_PENDING, TransferStatus.PARTIALLY_REVERSED,
    TransferStatus.REVERSED,
})  # fmt: skip
_OWED = (ReversalStatus.QUEUED, ReversalStatus.REQUESTED)


class SellerBalance(NamedTuple):
    """Amounts that a seller has received and given back in one currency, in minor units."""

    currency: str
    transferred: int
    reversed: int
    reversal_pending: int
    stuck: int

    def plus(self, other: "SellerBalance") -> "SellerBalance":
        """Add a balance of the same currency."""
        return SellerBalance(
            self.currency,
            *(mine + theirs for mine, theirs in zip(self[1:], other[1:], strict=True)),
        )


def balance_of(transfer: TransferFold) -> SellerBalance:
    """Return the part of one transfer in its seller's balance."""
    reversals = transfer.reversals.rows.values()
    stuck = [row for row in reversals if _stuck(row)]
    owed = [row for row in reversals if row.status in _OWED and not _stuck(row)]
    return SellerBalance(
        transfer.transfer.currency,
        paid(transfer),
        transfer.transfer.amount_reversed,
        sum(row.amount for row in owed),
        sum(row.amount for row in stuck),
    )


def paid(transfer: TransferFold) -> int:
    """Return the amount that this transfer sent to the seller, before any reversal."""
    row = transfer.transfer
    if row.status in _PAID:
        return row.amount
    # the transfer failed for good; or only its reversal did, if the transfer has a Stripe id or a
    # failed reversal
    reversal_failed = any(
        reversal.status == ReversalStatus.FAILED for reversal in transfer.reversals.rows.values()
    )
    known = row.status == TransferStatus.PERMANENTLY_FAILED and (
        row.stripe_transfer_id is not None or reversal_failed
    )
    return row.amount if known else 0


def _stuck(row: ReversalRow) -> bool:
    return row.status == ReversalStatus.FAILED or row.waiting_for == WaitingFor.OPERATOR
