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


class ChargeAtStripe(NamedTuple):
    """A charge as Stripe shows it, with its balance transaction as far as that is known. Currencies
    in upper case."""

    charge_id: str
    amount: int
    """Captured amount in minor units of `currency`."""
    currency: str
    status: str
    """`succeeded`, `pending` (an asynchronous method) or `failed`."""
    settled_amount: int | None = None
    settled_currency: str | None = None
    """Currency of the balance transaction: transfers from the charge must have it. None: Stripe
    does not show it yet."""

    @property
    def transferable(self) -> tuple[int, str]:
        """Return the amount and the currency that transfers can have this charge as their source
        for."""
        if self.settled_currency is None or self.settled_amount is None:
            return self.amount, self.currency
        return self.settled_amount, self.settled_currency


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
    def reversible(self) -> int:
        """Return the amount that could still be reversed, in minor units."""
        return self.amount - self.amount_reversed
