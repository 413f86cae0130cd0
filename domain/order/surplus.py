"""Refunds and disputes of a surplus payment: the order turns out to have been paid by another one.

A refund or dispute may be reported before the order's payment is known; the metadata decides then.
Once the payment is known, a report about another one is taken back from the order, and a person is
told.
"""

from collections.abc import Mapping
from datetime import datetime

from domain.identity import dispute_cause
from domain.order.aggregate import Order
from domain.order.disputes import revoke_dispute
from domain.order.facts import DisputeSetAside, RefundSetAside
from domain.order.payment_match import Match, match, payments_of, shown


def revoke_surplus(order: Order, now: datetime) -> list[str]:
    """Revoke and set aside the effective refunds and disputes of another payment than the order's.
    Returns the causes."""
    refunds = [name for name, refund in order.refunds.items() if refund.effective]
    surplus = [name for name in refunds if _is_of_other(order, order.refunds[name].payment)]
    for name in surplus:
        refund = order.refunds[name]
        order.revoke_refund(name, now)
        order.record(
            RefundSetAside(
                **order.next(now),
                refund_id=name,
                amount=refund.amount,
                currency=order.currency,
                why=_why(order, refund.payment),
                order_id=order.order_id,
                payment=refund.payment,
            )
        )
    disputes = [name for name, dispute in order.disputes.items() if dispute.effective]
    disputed = [name for name in disputes if _is_of_other(order, order.disputes[name].payment)]
    for name in disputed:
        dispute = order.disputes[name]
        revoke_dispute(order, name, now)
        order.record(
            DisputeSetAside(
                **order.next(now),
                dispute_id=name,
                amount=dispute.amount,
                currency=order.currency,
                why=_why(order, dispute.payment),
                order_id=order.order_id,
            )
        )
    return surplus + [dispute_cause(name) for name in disputed]


def _is_of_other(order: Order, told: Mapping[str, str] | None) -> bool:
    return match(payments_of(order), told or {}) is Match.OTHER


def _why(order: Order, told: Mapping[str, str] | None) -> str:
    return (
        f"it is about the surplus payment {shown((told or {}).items())}, but order "
        f"{order.order_id!r} was paid by payment {shown(payments_of(order))}"
    )
