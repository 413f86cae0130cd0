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

    @property
    def left(self) -> int:
        """Return the amount that could still be reversed, in minor units."""
        return self.amount - self.amount_reversed
