"""Facts about transfers and reversals that a person has settled outside Stripe, when refunds change
later.

`domain.seller_transfer.facts` lists the whole vocabulary.
"""

from domain.seller_transfer.state import TransferState
from domain.seller_transfer.transfer_fact import TransferFact


class ResolutionLapsed(TransferFact):
    """The cause of a reversal that a person had closed outside Stripe disappeared.

    Nothing is paid to the seller, since Stripe has never taken the amount. A person decides.
    """

    TOPIC = "ledger.seller_transfer.resolution_lapsed"
    reversal_id: str
    refund_id: str | None
    amount: int
    total: int
    """Amount of this transfer for which a person has to decide now."""
    order_id: str
    seller_id: str
    currency: str

    def change(self, transfer: TransferState) -> None:
        lapse(transfer, self.reversal_id, self.amount)


class ResolutionReinstated(TransferFact):
    """The cause of a lapsed resolution is effective again: the amount counts as taken."""

    TOPIC = "ledger.seller_transfer.resolution_reinstated"
    reversal_id: str
    refund_id: str | None
    amount: int
    total: int
    """Amount of this transfer for which a person still has to decide."""

    def change(self, transfer: TransferState) -> None:
        lapse(transfer, self.reversal_id, -self.amount)


class OwedOutside(TransferFact):
    """Refunds take `amount` in all of a transfer that a person has settled outside Stripe: a person
    collects it there. 0: nothing is left to collect."""

    TOPIC = "ledger.seller_transfer.owed_outside"
    amount: int
    order_id: str
    seller_id: str
    currency: str
    settled: str
    """Note of the person who settled the transfer."""

    def change(self, transfer: TransferState) -> None:
        transfer.owed_outside = self.amount


def lapse(transfer: TransferState, reversal_id: str, by: int) -> None:
    """Change the lapsed part of a resolved reversal."""
    reversal = transfer.reversals[reversal_id]
    transfer.reversals[reversal_id] = reversal._replace(lapsed=reversal.lapsed + by)
