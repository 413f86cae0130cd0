"""Open money by currency and state, its trend, and the alarms with the money behind them.

Every query begins at open rows, by partial indexes: no cost grows with the settled transfers.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from infrastructure.postgres.connections import Pool, execute, fetch_by_index, fetch_rows
from infrastructure.postgres.named_queries import queries
from projections.alarm_causes import AlarmCause, cause_of

SQL = queries("overview")
MOST_ALARMS = 10_000
"""The oldest open alarms that the groups count."""


class MoneyState(StrEnum):
    """State of an amount that is not settled."""

    MOVING = "moving"
    """The ledger sends it, or takes it back, without help."""
    WAITING_FOR_FUNDS = "waiting_for_funds"
    """A balance at Stripe is too low."""
    HELD = "held"
    """It waits for a seller's account, for a payment in doubt, for a person, or for a pause."""
    IN_DISPUTE = "in_dispute"
    """The buyer's bank has not decided."""
    STUCK = "stuck"
    """The ledger has given up: a person has to act."""
    UNKNOWN = "unknown"
    """The outcome of the last call is unknown, so the money may have moved."""


class Direction(StrEnum):
    """Direction of an open amount."""

    TO_SELLERS = "to_sellers"
    FROM_SELLERS = "from_sellers"
    IN_DISPUTE = "in_dispute"


class MoneyTotal(NamedTuple):
    """The open money of one currency, state and direction. `amount` in minor units."""

    currency: str
    state: MoneyState
    direction: Direction
    amount: int
    number: int
    oldest_at: datetime


class MoneyBar(NamedTuple):
    """The open money of one currency and state. Amounts in minor units; zero if there is none."""

    currency: str
    state: MoneyState
    amount: int
    number: int
    oldest_at: datetime | None
    to_sellers: int
    from_sellers: int


class MoneyItem(NamedTuple):
    """One open amount: of a transfer that is not sent, of a reversal, or of a dispute.

    `subject` is the id of the transfer, of the reversal or of the dispute. `since` is the creation
    of that.
    """

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


class MoneySample(NamedTuple):
    """The open money of one currency and state at a quarter of an hour. Zero has no sample."""

    at: datetime
    currency: str
    state: MoneyState
    amount: int
    number: int


class OpenAlarm(NamedTuple):
    """An open alarm and its subject under the name that callers use.

    `subject_kind`: transfer, order, refund, dispute, webhook or pause; None for another subject,
    such as a provider. `at_risk` in minor units of `currency`; None if no amount is known.
    """

    kind: str
    subject: str
    detail: str
    raised_at: datetime
    last_seen_at: datetime
    times: int
    subject_kind: str | None
    subject_id: str
    order_id: str | None
    seller_id: str | None
    currency: str | None
    at_risk: int | None
    deadline: datetime | None
    """Instant until which a person has to act; None if none is known."""


class AlarmGroup(NamedTuple):
    """The open alarms of one cause, with the sum of their money by currency, in minor units."""

    kind: str
    cause: AlarmCause
    number: int
    at_risk: Mapping[str, int]
    raised_at: datetime
    """Beginning of the oldest."""
    deadline: datetime | None
    """The first instant at which the ledger gives up by itself, or until which a person has to
    act; None if there is none."""
    examples: Sequence[OpenAlarm]
    """The alarms with the next deadlines, then those with the most money, at most `EXAMPLES`."""


EXAMPLES = 5


