"""The webhook inbox: a received event is stored before it is answered, and its row is the job that handles it.

stored → done | ignored | parked | dead; parked → the same. `done` is written with the facts that the event caused
(`EventStore.append`, rows `webhook_inbox`), everything else here. Rows that are no longer open stay as they are.
"""

from base64 import b64encode
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

import psycopg
from psycopg.rows import args_row

from domain.errors import ConstraintBroken
from infrastructure.postgres import json_encoding
from infrastructure.postgres.connections import Connection, Pool
from infrastructure.postgres.group_commit import PATIENCE, GroupCommit
from infrastructure.postgres.named_queries import queries

GROUP_LIMIT = 32
SQL = queries("inbox")


class ReceivedWebhook(NamedTuple):
    """A webhook as it was received; `body` is what its signature covers."""

    provider: str
    event_id: str
    event_type: str
    body: bytes
    received_at: datetime
    source: str = "webhook"
    """Or `poller`, which found it where it asked for what was missed."""

    @property
    def key(self) -> tuple[str, str]:
        return self.provider, self.event_id


class ClaimedWebhook(NamedTuple):
    """An event to be handled now; `subject` is what it waited for, if it was parked."""

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
    """Events leased to one holder, and the database's clock, which is the `now` of what they cause."""

    events: list[ClaimedWebhook]
    now: datetime


