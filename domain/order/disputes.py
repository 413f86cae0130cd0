"""Disputes of an order: counted under the same cap, and divided among the sellers in the same way,
as refunds."""

from collections.abc import Mapping
from datetime import datetime

from domain.identity import dispute_cause
from domain.order.aggregate import Order
from domain.order.facts import DisputeCounted, DisputeRevoked, DisputeSetAside
from domain.order.state import CountedDispute


def count_dispute(
    order: Order,
    dispute_id: str,
    amount: int,
    currency: str,
    now: datetime,
    payment: Mapping[str, str] | None = None,
) -> str | None:
    """Divide a dispute among the sellers, or set it aside. Returns why it was set aside.

    Does nothing if the dispute is counted already. `payment`: the names of the disputed payment, in
    case the order's own payment becomes known only later.
    """
    known = order.disputes.get(dispute_id)
    if known is not None and known.effective:
        return None
    if currency != order.currency:
        why = f"it is in {currency}, the order in {order.currency}"
        if dispute_cause(dispute_id) not in order.set_aside:
            fact = DisputeSetAside(
                **order.next(now), dispute_id=dispute_id, amount=amount, currency=currency, why=why
            )
            order.record(fact)
        return why
    disputes = {**_without(order, dispute_id), dispute_id: CountedDispute(amount, True)}
    order.record(
        DisputeCounted(
            **order.next(now),
            dispute_id=dispute_id,
            amount=amount,
            counted=order.portions(order.refunds, disputes)[-1].amount,
            targets=order.targets_for(order.refunds, disputes),
            payment=dict(payment) if payment else None,
        )
    )
    return None


def revoke_dispute(order: Order, dispute_id: str, now: datetime) -> bool:
    """Revoke a counted dispute after its money came back. Returns whether the dispute was
    counted."""
    known = order.disputes.get(dispute_id)
    if known is None or not known.effective:
        return False
    targets = order.targets_for(order.refunds, _without(order, dispute_id))
    order.record(
        DisputeRevoked(
            **order.next(now), dispute_id=dispute_id, amount=known.amount, targets=targets
        )
    )
    return True


def _without(order: Order, dispute_id: str) -> dict[str, CountedDispute]:
    return {name: dispute for name, dispute in order.disputes.items() if name != dispute_id}
