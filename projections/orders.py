"""The read model `orders`: one row per order, the fold of its one stream."""

from datetime import datetime
from typing import NamedTuple, assert_never
from uuid import UUID

from domain.order import aggregate as facts
from domain.order import disputes
from domain.order import facts as asks
from domain.order.aggregate import AnyOrderFact, Share
from domain.order.authority import AuthorityFound
from domain.seller_transfer.payment_hold import PaymentDoubted


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
    if isinstance(fact, facts.Registered):
        return _registered(fact)
    assert row is not None, f"{type(fact).__name__} cannot be the first fact of a stream"
    return _changed(row, fact)._replace(version=fact.originator_version, updated_at=fact.timestamp)


def _registered(fact: facts.Registered) -> OrderRow:
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
        case facts.Paid():
            return row._replace(status="paid", payment_id=fact.payment_id, source_transaction=fact.source_transaction)
        case facts.RefundAllocated() | facts.RefundRevoked():
            return row._replace(refunded=fact.refunded)
        case asks.PaymentRequested() | facts.PaymentNamed():
            return row._replace(payment_id=fact.payment_id)
        case asks.RefundReserved() | asks.RefundReleased() | facts.RefundSetAside():
            return row
        case disputes.DisputeCounted() | disputes.DisputeRevoked() | disputes.DisputeSetAside():
            return row  # `refunded` is what buyers were given back; disputes have rows of their own
        case PaymentDoubted():
            return row  # it was paid, as far as we were told; what is unsent says that it waits
        case AuthorityFound() | facts.CompensationOwed() | facts.Resettled() | facts.Registered():
            return row
        case _:
            assert_never(fact)
