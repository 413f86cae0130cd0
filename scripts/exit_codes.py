"""Exit codes: 0 success, 1 the command found something wrong, 2 the command could not run as asked,
70 a part of a process ended unasked, 75 the command cannot run now: the same command may succeed
later."""

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import NoReturn

from infrastructure.redaction import hide
from infrastructure.visible_text import visible

FOUND, USAGE, DEFECT, NOT_NOW = 1, 2, 70, 75


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


def fail(sentence: str, code: int = USAGE) -> NoReturn:
    """Print one line, if any, on standard error, and exit with 2 or another code."""
    if sentence:
        sys.stderr.write(f"{visible(hide(sentence))}\n")
    sys.exit(code)