class Overview:
    """Money that is not settled, and alarms."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def totals(self) -> list[MoneyTotal]:
        """Sum the open money by currency, state and direction; zero has no row."""
        rows = await fetch_by_index(self._pool, MoneyTotal, SQL["money"])
        return [
            row._replace(
                state=MoneyState(row.state),
                direction=Direction(row.direction),
                amount=int(row.amount),
            )
            for row in rows
        ]

    async def money(self) -> list[MoneyBar]:
        """Sum the open money: each currency that has any, with each of the six states."""
        return bars(await self.totals())

    async def items(
        self,
        state: MoneyState | None,
        currency: str | None,
        limit: int,
        after: tuple[datetime, str] | None = None,
    ) -> list[MoneyItem]:
        """List the amounts behind a number, oldest first; `after` is `since` and `subject` of the
        last one shown."""
        since, subject = after or (None, None)
        values = {
            "state": state,
            "currency": currency,
            "since": since,
            "subject": subject,
            "limit": limit,
        }
        rows = await fetch_by_index(self._pool, MoneyItem, SQL["items"], values)
        return [
            row._replace(state=MoneyState(row.state), direction=Direction(row.direction))
            for row in rows
        ]

    async def sample(self) -> None:
        """Keep the open money of this quarter of an hour for the trend, once for all processes."""
        await execute(self._pool, SQL["sample"])

    async def trend(self, since: datetime) -> list[MoneySample]:
        """Return the samples since that instant, oldest first."""
        rows = await fetch_rows(self._pool, MoneySample, SQL["trend"], {"since": since})
        return [row._replace(state=MoneyState(row.state), amount=int(row.amount)) for row in rows]

    async def alarms(self, kind: str | None = None, limit: int = MOST_ALARMS) -> list[OpenAlarm]:
        """List the open alarms, oldest first, each with the money behind it."""
        values = {"kind": kind, "most": limit}
        return await fetch_by_index(self._pool, OpenAlarm, SQL["alarms"], values)

    async def alarm_groups(self, now: datetime, funds_deadline: timedelta) -> list[AlarmGroup]:
        """Group the open alarms by cause, the ones with the most money × age first."""
        return groups(await self.alarms(), now, funds_deadline)


def bars(totals: Iterable[MoneyTotal]) -> list[MoneyBar]:
    """Add the directions up, and fill in the states without money."""
    found: dict[tuple[str, MoneyState], MoneyBar] = {}
    for total in totals:
        for state in MoneyState:
            empty = MoneyBar(total.currency, state, 0, 0, None, 0, 0)
            found.setdefault((total.currency, state), empty)
        before = found[total.currency, total.state]
        oldest = min(before.oldest_at or total.oldest_at, total.oldest_at)
        to_sellers = total.amount if total.direction is Direction.TO_SELLERS else 0
        from_sellers = total.amount if total.direction is Direction.FROM_SELLERS else 0
        found[total.currency, total.state] = MoneyBar(
            total.currency,
            total.state,
            before.amount + total.amount,
            before.number + total.number,
            oldest,
            before.to_sellers + to_sellers,
            before.from_sellers + from_sellers,
        )
    return list(found.values())


def groups(
    alarms: Iterable[OpenAlarm], now: datetime, funds_deadline: timedelta
) -> list[AlarmGroup]:
    """Group alarms by their kind, the groups with the most money × age first."""
    by_kind: dict[str, list[OpenAlarm]] = {}
    for alarm in alarms:
        by_kind.setdefault(alarm.kind, []).append(alarm)
    found = [_group(kind, members, funds_deadline) for kind, members in by_kind.items()]
    return sorted(found, key=lambda group: (-_weight(by_kind[group.kind], now), group.raised_at))


def _group(kind: str, members: Sequence[OpenAlarm], funds_deadline: timedelta) -> AlarmGroup:
    at_risk: dict[str, int] = {}
    for one in members:
        if one.currency is not None and one.at_risk:
            at_risk[one.currency] = at_risk.get(one.currency, 0) + one.at_risk
    cause, raised_at = cause_of(kind), min(one.raised_at for one in members)
    told = [one.deadline for one in members if one.deadline is not None]
    return AlarmGroup(
        kind,
        cause,
        len(members),
        at_risk,
        raised_at,
        raised_at + funds_deadline if cause.ends_at_funds_deadline else min(told, default=None),
        sorted(members, key=_urgency)[:EXAMPLES],
    )


def _urgency(alarm: OpenAlarm) -> tuple[bool, float, int]:
    """Order alarms: those with a deadline first, the next one first; then by money."""
    due = alarm.deadline
    return due is None, due.timestamp() if due is not None else 0.0, -(alarm.at_risk or 0)


def _weight(members: Iterable[OpenAlarm], now: datetime) -> float:
    """Return money × age. An amount of 1 stands for money that is not known."""
    return sum(max(one.at_risk or 0, 1) * (now - one.raised_at).total_seconds() for one in members)
