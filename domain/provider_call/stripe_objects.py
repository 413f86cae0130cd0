"""Objects as Stripe shows them."""

from typing import NamedTuple


class ReversalAtStripe(NamedTuple):
    """One reversal as Stripe's books show it."""

    stripe_reversal_id: str
    amount: int
    reversal_id: str | None
    """Our own id out of its metadata; None when nobody of us asked for it."""
    source_refund: str | None = None
    """Set when a refund with `reverse_transfer` made it."""
    refund_id: str | None = None
    """For which refund or dispute it was asked, out of its metadata."""


class TransferAtStripe(NamedTuple):
    """One transfer as Stripe's books show it, with *all* its reversals, newest first."""

    stripe_transfer_id: str
    amount: int
    amount_reversed: int
    currency: str
    """ISO code in upper case, as we store it."""
    destination: str
    transfer_id: str | None
    """Our own id out of its metadata."""
    reversals: tuple[ReversalAtStripe, ...] = ()

    @property
    def left(self) -> int:
        """What could still be reversed, in minor units."""
        return self.amount - self.amount_reversed
