"""Decisions of a person about refunds and disputes that were set aside, or that came back in
part."""

from collections.abc import Mapping
from datetime import datetime

from domain.errors import ContentDiffers, Refused
from domain.identity import DISPUTE
from domain.order.aggregate import Order
from domain.order.facts import SetAsideDecided, SetAsideEnded
from domain.order.state import SetAsideDecision


def repeats(
    order: Order, cause_id: str, allocation: Mapping[str, int] | None, amount: int | None
) -> bool:
    """Return whether the same decision about this refund or dispute is recorded already. Raises
    ContentDiffers when another one is."""
    known = order.decided.get(cause_id)
    if known is None:
        return False
    same = {
        "allocation": known.allocation == (None if allocation is None else dict(allocation)),
        "amount": amount in (None, known.amount),
    }
    if not all(same.values()):
        name = cause_id.removeprefix(DISPUTE)
        raise ContentDiffers("decision", name, [part for part, equal in same.items() if not equal])
    return True


def decide(
    order: Order,
    cause_id: str,
    allocation: Mapping[str, int] | None,
    amount: int,
    by: tuple[str, str],
    now: datetime,
) -> SetAsideDecision:
    """Record the decision of a person, given as actor and reason; without an `allocation` the
    refund or dispute is dismissed.

    `amount` is the amount of the order that it counts as. The caller makes it effective next.
    Raises Refused when the allocation does not fit the shares.
    """
    decided = SetAsideDecision(amount, None if allocation is None else dict(allocation))
    objection = order.objection_to_decision(decided, cause_id)
    if objection is not None:
        raise Refused(
            f"{cause_id.removeprefix(DISPUTE)!r} of order {order.order_id!r} cannot be decided "
            f"like this: {objection}; give each seller at most the rest of the share."
        )
    actor, reason = by
    order.record(
        SetAsideDecided(
            **order.next(now),
            order_id=order.order_id,
            cause_id=cause_id,
            amount=amount,
            explicit=decided.allocation,
            actor=actor,
            reason=reason,
            remaining=_remaining(order, cause_id),
        )
    )
    return decided


def end_set_aside(order: Order, cause_id: str, why: str, now: datetime) -> None:
    """Record that a refund or dispute needs no decision any more, if it was set aside."""
    if cause_id in order.set_aside:
        order.record(
            SetAsideEnded(
                **order.next(now),
                order_id=order.order_id,
                cause_id=cause_id,
                why=why,
                remaining=_remaining(order, cause_id),
            )
        )


def counted_by_default(
    order: Order, cause_id: str, amount: int, currency: str, allocation: Mapping[str, int]
) -> int:
    """Return the amount of the order that a refund or dispute counts as, unless the person says it:
    its own amount in the order's currency, else the sum of the allocation; at most the rest."""
    others = sum(
        refund.amount
        for name, refund in order.refunds.items()
        if refund.effective and name != cause_id
    )
    summed = sum(
        part
        for seller, part in allocation.items()
        if seller in order.shares and order.share_currency(seller) == order.currency
    )
    return min(amount if currency == order.currency else summed, order.collected - others)


def _remaining(order: Order, but: str) -> list[str]:
    return [name for name in order.set_aside if name != but]
