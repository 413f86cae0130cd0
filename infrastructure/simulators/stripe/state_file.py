"""The optional state file: one SQLite table of records, written before each answer, so that a restart forgets nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from pathlib import Path

from infrastructure.simulators.stripe.journal import Record

SCHEMA = "CREATE TABLE IF NOT EXISTS records (kind TEXT NOT NULL, id TEXT NOT NULL, body BLOB NOT NULL)"
UNIQUE = "CREATE UNIQUE INDEX IF NOT EXISTS records_by_id ON records (kind, id)"
UPSERT = "INSERT INTO records VALUES (?, ?, ?) ON CONFLICT (kind, id) DO UPDATE SET body = excluded.body"

LOCK_WAIT = 1.0
"""Seconds to wait for another simulator that is just ending."""


class StateFile:
    """Survives a kill -9 of the simulator (not a power failure: WAL with synchronous=NORMAL).

    Raises sqlite3.OperationalError when another simulator has the file open.
    """

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, timeout=LOCK_WAIT, isolation_level=None)
        for statement in (
            "PRAGMA locking_mode = EXCLUSIVE",
            "PRAGMA journal_mode = WAL",
            "PRAGMA synchronous = NORMAL",
            SCHEMA,
            UNIQUE,
        ):
            self._db.execute(statement)

    def read(self) -> list[Record]:
        """In the order in which the rows were first written."""
        return self._db.execute("SELECT kind, id, body FROM records ORDER BY rowid").fetchall()

    def write(self, records: Iterable[Record]) -> None:
        """All of them or none."""
        self._in_transaction(records, clear=False)

    def replace(self, records: Iterable[Record]) -> None:
        self._in_transaction(records, clear=True)

    def _in_transaction(self, records: Iterable[Record], clear: bool) -> None:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            if clear:
                self._db.execute("DELETE FROM records")
            self._db.executemany(UPSERT, records)
            self._db.execute("COMMIT")
        except BaseException:
            self._db.execute("ROLLBACK")
            raise

    def close(self) -> None:
        self._db.close()
