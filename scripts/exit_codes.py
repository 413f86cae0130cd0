"""Exit codes: 0 success, 1 the command found something wrong, 2 the command could not run as
asked."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import psycopg

from domain.errors import LedgerError
from infrastructure.postgres.embedded.client import EmbeddedPostgresError
from infrastructure.postgres.integrity.rebuild import RebuildRunning
from infrastructure.postgres.integrity.row_repair import RepairRefused
from infrastructure.postgres.integrity.seals import InvalidSeal
from infrastructure.postgres.migration_files import MigrationError
from infrastructure.simulators.builtin import SimulatorNotStarted
from infrastructure.visible_text import visible

FOUND, USAGE = 1, 2


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Print an error that the user can correct as one line on standard error, and exit with 2."""
    try:
        yield
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        sentence = _sentence(error)
        if sentence is None:
            raise
        fail(sentence)


def _sentence(error: Exception) -> str | None:
    """Return the message for the user; None for a defect of the program. The imports wait for an
    error, as they are slow."""

    ours = (
        LedgerError,
        EmbeddedPostgresError,
        MigrationError,
        SimulatorNotStarted,
        RebuildRunning,
        RepairRefused,
        InvalidSeal,
    )
    match error:
        case psycopg.errors.UndefinedTable() | psycopg.errors.UndefinedColumn():
            return (
                f"The database is not migrated ({error.diag.message_primary}); run "
                "`transfer-ledger migrate` first."
            )
        case psycopg.errors.InsufficientPrivilege():
            return (
                f"The database refuses this to its role: {error.diag.message_primary}; use a "
                "role with this privilege."
            )
        case psycopg.OperationalError():
            return f"The database cannot be reached: {' '.join(str(error).split())}"
    return str(error) if isinstance(error, ours) else None


def fail(sentence: str) -> NoReturn:
    """Print one line on standard error, and exit with 2."""
    sys.stderr.write(f"{visible(sentence)}\n")
    sys.exit(USAGE)
