"""Progress of the polls in memory: one row per provider."""

from collections.abc import Callable, Collection
from datetime import datetime, timedelta

from application.missed_webhooks.ports import Poll


class StoredPolls:
    """The rows of `webhook_polls`, which all processes share."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self.now = clock
        self.rows: dict[str, Poll] = {}

    def begun(self, provider: str) -> Poll:
        """Return the row of a provider; the first call begins it."""
        now = self.now()
        return self.rows.setdefault(provider, Poll(now, now, now, None, now))


class MemoryWebhookPolls:
    """See `application.missed_webhooks.ports.PollProgress`."""

    def __init__(self, polls: StoredPolls) -> None:
        self._polls = polls

    async def take(
        self, provider: str, interval: timedelta, *, anyway: bool = False
    ) -> Poll | None:
        now = self._polls.now()
        row = self._polls.begun(provider)
        if row.due_at > now and not anyway:
            return None
        self._polls.rows[provider] = row._replace(due_at=now + interval)
        return row._replace(now=now)

    async def advance(self, provider: str, seen_until: datetime, interval: timedelta) -> None:
        row = self._polls.rows[provider]
        self._polls.rows[provider] = row._replace(
            seen_until=max(row.seen_until, seen_until), due_at=self._polls.now() + interval
        )

    async def checked(self, provider: str) -> None:
        row = self._polls.rows[provider]
        self._polls.rows[provider] = row._replace(checked_at=self._polls.now())

    async def until_due(self, providers: Collection[str]) -> float:
        now, rows = self._polls.now(), self._polls.rows
        dues = [rows[name].due_at if name in rows else now for name in providers]
        return max(0.0, (min(dues, default=now) - now).total_seconds())
