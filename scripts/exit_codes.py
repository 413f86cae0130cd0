"""How a command ends: 0 well, 1 something wrong was found, 2 it could not be done as asked. Never a traceback for those."""

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

FOUND, USAGE = 1, 2
OURS = (
    LedgerError,
    EmbeddedPostgresError,
    MigrationError,
    SimulatorNotStarted,
    RebuildRunning,
    RepairRefused,
    InvalidSeal,
)
"""Errors whose message is the sentence that the user needs."""


@contextmanager
def one_line_errors() -> Iterator[None]:
    """What went wrong in one line on standard error, and exit 2, for every error that the user can do something about."""
    try:
        yield
    except OURS as error:
        fail(str(error))
    except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn) as error:
        fail(f"The database is not migrated ({error.diag.message_primary}); run `transfer-ledger migrate` first.")
    except psycopg.errors.InsufficientPrivilege as error:
        fail(f"The database does not allow it: {error.diag.message_primary}; use a role that may.")
    except psycopg.OperationalError as error:
        fail(f"The database cannot be reached: {' '.join(str(error).split())}")
    except KeyboardInterrupt:
        sys.exit(130)


def fail(sentence: str) -> NoReturn:
    """Say it in one line, and exit 2."""
    sys.stderr.write(f"{sentence}\n")
    sys.exit(USAGE)
