"""Aggregate of a seller transfer: the money to one seller for one cause, and all its reversals.

It has the commands of refunds, operators and the payment hold. `transfer_outcome`,
`reversal_outcome` and `external_reversals` record the answers of Stripe; `domain.order.recovery`
decides how much the refunds of an order take from each transfer.

The payment hold keeps back unsent transfers after a report that a payment, recorded as succeeded,
has failed. It ends by `retry` or `resolve`. Refunds go on meanwhile: they reduce or cancel a
transfer that is held back.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Unpack

from domain.errors import CallInFlight, ContentDiffers, IllegalTransition, NothingToRetry
from domain.fact import Fact, opened
from domain.identity import SALE, reversal_name, transfer_stream
from domain.lifecycle import TransferStatus, can_transition, operator_may
from domain.provider_call.operation import TRANSFER, Deferral, Operation
from domain.provider_call.reasons import FailureReason, WaitingFor
from domain.seller_transfer import facts
from domain.seller_transfer.giving_up import stop
from domain.seller_transfer.reversal import Reversal, ReversalStatus, reason_of
from domain.seller_transfer.state import NOT_RECORDED, UNSENT, TransferState

TOPIC = "ledger.seller_transfer"


class SellerTransfer(TransferState, topic=TOPIC, opening=facts.Created):
    """One transfer. Amounts are in minor units of `currency`, times in UTC."""

    @classmethod
    def create(
        cls,
        *,
        now: datetime,
        awaits_charge: bool = False,
        **opening: Unpack[facts.TransferOpening],
    ) -> "SellerTransfer":
        """Open a transfer that is due at once, or as soon as the charge of its order is known. Its
        id follows from order, seller and cause."""
        order_id = opening["order_id"]
        fact = facts.Created(
            originator_id=transfer_stream(
                order_id, opening["seller_id"], opening.get("cause", SALE)
            ),
            originator_version=1,
            originator_topic=TOPIC,
            timestamp=now,
            transfer_group=order_id,
            next_retry_at=None if awaits_charge else now,
            waiting_for=WaitingFor.CHARGE.value if awaits_charge else None,
            **opening,
        )
        return opened(cls, fact)

    def check(self, fact: Fact) -> None:
        """Refuse a fact that the life cycle does not allow. Raises IllegalTransition."""
        after = fact.leads_to if isinstance(fact, facts.TransferFact) else None
        if after is not None and not self._may_enter(after, fact):
            raise IllegalTransition(self.id, self.status, after, type(fact).__name__)

    def _may_enter(self, after: TransferStatus, fact: Fact) -> bool:
        by_actor = isinstance(fact, facts.Reopened) and operator_may(self.status, after)
        return by_actor or can_transition(self.status, after)

    # --- deferrals and the payment hold -----------------------------------------------------------

    def defer(self, deferral: Deferral, now: datetime) -> None:
        """Record that the running operation goes on later."""
        operation = self.operation
        assert operation is not None
        self.record(
            facts.AttemptDeferred(
                **self.next(now),
                what=operation.what,
                why=deferral.why,
                detail=deferral.detail,
                retry_count=deferral.retry_count,
                next_retry_at=deferral.next_retry_at,
                epoch=deferral.epoch,
                open=deferral.open,
                exhausted=deferral.exhausted,
                look_first=deferral.look_first,
                hindered=deferral.hindered,
                lost=deferral.lost,
                waiting_for=deferral.waiting_for,
                awaiting_since=deferral.awaiting_since,
                hindered_since=deferral.hindered_since,
                given_back=deferral.given_back,
                request_id=deferral.request_id,
            )
        )
        self.stay_held(now)

    def hold_back(self, why: str, now: datetime) -> None:
        """Take an unsent transfer out of the work queue; for an open call, its outcome is first
        looked up at Stripe."""
        if self.operation is not None and self.status in UNSENT:
            self._hold_back(self.operation, why, now)

    def stay_held(self, now: datetime) -> None:
        """Hold the transfer back again after a step that has not paid it, once nothing can be at
        Stripe."""
        if self.held is not None and self.operation is not None and not self.operation.open:
            self._hold_back(self.operation, self.held, now)

    def _hold_back(self, operation: Operation, why: str, now: datetime) -> None:
        due = self.next_retry_at if operation.open else None
        self.record(facts.HeldBack(**self.next(now), why=why, next_retry_at=due))
        self.forgo_queue(now)

    # --- refunds ----------------------------------------------------------------------------------

    def take_back(self, refund_id: str, amount: int, now: datetime) -> None:
        """Take `amount` back for a refund: by sending less, or by a reversal, now or later. Raises
        ValueError beyond `room`."""
        if not 0 < amount <= self.room:
            raise ValueError(
                f"{amount} is to be taken back from transfer {self.id}, which has room for "
                f"{self.room}."
            )
        if self.unsent and not self.unverified:
            self._reduce(refund_id, amount, now)
            return
        amount += self._withdraw_unsent(refund_id, now)
        if self.status in (TransferStatus.COMPLETED, TransferStatus.PARTIALLY_REVERSED):
            self.record(self._requested(self._reversal_id(refund_id), refund_id, amount, now))
        else:
            self._enqueue(refund_id, amount, now)

    def _withdraw_unsent(self, refund_id: str, now: datetime) -> int:
        """Withdraw a reversal for the same refund of which nothing was sent, and return its amount:
        one reversal takes both. (A pending reversal of a failed refund covers a part of the next
        refund, until Stripe cancels it.)"""
        operation = self.operation
        for reversal in list(self.reversals.values()):
            running = reversal.state is ReversalStatus.REQUESTED
            unsent = operation is not None and operation.key_may_be_used_since is None
            waits = (running and unsent) or reversal.state is ReversalStatus.QUEUED
            if waits and reversal.refund_id == refund_id and not self.is_open(reversal):
                self._withdraw(reversal, refund_id, now)
                return reversal.amount
        return 0

    def _reduce(self, refund_id: str, amount: int, now: datetime) -> None:
        operation = self.operation
        if amount == self.amount and self.status is not TransferStatus.PERMANENTLY_FAILED:
            if operation is None or not operation.doubtful:
                self.record(facts.Cancelled(**self.next(now), refund_id=refund_id, by=amount))
                return
            detail = "Refunds took all of it. A call of unknown outcome may still make it."
            stop(self, FailureReason.REFUNDED, detail, None, now)
            operation = self.operation
        # a key that was used belongs to one body from then on
        epoch = 1 if operation is None else operation.epoch + (operation.epoch_began is not None)
        left = self.amount - amount
        self.record(
            facts.AmountReduced(
                **self.next(now), refund_id=refund_id, by=amount, amount=left, epoch=epoch
            )
        )

    def _reversal_id(self, refund_id: str) -> str:
        rounds = (
            str(reversal_name(self.id, refund_id, n)) for n in range(1, len(self.reversals) + 2)
        )
        return next(name for name in rounds if name not in self.reversals)

    def _requested(
        self, reversal_id: str, refund_id: str | None, amount: int, now: datetime
    ) -> facts.ReversalRequested:
        return facts.ReversalRequested(
            **self.next(now),
            reversal_id=reversal_id,
            refund_id=refund_id,
            amount=amount,
            reason=reason_of(refund_id).value,
            next_retry_at=now,
        )

    def _enqueue(self, refund_id: str, amount: int, now: datetime) -> None:
        waiting_for = {
            TransferStatus.REVERSAL_PENDING: WaitingFor.REVERSAL,
            TransferStatus.PERMANENTLY_FAILED: WaitingFor.OPERATOR,
        }
        self.record(
            facts.ReversalQueued(
                **self.next(now),
                reversal_id=self._reversal_id(refund_id),
                refund_id=refund_id,
                amount=amount,
                reason=reason_of(refund_id).value,
                waiting_for=waiting_for.get(self.status, WaitingFor.TRANSFER).value,
            )
        )

    def release_queue(self, now: datetime) -> None:
        """Request the reversal that waited longest, if the status of the transfer allows it."""
        if self.queue and self.status in (
            TransferStatus.COMPLETED,
            TransferStatus.PARTIALLY_REVERSED,
        ):
            reversal = self.queue[0]
            self.record(
                self._requested(reversal.reversal_id, reversal.refund_id, reversal.amount, now)
            )

    def forgo_queue(self, now: datetime) -> None:
        """Replace waiting reversals by reductions, since Stripe definitely refused the transfer.

        They go on waiting while a call that was begun may still arrive: it has its amount and key.
        """
        if self.operation is not None and self.operation.may_move_money:
            return
        for reversal in self.queue:
            self._withdraw(reversal, reversal.refund_id or "", now)
            self._reduce(reversal.refund_id or "", reversal.amount, now)

    def reduce_instead(self, reversal: Reversal, amount: int, now: datetime) -> None:
        """Replace a waiting reversal, or `amount` of it, by a reduction, since less was sent for
        its refund."""
        refund_id = reversal.refund_id or NOT_RECORDED
        if amount == reversal.amount:
            self._withdraw(reversal, refund_id, now)
        else:
            self._lower(reversal, reversal.amount - amount, refund_id, now)
        self._reduce(refund_id, amount, now)

    def reduce_as_sent(self, cause_id: str, amount: int, now: datetime) -> None:
        """Reduce the transfer, since Stripe shows that a lost refund had reduced it before it was
        sent."""
        if amount == self.amount:
            self.fit_queue(0, now)
        self._reduce(cause_id, amount, now)

    def explain(self, cause_id: str, by: int, now: datetime) -> None:
        """Record that a refund or dispute, which is reported now, explains an amount taken."""
        found = (
            reversal.settled
            for reversal in self.reversals.values()
            if reversal.missing and reversal.refund_id == cause_id
        )
        left = self.unexplained - by - sum(found)
        self.record(
            facts.MissingCauseReported(**self.next(now), refund_id=cause_id, by=by, left=left)
        )

    def fit_queue(self, left: int, now: datetime) -> None:
        """Lower or withdraw waiting reversals, the oldest last, since only `left` can be taken.

        Their causes are `shortened`: another transfer of the seller may have room for them.
        """
        for reversal in self.queue:
            amount = min(reversal.amount, max(left, 0))
            cause_id = reversal.refund_id or ""
            if amount == 0:
                self._withdraw(reversal, cause_id, now)
            elif amount < reversal.amount:
                self._lower(reversal, amount, cause_id, now)
            if amount < reversal.amount:
                self.shortened.add(cause_id)
            left -= amount

    def withdraw(self, reversal: Reversal, amount: int, cause_id: str, now: datetime) -> int:
        """Withdraw up to `amount` of an unsent reversal and return how much. If its call is open,
        contest it and return 0."""
        if self.is_open(reversal):
            if not reversal.contested:
                self.record(
                    facts.ReversalContested(
                        **self.next(now), reversal_id=reversal.reversal_id, cause_id=cause_id
                    )
                )
            return 0
        if reversal.amount <= amount:
            self._withdraw(reversal, cause_id, now)
            self.release_queue(now)
            return reversal.amount
        self._lower(reversal, reversal.amount - amount, cause_id, now)
        return amount

    def withdraw_absent(self, reversal: Reversal, now: datetime) -> None:
        """Withdraw the running reversal, which Stripe does not hold and for which nothing is left.
        The queue is not released."""
        self._withdraw(reversal, reversal.refund_id or "", now)

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
        sent = (
            operation is not None
            and operation.what == reversal.reversal_id
            and operation.epoch_began is not None
        )
        epoch = operation.epoch + sent if operation is not None else 1
        self.record(
            facts.ReversalReduced(
                **self.next(now),
                reversal_id=reversal.reversal_id,
                amount=amount,
                cause_id=cause_id,
                epoch=epoch,
            )
        )

    def undone_since(self, reduced: Mapping[str, int]) -> list[str]:
        """Return the refunds with smaller reductions than in `reduced`, since Stripe paid more."""
        return [
            refund_id for refund_id, by in reduced.items() if self.reductions.get(refund_id, 0) < by
        ]

    # --- operators --------------------------------------------------------------------------------

    def retry(self, actor: str, reason: str, now: datetime) -> None:
        """Make the next attempt now. Reopens `permanently_failed` and ends the payment hold.

        Raises CallInFlight while a call is under way, and NothingToRetry when no operation is due.
        """
        if self.operation is not None and self.operation.in_call:
            raise CallInFlight(self.id)
        if self.status is TransferStatus.PERMANENTLY_FAILED:
            self._reopen(actor, reason, now)
        elif self.operation is not None:
            self.record(
                facts.RetryRequested(
                    **self.next(now), actor=actor, reason=reason, next_retry_at=now
                )
            )
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
            raise NothingToRetry(
                self.id, "no refund is owed a reversal of it now; use `resolve` to end it"
            )
        self.reopen(actor, reason, now, reversal)

    @property
    def owed(self) -> Reversal | None:
        """Return the reversal that a permanently failed transfer owes: the failed one, else the
        oldest that waits."""
        live = [reversal for reversal in self.reversals.values() if reversal.live]
        stuck = (reversal for reversal in live if reversal.state is ReversalStatus.FAILED)
        return next(stuck, live[0] if live else None)

    def reopen(
        self,
        actor: str,
        reason: str,
        now: datetime,
        reversal: Reversal | None = None,
        to: TransferStatus | None = None,
    ) -> None:
        """Reopen a permanently failed transfer, or, once it is paid, this reversal of it (None: no
        reversal is owed).

        The amount due now is sent, after a look-up at Stripe.
        """
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
        """Record the missing Stripe id of a paid transfer. Raises ContentDiffers when it has
        another one."""
        if self.stripe_transfer_id not in (None, stripe_transfer_id):
            raise ContentDiffers("transfer", str(self.id), ["stripe_transfer_id"])
        if self.stripe_transfer_id is None:
            self.record(
                facts.StripeTransferIdBackfilled(
                    **self.next(now),
                    stripe_transfer_id=stripe_transfer_id,
                    actor=actor,
                    evidence=evidence,
                )
            )


def causes_to_recover(transfer: SellerTransfer, reduced: Mapping[str, int]) -> list[str]:
    """Return the causes for which shares must be recovered again after an outcome.

    These are causes that disappeared during the call, refunds with reductions that did not happen
    since `reduced`, and causes for which less was left at Stripe than was planned.
    """
    vanished, undone = causes_vanished(transfer), transfer.undone_since(reduced)
    return [*vanished, *undone, *sorted(transfer.shortened.difference(vanished, undone))]


def causes_vanished(transfer: SellerTransfer) -> list[str]:
    """Return the refunds that had disappeared when a reversal for them got its outcome."""
    operation = transfer.operation
    still_open = operation.what if operation is not None and operation.may_move_money else None
    contested = [
        c
        for c in transfer.reversals.values()
        if c.contested and c.state is not ReversalStatus.WITHDRAWN
    ]
    return [
        reversal.refund_id
        for reversal in contested
        if reversal.refund_id and reversal.reversal_id != still_open
    ]
