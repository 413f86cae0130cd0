"""The read model `orders`: one row per order, the fold of its one stream."""

from datetime import datetime
from typing import NamedTuple, assert_never
from uuid import UUID

from domain.order import facts as order_facts
from domain.order.facts import AnyOrderFact, AuthorityFound, PaymentDoubted
from domain.order.state import Share


class OrderRow(NamedTuple):
    """A row of `orders`. Amounts in minor units, times in UTC."""

    order_id: str
    stream_id: UUID
    currency: str
    amount: int
    refunded: int
    status: str
    payment_id: str | None
    source_transaction: str | None
    shares: list[Share]
    version: int
    created_at: datetime
    updated_at: datetime


def evolve(row: OrderRow | None, fact: AnyOrderFact) -> OrderRow:
    """The row after a fact. Pure."""
    if isinstance(fact, order_facts.Registered):
        return _registered(fact)
    assert row is not None, f"{type(fact).__name__} cannot be the first fact of a stream"
    return _changed(row, fact)._replace(version=fact.originator_version, updated_at=fact.timestamp)


def _registered(fact: order_facts.Registered) -> OrderRow:
    return OrderRow(
        order_id=fact.order_id,
        stream_id=fact.originator_id,
        currency=fact.currency,
        amount=fact.amount,
        refunded=0,
        status="open",
        payment_id=fact.payment_id,
        source_transaction=fact.source_transaction,
        shares=fact.shares,
        version=fact.originator_version,
        created_at=fact.timestamp,
        updated_at=fact.timestamp,
    )


def _changed(row: OrderRow, fact: AnyOrderFact) -> OrderRow:
    match fact:
        case order_facts.Paid():
            return row._replace(status="paid", payment_id=fact.payment_id, source_transaction=fact.source_transaction)
        case order_facts.RefundAllocated() | order_facts.RefundRevoked():
            return row._replace(refunded=fact.refunded)
        case order_facts.PaymentRequested() | order_facts.PaymentNamed():
            return row._replace(payment_id=fact.payment_id)
        case order_facts.RefundReserved() | order_facts.RefundReleased() | order_facts.RefundSetAside():
            return row
        case order_facts.DisputeCounted() | order_facts.DisputeRevoked() | order_facts.DisputeSetAside():
            return row  # `refunded` is what buyers were given back; disputes have rows of their own
        case PaymentDoubted():
            return row  # it was paid, as far as we were told; what is unsent says that it waits
        case AuthorityFound() | order_facts.CompensationOwed() | order_facts.Resettled() | order_facts.Registered():
            return row
        case _:
            assert_never(fact)
