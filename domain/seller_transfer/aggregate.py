"""The money to one seller for one cause, and every reversal of it: state, and the commands of refunds and operators.

What Stripe's answers do to a transfer is decided in `transfer_outcome` and `reversal_outcome`; what an order's refunds demand
of its transfers in `domain.order.recovery`.
"""

from collections.abc import Mapping
from datetime import datetime

from domain.errors import CallInFlight, ContentDiffers, IllegalTransition, NothingToRetry
from domain.fact import Fact, opened
from domain.identity import SALE, reversal_name, transfer_stream
from domain.lifecycle import TransferStatus, can_transition, operator_may
from domain.provider_call.operation import TRANSFER
from domain.seller_transfer import facts
from domain.seller_transfer.reversal import Reversal, ReversalStatus, reason_of
from domain.seller_transfer.state import TransferState

TOPIC = "ledger.seller_transfer"


class SellerTransfer(TransferState, topic=TOPIC, opening=facts.Created):
    """One transfer. Amounts in minor units of `currency`; times in UTC."""

    @classmethod
    def create(
        cls,
        *,
        order_id: str,
        seller_id: str,
        destination: str,
        amount: int,
        currency: str,
        now: datetime,
        source_transaction: str | None = None,
        cause: str = SALE,
    ) -> "SellerTransfer":
        """A transfer that is due at once. Its id follows from order, seller and cause."""
        fact = facts.Created(
            originator_id=transfer_stream(order_id, seller_id, cause),
            originator_version=1,
            originator_topic=TOPIC,
            timestamp=now,
            order_id=order_id,
            seller_id=seller_id,
            destination=destination,
            amount=amount,
            currency=currency,
            transfer_group=order_id,
            source_transaction=source_transaction,
            cause=cause,
            next_retry_at=now,
        )
        return opened(cls, fact)

    def record(self, fact: Fact) -> None:
        """Apply a fact, if the life cycle has its arrow. Raises IllegalTransition, and then nothing has changed."""
        after = fact.leads_to if isinstance(fact, facts.TransferFact) else None
        if after is not None and not self._may_enter(after, fact):
            raise IllegalTransition(self.id, self.status, after, type(fact).__name__)
        super().record(fact)

    def _may_enter(self, after: TransferStatus, fact: Fact) -> bool:
        by_actor = isinstance(fact, facts.Reopened) and operator_may(self.status, after)
        return by_actor or can_transition(self.status, after)

    # --- what is so -------------------------------------------------------------------------------------------------

    # --- refunds ----------------------------------------------------------------------------------------------------

    def take_back(self, refund_id: str, amount: int, now: datetime) -> None:
        """A refund takes `amount` back: by sending less, by a reversal now, or by one that waits. Needs `amount <= room`."""
        if not 0 < amount <= self.room:
            raise ValueError(f"{amount} is to be taken back from transfer {self.id}, which has room for {self.room}.")
        if self.unsent and not self.unverified:
            self._reduce(refund_id, amount, now)
        elif self.status in (TransferStatus.COMPLETED, TransferStatus.PARTIALLY_REVERSED):
            self._request(self._reversal_id(refund_id), refund_id, amount, now)
        else:
            self._enqueue(refund_id, amount, now)

    def _reduce(self, refund_id: str, amount: int, now: datetime) -> None:
        if amount == self.amount and self.status is not TransferStatus.PERMANENTLY_FAILED:
            self.record(facts.Cancelled(**self.next(now), refund_id=refund_id, by=amount))
            return
        operation = self.operation
        # a key that was used once belongs to one body for ever
        epoch = 1 if operation is None else operation.epoch + (operation.epoch_began is not None)
        left = self.amount - amount
        self.record(facts.AmountReduced(**self.next(now), refund_id=refund_id, by=amount, amount=left, epoch=epoch))

    def _reversal_id(self, refund_id: str) -> str:
        rounds = (str(reversal_name(self.id, refund_id, n)) for n in range(1, len(self.reversals) + 2))
        return next(name for name in rounds if name not in self.reversals)

    def _request(self, reversal_id: str, refund_id: str | None, amount: int, now: datetime) -> None:
        self.record(
            facts.ReversalRequested(
                **self.next(now),
                reversal_id=reversal_id,
                refund_id=refund_id,
                amount=amount,
                reason=reason_of(refund_id).value,
                next_retry_at=now,
            )
        )

    def _enqueue(self, refund_id: str, amount: int, now: datetime) -> None:
        waiting_for = {TransferStatus.REVERSAL_PENDING: "reversal", TransferStatus.PERMANENTLY_FAILED: "operator"}
        self.record(
            facts.ReversalQueued(
                **self.next(now),
                reversal_id=self._reversal_id(refund_id),
                refund_id=refund_id,
                amount=amount,
                reason=reason_of(refund_id).value,
                waiting_for=waiting_for.get(self.status, "transfer"),
            )
        )

    def release_queue(self, now: datetime) -> None:
        """Send the reversal that waited longest, if the transfer is free for it."""
        if self.queue and self.status in (TransferStatus.COMPLETED, TransferStatus.PARTIALLY_REVERSED):
            reversal = self.queue[0]
            self._request(reversal.reversal_id, reversal.refund_id, reversal.amount, now)

    def forgo_queue(self, now: datetime) -> None:
        """The transfer was definitely refused: what waited to be reversed is not sent in the first place."""
        for reversal in self.queue:
            self._withdraw(reversal, reversal.refund_id or "", now)
            self._reduce(reversal.refund_id or "", reversal.amount, now)

    def empty_queue(self, now: datetime) -> None:
        """All of it is back: there is nothing left for what waited to take."""
        for reversal in self.queue:
            self._withdraw(reversal, reversal.refund_id or "", now)

    def withdraw(self, reversal: Reversal, amount: int, cause_id: str, now: datetime) -> int:
        """Give up to `amount` of an unsent claim back; answers how much that was. An open call is contested instead: 0."""
        if self.is_open(reversal):
            if not reversal.contested:
                self.record(facts.ReversalContested(**self.next(now), reversal_id=reversal.reversal_id, cause_id=cause_id))
            return 0
        if reversal.amount <= amount:
            self._withdraw(reversal, cause_id, now)
            self.release_queue(now)
            return reversal.amount
        self._lower(reversal, reversal.amount - amount, cause_id, now)
        return amount

    def _withdraw(self, reversal: Reversal, cause_id: str, now: datetime) -> None:
        self.record(
            facts.ReversalWithdrawn(
                **self.next(now),
                reversal_id=reversal.reversal_id,
                refund_id=reversal.refund_id,
                amount=reversal.amount,
                amount_reversed=self.amount_reversed,
                in_flight=reversal.state is ReversalStatus.REQUESTED,
                cause_id=cause_id,
            )
        )

    def _lower(self, reversal: Reversal, amount: int, cause_id: str, now: datetime) -> None:
        operation = self.operation
        sent = operation is not None and operation.what == reversal.reversal_id and operation.epoch_began is not None
        epoch = operation.epoch + sent if operation is not None else 1
        self.record(
            facts.ReversalReduced(
                **self.next(now), reversal_id=reversal.reversal_id, amount=amount, cause_id=cause_id, epoch=epoch
            )
        )

    def undone_since(self, reduced: Mapping[str, int]) -> list[str]:
        """The refunds of whose reductions some did not happen after all."""
        return [refund_id for refund_id, by in reduced.items() if self.reductions.get(refund_id, 0) < by]

    # --- operators --------------------------------------------------------------------------------------------------

    def retry(self, actor: str, reason: str, now: datetime) -> None:
        """Try now what is due now; reopens `permanently_failed`, and releases what is held back.

        Raises CallInFlight while a call is under way, NothingToRetry when nothing is due.
        """
        if self.operation is not None and self.operation.in_call:
            raise CallInFlight(self.id)
        if self.status is TransferStatus.PERMANENTLY_FAILED:
            self._reopen(actor, reason, now)
        elif self.operation is not None:
            self.record(facts.RetryRequested(**self.next(now), actor=actor, reason=reason, next_retry_at=now))
        else:
            raise NothingToRetry(self.id, f"it is {self.status} and no call to Stripe is due")

    def _reopen(self, actor: str, reason: str, now: datetime) -> None:
        if not self.paid:
            self._reopen_transfer(actor, reason, now)
        elif not self.stripe_transfer_id:
            raise NothingToRetry(self.id, "its Stripe transfer id is missing; backfill that first")
        else:
            self._reopen_reversal(actor, reason, now)

    def _reopen_transfer(self, actor: str, reason: str, now: datetime) -> None:
        if self.settled_outside is not None:
            raise NothingToRetry(self.id, self.settled_outside)
        if self.amount == 0:
            raise NothingToRetry(self.id, "refunds have made the whole transfer unnecessary")
        self.reopen(actor, reason, now)

    def _reopen_reversal(self, actor: str, reason: str, now: datetime) -> None:
        reversal = self.owed
        if reversal is None:
            raise NothingToRetry(self.id, "no refund is owed any reversal of it now; `resolve` ends its being stuck")
        self.reopen(actor, reason, now, reversal)

    @property
    def owed(self) -> Reversal | None:
        """The reversal that a permanently failed transfer is stuck with; the oldest one that waits, if that one is gone."""
        live = [reversal for reversal in self.reversals.values() if reversal.live]
        stuck = (reversal for reversal in live if reversal.state is ReversalStatus.FAILED)
        return next(stuck, live[0] if live else None)

    def reopen(
        self, actor: str, reason: str, now: datetime, reversal: Reversal | None = None, to: TransferStatus | None = None
    ) -> None:
        """Take a permanently failed transfer up again: the transfer itself, or, once it is paid, this reversal of it (None:
        nothing is owed). What is sent is what is due now, after a look at Stripe's books."""
        operation = self.operation
        what = reversal.reversal_id if reversal is not None else TRANSFER
        again = to or (TransferStatus.REVERSAL_PENDING if self.paid else TransferStatus.FAILED)
        self.record(
            facts.Reopened(
                **self.next(now),
                to=again.value,
                actor=actor,
                reason=reason,
                next_retry_at=now,
                epoch=operation.epoch if operation is not None and operation.what == what else 1,
                reversal_id=reversal.reversal_id if reversal is not None else None,
                amount=reversal.amount if reversal is not None else self.amount,
            )
        )

    def backfill(self, stripe_transfer_id: str, actor: str, evidence: str, now: datetime) -> None:
        """Record the Stripe id of a paid transfer that has none. Raises ContentDiffers when it has another."""
        if self.stripe_transfer_id not in (None, stripe_transfer_id):
            raise ContentDiffers("transfer", str(self.id), ["stripe_transfer_id"])
        if self.stripe_transfer_id is None:
            self.record(
                facts.StripeTransferIdBackfilled(
                    **self.next(now), stripe_transfer_id=stripe_transfer_id, actor=actor, evidence=evidence
                )
            )


def to_settle(transfer: SellerTransfer, reduced: Mapping[str, int]) -> list[str]:
    """What an outcome has left to settle: causes that vanished during its call, and reductions since `reduced` that did not
    happen after all."""
    return [*causes_vanished(transfer), *transfer.undone_since(reduced)]


def causes_vanished(transfer: SellerTransfer) -> list[str]:
    """The refunds that were gone when a reversal for them had its outcome."""
    operation = transfer.operation
    still_open = operation.what if operation is not None and operation.open else None
    contested = [c for c in transfer.reversals.values() if c.contested and c.state is not ReversalStatus.WITHDRAWN]
    return [reversal.refund_id for reversal in contested if reversal.refund_id and reversal.reversal_id != still_open]
