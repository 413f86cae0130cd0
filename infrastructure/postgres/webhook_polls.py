"""How far each provider was asked for what its webhooks should have told: one row each, and whoever moves it on has the turn.

A turn is no lease that has to be kept: it ends by itself when the next is due, and moves on while its round makes progress. Two
rounds at once, after a long silence of one, cost calls and nothing else.
"""

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta

from application.missed_webhooks.ports import Poll
from infrastructure.postgres.connections import Pool
from infrastructure.postgres.named_queries import queries

SQL = queries("polls")


class Polls:
    """See `application.missed_webhooks.ports.PollProgress`. Every method but `take` is one statement."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def take(self, provider: str, interval: timedelta, *, anyway: bool = False) -> Poll | None:
        """A turn; a provider that was never asked begins with this ledger's first start, or thirty days ago."""
        values = {"provider": provider, "interval": interval, "anyway": anyway}
        async with self._pool.connection() as connection:
            await connection.execute(SQL["begin"], (provider,))
            row = await (await connection.execute(SQL["take"], values)).fetchone()
        return Poll(*row) if row else None

    async def advance(self, provider: str, seen_until: datetime, interval: timedelta) -> None:
        """What was made before this instant is stored."""
        values = {"provider": provider, "seen_until": seen_until, "interval": interval}
        async with self._pool.connection() as connection:
            await connection.execute(SQL["advance"], values)

    async def checked(self, provider: str) -> None:
        """The round came to its end."""
        async with self._pool.connection() as connection:
            await connection.execute(SQL["checked"], (provider,))

    async def until_due(self, providers: Collection[str]) -> float:
        """Seconds until the next turn of one of these, by the database's clock."""
        async with self._pool.connection() as connection:
            row = await (await connection.execute(SQL["until_due"], (list(providers),))).fetchone()
        return float(row[0]) if row and row[0] is not None else 0.0

    async def state(self) -> Mapping[str, Poll]:
        """How far each provider was asked, by provider."""
        async with self._pool.connection() as connection:
            rows = await (await connection.execute(SQL["state"])).fetchall()
        return {provider: Poll(*poll) for provider, *poll in rows}
