"""Responses of the overview and the search. Amounts in minor units, times in
UTC."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from infrastructure.postgres.read_side.machine_state import StripeState
from infrastructure.postgres.read_side.overview import Direction, MoneyState


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
