"""Errors of a command, printed as one line or as a traceback without secrets."""

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from infrastructure.redaction import hide
from scripts.exit_codes import fail


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Print an error that the user can correct as one line on standard error, and exit with 2 or
    75. The module that knows the errors is imported for an error only, as it is slow."""
    try:
        yield
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        from scripts.error_sentences import code_of, sentence_of

        sentence = sentence_of(error)
        if sentence is None:
            sys.excepthook = show_defect
            raise
        fail(sentence, code_of(error))


def show_defect(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Print the traceback of a defect on standard error, without secrets."""
    sys.stderr.write(hide("".join(traceback.format_exception(kind, error, trace))))
