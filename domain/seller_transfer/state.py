"""State of a seller transfer: its fields, and the amounts that follow from them."""

from datetime import datetime

from domain.fact import Stream
from domain.identity import SALE
from domain.lifecycle import TransferStatus
from domain.provider_call.operation import TRANSFER, Operation
from domain.seller_transfer.reversal import Reversal, ReversalStatus

UNSENT = (TransferStatus.PENDING, TransferStatus.FAILED)
"""Statuses in which the transfer is still to be sent."""
NOT_RECORDED = ""
"""Cause of a reduction by refunds that are not recorded here: Stripe shows a smaller transfer."""


class TransferState(Stream):
    """State of one transfer. Amounts are in minor units of `currency`, times in UTC."""

    def __init__(self) -> None:
        self.status: TransferStatus
        self.order_id = self.seller_id = self.destination = self.currency = self.transfer_group = ""
        self.cause = SALE
        self.source_transaction: str | None = None
        self.former_destinations: list[str] = []
        """Accounts to which the transfer was to go before its seller moved."""
        self.sourced_from = 1
        """The first epoch whose body names the source: an earlier key keeps its body."""
        self.awaits_charge = False
        """True while the charge of the order is being read at Stripe, before the first call."""
        self.original = 0
        """The amount of the opening fact."""
        self.amount = 0
        """The amount to be sent, or the amount sent."""
        self.amount_reversed = 0
        self.paid = False
        """True if Stripe has paid the seller, according to the facts; stays true."""
        self.stripe_transfer_id: str | None = None
        self.stripe_reversal_id: str | None = None
        self.next_retry_at: datetime | None = None
        self.begun_at: datetime
        """The earliest instant at which Stripe may have made the transfer."""
        self.imported = False
        """An older system has made the transfer and may have sent it without our ids in its
        metadata."""
        self.refunds_before: set[str] = set()
        """Refunds that an older system had reversed or was about to reverse. That reversal counts
        for them."""
        self.refund_given_up: str | None = None
        """A refund that an older system tried to reverse, with an unknown outcome."""
        self.operation: Operation | None = None
        self.reductions: dict[str, int] = {}
        self.reversals: dict[str, Reversal] = {}
        self.evidence: dict[str, str] = {}
        """Ids of objects at Stripe that the status could not take, each with its operation."""
        self.settled_outside: str | None = None
        """The note of a person that the seller was paid in another way: Stripe must not pay any
        more."""
        self.unverified = False
        """Restored from a backup and not looked up since, so Stripe may have paid. Set during a
        command, without a fact."""
        self.owed_outside = 0
        """Amount that refunds take of a transfer that was settled outside Stripe, as last told."""
        self.shortened: set[str] = set()
        """Causes for which less could be taken than was planned, since others had reversed. Set
        during a command, without a fact."""
        self.held: str | None = None
        """Reason for holding the transfer back until a person decides; None if it is not held
        back."""

    @property
    def unsent(self) -> bool:
        """Return whether certainly no money has left or will leave by a call that was begun: the
        transfer was never sent, or was definitely refused."""
        if TRANSFER in self.evidence.values():
            return False  # the object at Stripe may be this transfer
        waiting = self.status in UNSENT
        given_up = (
            self.status is TransferStatus.PERMANENTLY_FAILED
            and not self.paid
            and self.settled_outside is None
        )
        began = self.operation is not None and self.operation.may_move_money
        return (waiting or given_up) and not began

    @property
    def accounts(self) -> list[str]:
        """Return the accounts that a call for it, or its payment, can have named, the present one
        first."""
        return [self.destination, *self.former_destinations]

    @property
    def source_now(self) -> str | None:
        """Return the source that the body of the present epoch names."""
        if self.operation is None or self.operation.epoch < self.sourced_from:
            return None
        return self.source_transaction

    @property
    def uncleared(self) -> bool:
        """Return whether it has to be cleared first: an older system may have paid it. A person or
        the backfill decides."""
        waiting = self.status in UNSENT and self.next_retry_at is None
        return (
            self.imported and waiting and self.operation is not None and self.operation.look_first
        )

    @property
    def in_flight(self) -> Reversal | None:
        """Return the reversal that is running; at most one is."""
        return next(
            (
                reversal
                for reversal in self.reversals.values()
                if reversal.state is ReversalStatus.REQUESTED
            ),
            None,
        )

    @property
    def queue(self) -> list[Reversal]:
        """Return the reversals that wait, oldest first."""
        return [
            reversal
            for reversal in self.reversals.values()
            if reversal.state is ReversalStatus.QUEUED
        ]

    @property
    def room(self) -> int:
        """Return the amount that further reversals (or, while unsent, reductions) could take."""
        if self.status is TransferStatus.CANCELLED:
            return 0
        return max(
            0,
            self.amount
            - self.amount_reversed
            - sum(c.amount for c in self.reversals.values() if c.reserved),
        )

    @property
    def taken(self) -> int:
        """Return the amount that refunds have taken or will take: reductions and reversals, but no
        external reversals."""
        unsent = (
            self.original
            if self.status is TransferStatus.CANCELLED
            else self.original - self.amount
        )
        return unsent + sum(reversal.taken for reversal in self.reversals.values())

    @property
    def standing(self) -> int:
        """Return the part of `taken` that a person has closed outside Stripe."""
        return sum(reversal.standing for reversal in self.reversals.values())

    @property
    def lapsed(self) -> list[Reversal]:
        """Return the reversals closed outside Stripe whose cause has disappeared since."""
        return [reversal for reversal in self.reversals.values() if reversal.lapsed]

    def taken_for(self, cause_id: str) -> int:
        """Return the part of `taken` with this refund as its cause."""
        reversals = sum(
            reversal.taken for reversal in self.reversals.values() if reversal.refund_id == cause_id
        )
        return self.reductions.get(cause_id, 0) + reversals

    def is_open(self, reversal: Reversal) -> bool:
        """Return whether Stripe may have executed this reversal without a record here, or still may
        by a call that was begun."""
        if reversal.state is ReversalStatus.QUEUED:
            return self.paid and self.unverified
        operation = self.operation
        return (
            reversal.state is ReversalStatus.REQUESTED
            and operation is not None
            and (operation.may_move_money or self.unverified)
        )

    @property
    def unexplained(self) -> int:
        """Return the amount taken according to Stripe by refunds that are not recorded here."""
        missing = (reversal for reversal in self.reversals.values() if reversal.missing)
        return self.reductions.get(NOT_RECORDED, 0) + sum(reversal.settled for reversal in missing)

    def lacks_cause_of(self, cause_id: str) -> bool:
        """Return whether Stripe holds a reversal for this refund or dispute, which is not recorded
        here."""
        return any(
            reversal.missing and reversal.refund_id == cause_id
            for reversal in self.reversals.values()
        )

    def undo_reductions(self, by: int) -> None:
        """Undo the newest reductions, since Stripe paid `by` more than was left to be sent."""
        for refund_id in reversed(list(self.reductions)):
            undone = min(max(by, 0), self.reductions[refund_id])
            by -= undone
            self.reductions[refund_id] -= undone
