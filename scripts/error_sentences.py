"""Errors that the user can correct: the sentence and the exit code of each."""

import psycopg
from typer._click.exceptions import NoArgsIsHelpError, UsageError

from domain.errors import LedgerError, Unavailable
from infrastructure.postgres.embedded.client import EmbeddedPostgresError
from infrastructure.postgres.integrity.rebuild import RebuildRunning
from infrastructure.postgres.integrity.row_repair import RepairRefused
from infrastructure.postgres.integrity.seals import InvalidSeal
from infrastructure.postgres.migration_files import MigrationError
from infrastructure.postgres.server_checks import NotNow, is_wrong_setting
from infrastructure.simulators.builtin import SimulatorNotStarted
from scripts.exit_codes import NOT_NOW, USAGE

READ_ONLY = psycopg.errors.ReadOnlySqlTransaction


def code_of(error: Exception) -> int:
    """Return 75 for an error that may be over later, else 2."""
    later = isinstance(error, psycopg.OperationalError) and not is_wrong_setting(error)
    return NOT_NOW if later or isinstance(error, (NotNow, Unavailable, READ_ONLY)) else USAGE


def sentence_of(error: Exception) -> str | None:
    """Return the message for the user; None for a defect of the program."""
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
        case UsageError():
            return _about_usage(error)
        case psycopg.OperationalError():
            return f"The database cannot be reached: {' '.join(str(error).split())}"
    return str(error) if isinstance(error, ours) else None


def _about_usage(error: UsageError) -> str:
    """Return typer's message as one sentence; empty after the help of a command without its
    arguments."""
    if isinstance(error, NoArgsIsHelpError):
        return ""
    message = " ".join(error.format_message().split()).rstrip(".")
    command = error.ctx.command_path if error.ctx is not None else "transfer-ledger"
    return f"{message}; see `{command} --help`."
