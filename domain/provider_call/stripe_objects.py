"""Transfers and reversals as Stripe shows them."""

from typing import NamedTuple


class ReversalAtStripe(NamedTuple):
    """One reversal as Stripe shows it."""

    stripe_reversal_id: str
    amount: int
    reversal_id: str | None
    """Our id in its metadata; None for a reversal that this ledger did not request."""
    source_refund: str | None = None
    """Id of the refund that made it with `reverse_transfer`."""
    refund_id: str | None = None
    """Id of its refund or dispute in its metadata."""


class CompensationNames(NamedTuple):
    """Names in the metadata of a compensating transfer."""

    order_id: str
    seller_id: str
    compensates: str
    """Our id of the transfer from which the amount was taken."""
    cause_id: str
    """The refund or dispute for which it was taken."""


class TransferAtStripe(NamedTuple):
    """One transfer as Stripe shows it, with *all* its reversals, newest first."""

    stripe_transfer_id: str
    amount: int
    amount_reversed: int
    currency: str
    """ISO code in upper case."""
    destination: str
    transfer_id: str | None
    """Our id in its metadata."""
    reversals: tuple[ReversalAtStripe, ...] = ()
    gives_back: CompensationNames | None = None
    """Present if its metadata names it a compensation."""

    def is_or_compensates(self, transfer_id: str) -> bool:
        """Return whether its metadata names our transfer, or names it a compensation of that."""
        compensates = self.gives_back.compensates if self.gives_back is not None else None
        return transfer_id in (self.transfer_id, compensates)

    @property
    def reversible(self) -> int:
        """Return the amount that could still be reversed, in minor units."""
        return self.amount - self.amount_reversed
