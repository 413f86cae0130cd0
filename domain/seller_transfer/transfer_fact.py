"""Common class of the facts of a seller transfer, and the one gate through which its status
changes."""

from typing import ClassVar

from domain.fact import Fact
from domain.lifecycle import TransferStatus
from domain.seller_transfer.state import TransferState


def enter(transfer: TransferState, status: TransferStatus | None) -> None:
    """Set the status of a transfer; None leaves it. No other code assigns it (see
    tests/domain/test_one_gate.py)."""
    if status is not None:
        transfer.status = status


class TransferFact(Fact):
    """A fact about a transfer that exists."""

    LEADS_TO: ClassVar[TransferStatus | None] = None

    @property
    def leads_to(self) -> TransferStatus | None:
        """Return the status after this fact; None leaves the status."""
        return self.LEADS_TO

    def apply(self, aggregate: TransferState) -> None:
        self.change(aggregate)
        enter(aggregate, self.leads_to)

    def change(self, transfer: TransferState) -> None:
        """Apply the changes besides the status."""
