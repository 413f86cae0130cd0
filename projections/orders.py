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
    collected: int | None
    """Amount that the payment received; None until the order is paid."""
    status: str
    payment_id: str | None
    source_transaction: str | None
    shares: list[Share]
    connector_payment: str | None
    """Name of the payment at the PSP's connector; behind Stripe the PaymentIntent."""
    last_error: str | None
    retry_count: int
    """Number of reads of the charge without a result."""
    next_retry_at: datetime | None
    """When the charge is read at Stripe; None if no read is due."""
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
        collected=None,
        status=OrderStatus.OPEN.value,
        payment_id=fact.payment_id,
        source_transaction=fact.source_transaction,
        shares=fact.shares,
        connector_payment=None,
        last_error=None,
        retry_count=0,
        next_retry_at=None,
        version=fact.originator_version,
        created_at=fact.timestamp,
        updated_at=fact.timestamp,
    )


def _changed(row: OrderRow, fact: AnyOrderFact) -> OrderRow:
    match fact:
        case order_facts.Paid():
            collected = row.amount if fact.amount_received is None else fact.amount_received
            paid = row._replace(status=OrderStatus.PAID.value, payment_id=fact.payment_id)
            return paid._replace(
                source_transaction=fact.source_transaction,
                collected=collected,
                connector_payment=fact.connector_payment,
                next_retry_at=fact.read_charge_at,
            )
        case order_facts.ConnectorPaymentNamed():
            named = row._replace(connector_payment=fact.connector_payment)
            return named._replace(retry_count=0, next_retry_at=fact.read_charge_at)
        case order_facts.ChargeReadDeferred():
            return row._replace(
                retry_count=fact.reads, next_retry_at=fact.read_charge_at, last_error=fact.detail
            )
        case order_facts.ChargeReadRequested():
            return row._replace(retry_count=0, next_retry_at=fact.read_charge_at)
        case order_facts.ChargeFound():
            charge = row.source_transaction if fact.status == "failed" else fact.charge
            return row._replace(
                source_transaction=charge, next_retry_at=None, retry_count=0, last_error=None
            )
        case order_facts.ChargeNotFound():
            return row._replace(next_retry_at=None, last_error=fact.detail)
        case order_facts.AmountReceived():
            return row._replace(collected=fact.amount_received)
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
            | order_facts.DisputeReduced()
            | order_facts.DisputeSetAside()
        ):
            # `refunded` is the sum of refunds to the buyer; disputes have rows of their own
            return row
        case order_facts.TransferMadeByCharge() | order_facts.ReversalMadeByRefund():
            return row  # the seller's transfer shows it
        case order_facts.SetAsideDecided() | order_facts.SetAsideEnded():
            return row
        case PaymentDoubted() | order_facts.PaymentNotCounted():
            return row  # the unsent transfers show that they are held back
        case (
            AuthorityFound()
            | order_facts.CompensationOwed()
            | order_facts.Resettled()
            | order_facts.Registered()
            | order_facts.OrderAlarmAcknowledged()
        ):
            return row
        case _:
            assert_never(fact)
