"""What Hyperswitch's webhooks mean for the ledger: payments and refunds of buyers."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import structlog

from application.commands.orders import TransferLedger, subject_of_order, subject_of_payment
from application.commands.psp_word import ASKED, report_of
from application.commands.refunds import Recorded, RefundReport
from application.gateways import PaymentGateway
from application.ports import Directory
from application.unit_of_work import CommitExtras
from application.webhooks.handler import DONE, Disposition, Ignored, Parked, Reaction, StoredEvent, marked, source
from application.webhooks.hyperswitch.events import PAYMENT_EVENT, REFUND_EVENT, Payment, Refund
from domain.errors import BadMoney, ContentDiffers, Contradiction, NotTheAuthority, UnknownId
from domain.money import currency
from domain.order.authority import HYPERSWITCH
from domain.provider_call.outcome import Failure, Unknown
from domain.provider_call.psp_objects import PaymentAtPsp, RefundAtPsp

ASKED_WITHIN = 5.0
"""Seconds; an event is leased for ten."""

log = structlog.get_logger()


class HyperswitchReactions:
    """Finds out what an event means, and has the ledger do it."""

    def __init__(self, ledger: TransferLedger, directory: Directory, psp: PaymentGateway | None = None) -> None:
        """`psp` is asked where an event contradicts what is recorded as final. Without it a refund's failure after success is
        taken at its word, a success after failure is parked, and what is unsent of a failed payment's order is held back."""
        self._ledger, self._directory, self._psp = ledger, directory, psp

    def by_type(self) -> Mapping[str, Reaction]:
        """The reactions by event type."""
        return {
            "payment_succeeded": self._payment_succeeded,
            "payment_failed": self._payment_failed,
            "refund_succeeded": self._refund_succeeded,
            "refund_failed": self._refund_failed,
            "refund_review": self._refund_review,
        }

    # --- payments ---------------------------------------------------------------------------------------------------

    async def _payment_succeeded(self, event: StoredEvent) -> Disposition:
        payment = PAYMENT_EVENT.validate_json(event.body).content.object
        order_id = await self._order_of_payment(payment)
        if order_id is None:
            return _unknown_order(next(iter(payment.named_orders), None), payment.payment_id)
        received = payment.amount if payment.amount_received is None else payment.amount_received
        try:
            await self._ledger.record_payment(
                order_id,
                payment.payment_id,
                None,
                source(event),
                marked(event),
                expected=(received, currency(payment.currency)),
            )
        except (ContentDiffers, BadMoney) as refused:
            return Parked(subject_of_order(order_id), str(refused), "payment_disagrees")
        return DONE

    async def _payment_failed(self, event: StoredEvent) -> Disposition:
        """Of a paid order it is an old story, or nothing more must be sent: the PSP is asked which."""
        payment = PAYMENT_EVENT.validate_json(event.body).content.object
        order_id = await self._order_of_payment(payment)
        if order_id is None or not await self._ledger.is_paid(order_id):
            return Ignored("a failed payment pays nobody")
        paid_by = await self._ledger.payment_of(order_id)
        if paid_by not in (None, payment.payment_id):
            return Ignored(f"order {order_id!r} was paid by another payment, {paid_by!r}")
        seen = await self._asked_payment(payment.payment_id)
        if isinstance(seen, PaymentAtPsp) and seen.status == "succeeded":
            return Ignored(f"the payment provider was asked, and payment {payment.payment_id!r} has succeeded")
        detail = (
            f"The payment {payment.payment_id!r} of order {order_id!r} was recorded as succeeded, and is now reported as failed; "
            f"the payment provider {_shown(seen)}"
        )
        await self._ledger.payment_failed(order_id, payment.payment_id, detail, source(event), marked(event))
        return DONE

    async def _asked_payment(self, payment_id: str) -> PaymentAtPsp | Failure | None:
        try:
            async with asyncio.timeout(ASKED_WITHIN):
                return await self._psp.payment(payment_id) if self._psp is not None else None
        except (TimeoutError, ValueError):  # not in time, or a name that it cannot have
            return None

    async def _order_of_payment(self, payment: Payment) -> str | None:
        named = [order_id for order_id in payment.named_orders if await self._directory.knows_order(order_id)]
        return _first(payment.payment_id, *named, await self._sole_order(payment.payment_id))

    async def _sole_order(self, payment_id: str) -> str | None:
        orders = await self._directory.orders_paid_by(payment_id)
        return orders[0] if len(orders) == 1 else None

    # --- refunds ----------------------------------------------------------------------------------------------------

    async def _refund_succeeded(self, event: StoredEvent) -> Disposition:
        return await self._refund(event, self._refund_has_succeeded)

    async def _refund_failed(self, event: StoredEvent) -> Disposition:
        return await self._refund(event, self._refund_has_failed)

    async def _refund_has_failed(self, report: RefundReport, extras: CommitExtras) -> Recorded:
        """Banks do refuse days later; but an old event that comes late must not undo what was corrected since.

        Raises Contradiction while the PSP cannot be asked, or does not decide which it is: what is given back is gone.
        """
        try:
            return await self._ledger.refund_failed(report, extras)
        except Contradiction:
            seen = await self._asked(report.name)
            if seen is not None and not (isinstance(seen, RefundAtPsp) and seen.status in ("succeeded", "failed")):
                raise
        if isinstance(seen, RefundAtPsp) and seen.status == "succeeded":
            return await self._ledger.refund_succeeded_after_all(report_of(seen, report.order_id, ASKED), extras)
        return await self._ledger.refund_failed_after_all(report, extras)

    async def _refund_has_succeeded(self, report: RefundReport, extras: CommitExtras) -> Recorded:
        """Raises Contradiction where it is recorded as failed, and the PSP cannot be asked or has not decided."""
        try:
            return await self._ledger.refund_succeeded(report, extras)
        except Contradiction:
            seen = await self._asked(report.name)
            if not isinstance(seen, RefundAtPsp) or seen.status not in ("succeeded", "failed"):
                raise
        word = report_of(seen, report.order_id, ASKED)
        if seen.status == "failed":
            return await self._ledger.refund_failed(word, extras)
        return await self._ledger.refund_succeeded_after_all(word, extras)

    async def _asked(self, name: str) -> RefundAtPsp | Failure | None:
        try:
            async with asyncio.timeout(ASKED_WITHIN):
                return await self._psp.refund(name) if self._psp is not None else None
        except TimeoutError:
            return Unknown("timeout", f"The payment provider did not answer within {ASKED_WITHIN:.0f} s.")
        except ValueError:  # a name that it cannot have
            return None

    async def _refund_review(self, event: StoredEvent) -> Disposition:
        return await self._refund(event, self._ledger.refund_under_review)

    async def _refund(
        self, event: StoredEvent, record: Callable[[RefundReport, CommitExtras], Awaitable[Recorded]]
    ) -> Disposition:
        refund = REFUND_EVENT.validate_json(event.body).content.object
        order_id = await self._order_of_refund(refund)
        if order_id is None:
            return _unknown_order(refund.named_order, refund.payment_id)
        try:
            await record(_report(event, refund, order_id), marked(event))
        except NotTheAuthority as refused:
            return Ignored(str(refused))
        except (ContentDiffers, Contradiction, BadMoney) as refused:
            return Parked(subject_of_order(order_id), str(refused), "refund_disagrees")
        except UnknownId:
            return _unknown_order(order_id, refund.payment_id)
        return DONE

    async def _order_of_refund(self, refund: Refund) -> str | None:
        known, named = await self._directory.order_of_refund(refund.refund_id), refund.named_order
        named = named if named is not None and await self._directory.knows_order(named) else None
        return _first(refund.refund_id, known, named, await self._sole_order(refund.payment_id))


def _first(subject: str, *known: str | None) -> str | None:
    """The first order that is known by any of the names; names that lead to different orders are worth a line."""
    found = [order_id for order_id in known if order_id is not None]
    if len(set(found)) > 1:
        log.warning("an event names several orders, the first one counts", subject=subject, orders=found)
    return found[0] if found else None


def _shown(seen: PaymentAtPsp | Failure | None) -> str:
    return f"shows it as {seen.status!r}" if isinstance(seen, PaymentAtPsp) else "could not tell"


def _report(event: StoredEvent, refund: Refund, order_id: str) -> RefundReport:
    return RefundReport(
        name=refund.refund_id,
        order_id=order_id,
        amount=refund.amount,
        currency=currency(refund.currency),
        source=source(event),
        detail=refund.error_message,
        provider=HYPERSWITCH,
    )


def _unknown_order(order_id: str | None, payment_id: str) -> Parked:
    subject = subject_of_order(order_id) if order_id else subject_of_payment(payment_id)
    return Parked(subject, f"there is no {subject} yet")
