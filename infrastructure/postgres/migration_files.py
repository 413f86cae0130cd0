"""Numbered migration files, and the errors of migrating.

MigrationError
├── InvalidMigrations      the files are not pairs numbered 1, 2, 3, …
├── UnknownVersion         no file describes the wanted version, or the database's
├── SchemaBehind           the database has an older schema than this release
├── DestructionRefused     tables with rows would be dropped
├── DevelopmentDatabase    the database has the migrations of an unreleased development version
├── EditedMigration        an applied file was changed
└── MigrationFailed        PostgreSQL refused the SQL of a file
"""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

DIRECTORY = Path(__file__).with_name("migrations")
FILE_NAME = re.compile(r"(?P<version>\d{4})_(?P<name>\w+)\.(?P<direction>up|down)\.sql")

Direction = Literal["up", "down"]


class MigrationError(Exception):
    """The database cannot be migrated with the files of this release."""


class InvalidMigrations(MigrationError):
    """The files are not pairs numbered 1, 2, 3, …"""


class UnknownVersion(MigrationError):
    """No file describes the version that the caller asks for, or that the database has."""


class SchemaBehind(MigrationError):
    """The database has an older schema than this release. A command that only uses the schema does
    not change it."""

    def __init__(self, version: int, newest: int) -> None:
        super().__init__(
            f"The database's schema is at version {version}, this release needs version {newest}; "
            "run `transfer-ledger migrate up` as the owner of the database."
        )


class DestructionRefused(MigrationError):
    """Tables with rows would be dropped."""

    def __init__(self, tables: Sequence[str], database: str, *, live: bool) -> None:
        remedy = (
            "the database is bound to live mode, so its tables are never dropped; restore a backup "
            "into a new database instead"
            if live
            else f"make a backup, and add --destroy {database} if all of it is to be lost"
        )
        super().__init__(
            f"migrate down would drop tables that have rows ({', '.join(tables)}); {remedy}."
        )


class DevelopmentDatabase(MigrationError):
    """The database has the migrations of an unreleased development version.

    Those files were replaced before the first release. With all 14 of them, the tables are the same
    as today's: a dump of the data can be restored into a new, migrated database (not
    `ledger_migrations`, and not the one row of `breaker`).
    """

    def __init__(self, applied: Sequence[str]) -> None:
        super().__init__(
            "This database was made by an unreleased development version (its migrations are "
            f"{', '.join(applied)}): "
            "create a new database, and carry the data over with `pg_dump --data-only "
            "--disable-triggers "
            "--exclude-table=ledger_migrations --exclude-table=breaker` if it is needed."
        )


class EditedMigration(MigrationError):
    """An applied file was changed."""

    def __init__(self, migration: "Migration") -> None:
        super().__init__(
            f"Migration {migration.label} was edited after it was applied: "
            "restore the file and put the change into a new migration."
        )


class MigrationFailed(MigrationError):
    """PostgreSQL refused the SQL of a file; the database keeps nothing of this file."""

    def __init__(self, migration: "Migration", direction: Direction, why: str) -> None:
        super().__init__(
            f"Migration {migration.label}.{direction}.sql failed: {why}; remove the cause and "
            "run it again."
        )


class Migration(NamedTuple):
    """One version: the SQL that applies it, and the SQL that reverts it."""

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


def read_migrations(directory: Path = DIRECTORY) -> list[Migration]:
    """Read all migrations, in order. Raises InvalidMigrations."""
    files = sorted(directory.glob("*.sql"))
    names = [FILE_NAME.fullmatch(file.name) for file in files]
    for file, name in zip(files, names, strict=True):
        if name is None:
            raise InvalidMigrations(
                f"{file} is not named like 0001_name.up.sql or 0001_name.down.sql; rename it."
            )
    pairs = sorted({(int(name["version"]), name["name"]) for name in names if name})
    if not pairs or [version for version, _ in pairs] != list(range(1, len(pairs) + 1)):
        found = ", ".join(f"{version:04}_{name}" for version, name in pairs) or "none"
        raise InvalidMigrations(
            f"Migrations in {directory} must be numbered 0001, 0002, … without gaps or twins; "
            f"found {found}."
        )
    return [_read(directory, version, name) for version, name in pairs]


def _read(directory: Path, version: int, name: str) -> Migration:
    try:
        sides = [
            (directory / f"{version:04}_{name}.{side}.sql").read_bytes() for side in ("up", "down")
        ]
    except FileNotFoundError as error:
        raise InvalidMigrations(
            f"{error.filename} is missing: every migration has an up and a down file."
        ) from error
    return Migration(version, name, *sides)
