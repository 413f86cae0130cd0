"""Numbered plain .sql files, up and down: 0001_events.up.sql, 0001_events.down.sql.

Each migration is one transaction under one advisory lock, and its row in `ledger_migrations` is part of it. So a killed
run leaves either all of a migration or nothing, and any number of processes may start at once. A file that was applied
is never edited again: its sha256 is on record.

    MigrationError
    ├── InvalidMigrations    the files are not pairs numbered 1, 2, 3, …
    ├── UnknownVersion       somebody asks for, or the database has, a version that no file describes
    ├── EditedMigration      an applied file was changed
    └── MigrationFailed      PostgreSQL refused a file's SQL
"""

import hashlib
import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Literal, NamedTuple

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import TupleRow

DIRECTORY = Path(__file__).with_name("migrations")
RECORD = Path(__file__).with_name("ledger_migrations.sql")
FILE_NAME = re.compile(r"(?P<version>\d{4})_(?P<name>\w+)\.(?P<direction>up|down)\.sql")

Connection = psycopg.Connection[TupleRow]
Direction = Literal["up", "down"]
OnNotice = Callable[[str], None]

log = logging.getLogger(__name__)


class MigrationError(Exception):
    """The database cannot be migrated with the files at hand."""


class InvalidMigrations(MigrationError):
    """The files are not pairs numbered 1, 2, 3, …"""


class UnknownVersion(MigrationError):
    """Somebody asks for, or the database has, a version that no file describes."""


class EditedMigration(MigrationError):
    """An applied file was changed."""

    def __init__(self, migration: "Migration") -> None:
        super().__init__(
            f"Migration {migration.label} was edited after it was applied: "
            "restore the file and put the change into a new migration."
        )
        self.migration = migration


class MigrationFailed(MigrationError):
    """PostgreSQL refused a file's SQL; nothing of this file was kept."""

    def __init__(self, migration: "Migration", direction: Direction, why: str) -> None:
        super().__init__(f"Migration {migration.label}.{direction}.sql failed: {why}; mend the file and run it again.")
        self.migration = migration


class Migration(NamedTuple):
    version: int
    name: str
    up: bytes
    down: bytes

    @property
    def label(self) -> str:
        return f"{self.version:04}_{self.name}"

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.up).hexdigest()


class Status(NamedTuple):
    """One version: `applied_at` is None while it waits; `remark` is empty unless file and database disagree."""

    version: int
    name: str
    applied_at: datetime | None
    remark: str


class Applied(NamedTuple):
    name: str
    sha256: str
    applied_at: datetime


def up(url: str, to: int | None = None, *, directory: Path = DIRECTORY, on_notice: OnNotice = log.info) -> list[Migration]:
    """Apply what waits, up to and including version `to` (None: everything); returns what this call applied.

    The server's notices go to `on_notice`. Raises MigrationError; earlier migrations of the same call stay applied.
    """
    migrations = read_migrations(directory)
    target = _known(to if to is not None else len(migrations), migrations)
    with _connected(url, on_notice) as connection:
        return list(iter(lambda: _step_up(connection, migrations, target), None))


def down(url: str, to: int, *, directory: Path = DIRECTORY, on_notice: OnNotice = log.info) -> list[Migration]:
    """Revert, newest first, every version above `to` (0: all); returns what this call reverted. Raises MigrationError."""
    migrations = read_migrations(directory)
    target = _known(to, migrations)
    with _connected(url, on_notice) as connection:
        return list(iter(lambda: _step_down(connection, migrations, target), None))


def status(url: str, *, directory: Path = DIRECTORY) -> list[Status]:
    """Every version that a file or the database knows, in order. Changes nothing."""
    files = {migration.version: migration for migration in read_migrations(directory)}
    with _connected(url, log.info) as connection:
        applied = _applied(connection)
    return [_status(version, files.get(version), applied.get(version)) for version in sorted(files | applied)]


def read_migrations(directory: Path = DIRECTORY) -> list[Migration]:
    """Raises InvalidMigrations."""
    files = sorted(directory.glob("*.sql"))
    names = [FILE_NAME.fullmatch(file.name) for file in files]
    for file, name in zip(files, names, strict=True):
        if name is None:
            raise InvalidMigrations(f"{file} is not named like 0001_name.up.sql or 0001_name.down.sql; rename it.")
    pairs = sorted({(int(name["version"]), name["name"]) for name in names if name})
    if not pairs or [version for version, _ in pairs] != list(range(1, len(pairs) + 1)):
        found = ", ".join(f"{version:04}_{name}" for version, name in pairs) or "none"
        raise InvalidMigrations(f"Migrations in {directory} must be numbered 0001, 0002, … without gaps or twins; found {found}.")
    return [_read(directory, version, name) for version, name in pairs]


