"""Durable state: stores, the buffer of changed rows, and the optional state file (one SQLite table
of records)."""

import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Protocol, TypeAlias, TypeVar

import orjson

Record: TypeAlias = tuple[str, str, bytes]
"""(kind, id, JSON)."""
Records: TypeAlias = Mapping[str, Sequence[tuple[str, bytes]]]
"""(id, JSON) by kind, in the order of the first writing."""
Row = TypeVar("Row")

SCHEMA = (
    "CREATE TABLE IF NOT EXISTS records (kind TEXT NOT NULL, id TEXT NOT NULL, body BLOB NOT NULL)"
)
UNIQUE = "CREATE UNIQUE INDEX IF NOT EXISTS records_by_id ON records (kind, id)"
UPSERT = (
    "INSERT INTO records VALUES (?, ?, ?) ON CONFLICT (kind, id) DO UPDATE SET body = excluded.body"
)

LOCK_WAIT = 1.0
"""Seconds to wait for another simulator that is ending."""


class Store(Protocol):
    """A part of the state that can be written to records, restored from records, and emptied."""

    def clear(self) -> None: ...

    def records(self) -> Iterator[Record]: ...

    def restore(self, records: Records) -> None:
        """Replace the content with the records of the store's kinds."""
        ...


class StoreGroup:
    """Several stores as one."""

    def __init__(self, *stores: Store) -> None:
        self._stores = stores

    def clear(self) -> None:
        for store in self._stores:
            store.clear()

    def records(self) -> Iterator[Record]:
        for store in self._stores:
            yield from store.records()

    def restore(self, records: Records) -> None:
        for store in self._stores:
            store.restore(records)


class WriteBuffer:
    """Rows that changed since the last commit: one transaction makes them durable before the answer
    is sent."""

    def __init__(self, write: Callable[[Iterable[Record]], None] | None = None) -> None:
        """Without `write` the buffer stays empty."""
        self._write = write
        self._changed: dict[tuple[str, str], object] = {}

    def __len__(self) -> int:
        return len(self._changed)

    def put(self, kind: str, id_: str, row: object) -> None:
        if self._write is not None:
            self._changed[kind, id_] = row

    def commit(self) -> None:
        if self._write is not None and self._changed:
            self._write([(kind, id_, encode(row)) for (kind, id_), row in self._changed.items()])
            self._changed.clear()

    def discard(self) -> None:
        self._changed.clear()


class StateFile:
    """Survives a kill -9 of the simulator (not a power failure: WAL with synchronous=NORMAL).

    Raises sqlite3.OperationalError when another simulator has the file open.
    """

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, timeout=LOCK_WAIT, isolation_level=None)
        try:
            for statement in (
                "PRAGMA locking_mode = EXCLUSIVE",
                "PRAGMA journal_mode = WAL",
                "PRAGMA synchronous = NORMAL",
                SCHEMA,
                UNIQUE,
            ):
                self._db.execute(statement)
        except BaseException:
            self._db.close()  # Python 3.13 warns about a connection that is only forgotten
            raise

    def read(self) -> list[Record]:
        """Read all records in the order in which the rows were first written."""
        return self._db.execute("SELECT kind, id, body FROM records ORDER BY rowid").fetchall()

    def write(self, records: Iterable[Record], clear: bool = False) -> None:
        """Write all records or none. `clear` deletes the earlier ones."""
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


def kept_json(content: object) -> bytes:
    """Return JSON for storage: orjson leaves its 8 kB buffer in the bytes that it returns, a copy
    has only the content."""
    return memoryview(orjson.dumps(content)).tobytes()


def encode(row: object) -> bytes:
    return orjson.dumps(
        row, default=lambda part: part.decode() if isinstance(part, bytes) else str(part)
    )


def decode(row_type: type[Row], body: bytes) -> Row:
    """Return the row that `encode` wrote. Fields of type bytes are bytes again."""
    values: dict[str, Any] = orjson.loads(body)
    for name in _BYTES_FIELDS.setdefault(row_type, _bytes_fields(row_type)):
        values[name] = values[name].encode()
    return row_type(**values)


_BYTES_FIELDS: dict[type, list[str]] = {}


def _bytes_fields(row_type: type) -> list[str]:
    return [field.name for field in fields(row_type) if field.type in (bytes, "bytes")]


def by_kind(records: Iterable[Record]) -> Records:
    groups: defaultdict[str, list[tuple[str, bytes]]] = defaultdict(list)
    for kind, id_, body in records:
        groups[kind].append((id_, body))
    return groups
