"""Migration runner: applies and reverts the numbered files of `migrations/`.

Each migration is one transaction under one advisory lock, and its row in `ledger_migrations` is
part of the transaction. So a killed run leaves either all of a migration or nothing, and any number
of processes may start at once. A file is never edited after it was applied: `ledger_migrations` has
its sha256. The errors are in `migration_files`.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import TupleRow
from psycopg.sql import SQL, Identifier

from infrastructure.postgres.connections import conninfo, session_settings
from infrastructure.postgres.migration_files import (
    DIRECTORY,
    DestructionRefused,
    DevelopmentDatabase,
    Direction,
    EditedMigration,
    Migration,
    MigrationFailed,
    SchemaBehind,
    UnknownVersion,
    read_migrations,
)
from infrastructure.postgres.rights import MissingRight

RECORD = Path(__file__).with_name("ledger_migrations.sql")
DEVELOPMENT_SHA256 = "5f737056cc2caaffefc849d43ddf579b37503c9c8c706100c09c5b1a5e5c608e"
"""The sha256 of 0001_events.up.sql in every development version before the first release."""

NO_LIMIT = timedelta(0)
WITHOUT_CONTENT = ("breaker", "ledger_migrations")
"""Tables whose rows the migrations themselves make."""

Connection = psycopg.Connection[TupleRow]
OnNotice = Callable[[str], None]

log = logging.getLogger(__name__)


class SchemaStatus(NamedTuple):
    """One version: `applied_at` is None while it waits; `remark` is empty unless file and database
    disagree."""

    version: int
    name: str
    applied_at: datetime | None
    remark: str


class AppliedMigration(NamedTuple):
    """A row of `ledger_migrations`, without its version."""

    name: str
    sha256: str
    applied_at: datetime


def up(
    url: str, to: int | None = None, *, directory: Path = DIRECTORY, on_notice: OnNotice = log.info
) -> list[Migration]:
    """Apply the waiting migrations up to and including version `to` (None: all), and return those
    that this call applied.

    The server's notices go to `on_notice`. Raises MigrationError; earlier migrations of the same
    call stay applied.
    """
    migrations = read_migrations(directory)
    target = _known(to if to is not None else len(migrations), migrations)
    with _connected(url, on_notice) as connection:
        return list(iter(lambda: _step_up(connection, migrations, target), None))


def down(
    url: str,
    to: int,
    *,
    destroy: str | None = None,
    directory: Path = DIRECTORY,
    on_notice: OnNotice = log.info,
) -> list[Migration]:
    """Revert every version above `to` (0: all), newest first, and return those that this call
    reverted.

    `destroy` names the database whose rows may be lost. Raises MigrationError.
    """
    migrations = read_migrations(directory)
    target = _known(to, migrations)
    with _connected(url, on_notice) as connection:
        lost, live = _rehearsed_loss(connection, migrations, target)
        if lost and (live or destroy != connection.info.dbname):
            raise DestructionRefused(lost, connection.info.dbname, live=live)
        return list(iter(lambda: _step_down(connection, migrations, target), None))


def status(url: str, *, directory: Path = DIRECTORY) -> list[SchemaStatus]:
    """List every version that a file or the database has, in order. Changes nothing."""
    files = {migration.version: migration for migration in read_migrations(directory)}
    with _connected(url, log.info) as connection:
        applied = _applied(connection)
    return [
        _status(version, files.get(version), applied.get(version))
        for version in sorted(files | applied)
    ]


def require_newest(url: str, *, directory: Path = DIRECTORY) -> None:
    """Compare the database's version with the files, and change nothing. Raises MigrationError."""
    migrations = read_migrations(directory)
    with _connected(url, log.info) as connection:
        applied = _checked(_applied(connection), migrations)
    if (version := max(applied, default=0)) < len(migrations):
        raise SchemaBehind(version, len(migrations))


def _rehearsed_loss(
    connection: Connection, migrations: Sequence[Migration], target: int
) -> tuple[list[str], bool]:
    """Revert in a transaction that is rolled back; return the tables with rows that are gone, and
    whether the database is bound to live mode."""
    with connection.transaction(force_rollback=True):
        applied = _applied_and_locked(connection, migrations)
        live = (
            connection.execute("SELECT to_regclass('ledger_binding')").fetchone() != (None,)
            and connection.execute("SELECT FROM ledger_binding WHERE mode = 'live'").fetchone()
            is not None
        )
        filled = {table for table in _tables(connection) if _has_rows(connection, table)}
        for migration in reversed(migrations):
            if migration.version > target and migration.version in applied:
                _run(connection, migration, "down")
        return sorted(filled - _tables(connection)), live


def _tables(connection: Connection) -> set[str]:
    rows = connection.execute(
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND relname <> ALL (%s)"
        " AND relnamespace = current_schema()::regnamespace",
        (list(WITHOUT_CONTENT),),
    )
    return {name for (name,) in rows}


def _has_rows(connection: Connection, table: str) -> bool:
    query = SQL("SELECT FROM {} LIMIT 1").format(Identifier(table))
    return connection.execute(query).fetchone() is not None


