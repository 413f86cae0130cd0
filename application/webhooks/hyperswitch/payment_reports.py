"""Reports of Hyperswitch's payments that pay no seller: a part was captured, another amount than
recorded, or a payment was cancelled after its capture."""

from application.commands import Commands
from application.commands.subjects import subject_of_order
from application.gateways import PaymentGateway
from application.webhooks.handler import (
    DONE,
    Ignored,
    StoredEvent,
    WebhookAlarm,
    WebhookResult,
    result_of,
)
from application.webhooks.hyperswitch.events import PaymentContent
from application.webhooks.order_of_event import payment_at_psp
from domain.currency import in_major_units
from domain.errors import CollectedDiffers, PaymentVoided
from domain.order.aggregate import Order
from domain.order.collected import require_not_voided
from domain.order.state import UncountedPayment
from domain.provider_call.outcome import Failure
from domain.provider_call.payment_status import STATUSES, Collected
from domain.provider_call.psp_objects import PaymentAtPsp


class PaymentReports:
    """Decides about reports of payments that do not pay their order."""

    def __init__(self, commands: Commands, psp: PaymentGateway | None) -> None:
        self._commands, self._psp = commands, psp

    async def differs(
        self, event: StoredEvent, payment: PaymentContent, order_id: str, refused: CollectedDiffers
    ) -> WebhookResult:
        """Park a report of another collected amount with an alarm, unless it is old.

        It is old if it had come before the order was paid, or if the PSP, asked now, shows the
        recorded amount.
        """
        order = await self._commands.orders.order(order_id)
        report = _report(payment)
        if _voided(order, payment.payment_id):
            return Ignored("an old report: the payment was cancelled after its capture")
        if not order.paid:
            await self._commands.orders.leave_uncounted(order_id, report, event.source)
        elif report in order.not_counted:
            return Ignored("an old report: the order was paid after it")
        elif _shows_recorded(await payment_at_psp(self._psp, payment.payment_id), order):
            return Ignored("the payment provider was asked, and shows the recorded amount")
        return result_of(refused, order_id, WebhookAlarm.PAYMENT_DISAGREES)

    async def unclear(
        self, event: StoredEvent, payment: PaymentContent, order_id: str
    ) -> WebhookResult:
        """Park a report after which it is unclear how much will be collected."""
        order = await self._commands.orders.order(order_id)
        received = "an unknown amount"
        if payment.amount_received is not None:
            received = f"{payment.amount_received} {payment.currency.upper()}"
        refused = CollectedDiffers(
            order_id,
            payment.payment_id,
            received=f"{received} with the status {payment.status!r}",
            ordered=f"{order.amount} {order.currency}",
        )
        return await self.differs(event, payment, order_id, refused)

    async def voided(
        self, event: StoredEvent, payment: PaymentContent, order_id: str
    ) -> WebhookResult:
        """Hold back the transfers of an order whose payment was cancelled after its capture. An
        unpaid order remembers it, since the report of its success may come later."""
        orders = self._commands.orders
        order = await orders.order(order_id)
        if order.payment_id not in (None, payment.payment_id):
            return paid_by_another(order)
        if not order.paid:
            voided = _report(payment, "cancelled_post_capture")
            # a partial capture that was parked before is old now
            released = event.done._replace(released=[subject_of_order(order_id)])
            await orders.leave_uncounted(order_id, voided, event.source, released)
            return DONE
        detail = (
            f"The payment {payment.payment_id!r} of order {order_id!r}, which had received "
            f"{in_major_units(order.collected, order.currency)}, was cancelled after its capture: "
            "the buyer has his money back without a refund"
        )
        await orders.record_payment_failure(
            order_id,
            payment.payment_id,
            detail,
            event.source,
            event.done,
            status="cancelled_post_capture",
        )
        return DONE

    async def surcharge(self, payment: PaymentContent, order_id: str) -> WebhookResult:
        """Park a report of a surcharge that was collected by itself: the ledger does not know
        whether it is a part of what the order has recorded."""
        order = await self._commands.orders.order(order_id)
        amount = payment.amount if payment.amount_received is None else payment.amount_received
        recorded = f"{order.collected} {order.currency}" if order.paid else None
        refused = CollectedDiffers(
            order_id,
            payment.payment_id,
            received=f"a surcharge of {amount} {payment.currency.upper()}",
            ordered=f"{order.amount} {order.currency}",
            recorded=recorded,
        )
        return result_of(refused, order_id, WebhookAlarm.PAYMENT_DISAGREES)


def paid_by_another(order: Order) -> Ignored:
    """Return the result of a report that ends another payment than the one of the order."""
    return Ignored(f"order {order.order_id!r} was paid by another payment, {order.payment_id!r}")


def _voided(order: Order, payment_id: str) -> bool:
    try:
        require_not_voided(order, payment_id)
    except PaymentVoided:
        return True
    return False


def _report(payment: PaymentContent, status: str | None = None) -> UncountedPayment:
    return UncountedPayment(
        payment.payment_id,
        status or payment.status,
        payment.amount_received,
        payment.currency.upper(),
    )


def _shows_recorded(seen: PaymentAtPsp | Failure | None, order: Order) -> bool:
    return (
        isinstance(seen, PaymentAtPsp)
        and order.payment_id in (None, seen.payment_id)
        and STATUSES.get(seen.status) is Collected.RECEIVED
        and (seen.amount_received, seen.currency) == (order.collected, order.currency)
    )
