"""State of the machine for the overview: database, calls to Stripe, inbox, processes and checks."""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from application.missed_webhooks.ports import Poll
from infrastructure.postgres.check_runs import CheckRun, CheckRuns
from infrastructure.postgres.connections import Pool, fetch_all, fetch_one, fetch_rows
from infrastructure.postgres.inbox import PostgresInbox
from infrastructure.postgres.named_queries import queries
from infrastructure.postgres.rate_limiter import WINDOW
from infrastructure.postgres.webhook_polls import PostgresWebhookPolls
from infrastructure.settings import Settings

SQL = queries("machine_state")
SILENT = 60.0
"""Seconds after which a process that does not report counts as gone."""


class StripeState(StrEnum):
    """State of the calls to Stripe."""

    ANSWERING = "answering"
    """Nothing speaks against it: the circuit breaker is closed, and the key is not refused."""
    OUTAGE = "outage"
    KEY_REFUSED = "key_refused"


class EndpointRate(NamedTuple):
    """The use of the rate limit of one endpoint by all processes. Rates in calls per second."""

    endpoint: str
    limit: float
    """The configured rate, reduced by refusals."""
    used: float
    """Calls of the last seconds."""
    reserved_seconds: float
    """Seconds until the next free instant: the queue at the limiter."""
    slowed_at: datetime | None


class LoopReport(NamedTuple):
    """The last report about one loop of one process."""

    process: UUID
    loop: str
    host: str
    pid: int
    started_at: datetime
    reported_at: datetime
    progressed_at: datetime | None
    trouble: str | None
    silent_seconds: float

    @property
    def alive(self) -> bool:
        """Return whether the process has reported lately."""
        return self.silent_seconds <= SILENT


class MissedWebhooks(NamedTuple):
    """Webhooks of one provider that never arrived and that the poller found."""

    provider: str
    missed: int
    replayed: int
    checked_at: datetime | None
    seen_until: datetime | None


class MachineState(NamedTuple):
    """State of the machine at one instant."""

    at: datetime
    mode: str
    account: str | None
    can_write: bool
    reasons: Sequence[str]
    """Why the ledger cannot write or serve; empty if it can."""
    stripe: StripeState
    stripe_since: datetime | None
    """Beginning of the outage or of the refusals."""
    stripe_detail: str | None
    probe_at: datetime | None
    rates: Sequence[EndpointRate]
    inbox_lag_seconds: float
    """Age of the oldest webhook that is due and not handled."""
    inbox: dict[str, int]
    """Number of stored, parked and dead webhooks."""
    loops: Sequence[LoopReport]
    missed: Sequence[MissedWebhooks]
    checks: dict[str, CheckRun]
    """By kind: verify, reconcile, seal. A kind that never ran is missing."""
    open_alarms: int


class Machine:
    """Reader of the machine's state."""

    def __init__(self, pool: Pool, settings: Settings) -> None:
        self._pool, self._settings = pool, settings

    async def state(self, reasons: Sequence[str] = ()) -> MachineState:
        """Read the state. `reasons`: why the process of the caller cannot serve."""
        row = await fetch_one(self._pool, SQL["machine"])
        assert row, "the migration has made the breaker's only row"
        now, read_only, outage, opened_at, probe_at, refused_at, refusal, lag, alarms, *bound = row
        inbox = PostgresInbox(self._settings.database_url or "", self._pool)
        why = [*reasons, *(["the database is read only"] if read_only and not reasons else [])]
        state, since, detail = _stripe(outage, opened_at, refused_at, refusal)
        return MachineState(
            at=now,
            mode=bound[0] or self._settings.mode,
            account=bound[1],
            can_write=not why,
            reasons=why,
            stripe=state,
            stripe_since=since,
            stripe_detail=detail,
            probe_at=probe_at,
            rates=await self.rates(),
            inbox_lag_seconds=lag or 0.0,
            inbox=await inbox.counts(),
            loops=await fetch_rows(self._pool, LoopReport, SQL["loops"]),
            missed=await self._missed(inbox),
            checks=await CheckRuns(self._pool).newest(),
            open_alarms=alarms,
        )

    async def rates(self) -> list[EndpointRate]:
        """Read the use of each rate limit."""
        configured = self._settings.stripe_max_rps
        rows = await fetch_all(self._pool, SQL["rates"], {"window": WINDOW})
        return [
            EndpointRate(endpoint, share * configured, used, reserved, slowed_at)
            for endpoint, share, reserved, used, slowed_at in rows
        ]

    async def _missed(self, inbox: PostgresInbox) -> list[MissedWebhooks]:
        polls = await PostgresWebhookPolls(self._pool).state()
        counts = await inbox.missed()
        return [
            _missed_of(provider, polls.get(provider), counts.get(provider, (0, 0)))
            for provider in sorted(polls.keys() | counts.keys())
        ]


def _missed_of(provider: str, poll: Poll | None, counts: tuple[int, int]) -> MissedWebhooks:
    checked, until = (poll.checked_at, poll.seen_until) if poll is not None else (None, None)
    return MissedWebhooks(provider, *counts, checked, until)


def _stripe(
    outage: bool, opened_at: datetime | None, refused_at: datetime | None, refusal: str | None
) -> tuple[StripeState, datetime | None, str | None]:
    if refused_at is not None:
        return StripeState.KEY_REFUSED, refused_at, refusal
    if outage:
        return StripeState.OUTAGE, opened_at, "Stripe does not answer; a probe ends the outage."
    return StripeState.ANSWERING, None, None
