"""The use cases: orders, payments, refunds, and an operator's retry. Each is decided purely and appended in one piece.

A lost race is reloaded and decided again (`deciding`); nothing here has a side effect that could be repeated.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from uuid import UUID

from application.backfill import matching
from application.command_handler import LOOK_UP_FIRST_STREAM, NO_EXTRAS, CommandHandler
from application.commands import disputes, refunds
from application.commands.disputes import DisputeReport
from application.commands.refunds import Recorded, RefundReport, RefundRequest
from application.ports import Clock, Directory, EventLog
from application.reconciliation import decisions
from application.unit_of_work import CommitExtras, UnitOfWork, recover_again
from domain.dispute import DisputePolicy
from domain.errors import ContentDiffers, UnknownId
from domain.finding import DecidedBy, Difference
from domain.identity import dispute_stream, finding_stream, order_stream, pause_stream, refund_stream
from domain.order.aggregate import Order
from domain.order.recovery import doubt, pay_sellers, require_fit
from domain.order.state import Share
from domain.pause import Pause, scopes_within
from domain.provider_call.psp_objects import name_at_psp
from domain.provider_call.request_body import PaymentBody
from domain.provider_call.stripe_objects import TransferAtStripe
from domain.seller_transfer import manual_resolution
from domain.seller_transfer.aggregate import SellerTransfer


def subject_of_order(order_id: str) -> str:
    """What a webhook waits for whose order is not known yet."""
    return f"order:{order_id}"


def subject_of_payment(payment_id: str) -> str:
    """What a webhook waits for that names its order only by the payment."""
    return f"payment:{payment_id}"


class TransferLedger:
    """What the ledger can be asked to do. Every method is safe to repeat, and raises Conflict only after many lost races."""

    def __init__(self, ledger: EventLog, directory: Directory, clock: Clock) -> None:
        self._ledger, self._directory = ledger, directory
        self._handler = CommandHandler(ledger, clock)

    async def register_order(
        self,
        *,
        order_id: str,
        currency: str,
        amount: int,
        shares: Sequence[Share],
        payment_id: str | None = None,
        source_transaction: str | None = None,
    ) -> bool:
        """Record an order; answers whether it is new. Raises ContentDiffers, ImportDiffers, ExceedsOrder, Refused."""

        def decide(uow: UnitOfWork, now: datetime) -> bool:
            try:
                known = uow.order(order_id)
            except UnknownId:
                order = Order.register(
                    order_id=order_id,
                    currency=currency,
                    amount=amount,
                    shares=list(shares),
                    payment_id=payment_id,
                    source_transaction=source_transaction,
                    now=now,
                )
                require_fit(order, uow.transfers())
                uow.add([order])
                return True
            known.agree(currency, amount, shares, payment_id, source_transaction)
            return False

        payments = [subject_of_payment(name) for name in (payment_id, source_transaction) if name]
        released = [subject_of_order(order_id), *payments]
        return await self._handler.handle(lambda: self._before_paid(order_id), decide, CommitExtras(released=released))

    async def record_payment(
        self,
        order_id: str,
        payment_id: str | None,
        source_transaction: str | None,
        source: str,
        extras: CommitExtras = NO_EXTRAS,
        expected: tuple[int, str] | None = None,
    ) -> bool:
        """The buyer has paid: the sellers' transfers are created. Answers whether that is news.

        `expected` is the amount and currency that were received: a payment counts only if they are the order's.
        Raises UnknownId, ContentDiffers when another payment, or another amount, has paid the order, and ImportDiffers.
        """

        def decide(uow: UnitOfWork, now: datetime) -> bool:
            order = uow.order(order_id)
            if expected is not None and expected != (order.amount, order.currency):
                raise ContentDiffers("order", order_id, ["amount or currency than the payment received"])
            news = order.pay(payment_id, source_transaction, source, now)
            if news:
                uow.add(pay_sellers(order, now, uow.transfers()))
            return news

        payments = [subject_of_payment(name) for name in (payment_id, source_transaction) if name]
        released = [subject_of_order(order_id), *payments]
        return await self._handler.handle(lambda: self._before_paid(order_id), decide, extras._replace(released=released))

    async def is_paid(self, order_id: str) -> bool:
        """Whether the order's payment is recorded as succeeded. Raises UnknownId."""
        return (await self._order(order_id)).order(order_id).paid

    async def payment_of(self, order_id: str) -> str | None:
        """The payment that the order names, or that has paid it. Raises UnknownId."""
        return (await self._order(order_id)).order(order_id).payment_id

    async def payment_failed(self, order_id: str, payment_id: str, detail: str, source: str, extras: CommitExtras) -> bool:
        """The payment of a paid order is said to have failed: what is unsent of it is held back. Answers whether that is news.

        See `SellerTransfer.hold_back`. Raises UnknownId.
        """
        return await self._handler.handle(
            lambda: self._handler.order_with(order_id),
            lambda uow, now: doubt(uow.order(order_id), uow.transfers(), payment_id, source, detail, now),
            extras,
        )

    async def refund_succeeded(self, report: RefundReport, extras: CommitExtras = NO_EXTRAS) -> Recorded:
        """See `refunds.succeeded`."""
        return await self._on_refund(report, refunds.succeeded, extras)

    async def refund_succeeded_after_all(self, report: RefundReport, extras: CommitExtras = NO_EXTRAS) -> Recorded:
        """See `refunds.succeeded_after_all`."""
        return await self._on_refund(report, refunds.succeeded_after_all, extras)

    async def refund_failed(self, report: RefundReport, extras: CommitExtras = NO_EXTRAS) -> Recorded:
        """See `refunds.failed`."""
        return await self._on_refund(report, refunds.failed, extras)

    async def refund_failed_after_all(self, report: RefundReport, extras: CommitExtras = NO_EXTRAS) -> Recorded:
        """See `refunds.failed_after_all`."""
        return await self._on_refund(report, refunds.failed_after_all, extras)

    async def refund_under_review(self, report: RefundReport, extras: CommitExtras = NO_EXTRAS) -> Recorded:
        """See `refunds.under_review`."""
        return await self._on_refund(report, refunds.under_review, extras)

    async def dispute(self, report: DisputeReport, policy: DisputePolicy, extras: CommitExtras = NO_EXTRAS) -> bool:
        """See `disputes.heard`."""
        return await self._handler.handle(
            lambda: self._handler.order_with(report.order_id, dispute_stream(report.provider, report.dispute_id)),
            lambda uow, now: disputes.heard(uow, report, policy, now),
            extras,
        )

    async def settle_refund(self, wish: RefundRequest) -> Recorded:
        """See `refunds.recover_sharesd`."""
        return await self._on_wish(wish, refunds.settled)

    async def request_refund(self, wish: RefundRequest) -> Recorded:
        """See `refunds.requested`."""
        return await self._on_wish(wish, refunds.requested)

    async def request_payment(self, order_id: str) -> PaymentBody:
        """The payment is about to be asked of the PSP, under exactly this body. Raises UnknownId, Refused."""
        released = [subject_of_payment(name_at_psp(order_id))]
        return await self._handler.handle(
            lambda: self._order(order_id),
            lambda uow, now: uow.order(order_id).request_payment(now),
            CommitExtras(released=released),
        )

    async def retry(self, transfer_id: UUID, actor: str, reason: str) -> None:
        """Try now what is due now. Raises UnknownId, CallInFlight, NothingToRetry."""
        await self._handler.handle(
            lambda: self._ledger.load([transfer_id]),
            lambda uow, now: uow.transfer(transfer_id).retry(actor, reason, now),
            NO_EXTRAS,
        )

    async def resolve(
        self, transfer_id: UUID, actor: str, reason: str, evidence: str, seen: TransferAtStripe | None = None
    ) -> None:
        """A person ends what is stuck; `seen` is what Stripe shows where the evidence is an object of Stripe's.

        Raises UnknownId, CallInFlight, NothingToResolve, EvidenceDiffers.
        """

        def decide(uow: UnitOfWork, now: datetime) -> None:
            transfer = uow.transfer(transfer_id)
            reduced = dict(transfer.reductions)
            if seen is None:
                manual_resolution.resolve(transfer, actor, reason, evidence, now)
            elif evidence == seen.stripe_transfer_id:
                manual_resolution.resolve_by_transfer(transfer, seen, actor, reason, now)
            else:
                manual_resolution.resolve_by_reversal(transfer, seen, evidence, actor, reason, now)
            for cause_id in transfer.undone_since(reduced):
                recover_again(uow, uow.order(transfer.order_id), cause_id, now)

        await self._handler.handle(lambda: self._handler.around(transfer_id), decide, NO_EXTRAS)

    async def adopt(self, transfer_id: UUID, seen: TransferAtStripe, finding_id: str, by: DecidedBy) -> None:
        """Take in what a reconciliation found; `seen` is what Stripe shows now. See `findings.adopt`."""
        await self._handler.handle(
            lambda: self._handler.around(transfer_id, finding_stream(finding_id)),
            lambda uow, now: decisions.adopt(uow, transfer_id, seen, finding_id, by, now),
            NO_EXTRAS,
        )

    async def ignore(self, difference: Difference, by: DecidedBy) -> bool:
        """Let a difference stand; answers whether that is news. See `domain.finding`."""
        return await self._handler.handle(
            lambda: self._ledger.load([finding_stream(difference.id)]),
            lambda uow, now: decisions.ignore(uow, difference, by, now),
            NO_EXTRAS,
        )

    async def backfill(self, transfer_id: UUID, stripe_transfer_id: str, actor: str, evidence: str) -> None:
        """Record by which transfer at Stripe ours is paid, see `backfilling.record`. Raises ConstraintBroken when it is taken."""
        await self._handler.handle(
            lambda: self._ledger.load([transfer_id]),
            lambda uow, now: matching.record(uow.transfer(transfer_id), stripe_transfer_id, actor, evidence, now),
            NO_EXTRAS,
        )

    async def transfer(self, transfer_id: UUID) -> SellerTransfer:
        """The transfer as it is now. Raises UnknownId."""
        return (await self._ledger.load([transfer_id])).transfer(transfer_id)

    async def is_claimed(self, seen: TransferAtStripe) -> bool:
        """Whether what Stripe shows belongs to a transfer of ours."""
        return bool(await self._directory.claimed([seen]))

    async def pause(self, scope: str, actor: str, reason: str, lost_since: datetime | None = None) -> bool:
        """Nothing of this scope is sent from now on; answers whether that is news. See `domain.pause`."""

        def decide(uow: UnitOfWork, now: datetime) -> bool:
            pause = uow.pause(scope)
            if pause is None:
                pause = Pause.install(scope, now)
                uow.add([pause])
            return pause.pause(actor, reason, now, lost_since)

        return await self._handler.handle(lambda: self._ledger.load([pause_stream(scope)]), decide, NO_EXTRAS)

    async def resume(self, scope: str, actor: str, reason: str) -> bool:
        """What is due of this scope goes on, see `pause.scopes_within`; answers whether it was paused."""
        scopes = scopes_within(scope)

        def decide(uow: UnitOfWork, now: datetime) -> bool:
            switches = [pause for pause in map(uow.pause, scopes) if pause is not None]
            resumed = [pause.resume(actor, reason, now) for pause in switches]
            return any(resumed)

        return await self._handler.handle(lambda: self._ledger.load([*map(pause_stream, scopes)]), decide, NO_EXTRAS)

    async def _on_wish(self, wish: RefundRequest, decide: Callable[[UnitOfWork, RefundRequest, datetime], Recorded]) -> Recorded:
        return await self._handler.handle(
            lambda: self._whole_order(wish.order_id, wish.refund_id, wish.psp_refund_id),
            lambda uow, now: decide(uow, wish, now),
            NO_EXTRAS,
        )

    async def _on_refund(
        self,
        report: RefundReport,
        decide: Callable[[UnitOfWork, RefundReport, datetime], Recorded],
        extras: CommitExtras,
    ) -> Recorded:
        return await self._handler.handle(
            lambda: self._whole_order(report.order_id, report.name),
            lambda uow, now: decide(uow, report, now),
            extras,
        )

    async def _named(self, *names: str | None) -> UUID:
        """The stream of a refund under any of its names, or the one it gets under the first."""
        given = [name for name in names if name is not None]
        for name in given:
            known = await self._directory.refund_named(name)
            if known is not None:
                return known
        return refund_stream(given[0])

    async def _order(self, order_id: str) -> UnitOfWork:
        return await self._ledger.load([order_stream(order_id), LOOK_UP_FIRST_STREAM])

    async def _before_paid(self, order_id: str) -> UnitOfWork:
        """The order, and, while it is not paid, what an older system has made for it."""
        uow = await self._order(order_id)
        order = uow.known_order(order_id)
        if order is None or not order.paid:
            uow.merge(await self._ledger.load(await self._directory.transfers_of(order_id)))
        return uow

    async def _whole_order(self, order_id: str, *refund: str | None) -> UnitOfWork:
        """The order, its transfers, and the refund under any of these names."""
        return await self._handler.order_with(order_id, await self._named(*refund))
