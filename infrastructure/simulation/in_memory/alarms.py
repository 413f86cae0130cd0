"""Alarms in memory: one row per kind and subject."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Protocol

from infrastructure.simulation.in_memory.inbox import StoredWebhooks
from projections.alarms import AlarmRow, alarm_after


class AlarmBoard:
    """The rows of all alarms."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._now = clock
        self._rows: dict[tuple[str, str], AlarmRow] = {}

    def write(self, rows: Sequence[AlarmRow]) -> None:
        """Apply the changes in their order, as `ledger_append` does."""
        for row in rows:
            after = alarm_after(self._rows.get((row.kind, row.subject)), row)
            if after is not None:
                self._rows[(row.kind, row.subject)] = after

    def raise_alarm(self, kind: str, subject: str, detail: str) -> None:
        now = self._now()
        self.write([AlarmRow(kind, subject, detail, now, now, 1, None)])

    def clear(self, kind: str, subject: str) -> bool:
        row = self._rows.get((kind, subject))
        if row is None or row.cleared_at is not None:
            return False
        self._rows[(kind, subject)] = row._replace(cleared_at=self._now())
        return True

    def clear_all(self, subject: str) -> None:
        for kind, about in list(self._rows):
            if about == subject:
                self.clear(kind, subject)

    def rows(self) -> list[AlarmRow]:
        """Return all alarms, cleared ones too."""
        return list(self._rows.values())

    def raised(self) -> list[AlarmRow]:
        """Return the alarms that are not cleared, oldest first."""
        still = [row for row in self._rows.values() if row.cleared_at is None]
        return sorted(still, key=lambda row: (row.raised_at, row.kind, row.subject))


class AlarmDatabase(Protocol):
    """The part of the database in memory that has the alarms, and the webhooks that some are
    about."""

    alarms: AlarmBoard
    inbox: StoredWebhooks


class MemoryAlarms:
    """See `application.ports.Alarms`."""

    def __init__(self, database: AlarmDatabase) -> None:
        self._board, self._webhooks = database.alarms, database.inbox

    async def raise_alarm(self, kind: str, subject: str, detail: str) -> None:
        if not self._webhooks.closed(subject):
            self._board.raise_alarm(kind, subject, detail)

    async def clear(self, kind: str, subject: str) -> bool:
        return self._board.clear(kind, subject)

    async def clear_all(self, subject: str) -> None:
        self._board.clear_all(subject)

    async def raised(self, limit: int = 500) -> list[AlarmRow]:
        """Return the alarms that are not cleared, oldest first, as PostgreSQL does."""
        return self._board.raised()[:limit]
