"""Hyperswitch's webhooks as we read them: only the members we use, tolerant of everything else.

Amounts are integers in minor units. The shapes are those of the PSP's outgoing webhooks in its v1 API.
"""

from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, Field, TypeAdapter

from application.webhooks.fields import Amount, AnyAmount

Name = Annotated[str, Field(min_length=1, max_length=255)]
"""It becomes metadata of a reversal, of which Stripe takes 500 characters; with more, all that waits behind it is stuck."""
Words = Annotated[str, AfterValidator(lambda words: words.replace("\x00", "\ufffd"))]
"""From a bank, by way of a connector. PostgreSQL stores no NUL, and no report may be lost for its wording."""


@dataclass(frozen=True, slots=True)
class Metadata:
    """What the marketplace attached."""

    order_id: str | None = None


@dataclass(frozen=True, slots=True)
class Payment:
    """`content.object` of a payment event."""

    payment_id: str
    status: str
    amount: AnyAmount
    currency: str
    amount_received: AnyAmount | None = None
    merchant_order_reference_id: str | None = None
    metadata: Metadata | None = None

    @property
    def named_orders(self) -> list[str]:
        """The orders it names, in the order in which they are believed."""
        named = (self.metadata.order_id if self.metadata else None, self.merchant_order_reference_id)
        return [name for name in named if name]


@dataclass(frozen=True, slots=True)
class Refund:
    """`content.object` of a refund event."""

    refund_id: Name
    payment_id: str
    amount: Amount
    currency: str
    status: str
    error_message: Words | None = None
    metadata: Metadata | None = None

    @property
    def named_order(self) -> str | None:
        """The order its metadata names."""
        return self.metadata.order_id if self.metadata else None


@dataclass(frozen=True, slots=True)
class Dispute:
    """`content.object` of a dispute event. Its amount comes as a string of minor units."""

    dispute_id: Name
    payment_id: str
    amount: Amount
    currency: str
    connector_reason: Words | None = None


@dataclass(frozen=True, slots=True)
class PaymentContent:
    """What a payment event is about."""

    object: Payment


@dataclass(frozen=True, slots=True)
class RefundContent:
    """What a refund event is about."""

    object: Refund


@dataclass(frozen=True, slots=True)
class DisputeContent:
    """What a dispute event is about."""

    object: Dispute


@dataclass(frozen=True, slots=True)
class PaymentEvent:
    """An event about a payment."""

    event_id: str
    event_type: str
    content: PaymentContent


@dataclass(frozen=True, slots=True)
class RefundEvent:
    """An event about a refund."""

    event_id: str
    event_type: str
    content: RefundContent


@dataclass(frozen=True, slots=True)
class DisputeEvent:
    """An event about a dispute."""

    event_id: str
    event_type: str
    content: DisputeContent


PAYMENT_EVENT = TypeAdapter(PaymentEvent)
REFUND_EVENT = TypeAdapter(RefundEvent)
DISPUTE_EVENT = TypeAdapter(DisputeEvent)