def _read(directory: Path, version: int, name: str) -> Migration:
    try:
        sides = [(directory / f"{version:04}_{name}.{side}.sql").read_bytes() for side in ("up", "down")]
    except FileNotFoundError as error:
        raise InvalidMigrations(f"{error.filename} is missing: every migration has an up and a down file.") from error
    return Migration(version, name, *sides)


def _known(version: int, migrations: Sequence[Migration]) -> int:
    if not 0 <= version <= len(migrations):
        raise UnknownVersion(f"There is no migration {version}: the versions are 0 (empty) to {len(migrations)}.")
    return version


@contextmanager
def _connected(url: str, on_notice: OnNotice) -> Iterator[Connection]:
    with psycopg.connect(url, autocommit=True, client_encoding="utf8") as connection:
        # under a stricter level, the snapshot taken before the wait for the lock would hide what the winner applied
        connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
        connection.add_notice_handler(lambda notice: on_notice(notice.message_primary or ""))
        yield connection


def _step_up(connection: Connection, migrations: Sequence[Migration], target: int) -> Migration | None:
    with connection.transaction():
        applied = _applied_and_locked(connection, migrations)
        waiting = next((m for m in migrations if m.version <= target and m.version not in applied), None)
        if waiting:
            _run(connection, waiting, "up")
            record = "INSERT INTO ledger_migrations (version, name, sha256) VALUES (%s, %s, %s)"
            connection.execute(record, (waiting.version, waiting.name, waiting.sha256))
        return waiting


def _step_down(connection: Connection, migrations: Sequence[Migration], target: int) -> Migration | None:
    with connection.transaction():
        applied = _applied_and_locked(connection, migrations)
        newest = next((m for m in reversed(migrations) if m.version > target and m.version in applied), None)
        if newest:
            _run(connection, newest, "down")
            connection.execute("DELETE FROM ledger_migrations WHERE version = %s", (newest.version,))
        return newest


def _applied_and_locked(connection: Connection, migrations: Sequence[Migration]) -> Mapping[int, Applied]:
    """What is applied, unchangeable by others until the end of the transaction, and checked against the files."""
    connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('ledger_migrations', 0))")
    if not _has_record(connection):
        connection.execute(RECORD.read_bytes())
    applied = _applied(connection)
    if beyond := applied.keys() - {migration.version for migration in migrations}:
        raise UnknownVersion(
            f"The database is at version {max(beyond)}, this release knows {len(migrations)}: run the newer release."
        )
    for migration in migrations:
        if migration.version in applied and applied[migration.version].sha256 != migration.sha256:
            raise EditedMigration(migration)
    return applied


def _applied(connection: Connection) -> dict[int, Applied]:
    if not _has_record(connection):
        return {}
    rows = connection.execute("SELECT version, name, sha256, applied_at FROM ledger_migrations")
    return {version: Applied(*rest) for version, *rest in rows}


def _has_record(connection: Connection) -> bool:
    return connection.execute("SELECT to_regclass('ledger_migrations')").fetchone() != (None,)


def _run(connection: Connection, migration: Migration, direction: Direction) -> None:
    sql = migration.up if direction == "up" else migration.down
    try:
        connection.execute(sql)
    except psycopg.Error as error:
        raise MigrationFailed(migration, direction, _where(error, sql)) from error
    if connection.info.transaction_status != TransactionStatus.INTRANS:
        raise MigrationFailed(migration, direction, "it ends the transaction that the runner opened for it")


def _where(error: psycopg.Error, sql: bytes) -> str:
    message = error.diag.message_primary or str(error).strip()
    if error.diag.statement_position is None:
        return message
    line = sql.decode()[: int(error.diag.statement_position)].count("\n") + 1
    return f"{message} (line {line})"


def _status(version: int, file: Migration | None, applied: Applied | None) -> Status:
    name = file.name if file else applied.name if applied else ""
    if file is None:
        remark = "this release has no such file"
    else:
        remark = "edited after it was applied" if applied and applied.sha256 != file.sha256 else ""
    return Status(version, name, applied.applied_at if applied else None, remark)
