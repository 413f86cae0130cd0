"""Responses of the lists for people. Amounts in minor units, times in UTC."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True)
class OrderEntry:
    """An order in a list. `GET /v1/orders/{order_id}` adds shares, transfers and refunds."""

    order_id: str
    currency: str
    amount: int
    refunded: int
    collected: int | None
    status: str
    payment_id: str | None
    source_transaction: str | None
    connector_payment: str | None
    last_error: str | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class OrderPage:
    """Newest first; `next_cursor` is null on the last page."""

    data: Sequence[OrderEntry]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class RefundEntry:
    """A refund in a list. `GET /v1/refunds/{refund_id}` adds the part of each seller."""

    refund_id: str
    order_id: str
    amount: int
    currency: str
    status: str
    psp_refund_id: str | None
    reason: str | None
    last_error: str | None
    next_retry_at: datetime | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class RefundPage:
    """Newest first; `next_cursor` is null on the last page."""

    data: Sequence[RefundEntry]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class Dispute:
    """A dispute between a buyer and the platform."""

    dispute_id: str
    provider: str
    order_id: str
    amount: int
    currency: str
    status: str
    reason: str | None
    evidence_due_by: datetime | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class DisputePage:
    """Newest first; `next_cursor` is null on the last page."""

    data: Sequence[Dispute]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class WebhookEntry:
    """A stored webhook in a list. `GET /v1/inbox/{inbox_id}` adds the body."""

    inbox_id: int
    provider: str
    event_id: str
    event_type: str
    received_at: datetime
    status: str
    reason: str | None
    subject: str | None
    attempts: int
    due_at: datetime | None
    handled_at: datetime | None
    position: int | None
    source: str


@dataclass(frozen=True, slots=True)
class InboxPage:
    """Newest first; `next_cursor` is null on the last page."""

    data: Sequence[WebhookEntry]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class FindingShown:
    """A difference from Stripe's books, and the last decision about it.

    `found_at` is null if the newest reconciliation of its period did not find it: then it needs no
    decision.
    """

    finding_id: str
    kind: str
    status: str
    stripe_id: str
    stripe_transfer_id: str
    transfer_id: UUID | None
    reversal_id: str | None
    at_risk: int
    currency: str
    detail: str
    obstacle: str | None
    actor: str | None
    reason: str | None
    since: datetime | None
    found_at: datetime | None
    decided_at: datetime | None


@dataclass(frozen=True, slots=True)
class FindingPage:
    """Newest first; `next_cursor` is null on the last page."""

    data: Sequence[FindingShown]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class SellerMoneyShown:
    """The open money of a seller in one currency. `owed` and `stuck` are owed back: by reversals
    under way, and by those that wait for a person; the last four members divide both by age."""

    currency: str
    owed: int
    stuck: int
    to_send: int
    oldest_debt_at: datetime | None
    up_to_1_day: int
    up_to_7_days: int
    up_to_30_days: int
    older: int


@dataclass(frozen=True, slots=True)
class SellerShown:
    """A seller, with the open money of each currency."""

    seller_id: str
    money: Sequence[SellerMoneyShown]


@dataclass(frozen=True, slots=True)
class SellerPage:
    """Sellers in the order of `sort`; `next_cursor` is null on the last page."""

    data: Sequence[SellerShown]
    next_cursor: str | None
