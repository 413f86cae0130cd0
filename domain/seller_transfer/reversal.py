"""Reversals of one transfer: for refunds, for disputes, and external ones made at Stripe."""

from enum import StrEnum
from typing import NamedTuple

from domain.identity import DISPUTE


class Reason(StrEnum):
    """Cause of a reversal."""

    REFUND = "refund"
    DISPUTE = "dispute"
    IMPORTED = "imported"
    """Requested in an older system, for a refund that the order here may not know."""
    EXTERNAL = "external"
    """Made at Stripe outside this ledger; recorded, never sent."""


def reason_of(cause_id: str | None) -> Reason:
    """Return `DISPUTE` if the id is that of a dispute, else `REFUND`."""
    return (
        Reason.DISPUTE if cause_id is not None and cause_id.startswith(DISPUTE) else Reason.REFUND
    )


class ReversalStatus(StrEnum):
    """Status of one reversal and of its row in `transfer_reversals`."""

    QUEUED = "queued"
    """Waits for the transfer, for the reversal before it, or for an operator."""
    REQUESTED = "requested"
    """Due or being sent; at most one per transfer."""
    REVERSED = "reversed"
    WITHDRAWN = "withdrawn"
    """Its cause disappeared before it was sent."""
    FAILED = "failed"
    """Given up; a person has to decide."""
    RESOLVED = "resolved"
    """Closed by a person: paid outside Stripe, or written off."""


class Reversal(NamedTuple):
    """One reversal. Amounts are in minor units of the transfer's currency."""

    reversal_id: str
    refund_id: str | None
    amount: int
    reason: str
    state: ReversalStatus
    stripe_reversal_id: str | None = None
    settled: int = 0
    """Amount that it added to `amount_reversed` of the transfer."""
    contested: bool = False
    """True if its cause disappeared while the call was open: the outcome decides how much has to be
    given back."""
    lapsed: int = 0
    """Part of a resolved reversal whose cause disappeared later: it counts as taken no more, and is
    not paid back."""

    attributed: bool = False
    """True if a refund itself has made it at Stripe: `amount` is the part that it stands for."""

    @property
    def live(self) -> bool:
        """Return whether it will take money, or could."""
        return self.state in (
            ReversalStatus.QUEUED,
            ReversalStatus.REQUESTED,
            ReversalStatus.FAILED,
        )

    @property
    def reserved(self) -> bool:
        """Return whether its amount is unavailable to other reversals without being part of
        `amount_reversed`."""
        return self.live or self.state is ReversalStatus.RESOLVED

    @property
    def taken(self) -> int:
        """Return the amount credited to its cause: reversed or still to be reversed, capped at the
        amount requested."""
        if (
            self.reason in (Reason.EXTERNAL, Reason.IMPORTED)
            or self.state == ReversalStatus.WITHDRAWN
        ):
            return 0
        if self.attributed:
            return self.amount
        return (
            min(self.amount, self.settled)
            if self.state == ReversalStatus.REVERSED
            else self.amount - self.lapsed
        )

    @property
    def standing(self) -> int:
        """Return the amount that a person has closed outside Stripe, and that its cause still
        takes."""
        return self.taken if self.state is ReversalStatus.RESOLVED else 0
