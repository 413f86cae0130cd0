"""Response classes. Amounts in minor units, times in UTC."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Reversal:
    """The return of money from one transfer, for a refund or a dispute, or made outside the
    ledger."""

    reversal_id: UUID
    refund_id: str | None
    amount: int
    status: str
    stripe_reversal_id: str | None


@dataclass(frozen=True, slots=True)
class Transfer:
    """The money to one seller for one cause."""

    transfer_id: UUID
    order_id: str
    seller_id: str
    destination: str
    amount: int
    currency: str
    status: str
    amount_reversed: int
    stripe_transfer_id: str | None
    stripe_reversal_id: str | None
    retry_count: int
    next_retry_at: datetime | None
    waiting_for: str | None
    last_error: str | None
    refund_id: str | None
    source_transaction: str | None
    version: int
    created_at: datetime
    updated_at: datetime
    reversals: Sequence[Reversal]


@dataclass(frozen=True, slots=True)
class TransferPage:
    """Newest first; `next_cursor` is null on the last page."""

    data: Sequence[Transfer]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class Share:
    """A seller's share of an order."""

    seller_id: str
    destination: str
    amount: int
    currency: str


@dataclass(frozen=True, slots=True)
class Part:
    """A seller's part of a refund.

    `status`: the status of the reversal (queued, requested, reversed, withdrawn, failed); reduced
    or cancelled if the transfer was reduced instead; waiting_for_payment while the order is not
    paid.
    """

    seller_id: str
    amount: int
    transfer_id: str | None
    reversal_id: str | None
    status: str


@dataclass(frozen=True, slots=True)
class Refund:
    """A refund of a buyer."""

    refund_id: str
    order_id: str
    amount: int
    currency: str
    status: str
    psp_refund_id: str | None
    reason: str | None
    last_error: str | None
    allocation: Sequence[Part]
    created_at: datetime
    updated_at: datetime


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
class StoredWebhook:
    """A webhook in the inbox. `body` is the text as received; empty once it was removed after
    INBOX_RETENTION."""

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
    body: str


@dataclass(frozen=True, slots=True)
class SellerDestination:
    """A seller's new account. `redirected`: transfers that go to it now; `in_call`: transfers whose
    open call has its outcome first, so that the call should be repeated."""

    seller_id: str
    destination: str
    redirected: int
    in_call: int


@dataclass(frozen=True, slots=True)
class Finding:
    """A difference from Stripe's books, and the last decision about it."""

    finding_id: str
    status: str


@dataclass(frozen=True, slots=True)
class Payment:
    """The buyer's payment at the payment provider. The buyer's browser pays with `client_secret`;
    show it to no other party."""

    order_id: str
    payment_id: str
    status: str
    amount: int
    currency: str
    client_secret: str | None


