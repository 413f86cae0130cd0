"""What Hyperswitch's webhooks mean for the ledger: payments and refunds of buyers."""

from collections.abc import Awaitable, Callable, Mapping

import structlog

from application.book import Along
from application.hyperswitch_events import PAYMENT_EVENT, REFUND_EVENT, Payment, Refund
from application.ledger import TransferLedger, subject_of_order, subject_of_payment
from application.ports import Directory
from application.refunds import Recorded, RefundReport
from application.webhooks import DONE, Disposition, Ignored, Parked, Reaction, StoredEvent, marked, source
from domain.authority import STRIPE
from domain.errors import BadMoney, ContentDiffers, Contradiction, UnknownId
from domain.money import currency

log = structlog.get_logger()


class HyperswitchReactions:
    """Finds out what an event means, and has the ledger do it."""

    def __init__(self, ledger: TransferLedger, directory: Directory) -> None:
        self._ledger, self._directory = ledger, directory

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
        payment = PAYMENT_EVENT.validate_json(event.body).content.object
        order_id = await self._order_of_payment(payment)
        if order_id is not None and await self._ledger.is_paid(order_id):
            reason = f"the payment of order {order_id!r} is reported as failed, but was recorded as succeeded"
            return Parked(subject_of_order(order_id), reason, "payment_failed_after_paid")
        return Ignored("a failed payment pays nobody")

    async def _order_of_payment(self, payment: Payment) -> str | None:
        named = [order_id for order_id in payment.named_orders if await self._directory.knows_order(order_id)]
        return _first(payment.payment_id, *named, await self._sole_order(payment.payment_id))

    async def _sole_order(self, payment_id: str) -> str | None:
        orders = await self._directory.orders_paid_by(payment_id)
        return orders[0] if len(orders) == 1 else None

    # --- refunds ----------------------------------------------------------------------------------------------------

    async def _refund_succeeded(self, event: StoredEvent) -> Disposition:
        return await self._refund(event, self._ledger.refund_succeeded)

    async def _refund_failed(self, event: StoredEvent) -> Disposition:
        return await self._refund(event, self._ledger.refund_failed)

    async def _refund_review(self, event: StoredEvent) -> Disposition:
        return await self._refund(event, self._ledger.refund_under_review)

    async def _refund(self, event: StoredEvent, record: Callable[[RefundReport, Along], Awaitable[Recorded]]) -> Disposition:
        refund = REFUND_EVENT.validate_json(event.body).content.object
        order_id = await self._order_of_refund(refund)
        if order_id is None:
            return _unknown_order(refund.named_order, refund.payment_id)
        if await self._of_another(order_id, refund):
            return Ignored(f"not the authority: another provider took the payment of order {order_id!r}")
        try:
            await record(_report(event, refund, order_id), marked(event))
        except (ContentDiffers, Contradiction, BadMoney) as refused:
            return Parked(subject_of_order(order_id), str(refused), "refund_disagrees")
        except UnknownId:
            return _unknown_order(order_id, refund.payment_id)
        return DONE

    async def _of_another(self, order_id: str, refund: Refund) -> bool:
        """Whether Stripe speaks for the order, and nobody here has asked for this refund: Stripe tells of it by itself."""
        asked_here = await self._directory.order_of_refund(refund.refund_id) is not None
        return not asked_here and await self._ledger.authority(order_id) == STRIPE

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


def _report(event: StoredEvent, refund: Refund, order_id: str) -> RefundReport:
    return RefundReport(
        name=refund.refund_id,
        order_id=order_id,
        amount=refund.amount,
        currency=currency(refund.currency),
        source=source(event),
        detail=refund.error_message,
    )


def _unknown_order(order_id: str | None, payment_id: str) -> Parked:
    subject = subject_of_order(order_id) if order_id else subject_of_payment(payment_id)
    return Parked(subject, f"there is no {subject} yet")
