"""Rows of the simulated Hyperswitch. Amounts in minor units, instants in epoch seconds of the
simulator's clock."""

from dataclasses import dataclass, field
from typing import Any

from infrastructure.simulators.common.webhook_sender import WebhookRequest

Json = dict[str, Any]


@dataclass(slots=True)
class PaymentRow:
    payment_id: str
    amount: int
    currency: str
    status: str
    created: float
    updated: float
    capture_method: str = "automatic"
    amount_received: int = 0
    connector_transaction_id: str | None = None
    merchant_order_reference_id: str | None = None
    customer_id: str | None = None
    description: str | None = None
    metadata: Json | None = None
    error_code: str | None = None
    error_message: str | None = None
    split_payments: Json | None = None


@dataclass(slots=True)
class PspRefundRow:
    refund_id: str
    payment_id: str
    amount: int
    currency: str
    status: str
    created: float
    updated: float
    reason: str | None = None
    metadata: Json | None = None
    error_code: str | None = None
    error_message: str | None = None
    split_refunds: Json | None = None


@dataclass(slots=True)
class PspDisputeRow:
    dispute_id: str
    payment_id: str
    amount: int
    currency: str
    status: str
    """`opened`, `challenged`, `won`, `lost`, `accepted`, `expired` or `cancelled`."""
    created: float
    updated: float


@dataclass(slots=True)
class PspEventRow:
    """One event. Its webhook is composed once, so that each retry sends the same bytes and the same
    signature."""

    id: str
    type: str
    object_id: str
    envelope: Json
    request: WebhookRequest = field(default_factory=lambda: WebhookRequest(b"", {}))
