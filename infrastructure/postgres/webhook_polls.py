"""Polls of the providers for lost webhooks: one row per provider; the process that moves it forward
has the turn.

A turn is no lease that has to be kept: the turn ends by itself when the next one is due, and is
prolonged while its round makes progress. Two rounds at once, after a long silence of one process,
cost calls and nothing else.
"""

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta

from application.missed_webhooks.ports import Poll
from infrastructure.postgres.connections import Pool, execute, fetch_all, fetch_one
from infrastructure.postgres.named_queries import queries

SQL = queries("webhook_polls")


class PostgresWebhookPolls:
    """The port `PollProgress` of `application.missed_webhooks`. Every method but `take` is one
    statement."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def take(
        self, provider: str, interval: timedelta, *, anyway: bool = False
    ) -> Poll | None:
        """Take a turn, or return None if none is due; with `anyway` a turn is always due.

        A provider that was never asked begins with this ledger's first start, or thirty days ago.
        """
        values = {"provider": provider, "interval": interval, "anyway": anyway}
        await execute(self._pool, SQL["begin"], (provider,))
        row = await fetch_one(self._pool, SQL["take"], values)
        return Poll(*row) if row else None

    async def advance(self, provider: str, seen_until: datetime, interval: timedelta) -> None:
        """Record that all events from before this instant are stored."""
        values = {"provider": provider, "seen_until": seen_until, "interval": interval}
        await execute(self._pool, SQL["advance"], values)

    async def checked(self, provider: str) -> None:
        """Record that the round is complete."""
        await execute(self._pool, SQL["checked"], (provider,))

    async def until_due(self, providers: Collection[str]) -> float:
        """Return the seconds until the next turn of one of these providers, by the database's
        clock."""
        row = await fetch_one(self._pool, SQL["until_due"], (list(providers),))
        return float(row[0]) if row and row[0] is not None else 0.0

    async def state(self) -> Mapping[str, Poll]:
        """Return the progress of each provider."""
        rows = await fetch_all(self._pool, SQL["state"])
        return {provider: Poll(*poll) for provider, *poll in rows}
