"""Disputes of an order: counted under the same cap, and divided among the sellers in the same way,
as refunds."""

from collections.abc import Mapping
from datetime import datetime

from domain.errors import Refused
from domain.identity import dispute_cause
from domain.order.aggregate import Order
from domain.order.facts import DisputeCounted, DisputeReduced, DisputeRevoked, DisputeSetAside
from domain.order.state import CountedDispute, SetAsideDecision


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
    decided = order.decided.get(dispute_cause(dispute_id))
    if decided is not None:
        return _count_decided(order, dispute_id, amount, currency, decided, now)
    if currency != order.currency:
        why = f"it is in {currency}, the order in {order.currency}"
        if dispute_cause(dispute_id) not in order.set_aside:
            _set_aside(order, dispute_id, amount, currency, why, now)
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


def _set_aside(
    order: Order, dispute_id: str, amount: int, currency: str, why: str, now: datetime
) -> None:
    order.record(
        DisputeSetAside(
            **order.next(now),
            dispute_id=dispute_id,
            amount=amount,
            currency=currency,
            why=why,
            order_id=order.order_id,
        )
    )


def _count_decided(
    order: Order,
    dispute_id: str,
    amount: int,
    currency: str,
    decided: SetAsideDecision,
    now: datetime,
) -> str | None:
    """Divide a dispute as a person has decided; a dismissed one never takes anything."""
    if decided.allocation is None:
        return None
    why = order.objection_to_decision(decided, dispute_cause(dispute_id))
    if why is not None:
        _set_aside(order, dispute_id, amount, currency, why, now)
        return why
    allocate_dispute(order, dispute_id, decided, now)
    return None


def allocate_dispute(
    order: Order, dispute_id: str, decided: SetAsideDecision, now: datetime
) -> None:
    """Let a dispute take the decided amount from each seller. Recover the shares next."""
    counted = CountedDispute(decided.amount, True, decided.allocation)
    disputes = {**_without(order, dispute_id), dispute_id: counted}
    order.record(
        DisputeCounted(
            **order.next(now),
            dispute_id=dispute_id,
            amount=decided.amount,
            counted=order.portions(order.refunds, disputes)[-1].amount,
            targets=order.targets_for(order.refunds, disputes),
            explicit=decided.allocation,
        )
    )


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


def reduce_dispute(order: Order, dispute_id: str, amount: int, now: datetime) -> bool:
    """Let a dispute take `amount` of the order (minor units of its currency; 0: nothing). Returns
    whether that is new.

    Recover the shares next: the sellers get the difference back. Raises Refused when the dispute
    takes less already, was divided by a person, or is in another currency and was set aside.
    """
    known = order.disputes.get(dispute_id)
    before = known.amount if known is not None and known.effective else 0
    if dispute_cause(dispute_id) in order.set_aside:
        raise Refused(
            f"Dispute {dispute_id!r} was set aside, so it takes nothing of order "
            f"{order.order_id!r} that could be reduced."
        )
    if known is not None and amount > before:
        raise Refused(
            f"Dispute {dispute_id!r} takes {before} {order.currency} (minor units) of order "
            f"{order.order_id!r}; give at most that, not {amount}."
        )
    if amount == before:
        return False
    if amount > 0 and known is not None and known.explicit is not None:
        raise Refused(
            f"A person has divided dispute {dispute_id!r} among the sellers of order "
            f"{order.order_id!r}, so an amount alone does not say which of them gets money back; "
            "decide it with an amount per seller."
        )
    disputes = {**order.disputes, dispute_id: CountedDispute(amount, amount > 0)}
    order.record(
        DisputeReduced(
            **order.next(now),
            dispute_id=dispute_id,
            before=before,
            amount=amount,
            counted=_counted(order, disputes, dispute_id),
            targets=order.targets_for(order.refunds, disputes),
        )
    )
    return True


def _counted(order: Order, disputes: dict[str, CountedDispute], dispute_id: str) -> int:
    """Return the amount of the order that this dispute takes after the refunds and the disputes
    before it."""
    if not disputes[dispute_id].effective:
        return 0
    effective = [name for name, dispute in disputes.items() if dispute.effective]
    portions = order.portions(order.refunds, disputes)[-len(effective) :]
    return portions[effective.index(dispute_id)].amount


def _without(order: Order, dispute_id: str) -> dict[str, CountedDispute]:
    return {name: dispute for name, dispute in order.disputes.items() if name != dispute_id}