@dataclass(frozen=True, slots=True)
class Order:
    """An order with its shares, transfers and refunds. `collected` is the amount that its payment
    received, over which refunds are divided; null until it is paid."""

    order_id: str
    currency: str
    amount: int
    refunded: int
    collected: int | None
    status: str
    payment_id: str | None
    source_transaction: str | None
    connector_payment: str | None
    shares: Sequence[Share]
    transfers: Sequence[Transfer]
    refunds: Sequence[Refund]
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One fact of a transfer; `sentence` describes the fact and the next step.

    `by`: `api`, `worker`, a person, `stripe:<object id>`, or a webhook as `<provider>:<event id>`.
    `key` is the idempotency key of the call that the fact begins or ends, `request_id` Stripe's id
    of that call, `error` the provider's message.
    """

    position: int
    version: int
    at: datetime
    fact: str
    payload: Mapping[str, object]
    sentence: str
    by: str
    key: str | None
    request_id: str | None
    error: str | None


@dataclass(frozen=True, slots=True)
class History:
    """The audit trail of one transfer, oldest first."""

    data: Sequence[HistoryEntry]


@dataclass(frozen=True, slots=True)
class OrderHistoryEntry(HistoryEntry):
    """One fact of an order, of its refund or of its transfer; `stream` names the kind."""

    stream: str
    stream_id: UUID


@dataclass(frozen=True, slots=True)
class OrderHistory:
    """The audit trail of an order with its refunds and transfers, oldest first."""

    data: Sequence[OrderHistoryEntry]


@dataclass(frozen=True, slots=True)
class FeedEntry:
    """One fact of the ledger; `stream` is its kind: order, refund or seller_transfer. `topic` is
    its permanent name, under which `GET /v1/facts/schemas` has the schema of its payload."""

    position: int
    topic: str
    stream: str
    stream_id: UUID
    version: int
    at: datetime
    fact: str
    payload: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Feed:
    """Facts in order. Continue with `after=next_after`; no fact is ever missed or moved."""

    data: Sequence[FeedEntry]
    next_after: int


@dataclass(frozen=True, slots=True)
class CurrencyBalance:
    """`transferred`: sum of all paid transfers. `stuck`: reversals that wait for a person;
    `reversal_pending`: the other open reversals."""

    currency: str
    transferred: int
    reversed: int
    reversal_pending: int
    stuck: int


@dataclass(frozen=True, slots=True)
class Balance:
    """Amounts that a seller received and gave back. A seller without transfers has no balances."""

    seller_id: str
    balances: Sequence[CurrencyBalance]


@dataclass(frozen=True, slots=True)
class Payout:
    """A payout by Stripe to a seller's bank: `payout_id` is Stripe's `po_…`, `status` is Stripe's
    word."""

    payout_id: str
    account: str
    amount: int
    currency: str
    status: str
    arrival_date: datetime | None
    last_error: str | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Payouts:
    """The newest payouts of a seller's accounts."""

    seller_id: str
    data: Sequence[Payout]


@dataclass(frozen=True, slots=True)
class Alarm:
    """A case that needs a person; `subject` is its transfer, order, refund, webhook or scope."""

    kind: str
    subject: str
    detail: str
    raised_at: datetime
    last_seen_at: datetime
    count: int
    cleared_at: datetime | None


@dataclass(frozen=True, slots=True)
class Alarms:
    """Cases that need a person."""

    data: Sequence[Alarm]


@dataclass(frozen=True, slots=True)
class Pause:
    """A scope that is or was paused: `everything`, `work:<kind>`, `seller:<id>`,
    `transferring:<seller>`, or `unseen` (look up at Stripe before each send)."""

    scope: str
    paused: bool
    actor: str | None
    reason: str | None
    updated_at: datetime | None


@dataclass(frozen=True, slots=True)
class Pauses:
    """Paused scopes."""

    data: Sequence[Pause]


@dataclass(frozen=True, slots=True)
class Movement:
    """One movement of money. `amount` is signed: above 0 if the seller receives it.

    `kind`: paid, reversed, external_reversal (made at Stripe outside the ledger), or taken_over
    (from an older system).
    """

    position: int
    at: datetime
    kind: str
    amount: int
    currency: str
    order_id: str
    refund_id: str | None
    transfer_id: UUID
    stripe_transfer_id: str | None
    stripe_reversal_id: str | None


@dataclass(frozen=True, slots=True)
class Account:
    """One currency: opening plus all movements is closing. A balance is the amount sent and not
    taken back."""

    currency: str
    opening: int
    movements: Sequence[Movement]
    closing: int


@dataclass(frozen=True, slots=True)
class Statement:
    """Movements of a period from `from` (included) to `to` (excluded); `as_of_position` =
    `position` gives the same answer again."""

    seller_id: str
    period: Mapping[str, datetime]
    position: int
    accounts: Sequence[Account]


@dataclass(frozen=True, slots=True)
class Received:
    """The webhook is stored, now or earlier; it is handled later."""

    received: bool


@dataclass(frozen=True, slots=True)
class Alive:
    """The process answers."""

    status: str


@dataclass(frozen=True, slots=True)
class Ready:
    """The process can serve."""

    ready: bool
