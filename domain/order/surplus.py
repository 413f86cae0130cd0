"""Refunds of a surplus payment: the order turns out to have been paid by another payment.

A refund may be reported before the order's payment is known; the metadata decides then. Once the
payment is known, a refund of another one is taken back from the order, and a person is told.
"""

from datetime import datetime

from domain.order.aggregate import Order
from domain.order.facts import RefundSetAside
from domain.order.payment_match import Match, match, payments_of, shown


def revoke_surplus_refunds(order: Order, now: datetime) -> list[str]:
    """Revoke and set aside the effective refunds of another payment than the order's. Returns
    their ids."""
    known = payments_of(order)
    revoked = [
        refund_id
        for refund_id, refund in order.refunds.items()
        if refund.effective and match(known, refund.payment or {}) is Match.OTHER
    ]
    for refund_id in revoked:
        refund = order.refunds[refund_id]
        told = shown((refund.payment or {}).items())
        order.revoke_refund(refund_id, now)
        order.record(
            RefundSetAside(
                **order.next(now),
                refund_id=refund_id,
                amount=refund.amount,
                currency=order.currency,
                why=f"it is a refund of the surplus payment {told}, but "
                f"order {order.order_id!r} was paid by payment {shown(known)}",
            )
        )
    return revoked
