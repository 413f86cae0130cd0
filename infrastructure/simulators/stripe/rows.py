"""Rows of the simulated Stripe. Rules are in `transfers.py`, `charges.py` and `accounts.py`, JSON
shapes in `render.py`."""

from dataclasses import dataclass, field
from typing import Any, ClassVar


@dataclass(slots=True)
class AccountRow:
    """A seller's connected account."""

    KIND: ClassVar[str] = "account"
    id: str
    seq: int
    created: int
    country: str = "US"
    transfers_capability: str = "active"
    charges_enabled: bool = True
    payouts_enabled: bool = True
    connected_reserves: bool = False
    deleted: bool = False
    revoked: bool = False
    disabled_reason: str | None = None


@dataclass(slots=True)
class ChargeRow:
    """A buyer's payment that transfers may name as their source. `amount` None covers any amount.

    `currency` and `amount` are those of its balance transaction: the buyer may have paid in another
    currency (`paid_currency`, `paid_amount`).
    """

    KIND: ClassVar[str] = "charge"
    id: str
    seq: int
    created: int
    currency: str
    amount: int | None
    available_on: int
    transfer_group: str | None = None
    settled: bool = True
    transferred: int = 0
    transfers: list[str] = field(default_factory=list)
    status: str = "succeeded"
    """`succeeded`, `pending` (an asynchronous method) or `failed`."""
    payment_intent: str | None = None
    balance_transaction: str | None = None
    paid_currency: str | None = None
    paid_amount: int | None = None
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class PaymentIntentRow:
    """A payment as its connector made it. Without `latest_charge` nothing has been charged yet."""

    KIND: ClassVar[str] = "payment_intent"
    id: str
    seq: int
    created: int
    currency: str
    amount: int
    latest_charge: str | None = None
    transfer_group: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class TransferRow:
    KIND: ClassVar[str] = "transfer"
    id: str
    seq: int
    created: int
    amount: int
    currency: str
    destination: str
    balance_transaction: str
    destination_payment: str
    metadata: dict[str, str]
    description: str | None = None
    source_transaction: str | None = None
    source_type: str = "card"
    transfer_group: str | None = None
    amount_reversed: int = 0
    reversals: list[str] = field(default_factory=list)
    pending: int = 0
    """The amount of its pending reversals, which has not moved yet."""

    @property
    def rest(self) -> int:
        """The amount that can still be reversed."""
        return self.unreversed - self.pending

    @property
    def unreversed(self) -> int:
        return self.amount - self.amount_reversed


@dataclass(slots=True)
class TransferReversalRow:
    KIND: ClassVar[str] = "reversal"
    id: str
    seq: int
    created: int
    transfer: str
    amount: int
    currency: str
    balance_transaction: str
    destination_payment_refund: str
    metadata: dict[str, str]
    source_refund: str | None = None
    status: str | None = None
    """None: the API version shows no status, and the money has moved."""
    failure_reason: str | None = None


@dataclass(slots=True)
class BalanceTransactionRow:
    KIND: ClassVar[str] = "balance_transaction"
    id: str
    seq: int
    created: int
    type: str
    amount: int
    currency: str
    source: str
    available_on: int
    description: str | None = None
    matures: bool = False
    """True while the platform's money of this line is pending."""


@dataclass(slots=True)
class StripeEventRow:
    """An event. `object` is the JSON of the object at that moment, ready to be sent."""

    KIND: ClassVar[str] = "event"
    id: str
    seq: int
    created: int
    type: str
    object: bytes
    account: str | None = None
    request_id: str | None = None
    idempotency_key: str | None = None
    previous_attributes: dict[str, Any] | None = None
    pending_webhooks: int = 0
    """Number of endpoints that have not yet taken the event."""
    taken_by: list[str] = field(default_factory=list)


@dataclass(slots=True)
class IdempotencyKeyRow:
    """One idempotency key: the request that first used the key, and its answer."""

    KIND: ClassVar[str] = "key"
    id: str
    """`<account>|<key>`: keys of different accounts or modes do not collide."""
    fingerprint: str
    first_used: float
    request_id: str
    status: int = 0
    body: bytes = b""
    executing: bool = True
