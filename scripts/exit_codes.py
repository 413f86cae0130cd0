"""Exit codes: 0 success, 1 the command found something wrong, 2 the command could not run as asked,
70 a part of a process ended unasked, 75 the command cannot run now: the same command may succeed
later."""

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import NoReturn

import psycopg

from domain.errors import LedgerError, Unavailable
from infrastructure.postgres.embedded.client import EmbeddedPostgresError
from infrastructure.postgres.integrity.rebuild import RebuildRunning
from infrastructure.postgres.integrity.row_repair import RepairRefused
from infrastructure.postgres.integrity.seals import InvalidSeal
from infrastructure.postgres.migration_files import MigrationError
from infrastructure.postgres.server_checks import NotNow, is_wrong_setting
from infrastructure.redaction import hide
from infrastructure.simulators.builtin import SimulatorNotStarted
from infrastructure.visible_text import visible

FOUND, USAGE, DEFECT, NOT_NOW = 1, 2, 70, 75


READ_ONLY = psycopg.errors.ReadOnlySqlTransaction


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Print an error that the user can correct as one line on standard error, and exit with 2 or
    75."""
    try:
        yield
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        sentence = sentence_of(error)
        if sentence is None:
            sys.excepthook = show_defect
            raise
        fail(sentence, code_of(error))


def code_of(error: Exception) -> int:
    """Return 75 for an error that may be over later, else 2."""
    later = isinstance(error, psycopg.OperationalError) and not is_wrong_setting(error)
    return NOT_NOW if later or isinstance(error, (NotNow, Unavailable, READ_ONLY)) else USAGE


def sentence_of(error: Exception) -> str | None:
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
        case psycopg.errors.ReadOnlySqlTransaction():
            return (
                "The database is read only (a standby, or a former primary); use the address of "
                "the primary, or try again later."
            )
        case psycopg.OperationalError():
            return f"The database cannot be reached: {' '.join(str(error).split())}"
    return str(error) if isinstance(error, ours) else None


def show_defect(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Print the traceback of a defect on standard error, without secrets."""
    sys.stderr.write(hide("".join(traceback.format_exception(kind, error, trace))))


def fail(sentence: str, code: int = USAGE) -> NoReturn:
    """Print one line on standard error, and exit with 2 or another code."""
    sys.stderr.write(f"{visible(hide(sentence))}\n")
    sys.exit(code)
