"""Query parameters of the overview, the search and the lists for people."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import BeforeValidator, Field

from domain.dispute import DisputeStatus
from domain.finding import DifferenceKind
from domain.money import LARGEST
from domain.refund.state import RefundStatus
from infrastructure.postgres.read_side.overview import MoneyState
from infrastructure.web.list_cursors import CURSOR_PATTERN, NUMBER_PATTERN
from infrastructure.web.requests import (
    Currency,
    Id,
    Instant,
    Line,
    Parameters,
    TransfersQuery,
    digits,
)
from projections.orders import OrderStatus

LONGEST_SEARCH = 3_000
"""Characters of a pasted text. Percent-encoded, it still fits into the head of a request."""

Limit = Annotated[int, Field(ge=1, le=500), BeforeValidator(digits)]
Cursor = Annotated[str, Field(max_length=600, json_schema_extra={"pattern": CURSOR_PATTERN})]
Provider = Literal["stripe", "hyperswitch"]
WaitsFor = Literal[
    "transfer", "reversal", "operator", "funds", "stripe", "charge", "account", "payment"
]
InboxStatus = Literal["stored", "done", "ignored", "parked", "dead", "discarded"]


class TransferListQuery(TransfersQuery):
    """Filters and page of a list of transfers.

    A page may be short, and still have a next one: `min_amount`, `attempts`, `error`, `currency`
    and `updated_since` have no index, so each page reads a bounded number of rows.
    """

    waiting_for: WaitsFor | None = None
    refund_id: Id | None = None
    stripe_id: Id | None = None
    destination: Id | None = None
    currency: Currency | None = None
    created_from: Instant | None = None
    created_to: Instant | None = None
    updated_since: Instant | None = None
    min_amount: Annotated[int, Field(ge=1, le=LARGEST), BeforeValidator(digits)] | None = None
    attempts: Annotated[int, Field(ge=1, le=1_000_000), BeforeValidator(digits)] | None = None
    error: Line | None = None


class MoneyQuery(Parameters):
    """Filters and page of the open amounts behind a number of the overview."""

    state: MoneyState | None = None
    currency: Currency | None = None
    limit: Limit = 50
    cursor: Cursor | None = None


class SearchQuery(Parameters):
    """Ids to search, at most 50, separated by spaces, line ends, commas or semicolons."""

    q: Annotated[str, Field(min_length=1, max_length=LONGEST_SEARCH)]


class OrdersQuery(Parameters):
    """Filters and page of a list of orders."""

    status: OrderStatus | None = None
    payment_id: Id | None = None
    created_from: Instant | None = None
    created_to: Instant | None = None
    limit: Limit = 50
    cursor: Cursor | None = None


class RefundsQuery(Parameters):
    """Filters and page of a list of refunds. `open`: neither succeeded nor failed."""

    status: RefundStatus | None = None
    order_id: Id | None = None
    open: bool = False
    created_from: Instant | None = None
    created_to: Instant | None = None
    limit: Limit = 50
    cursor: Cursor | None = None


class DisputesQuery(Parameters):
    """Filters and page of a list of disputes. `open`: the bank has not decided."""

    status: DisputeStatus | None = None
    order_id: Id | None = None
    provider: Provider | None = None
    open: bool = False
    limit: Limit = 50
    cursor: Cursor | None = None


class InboxQuery(Parameters):
    """Filters and page of a list of webhooks. `open`: stored, parked or dead."""

    status: InboxStatus | None = None
    provider: Provider | None = None
    event_type: Id | None = None
    open: bool = False
    limit: Limit = 50
    cursor: Annotated[str, Field(pattern=NUMBER_PATTERN)] | None = None


class FindingsQuery(Parameters):
    """Filters and page of a list of findings."""

    status: Literal["undecided", "ignored", "adopted", "noted"] | None = None
    kind: DifferenceKind | None = None
    transfer_id: UUID | None = None
    limit: Limit = 50
    cursor: Cursor | None = None


class SellersQuery(Parameters):
    """Order and page of a list of sellers.

    `debt` begins with the largest debt in one currency, `age` with the oldest; both list only
    sellers that owe money back. `seller` lists all sellers by their ids.
    """

    sort: Literal["debt", "age", "seller"] = "debt"
    currency: Currency | None = None
    limit: Annotated[int, Field(ge=1, le=100), BeforeValidator(digits)] = 50
    cursor: Cursor | None = None
