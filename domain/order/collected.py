"""Collected amount of an order: what its payment received, compared with what was ordered.

Refunds and disputes are divided over the collected amount. It may be more than the order's amount
(a surcharge, a tip); a payment of less, or in another currency, pays no seller.
"""

from datetime import datetime

from domain.errors import (
    AwaitsPayment,
    CollectedDiffers,
    ContentDiffers,
    PaymentVoided,
    Refused,
)
from domain.order.aggregate import Order
from domain.order.facts import AmountReceived, PaymentNotCounted
from domain.order.state import UncountedPayment
from domain.provider_call.payment_status import VOIDED


def require_collected(order: Order, payment_id: str | None, amount: int, currency: str) -> None:
    """Check that a payment that received this amount pays the order, or has paid it.

    Raises ContentDiffers when another payment has paid it; CollectedDiffers for less than was
    ordered, for another currency, and for another amount than is recorded for a paid order.
    """
    if order.paid and None not in (payment_id, order.payment_id) and payment_id != order.payment_id:
        raise ContentDiffers("order", order.order_id, ["payment_id"])
    recorded = order.amount_received
    differs = order.paid and recorded is not None and amount != recorded
    if currency != order.currency or amount < order.amount or differs:
        raise CollectedDiffers(
            order.order_id,
            payment_id,
            received=f"{amount} {currency}",
            ordered=f"{order.amount} {order.currency}",
            recorded=None if recorded is None else f"{recorded} {order.currency}",
        )


def require_not_voided(order: Order, payment_id: str | None) -> None:
    """Check that the payment was not cancelled after its capture. Raises PaymentVoided."""
    named = payment_id or order.payment_id
    if not order.paid and any(
        report.payment_id == named and report.status in VOIDED for report in order.not_counted
    ):
        raise PaymentVoided(order.order_id, named or "")


def require_covered(order: Order, refund_id: str, amount: int, currency: str) -> None:
    """Check that an unpaid order covers a refund. A payment may collect more than was ordered, and
    tells it only later. Raises AwaitsPayment."""
    left = order.collected - order.refunded
    if not order.paid and currency == order.currency and amount > left:
        raise AwaitsPayment(order.order_id, refund_id, amount, left)


def learn_collected(order: Order, amount: int, source: str, now: datetime) -> bool:
    """Record the collected amount of a paid order that was paid without one. Returns whether that
    changes the division of refunds; recover the shares then."""
    if order.amount_received is not None or amount == order.amount:
        return False
    return _record(order, amount, source, now)


def correct_collected(order: Order, amount: int, source: str, now: datetime) -> bool:
    """Record another collected amount of a paid order, as a caller states it. Returns whether that
    is new; recover the shares then. Raises Refused below the order's amount or its refunds."""
    least = max(order.amount, order.refunded)
    if amount < least:
        raise Refused(
            f"Order {order.order_id!r} cannot have received {amount} {order.currency} (minor "
            f"units): at least {least} were ordered or are refunded; leave amount_received out to "
            "pay the sellers all the same."
        )
    if amount == order.collected:
        return False
    return _record(order, amount, source, now)


def _record(order: Order, amount: int, source: str, now: datetime) -> bool:
    order.record(
        AmountReceived(
            **order.next(now),
            amount_received=amount,
            source=source,
            targets=order.targets_over(amount),
        )
    )
    return True


def leave_uncounted(order: Order, report: UncountedPayment, source: str, now: datetime) -> bool:
    """Record a payment of an unpaid order that pays no seller. Returns whether the report is new.

    Once the order is paid, a report from before is known as old.
    """
    if order.paid or report in order.not_counted:
        return False
    order.record(
        PaymentNotCounted(
            **order.next(now),
            payment_id=report.payment_id,
            status=report.status,
            amount_received=report.amount_received,
            currency=report.currency,
            source=source,
        )
    )
    return True
