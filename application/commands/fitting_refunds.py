"""Refunds that were set aside because too little of the order was left, and that fit now.

Reports arrive in any order: a refund can be reported as succeeded before the failure of another one
is known that leaves room for it. The result must not depend on that order, so the command that
leaves the room takes the refund from the sellers, in the same append.
"""

from datetime import datetime

from application.unit_of_work import UnitOfWork
from domain.order.aggregate import Order
from domain.order.payment_match import NO_NAMES, Match, match, payments_of
from domain.order.recovery import parts_of, recover_shares
from domain.order.set_aside import end_set_aside
from domain.refund.aggregate import Refund
from domain.refund.state import RefundStatus

SOURCE = "fits:"
"""Prefix of the source of a success: the report that left room for the refund follows."""
WHY = "enough of the order is left for it now"


def take_fitting(uow: UnitOfWork, order: Order, source: str, now: datetime) -> None:
    """Take the refunds that were set aside and that fit now from the sellers, oldest first.

    Order and refunds must be loaded by `load_order_with_transfers`.
    """
    refunds = {refund.key: refund for refund in uow.refunds_beside()}
    for name in list(order.set_aside):
        refund = refunds.get(name)
        if refund is None or not _fits(order, refund):
            continue
        end_set_aside(order, name, WHY, now)
        payment = order.aside_payments.get(name)
        order.allocate_refund(name, refund.amount, refund.currency, refund.explicit, now, payment)
        uow.add(recover_shares(order, uow.transfers(), name, now))
        refund.succeed(f"{SOURCE}{source}", parts_of(order, uow.transfers(), name), now)


def _fits(order: Order, refund: Refund) -> bool:
    """Return whether only the lack of room stood against the refund, and does not any more."""
    if refund.status is not RefundStatus.REVIEW or refund.held:
        return False
    told = order.aside_payments.get(refund.key) or NO_NAMES
    if match(payments_of(order), told) is Match.OTHER:
        return False
    return order.objection_to_refund(refund.amount, refund.currency, refund.explicit) is None
