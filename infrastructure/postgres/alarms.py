"""Alarms: conditions that a person has to look at, one row per kind and subject, however often an
alarm is raised.

An append stores the alarms that belong to its facts (`EventStore.append`, rows `alarms`); all
others are raised here.
"""

from datetime import datetime
from typing import NamedTuple

from infrastructure.postgres.connections import Pool, execute, fetch_rows
from infrastructure.postgres.named_queries import queries
from infrastructure.postgres.texts import cleaned, storable

SQL = queries("alarms")


class StoredAlarm(NamedTuple):
    """A row of `alarms`."""

    kind: str
    subject: str
    detail: str
    raised_at: datetime
    """Beginning of the condition."""
    last_seen_at: datetime
    times: int
    """Number of times that the alarm was raised since its beginning."""
    cleared_at: datetime | None


class PostgresAlarms:
    """The port `Alarms` on the table `alarms`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def raise_alarm(self, kind: str, subject: str, detail: str) -> None:
        """Raise an alarm, or raise it again with new detail."""
        await execute(
            self._pool,
            SQL["raise"],
            {"kind": kind, "subject": storable(subject), "detail": cleaned(detail)},
        )

    async def clear(self, kind: str, subject: str) -> bool:
        """Clear an alarm; return False if it was not raised."""
        return await execute(self._pool, SQL["clear"], (kind, storable(subject))) > 0

    async def clear_all(self, subject: str) -> None:
        """Clear every alarm of this subject."""
        await execute(self._pool, SQL["clear_all"], (storable(subject),))

    async def raised(self, limit: int = 500) -> list[StoredAlarm]:
        """List the alarms that are not cleared, oldest first."""
        return await fetch_rows(self._pool, StoredAlarm, SQL["open"], (limit,))

    async def one(self, kind: str, subject: str) -> StoredAlarm | None:
        """Return an alarm, cleared or not; None if it was never raised."""
        rows = await fetch_rows(self._pool, StoredAlarm, SQL["one"], (kind, storable(subject)))
        return next(iter(rows), None)

    async def latest(self, limit: int = 50) -> list[StoredAlarm]:
        """List the latest alarms, cleared or not, newest first."""
        return await fetch_rows(self._pool, StoredAlarm, SQL["all"], (limit,))
