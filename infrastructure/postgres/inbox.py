"""Webhook inbox: a received event is stored before it is answered, and its row is the job that
handles it.

Statuses: stored → done | ignored | parked | dead; parked → the same; all but done → discarded by a
person. `done` and `discarded` are written with their facts (`EventStore.append`, rows
`webhook_inbox`), every other status here. Closed rows stay as they are, but their bodies may be
emptied (`redact`).
"""

from base64 import b64encode
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from time import monotonic
from typing import NamedTuple

import psycopg

from domain.errors import ConstraintBroken
from infrastructure.measurements import AppendMeasurements, WriterMeter
from infrastructure.postgres import json_encoder
from infrastructure.postgres.connections import (
    Connection,
    Pool,
    execute,
    fetch_all,
    fetch_one,
    fetch_rows,
)
from infrastructure.postgres.due_bound import DueBound
from infrastructure.postgres.group_commit import PATIENCE, GroupCommit
from infrastructure.postgres.named_queries import queries
from infrastructure.postgres.texts import storable
from infrastructure.postgres.writer_health import WriterHealth

GROUP_LIMIT = 32
SQL = queries("inbox")


class ReceivedWebhook(NamedTuple):
    """A webhook as it was received; its signature covers `body`."""

    provider: str
    event_id: str
    event_type: str
    body: bytes
    received_at: datetime
    source: str = "webhook"
    """`poller` if the poller found the event because its webhook was lost."""

    @property
    def key(self) -> tuple[str, str]:
        return self.provider, self.event_id


class ClaimedWebhook(NamedTuple):
    """An event to be handled now; `subject` is the key that a parked event waited for."""

    inbox_id: int
    provider: str
    event_id: str
    event_type: str
    body: bytes
    received_at: datetime
    status: str
    subject: str | None
    attempts: int


class WebhookClaim(NamedTuple):
    """Events leased to one holder, and the database's clock, which is the `now` of the facts that
    they cause."""

    events: list[ClaimedWebhook]
    now: datetime


class InboxRow(NamedTuple):
    """A row of `webhook_inbox` for people, without the body and the lease."""

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


