"""What refunds (and disputes, and people at Stripe's dashboard) take back from one transfer."""

from enum import StrEnum
from typing import NamedTuple

from domain.identity import DISPUTE


class Reason(StrEnum):
    """Why money comes back."""

    REFUND = "refund"
    DISPUTE = "dispute"
    IMPORTED = "imported"
    """Asked for in an older system, for a refund that our order need not know."""
    EXTERNAL = "external"
    """Made at Stripe by somebody else; recorded, never sent."""


def reason_of(cause_id: str | None) -> Reason:
    """A refund, unless its name is that of a dispute."""
    return Reason.DISPUTE if cause_id is not None and cause_id.startswith(DISPUTE) else Reason.REFUND


class ReversalStatus(StrEnum):
    """Where one claim stands; the statuses of the rows in `transfer_reversals`."""

    QUEUED = "queued"
    """Waits for the transfer, for the reversal before it, or for an operator."""
    REQUESTED = "requested"
    """On its way; at most one per transfer."""
    REVERSED = "reversed"
    WITHDRAWN = "withdrawn"
    """Its cause was gone before it was sent."""
    FAILED = "failed"
    """Given up; a person is needed."""
    RESOLVED = "resolved"
    """A person closed it: settled outside of Stripe, or written off."""


class Reversal(NamedTuple):
    """One reversal. Amounts in minor units of the transfer's currency."""

    reversal_id: str
    refund_id: str | None
    amount: int
    reason: str
    state: ReversalStatus
    stripe_reversal_id: str | None = None
    settled: int = 0
    """What this claim added to the transfer's `amount_reversed`."""
    contested: bool = False
    """Its cause vanished while the call was open: the outcome decides what has to be given back."""

    @property
    def live(self) -> bool:
        """Whether it will still take money, or could."""
        return self.state in (ReversalStatus.QUEUED, ReversalStatus.REQUESTED, ReversalStatus.FAILED)

    @property
    def reserved(self) -> bool:
        """Whether its amount is spoken for without having come back through Stripe."""
        return self.live or self.state is ReversalStatus.RESOLVED

    @property
    def taken(self) -> int:
        """What it counts for against its cause: what is or will be taken for it, never more than it asked for."""
        if self.reason in (Reason.EXTERNAL, Reason.IMPORTED) or self.state == ReversalStatus.WITHDRAWN:
            return 0
        return min(self.amount, self.settled) if self.state == ReversalStatus.REVERSED else self.amount
