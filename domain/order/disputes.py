"""What disputes take from an order, by its own facts. The same cap, and the same division, as for refunds."""

from datetime import datetime

from domain.identity import dispute_cause
from domain.order.aggregate import Order
from domain.order.facts import DisputeCounted, DisputeRevoked, DisputeSetAside
from domain.order.state import Disputed


def count_dispute(order: Order, dispute_id: str, amount: int, currency: str, now: datetime) -> str | None:
    """A dispute takes from the sellers, or is set aside; answers why it was set aside. Twice is as good as once."""
    known = order.disputes.get(dispute_id)
    if known is not None and known.effective:
        return None
    if currency != order.currency:
        why = f"it is in {currency}, the order in {order.currency}"
        if dispute_cause(dispute_id) not in order.set_aside:
            fact = DisputeSetAside(**order.next(now), dispute_id=dispute_id, amount=amount, currency=currency, why=why)
            order.record(fact)
        return why
    with_it = {**_without(order, dispute_id), dispute_id: Disputed(amount, True)}
    order.record(
        DisputeCounted(
            **order.next(now),
            dispute_id=dispute_id,
            amount=amount,
            counted=order.portions(order.refunds, with_it)[-1].amount,
            targets=order.goals(order.refunds, with_it),
        )
    )
    return None


def revoke_dispute(order: Order, dispute_id: str, now: datetime) -> bool:
    """A dispute takes nothing any more. Answers whether that is news."""
    known = order.disputes.get(dispute_id)
    if known is None or not known.effective:
        return False
    goals = order.goals(order.refunds, _without(order, dispute_id))
    order.record(DisputeRevoked(**order.next(now), dispute_id=dispute_id, amount=known.amount, targets=goals))
    return True


def _without(order: Order, dispute_id: str) -> dict[str, Disputed]:
    return {name: dispute for name, dispute in order.disputes.items() if name != dispute_id}