def _known(version: int, migrations: Sequence[Migration]) -> int:
    if not 0 <= version <= len(migrations):
        raise UnknownVersion(
            f"There is no migration {version}: the versions are 0 (empty) to {len(migrations)}."
        )
    return version


@contextmanager
def _connected(url: str, on_notice: OnNotice) -> Iterator[Connection]:
    with psycopg.connect(conninfo(url), autocommit=True) as connection:
        connection.execute(session_settings(NO_LIMIT))  # a migration may take long
        # under a stricter level, the snapshot taken before the wait for the lock would hide what
        # the winner applied
        connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
        connection.add_notice_handler(lambda notice: on_notice(notice.message_primary or ""))
        yield connection


def _step_up(
    connection: Connection, migrations: Sequence[Migration], target: int
) -> Migration | None:
    with connection.transaction():
        applied = _applied_and_locked(connection, migrations)
        waiting = next(
            (m for m in migrations if m.version <= target and m.version not in applied), None
        )
        if waiting:
            _run(connection, waiting, "up")
            record = "INSERT INTO ledger_migrations (version, name, sha256) VALUES (%s, %s, %s)"
            connection.execute(record, (waiting.version, waiting.name, waiting.sha256))
        return waiting


def _step_down(
    connection: Connection, migrations: Sequence[Migration], target: int
) -> Migration | None:
    with connection.transaction():
        applied = _applied_and_locked(connection, migrations)
        newest = next(
            (m for m in reversed(migrations) if m.version > target and m.version in applied), None
        )
        if newest:
            _run(connection, newest, "down")
            connection.execute(
                "DELETE FROM ledger_migrations WHERE version = %s", (newest.version,)
            )
        return newest


def _applied_and_locked(
    connection: Connection, migrations: Sequence[Migration]
) -> Mapping[int, AppliedMigration]:
    """Return the applied migrations, checked against the files; the lock lasts until the end of the
    transaction."""
    connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('ledger_migrations', 0))")
    if not _has_record(connection):
        _create_record(connection)
    return _checked(_applied(connection), migrations)


def _checked(
    applied: Mapping[int, AppliedMigration], migrations: Sequence[Migration]
) -> Mapping[int, AppliedMigration]:
    """Return the applied migrations if they are those of the files."""
    if 1 in applied and applied[1].sha256 == DEVELOPMENT_SHA256:
        raise DevelopmentDatabase([f"{version:04}_{one.name}" for version, one in applied.items()])
    if beyond := applied.keys() - {migration.version for migration in migrations}:
        raise UnknownVersion(
            f"The database is at version {max(beyond)}, this release knows {len(migrations)}: "
            "run the newer release."
        )
    for migration in migrations:
        if migration.version in applied and applied[migration.version].sha256 != migration.sha256:
            raise EditedMigration(migration)
    return applied


def _create_record(connection: Connection) -> None:
    try:
        connection.execute(RECORD.read_bytes())
    except psycopg.errors.InsufficientPrivilege as error:
        raise _not_the_owner(connection) from error


def _not_the_owner(connection: Connection) -> MissingRight:
    return MissingRight(
        connection.info.user,
        "CREATE",
        "the ledger's schema and tables",
        "run `transfer-ledger migrate up` as the owner of the database",
    )


def _applied(connection: Connection) -> dict[int, AppliedMigration]:
    if not _has_record(connection):
        return {}
    rows = connection.execute(
        "SELECT version, name, sha256, applied_at FROM ledger_migrations ORDER BY version"
    )
    return {version: AppliedMigration(*rest) for version, *rest in rows}


def _has_record(connection: Connection) -> bool:
    return connection.execute("SELECT to_regclass('ledger_migrations')").fetchone() != (None,)


def _run(connection: Connection, migration: Migration, direction: Direction) -> None:
    sql = migration.up if direction == "up" else migration.down
    try:
        connection.execute(sql)
    except psycopg.errors.InsufficientPrivilege as error:
        raise _not_the_owner(connection) from error
    except psycopg.Error as error:
        raise MigrationFailed(migration, direction, _where(error, sql)) from error
    if connection.info.transaction_status != TransactionStatus.INTRANS:
        raise MigrationFailed(
            migration, direction, "it ends the transaction that the runner opened for it"
        )


def _where(error: psycopg.Error, sql: bytes) -> str:
    message = error.diag.message_primary or str(error).strip()
    if error.diag.statement_position is None:
        return message
    line = sql.decode()[: int(error.diag.statement_position)].count("\n") + 1
    return f"{message} (line {line})"


def _status(version: int, file: Migration | None, applied: AppliedMigration | None) -> SchemaStatus:
    if applied is None:
        return SchemaStatus(version, file.name if file else "", None, "")
    if file is None:
        return SchemaStatus(
            version, applied.name, applied.applied_at, "this release has no such file"
        )
    remark = "edited after it was applied" if applied.sha256 != file.sha256 else ""
    return SchemaStatus(version, file.name, applied.applied_at, remark)
