"""Database in memory that tells each change to an observer."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID

from infrastructure.postgres.event_store import RecordedFact, StoredFact
from infrastructure.simulation.in_memory.constraints import Row
from infrastructure.simulation.in_memory.database import MemoryDatabase, Rows


class Observer(Protocol):
    """Is told what a commit has changed."""

    def row_changed(self, table: str, before: Row | None, after: Row) -> None: ...

    def committed(self, facts: Sequence[RecordedFact]) -> None: ...


class WatchedDatabase(MemoryDatabase):
    """A database with an observer."""

    def __init__(self, clock: Callable[[], datetime], observer: Observer) -> None:
        super().__init__(clock)
        self.observer: Observer | None = observer

    def backup(self) -> MemoryDatabase:
        """Return a copy of the present state, without listeners and observer."""
        observer, self.observer = self.observer, None
        try:
            return super().backup()
        finally:
            self.observer = observer

    def commit(self, facts: Sequence[StoredFact], rows: Rows) -> int:
        before = len(self.recorded)
        position = super().commit(facts, rows)
        if facts and self.observer is not None:
            self.observer.committed(self.recorded[before:])
        return position

    def _write(self, table: str, key: UUID | str, row: Row) -> None:
        before = self.tables[table].get(key)
        super()._write(table, key, row)
        if self.observer is not None:
            self.observer.row_changed(table, before, row)
