"""Transfers and reversals as Stripe shows them."""

from typing import NamedTuple

from domain.provider_call.outcome import Rejected

SUCCEEDED = "succeeded"
"""Status of a reversal that has moved its money. A reversal without a status has, too."""


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
    status: str = SUCCEEDED
    """`succeeded`, `pending`, `failed` or `canceled`; an unknown one is not final."""
    refusal: Rejected | None = None
    """The refusal that a failed or canceled reversal amounts to."""

    @property
    def taken(self) -> bool:
        """Return whether it has moved its money."""
        return self.status == SUCCEEDED

    @property
    def pending(self) -> bool:
        """Return whether Stripe has not decided about it; that takes up to 45 days."""
        return not self.taken and self.refusal is None


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
    """The amount that its reversals have taken, without pending ones."""
    currency: str
    """ISO code in upper case."""
    destination: str
    transfer_id: str | None
    """Our id in its metadata."""
    reversals: tuple[ReversalAtStripe, ...] = ()
    ledger_id: str | None = None
    """Identity of the database that made it, in its metadata; older transfers carry none."""
    source_transaction: str | None = None
    """Charge that funds it, or that has made it."""

    def is_foreign(self, ledger_id: str | None) -> bool:
        """Return whether another ledger made it, which may use the same ids."""
        return None not in (self.ledger_id, ledger_id) and self.ledger_id != ledger_id

    @property
    def reversible(self) -> int:
        """Return the amount that no reversal has taken, in minor units; pending ones may take a
        part of it."""
        return self.amount - self.amount_reversed

    @property
    def pending(self) -> int:
        """Return the amount about which Stripe has not decided."""
        return sum(reversal.amount for reversal in self.reversals if reversal.pending)

    def counted(self) -> "TransferAtStripe":
        """Return the transfer with `amount_reversed` as its reversals have it."""
        taken = sum(reversal.amount for reversal in self.reversals if reversal.taken)
        return self._replace(amount_reversed=taken)