class PostgresInbox:
    """The port `Inbox`: receives through one connection of its own, works through the pool.

    `start` before use, `aclose` after.
    """

    def __init__(
        self,
        database_url: str,
        pool: Pool,
        group_limit: int = GROUP_LIMIT,
        patience: timedelta = PATIENCE,
        measured: AppendMeasurements | None = None,
    ) -> None:
        meter = WriterMeter(measured or AppendMeasurements(), "webhooks")
        self._intake = GroupCommit(
            database_url, PutStatement(), group_limit, patience, pool.drain, meter
        )
        self._pool, self._due = pool, DueBound()

    async def start(self) -> None:
        """Open the intake. Raises psycopg.OperationalError if the database cannot be reached."""
        await self._intake.start()

    async def aclose(self) -> None:
        """Store the waiting events, then end."""
        await self._intake.aclose()

    async def put(
        self,
        provider: str,
        event_id: str,
        event_type: str,
        body: bytes,
        received_at: datetime,
        source: str = "webhook",
    ) -> bool:
        """Store an event durably, and return whether it is new. Of a duplicate, the first body is
        kept.

        (After a lost connection an event that we stored ourselves may count as a duplicate.) Raises
        Unavailable, or ConstraintBroken for a value that PostgreSQL cannot store.
        """
        return await self._intake.submit(
            ReceivedWebhook(provider, event_id, event_type, body, received_at, source)
        )

    @property
    def health(self) -> WriterHealth:
        return self._intake.health

    async def claim(self, holder: str, limit: int, lease: timedelta) -> WebhookClaim:
        """Lease up to `limit` due events, the longest due first; no two holders get the same event.

        An empty claim does not mean idle: others may hold the due events (see `next_due`).
        """
        async with self._pool.connection() as connection, connection.cursor(binary=True) as cursor:
            since, began = self._due.start(), monotonic()
            values = {"holder": holder, "limit": limit, "lease": lease, "since": since}
            rows = await (await cursor.execute(SQL["claim"], values)).fetchall()
        now, earliest = rows[0][:2]
        self._due.end(since, monotonic() - began, earliest, now)
        return WebhookClaim([ClaimedWebhook(*row[2:]) for row in rows if row[2] is not None], now)

    async def next_due(self) -> datetime | None:
        """Return the earliest instant at which an event may be claimed; None if no event waits for
        a time."""
        row = await fetch_one(self._pool, SQL["next_due"], {"since": self._due.bound})
        return self._due.no_later(row[0] if row else None)

    async def park(self, inbox_id: int, subject: str, due_at: datetime | None, reason: str) -> bool:
        """Let an event wait until `subject` (an order id, for example) is released, and at the
        latest until `due_at`.

        Without `due_at` the event waits for the release alone. A subject that came after the claim
        counts as released. Returns whether the event is still open.
        """
        values = {
            "inbox_id": inbox_id,
            "subject": storable(subject),
            "due_at": due_at,
            "reason": storable(reason),
        }
        row = await fetch_one(self._pool, SQL["park"], values)
        return bool(row and row[0])

    async def ignore(self, reasons: Mapping[int, str]) -> None:
        """Close events that do not concern this ledger; `reasons` is by inbox_id."""
        if reasons:
            texts = [storable(reason) for reason in reasons.values()]
            await execute(self._pool, SQL["ignore"], {"ids": list(reasons), "reasons": texts})

    async def bury(self, inbox_id: int, reason: str) -> None:
        """Give up on an event; a person may `replay` it."""
        await execute(
            self._pool,
            SQL["close"],
            {"inbox_id": inbox_id, "status": "dead", "reason": storable(reason)},
        )

    async def retry_later(
        self, inbox_id: int, due_at: datetime, reason: str, counted: bool
    ) -> None:
        """Retry an event at `due_at`. Not `counted` when the event did not cause the failure, as in
        a database outage."""
        values = {
            "inbox_id": inbox_id,
            "due_at": due_at,
            "reason": storable(reason),
            "counted": counted,
        }
        await execute(self._pool, SQL["retry_later"], values)

    async def replay(self, inbox_id: int) -> bool:
        """Have an event handled again from the start, in any status; False if there is no such row,
        its body was emptied, or its lease runs."""
        row = await fetch_one(self._pool, SQL["replay"], (inbox_id,))
        return row is not None and row[0] > 0

    async def redact(self, retention: timedelta, limit: int) -> int:
        """Empty the bodies of up to `limit` events that were closed longer ago than `retention`;
        return how many."""
        return await execute(self._pool, SQL["redact"], {"retention": retention, "limit": limit})

    async def erase(self, inbox_id: int) -> bool:
        """Empty the body of a closed event now; False if there is no such row, or it is open."""
        return await execute(self._pool, SQL["erase"], (inbox_id,)) > 0

    async def one(self, inbox_id: int) -> InboxRow | None:
        """Return one row; None if there is no such row."""
        return next(iter(await fetch_rows(self._pool, InboxRow, SQL["one"], (inbox_id,))), None)

    async def newest(self, status: str | None = None, limit: int = 50) -> list[InboxRow]:
        """List the newest rows, of one status or of all."""
        return await fetch_rows(
            self._pool, InboxRow, SQL["newest"], {"status": status, "limit": limit}
        )

    async def body(self, inbox_id: int) -> bytes | None:
        """Return the body as received; None if there is no such row."""
        row = await fetch_one(self._pool, SQL["body"], (inbox_id,))
        return row[0] if row else None

    async def counts(self) -> dict[str, int]:
        """Count the stored, parked and dead events. Handled events are not counted: there are
        millions of them."""
        rows = await fetch_all(self._pool, SQL["counts"])
        return {"stored": 0, "parked": 0, "dead": 0, **dict(rows)}

    async def unknown(self, provider: str, ids: Collection[str]) -> set[str]:
        """Find those of these event ids that are not in the inbox."""
        return {
            row[0]
            for row in await fetch_all(
                self._pool, SQL["unknown"], {"provider": provider, "ids": list(ids)}
            )
        }

    async def waiting(
        self, provider: str, about: Sequence[tuple[str, str]]
    ) -> set[tuple[str, str]]:
        """Find those of these pairs (event type, name of the object) with a received event that is
        not handled."""
        values = {
            "provider": provider,
            "types": [kind for kind, _ in about],
            "names": [name for _, name in about],
        }
        return {about[row[0] - 1] for row in await fetch_all(self._pool, SQL["waiting"], values)}

    async def missed(self) -> dict[str, tuple[int, int]]:
        """Count, by provider, the events that the poller found, and those of them that are
        handled."""
        rows = await fetch_all(self._pool, SQL["missed"])
        return {provider: (missed, replayed) for provider, missed, replayed in rows}


class PutStatement:
    """The statement that received events share (see `group_commit.GroupStatement`).

    Storing an event twice is harmless, so nothing is recalled.
    """

    async def store(
        self, connection: Connection, items: Sequence[ReceivedWebhook]
    ) -> Sequence[bool]:
        encoded = json_encoder.array([json_encoder.members(map(_row, items))])
        cursor = await connection.execute(
            SQL["put"], (json_encoder.parameter(encoded),), prepare=True
        )
        new = {(provider, event_id) for provider, event_id, _ in await cursor.fetchall()}
        return [_take(new, item.key) for item in items]

    async def recall(
        self, connection: Connection, items: Sequence[ReceivedWebhook]
    ) -> Sequence[bool] | None:
        return None

    def blamed(
        self, error: psycopg.Error, items: Sequence[ReceivedWebhook]
    ) -> Mapping[int, Exception]:
        return {}

    def refusal(self, error: Exception, item: ReceivedWebhook) -> Exception:
        constraint = error.diag.constraint_name if isinstance(error, psycopg.Error) else None
        return ConstraintBroken(constraint, f"{item.provider} event {item.event_id!r}: {error}")


def _row(item: ReceivedWebhook) -> dict[str, object]:
    """Encode the body as base64: JSON has no bytes, and a body need not be text."""
    return {**item._asdict(), "body": b64encode(item.body).decode()}


def _take(new: set[tuple[str, str]], key: tuple[str, str]) -> bool:
    """Take a key from the new ones: of several equal events in one group, the first is the new
    one."""
    if key in new:
        new.remove(key)
        return True
    return False
