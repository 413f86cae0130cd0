"""How a command ends: 0 well, 1 something wrong was found, 2 it could not be done as asked. Never a traceback for those."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import psycopg

from domain.errors import LedgerError
from infrastructure.builtin import SimulatorNotStarted
from infrastructure.postgres.embedded import EmbeddedPostgresError
from infrastructure.postgres.migrate import MigrationError

FOUND, USAGE = 1, 2


@contextmanager
def one_line_errors() -> Iterator[None]:
    """What went wrong in one line on standard error, and exit 2, for every error that the user can do something about."""
    try:
        yield
    except (LedgerError, EmbeddedPostgresError, MigrationError, SimulatorNotStarted) as error:
        fail(str(error))
    except psycopg.OperationalError as error:
        fail(f"The database cannot be reached: {' '.join(str(error).split())}")
    except KeyboardInterrupt:
        sys.exit(130)


def fail(sentence: str) -> NoReturn:
    """Say it in one line, and exit 2."""
    sys.stderr.write(f"{sentence}\n")
    sys.exit(USAGE)
