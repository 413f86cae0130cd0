"""The read model `orders`: one row per order, the fold of its one stream."""

from datetime import datetime
from enum import StrEnum
from typing import NamedTuple, assert_never
from uuid import UUID

from domain.order import facts as order_facts
from domain.order.facts import AnyOrderFact, AuthorityFound, PaymentDoubted
from domain.order.state import Share


class OrderStatus(StrEnum):
    """Status of an order: whether the buyer has paid."""

    OPEN = "open"
    PAID = "paid"


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
    """Return the row after a fact."""
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
        status=OrderStatus.OPEN.value,
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
            paid = row._replace(status=OrderStatus.PAID.value, payment_id=fact.payment_id)
            return paid._replace(source_transaction=fact.source_transaction)
        case order_facts.RefundAllocated() | order_facts.RefundRevoked():
            return row._replace(refunded=fact.refunded)
        case order_facts.PaymentRequested() | order_facts.PaymentNamed():
            return row._replace(payment_id=fact.payment_id)
        case (
            order_facts.RefundReserved()
            | order_facts.RefundReleased()
            | order_facts.RefundSetAside()
        ):
            return row
        case (
            order_facts.DisputeCounted()
            | order_facts.DisputeRevoked()
            | order_facts.DisputeSetAside()
        ):
            # `refunded` is the sum of refunds to the buyer; disputes have rows of their own
            return row
        case order_facts.TransferMadeByCharge() | order_facts.ReversalMadeByRefund():
            return row  # the seller's transfer shows it
        case PaymentDoubted():
            return row  # the unsent transfers show that they are held back
        case (
            AuthorityFound()
            | order_facts.CompensationOwed()
            | order_facts.Resettled()
            | order_facts.Registered()
        ):
            return row
        case _:
            assert_never(fact)