class InboxRow(NamedTuple):
    """A row for people's eyes."""

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
    """Receives through one connection of its own, works through the pool. `start` before use, `aclose` after."""

    def __init__(self, database_url: str, pool: Pool, group_limit: int = GROUP_LIMIT, patience: timedelta = PATIENCE) -> None:
        self._intake = GroupCommit(database_url, PutStatement(), group_limit, patience)
        self._pool = pool

    async def start(self) -> None:
        """Raises psycopg.OperationalError if the database cannot be reached."""
        await self._intake.start()

    async def aclose(self) -> None:
        """Stores what waits, then ends."""
        await self._intake.aclose()

    async def put(
        self, provider: str, event_id: str, event_type: str, body: bytes, received_at: datetime, source: str = "webhook"
    ) -> bool:
        """Durable when this returns; whether it is new. Of a duplicate, the first body is kept.

        (After a lost connection an event that we stored ourselves may count as a duplicate.)
        Raises Unavailable, or ConstraintBroken for a value that PostgreSQL cannot store.
        """
        return await self._intake.submit(ReceivedWebhook(provider, event_id, event_type, body, received_at, source))

    async def claim(self, holder: str, limit: int, lease: timedelta) -> WebhookClaim:
        """Lease up to `limit` due events, the longest due first. No two holders get the same one. None does not mean
        idle: others may hold what is due (see `next_due`)."""
        values = {"holder": holder, "limit": limit, "lease": lease}
        async with self._pool.connection() as connection, connection.cursor(binary=True) as cursor:
            rows = await (await cursor.execute(SQL["claim"], values)).fetchall()
        return WebhookClaim([ClaimedWebhook(*row[1:]) for row in rows if row[1] is not None], rows[0][0])

    async def give_back(self, holder: str, ids: Collection[int]) -> None:
        """End leases early without having handled the events: others may claim them now."""
        await self._execute("give_back", {"holder": holder, "ids": list(ids)})

    async def next_due(self) -> datetime | None:
        """The earliest instant at which something may be claimed; None if nothing is waiting for a time."""
        async with self._pool.connection() as connection:
            row = await (await connection.execute(SQL["next_due"])).fetchone()
        return row[0] if row else None

    async def park(self, inbox_id: int, subject: str, due_at: datetime | None, reason: str) -> None:
        """It waits for `subject` (an order id, for example): until that is released, and at the latest until `due_at`.
        Without `due_at` it waits for the release alone. What has come since the event was claimed counts as come now."""
        values = {"inbox_id": inbox_id, "subject": subject, "due_at": due_at, "reason": reason}
        await self._execute("park", values)

    async def ignore(self, reasons: Mapping[int, str]) -> None:
        """These events are no concern of ours, and here is why, by inbox_id."""
        if reasons:
            await self._execute("ignore", {"ids": list(reasons), "reasons": list(reasons.values())})

    async def bury(self, inbox_id: int, reason: str) -> None:
        """We give up on it; a person may `replay` it."""
        await self._execute("close", {"inbox_id": inbox_id, "status": "dead", "reason": reason})

    async def retry_later(self, inbox_id: int, due_at: datetime, reason: str, counted: bool) -> None:
        """Again at `due_at`. Not `counted` where the event is not to blame, as when the database was away."""
        values = {"inbox_id": inbox_id, "due_at": due_at, "reason": reason, "counted": counted}
        await self._execute("retry_later", values)

    async def release_parked(self, subject: str) -> int:
        """What these events waited for is there: they are due now. Returns how many."""
        return await self._count("release_parked", subject)

    async def replay(self, inbox_id: int) -> bool:
        """Handle it again from the start, whatever its status; False if there is no such row or somebody works on it."""
        return await self._count("replay", inbox_id) > 0

    async def newest(self, status: str | None = None, limit: int = 50) -> list[InboxRow]:
        """The newest rows, of one status or of all."""
        async with (
            self._pool.connection() as connection,
            connection.cursor(row_factory=args_row(InboxRow)) as cursor,
        ):
            await cursor.execute(SQL["newest"], {"status": status, "limit": limit})
            return await cursor.fetchall()

    async def body(self, inbox_id: int) -> bytes | None:
        """What was received; None if there is no such row."""
        async with self._pool.connection() as connection:
            row = await (await connection.execute(SQL["body"], (inbox_id,))).fetchone()
        return row[0] if row else None

    async def counts(self) -> dict[str, int]:
        """How many events are stored, parked and dead. Handled ones are not counted: there are millions of them."""
        async with self._pool.connection() as connection:
            rows = await (await connection.execute(SQL["counts"])).fetchall()
        return {"stored": 0, "parked": 0, "dead": 0, **dict(rows)}

    async def unknown(self, provider: str, ids: Sequence[str]) -> set[str]:
        """Which of these events have never come in."""
        async with self._pool.connection() as connection:
            cursor = await connection.execute(SQL["unknown"], {"provider": provider, "ids": list(ids)})
            return {row[0] for row in await cursor.fetchall()}

    async def waiting(self, provider: str, about: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
        """Of which of these (event type, name of the object) an event has come in that is not handled."""
        values = {"provider": provider, "types": [kind for kind, _ in about], "names": [name for _, name in about]}
        async with self._pool.connection() as connection:
            return {about[row[0] - 1] for row in await (await connection.execute(SQL["waiting"], values)).fetchall()}

    async def missed(self) -> dict[str, tuple[int, int]]:
        """By provider: how many events no webhook had brought, and how many of them have been handled since."""
        async with self._pool.connection() as connection:
            rows = await (await connection.execute(SQL["missed"])).fetchall()
        return {provider: (missed, replayed) for provider, missed, replayed in rows}

    async def _execute(self, query: str, values: Mapping[str, object]) -> None:
        async with self._pool.connection() as connection:
            await connection.execute(SQL[query], values)

    async def _count(self, query: str, value: object) -> int:
        async with self._pool.connection() as connection:
            row = await (await connection.execute(SQL[query], (value,))).fetchone()
        return int(row[0]) if row else 0


class PutStatement:
    """How received events share a statement (see `grouped.Statement`). Storing twice is harmless, so nothing is recalled."""

    async def store(self, connection: Connection, items: Sequence[ReceivedWebhook]) -> Sequence[bool]:
        encoded = json_encoding.array([json_encoding.members(map(_row, items))])
        cursor = await connection.execute(SQL["put"], (json_encoding.parameter(encoded),), prepare=True)
        new = {(provider, event_id) for provider, event_id, _ in await cursor.fetchall()}
        return [_take(new, item.key) for item in items]

    async def recall(self, connection: Connection, items: Sequence[ReceivedWebhook]) -> Sequence[bool] | None:
        return None

    def blamed(self, error: psycopg.Error, items: Sequence[ReceivedWebhook]) -> Mapping[int, Exception]:
        return {}

    def refusal(self, error: Exception, item: ReceivedWebhook) -> Exception:
        constraint = error.diag.constraint_name if isinstance(error, psycopg.Error) else None
        return ConstraintBroken(constraint, f"{item.provider} event {item.event_id!r}: {error}")


def _row(item: ReceivedWebhook) -> dict[str, object]:
    """JSON has no bytes, and a body need not be text: base64."""
    return {**item._asdict(), "body": b64encode(item.body).decode()}


def _take(new: set[tuple[str, str]], key: tuple[str, str]) -> bool:
    """Of several equal events in one group the first is the new one."""
    if key in new:
        new.remove(key)
        return True
    return False
