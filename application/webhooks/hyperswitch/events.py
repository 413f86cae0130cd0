"""Hyperswitch's webhooks: the members that the ledger reads. All other members are ignored.

Amounts are integers in minor units. The shapes are those of the PSP's outgoing webhooks in its v1
API.
"""

from dataclasses import dataclass
from typing import Annotated, Generic, TypeVar

from pydantic import AfterValidator, BeforeValidator, TypeAdapter

from application.foreign_members import AS_MEMBERS, text_or_none
from application.webhooks.amounts import Amount, AnyAmount
from application.webhooks.names import Name, PossibleName

Words = Annotated[
    str | None,
    AfterValidator(lambda words: words.replace("\x00", "\ufffd") if words else None),
    BeforeValidator(text_or_none),
]
"""Text of a bank, passed on by a connector. PostgreSQL stores no NUL, and no report may be lost for
its wording."""


Hint = Annotated[str | None, BeforeValidator(lambda told: told if isinstance(told, str) else None)]
"""A text that helps; an event is not refused for another value in its place."""


@dataclass(frozen=True, slots=True)
class MarketplaceMetadata:
    """Metadata that the marketplace attached."""

    order_id: PossibleName = None


Metadata = Annotated[MarketplaceMetadata | None, AS_MEMBERS]


@dataclass(frozen=True, slots=True)
class PaymentContent:
    """`content.object` of a payment event."""

    payment_id: Name
    status: str
    amount: AnyAmount
    currency: str
    amount_received: AnyAmount | None = None
    merchant_order_reference_id: PossibleName = None
    metadata: Metadata = None
    connector: Hint = None
    connector_transaction_id: Hint = None
    """Name of the payment at the connector; behind Stripe the PaymentIntent."""

    @property
    def named_orders(self) -> list[str]:
        """The orders that the payment names, the most reliable name first."""
        named = (
            self.metadata.order_id if self.metadata else None,
            self.merchant_order_reference_id,
        )
        return [name for name in named if name]


@dataclass(frozen=True, slots=True)
class RefundContent:
    """`content.object` of a refund event."""

    refund_id: Name
    payment_id: Name
    amount: Amount
    currency: str
    status: str
    error_message: Words = None
    metadata: Metadata = None

    @property
    def named_order(self) -> str | None:
        """The order in the refund's metadata."""
        return self.metadata.order_id if self.metadata else None


@dataclass(frozen=True, slots=True)
class DisputeContent:
    """`content.object` of a dispute event. Its amount arrives as a string of minor units."""

    dispute_id: Name
    payment_id: Name
    amount: Amount
    currency: str
    connector_reason: Words = None
    challenge_required_by: Words = None
    metadata: Metadata = None
    """Not part of the PSP's API today; read as a hint if it is there."""


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Content(Generic[T]):
    """`content` of an event."""

    object: T


@dataclass(frozen=True, slots=True)
class Envelope(Generic[T]):
    """An event about a `T`."""

    content: Content[T]


PAYMENT_EVENT = TypeAdapter(Envelope[PaymentContent])
REFUND_EVENT = TypeAdapter(Envelope[RefundContent])
DISPUTE_EVENT = TypeAdapter(Envelope[DisputeContent])


def content_of(body: bytes, kind: TypeAdapter[Envelope[T]]) -> T:
    """Return the object that an event is about. Raises ValidationError."""
    return kind.validate_json(body).content.object
