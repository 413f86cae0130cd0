"""State of a seller transfer: its fields, and the amounts that follow from them."""

from datetime import datetime

from domain.fact import Stream
from domain.identity import SALE
from domain.lifecycle import TransferStatus
from domain.provider_call.operation import TRANSFER, Operation
from domain.seller_transfer.reversal import Reversal, ReversalStatus


class TransferState(Stream):
    """State of one transfer. Amounts in minor units of `currency`; times in UTC."""

    def __init__(self) -> None:
        self.status: TransferStatus
        self.order_id = self.seller_id = self.destination = self.currency = self.transfer_group = ""
        self.cause = SALE
        self.source_transaction: str | None = None
        self.original = 0
        """The amount it was created with."""
        self.amount = 0
        """What is to be sent, or was sent."""
        self.amount_reversed = 0
        self.paid = False
        """Whether Stripe has paid it, as far as the facts tell; stays true for ever."""
        self.stripe_transfer_id: str | None = None
        self.stripe_reversal_id: str | None = None
        self.next_retry_at: datetime | None = None
        self.begun_at: datetime
        """From when on Stripe may hold it."""
        self.imported = False
        """An older system has made it, and may have sent it under names that are not ours."""
        self.refunds_before: set[str] = set()
        """Refunds for which an older system took something back, or was about to: what that was stands for them."""
        self.refund_given_up: str | None = None
        """A refund for which an older system has tried to reverse, without knowing what came of it."""
        self.operation: Operation | None = None
        self.reductions: dict[str, int] = {}
        self.reversals: dict[str, Reversal] = {}
        self.evidence: dict[str, str] = {}
        """Objects at Stripe that could not be taken in, with the operation they belong to."""
        self.settled_outside: str | None = None
        """What a person said who paid the seller in another way: Stripe is to pay nothing any more."""
        self.unverified = False
        """Restored from a backup, and not looked up since: Stripe may have paid it. Known while a command lasts, no fact."""
        self.held: str | None = None
        """Why nothing of it is sent before a person says so."""

    @property
    def unsent(self) -> bool:
        """No money has left and none may have: the transfer was never sent, or was definitely refused."""
        if TRANSFER in self.evidence.values():
            return False  # something at Stripe may be it
        waiting = self.status in (TransferStatus.PENDING, TransferStatus.FAILED)
        given_up = self.status is TransferStatus.PERMANENTLY_FAILED and not self.paid and self.settled_outside is None
        return (waiting or given_up) and not (self.operation is not None and self.operation.open)

    @property
    def uncleared(self) -> bool:
        """An older system may have paid it: nothing is sent before a person has decided, or Stripe's books are matched."""
        waiting = self.status in (TransferStatus.PENDING, TransferStatus.FAILED) and self.next_retry_at is None
        return self.imported and waiting and self.operation is not None and self.operation.look_first

    @property
    def in_flight(self) -> Reversal | None:
        """The one reversal that is on its way."""
        return next((reversal for reversal in self.reversals.values() if reversal.state is ReversalStatus.REQUESTED), None)

    @property
    def queue(self) -> list[Reversal]:
        """Reversals that wait, oldest first."""
        return [reversal for reversal in self.reversals.values() if reversal.state is ReversalStatus.QUEUED]

    @property
    def room(self) -> int:
        """What further reversals (or, while unsent, reductions) could still take."""
        if self.status is TransferStatus.CANCELLED:
            return 0
        return max(0, self.amount - self.amount_reversed - sum(c.amount for c in self.reversals.values() if c.reserved))

    @property
    def taken(self) -> int:
        """What refunds have taken or will take: reductions and claims, not what others reversed at Stripe."""
        unsent = self.original if self.status is TransferStatus.CANCELLED else self.original - self.amount
        return unsent + sum(reversal.taken for reversal in self.reversals.values())

    def taken_for(self, cause_id: str) -> int:
        """The part of `taken` that one refund is the cause of."""
        reversals = sum(reversal.taken for reversal in self.reversals.values() if reversal.refund_id == cause_id)
        return self.reductions.get(cause_id, 0) + reversals

    def is_open(self, reversal: Reversal) -> bool:
        """Whether this reversal may be at Stripe already without our knowing."""
        operation = self.operation
        return reversal.state is ReversalStatus.REQUESTED and operation is not None and (operation.open or self.unverified)

    def undo_reductions(self, by: int) -> None:
        """Stripe paid `by` more than was to be sent any more: the newest reductions did not happen."""
        for refund_id in reversed(list(self.reductions)):
            undone = min(max(by, 0), self.reductions[refund_id])
            by -= undone
            self.reductions[refund_id] -= undone
