"""Responses of the overview, the search and the lists for people. Amounts in minor units, times in
UTC."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from infrastructure.postgres.machine_state import StripeState
from infrastructure.postgres.overview import Direction, MoneyState
from infrastructure.web.responses import Dispute


@dataclass(frozen=True, slots=True)
class OpenMoney:
    """The money of one currency that is not settled, in one state; zero if there is none."""

    currency: str
    state: MoneyState
    amount: int
    count: int
    oldest_at: datetime | None
    oldest_seconds: float | None
    to_sellers: int
    from_sellers: int


@dataclass(frozen=True, slots=True)
class MoneyAt:
    """The open money of one currency and state at a quarter of an hour; zero has no entry."""

    at: datetime
    currency: str
    state: MoneyState
    amount: int
    count: int


@dataclass(frozen=True, slots=True)
class Amount:
    """An amount of one currency."""

    currency: str
    amount: int


@dataclass(frozen=True, slots=True)
class AlarmCase:
    """One open alarm, and its subject under the name that callers use."""

    kind: str
    subject: str
    subject_kind: str | None
    subject_id: str
    order_id: str | None
    seller_id: str | None
    currency: str | None
    at_risk: int | None
    detail: str
    raised_at: datetime
    last_seen_at: datetime
    count: int
    deadline: datetime | None


@dataclass(frozen=True, slots=True)
class AlarmCauseShown:
    """The open alarms of one cause. `examples` are those with the most money."""

    kind: str
    sentence: str
    runbook: str
    levers: Sequence[str]
    count: int
    at_risk: Sequence[Amount]
    raised_at: datetime
    age_seconds: float
    deadline: datetime | None
    examples: Sequence[AlarmCase]


@dataclass(frozen=True, slots=True)
class EndpointUse:
    """The use of the rate limit of one endpoint, by all processes."""

    endpoint: str
    limit_per_second: float
    used_per_second: float
    reserved_seconds: float
    slowed_at: datetime | None


@dataclass(frozen=True, slots=True)
class LoopProgress:
    """The last progress of one loop of one process."""

    process: UUID
    loop: str
    host: str
    pid: int
    alive: bool
    started_at: datetime
    reported_at: datetime
    progressed_at: datetime | None
    trouble: str | None


@dataclass(frozen=True, slots=True)
class MissedEvents:
    """Events of one provider whose webhooks never arrived, and that the poller found."""

    provider: str
    missed: int
    replayed: int
    checked_at: datetime | None
    seen_until: datetime | None


@dataclass(frozen=True, slots=True)
class Check:
    """The newest end of a check; null if it never ran."""

    check: str
    finished_at: datetime | None
    findings: int | None
    position: int | None
    detail: str | None


@dataclass(frozen=True, slots=True)
class InboxCounts:
    """Webhooks that are not handled, by status."""

    stored: int
    parked: int
    dead: int


@dataclass(frozen=True, slots=True)
class MachineShown:
    """The machine: whether it writes, whether Stripe answers, and whether its loops progress."""

    can_write: bool
    reasons: Sequence[str]
    stripe: StripeState
    stripe_since: datetime | None
    stripe_detail: str | None
    probe_at: datetime | None
    rates: Sequence[EndpointUse]
    inbox_lag_seconds: float
    inbox: InboxCounts
    loops: Sequence[LoopProgress]
    missed: Sequence[MissedEvents]
    checks: Sequence[Check]
    open_alarms: int


@dataclass(frozen=True, slots=True)
class OverviewShown:
    """Money, alarms and machine at one instant."""

    at: datetime
    mode: str
    account: str | None
    money: Sequence[OpenMoney]
    trend: Sequence[MoneyAt]
    alarms: Sequence[AlarmCauseShown]
    machine: MachineShown


@dataclass(frozen=True, slots=True)
class MoneyEntry:
    """One open amount: of an unsent transfer, of a reversal, or of a dispute, which `subject`
    names."""

    currency: str
    state: MoneyState
    direction: Direction
    amount: int
    since: datetime
    subject: str
    transfer_id: UUID | None
    order_id: str
    seller_id: str | None
    status: str
    waiting_for: str | None
    next_retry_at: datetime | None
    last_error: str | None


@dataclass(frozen=True, slots=True)
class MoneyPage:
    """Oldest first; `next_cursor` is null on the last page."""

    data: Sequence[MoneyEntry]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class Hit:
    """One thing that a text names, and its present state."""

    kind: str
    id: str
    matched: str
    status: str | None
    order_id: str | None
    seller_id: str | None
    amount: int | None
    currency: str | None
    waiting_for: str | None
    last_error: str | None
    at: datetime | None


@dataclass(frozen=True, slots=True)
class SearchAnswer:
    """The things that one text names. `prefix`: their ids only begin with the text."""

    query: str
    prefix: bool
    hits: Sequence[Hit]


@dataclass(frozen=True, slots=True)
class SearchAnswers:
    """One answer for each text, in the order of the texts."""

    data: Sequence[SearchAnswer]


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
