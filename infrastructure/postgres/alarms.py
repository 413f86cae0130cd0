"""Alarms: what a person has to look at. One row per (kind, subject), however often it is noticed.

An alarm that belongs to facts is raised in their append (`EventStore.append`, rows `alarms`), all others here.
"""

from datetime import datetime
from typing import NamedTuple

from psycopg.rows import args_row

from infrastructure.postgres.connections import Pool
from infrastructure.postgres.named_queries import queries

SQL = queries("alarms")


class StoredAlarm(NamedTuple):
    kind: str
    subject: str
    detail: str
    raised_at: datetime
    cleared_at: datetime | None


class PostgresAlarms:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def raise_(self, kind: str, subject: str, detail: str) -> None:
        """Raise it, or raise it again with new detail."""
        async with self._pool.connection() as connection:
            await connection.execute(SQL["raise"], {"kind": kind, "subject": subject, "detail": detail})

    async def clear(self, kind: str, subject: str) -> bool:
        """It is over; False if it was not raised."""
        async with self._pool.connection() as connection:
            return (await connection.execute(SQL["clear"], (kind, subject))).rowcount > 0

    async def clear_all(self, subject: str) -> None:
        """Nobody has to look at this any more, whatever was raised about it."""
        async with self._pool.connection() as connection:
            await connection.execute(SQL["clear_all"], (subject,))

    async def raised(self, limit: int = 500) -> list[StoredAlarm]:
        """What is not cleared, oldest first."""
        return await self._select("open", limit)

    async def latest(self, limit: int = 50) -> list[StoredAlarm]:
        """The latest alarms, cleared or not, newest first."""
        return await self._select("all", limit)

    async def _select(self, query: str, limit: int) -> list[StoredAlarm]:
        async with self._pool.connection() as connection, connection.cursor(row_factory=args_row(StoredAlarm)) as cursor:
            await cursor.execute(SQL[query], (limit,))
            return await cursor.fetchall()
