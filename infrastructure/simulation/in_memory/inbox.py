"""Webhook inbox in memory: the row is the job, and a closed row stays closed."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol, TypedDict, Unpack

OPEN = ("stored", "parked")
OVER = ("done", "discarded")
"""Statuses with which the alarms of a webhook end in the same commit."""


@dataclass(frozen=True, slots=True)
class Webhook:
    inbox_id: int
    provider: str
    event_id: str
    event_type: str
    body: bytes
    received_at: datetime
    due_at: datetime | None
    status: str = "stored"
    subject: str | None = None
    reason: str | None = None
    attempts: int = 0
    leased_until: datetime | None = None
    position: int | None = None
    seen: int = 0
    """The number of releases before it was claimed."""

    @property
    def open(self) -> bool:
        return self.status in OPEN


class Changes(TypedDict, total=False):
    """The fields of a stored webhook that change."""

    due_at: datetime | None
    status: str
    subject: str | None
    reason: str | None
    attempts: int
    leased_until: datetime | None
    position: int | None
    seen: int


class HandledWebhook(TypedDict):
    """A row of `webhook_inbox` in the commit of the facts that a webhook caused."""

    inbox_id: int
    status: str
    reason: str | None


class ClaimedWebhooks(NamedTuple):
    """The webhooks of one claim, and the instant of the claim."""

    events: Sequence[Webhook]
    now: datetime


class StoredWebhooks:
    """The rows of `webhook_inbox`."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._now = clock
        self.rows: dict[int, Webhook] = {}
        self._unhandled: dict[int, None] = {}
        """Rows that are stored, parked or dead."""
        self._names: dict[tuple[str, str], int] = {}
        self._released: dict[str, int] = {}
        """For each subject, the number of its last release."""
        self._releases = 0

    def put(
        self, provider: str, event_id: str, event_type: str, body: bytes, received_at: datetime
    ) -> bool:
        if (provider, event_id) in self._names:
            return False
        number = len(self.rows) + 1
        self._names[provider, event_id] = number
        self._unhandled[number] = None
        self.rows[number] = Webhook(
            number, provider, event_id, event_type, body, received_at, self._now()
        )
        return True

    def claim(self, limit: int, lease: timedelta) -> ClaimedWebhooks:
        now = self._now()
        due = sorted(
            (due_at, row.inbox_id, row.status)
            for due_at, row in self._waiting()
            if due_at <= now and _free(row, now)
        )
        fresh = [one for one in due if one[2] == "stored"][: limit - limit // 8]
        parked = [one for one in due if one[2] == "parked"][: limit - len(fresh)]
        claimed = [
            self._change(inbox_id, leased_until=now + lease, seen=self._releases)
            for _, inbox_id, _ in [*fresh, *parked]
        ]
        return ClaimedWebhooks(claimed, now)

    def next_due(self) -> datetime | None:
        now = self._now()
        return min(
            (max(due_at, _held_until(row, now) or due_at) for due_at, row in self._waiting()),
            default=None,
        )

    def close(
        self, inbox_id: int, status: str, reason: str | None, position: int | None = None
    ) -> None:
        if status == "discarded" and inbox_id in self.rows:
            self.rows[inbox_id] = replace(self.rows[inbox_id], status="stored")
        self.change_open(inbox_id, status=status, reason=reason, due_at=None, position=position)

    def park(self, inbox_id: int, subject: str, due_at: datetime | None, reason: str) -> bool:
        come = inbox_id in self.rows and self._released.get(subject, 0) > self.rows[inbox_id].seen
        return self.change_open(
            inbox_id,
            status="parked",
            subject=subject,
            due_at=self._now() if come else due_at,
            reason=reason,
        )

    def change_open(self, inbox_id: int, **changes: Unpack[Changes]) -> bool:
        """Change a row, unless it is closed already. Returns whether it is open."""
        if inbox_id not in self.rows or not self.rows[inbox_id].open:
            return False
        free: Changes = {**changes, "leased_until": None}
        self._change(inbox_id, **free)
        return True

    def mark(self, handled: Sequence[HandledWebhook], position: int | None) -> list[str]:
        """Close webhooks in the commit of the facts that they caused. Returns the subjects of the
        alarms that end with them."""
        for row in handled:
            self.close(row["inbox_id"], row["status"], row["reason"], position)
        over = [self.rows[row["inbox_id"]] for row in handled if row["status"] in OVER]
        return [f"{one.provider}:{one.event_id}" for one in over]

    def replay(self, inbox_id: int) -> None:
        """Let an event be handled again, from the start, whatever became of it."""
        self._unhandled[inbox_id] = None
        self._change(inbox_id, status="stored", due_at=self._now(), attempts=0, leased_until=None)

    def release(self, subjects: Collection[str]) -> bool:
        """Make parked webhooks of these subjects due; return whether there were any."""
        self._releases += 1
        self._released.update(dict.fromkeys(subjects, self._releases))
        parked = [
            row.inbox_id
            for row in map(self.rows.__getitem__, self._unhandled)
            if row.status == "parked" and row.subject in subjects
        ]
        for inbox_id in parked:
            self._change(inbox_id, due_at=self._now())
        return bool(parked)

    def known(self, provider: str, event_id: str) -> bool:
        return (provider, event_id) in self._names

    def closed(self, about: str) -> bool:
        """Return whether `provider:event_id` is an event that is closed."""
        provider, _, event_id = about.partition(":")
        number = self._names.get((provider, event_id))
        return number is not None and number not in self._unhandled

    def unhandled(self, provider: str, event_type: str, name: str) -> bool:
        """Return whether an event of this type, with this name in its body, is not handled."""
        quoted = f'"{name}"'.encode()
        return any(
            row.provider == provider and row.event_type == event_type and quoted in row.body
            for row in map(self.rows.__getitem__, self._unhandled)
        )

    def _waiting(self) -> list[tuple[datetime, Webhook]]:
        rows = map(self.rows.__getitem__, self._unhandled)
        return [(row.due_at, row) for row in rows if row.due_at is not None]

    def _change(self, inbox_id: int, **changes: Unpack[Changes]) -> Webhook:
        self.rows[inbox_id] = replace(self.rows[inbox_id], **changes)
        if self.rows[inbox_id].status not in (*OPEN, "dead"):
            self._unhandled.pop(inbox_id, None)
        return self.rows[inbox_id]


def _free(row: Webhook, now: datetime) -> bool:
    return _held_until(row, now) is None


def _held_until(row: Webhook, now: datetime) -> datetime | None:
    return row.leased_until if row.leased_until is not None and row.leased_until > now else None


class InboxDatabase(Protocol):
    """The part of the database in memory that has the webhooks."""

    inbox: StoredWebhooks

    def notify(self, channel: str) -> None: ...


class MemoryInbox:
    """See `application.ports.Inbox`; `put` is the web's side of it."""

    def __init__(self, database: InboxDatabase) -> None:
        self._database, self._rows = database, database.inbox

    async def put(
        self,
        provider: str,
        event_id: str,
        event_type: str,
        body: bytes,
        received_at: datetime,
        source: str = "webhook",
    ) -> bool:
        """Store a webhook; return whether it is new. Of a duplicate, the first body is kept."""
        new = self._rows.put(provider, event_id, event_type, body, received_at)
        if new:
            self._database.notify("webhook_inbox")
        return new

    async def claim(self, holder: str, limit: int, lease: timedelta) -> ClaimedWebhooks:
        return self._rows.claim(limit, lease)

    async def park(self, inbox_id: int, subject: str, due_at: datetime | None, reason: str) -> bool:
        return self._rows.park(inbox_id, subject, due_at, reason)

    async def ignore(self, reasons: Mapping[int, str]) -> None:
        for inbox_id, reason in reasons.items():
            self._rows.close(inbox_id, "ignored", reason)

    async def bury(self, inbox_id: int, reason: str) -> None:
        self._rows.close(inbox_id, "dead", reason)

    async def retry_later(
        self, inbox_id: int, due_at: datetime, reason: str, counted: bool
    ) -> None:
        attempts = self._rows.rows[inbox_id].attempts + counted
        self._rows.change_open(inbox_id, due_at=due_at, reason=reason, attempts=attempts)

    async def next_due(self) -> datetime | None:
        return self._rows.next_due()

    async def unknown(self, provider: str, ids: Sequence[str]) -> Collection[str]:
        """Return those of these event ids that have never arrived."""
        return {id_ for id_ in ids if not self._rows.known(provider, id_)}

    async def waiting(
        self, provider: str, about: Sequence[tuple[str, str]]
    ) -> Collection[tuple[str, str]]:
        """Return those of these (event type, object id) of which an event is not handled."""
        return {pair for pair in about if self._rows.unhandled(provider, *pair)}

    def shown(self, event_id: str) -> Webhook:
        """Return the row of an event."""
        return next(row for row in self._rows.rows.values() if row.event_id == event_id)
