"""Errors of the program that its loops have caught, taken from the log.

A loop catches every error, so that one failing piece of work does not hinder the others. In a run
with faults an error that no fault explains is a violation.
"""

import logging
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from structlog.typing import EventDict

from domain.errors import LedgerError
from infrastructure.simulation.faults.invariants.broken import broken
from infrastructure.simulation.serving import ProcessGone

EXPECTED = (LedgerError, OSError, ProcessGone)
"""Errors that faults cause: refusals, conflicts, an absent database, a cut connection."""


class CaughtErrors:
    """The unexpected errors that were caught since the last look."""

    def __init__(self) -> None:
        self._caught: list[str] = []

    def note(self, error: BaseException) -> None:
        """Note an error, unless faults cause it."""
        if not isinstance(error, EXPECTED):
            self._caught.append(unexpected(error))

    def take(self) -> list[str]:
        """Return the violations since the last call."""
        caught, self._caught = self._caught, []
        return caught

    def __call__(self, logger: object, method: str, event: EventDict) -> EventDict:
        """Note the error that is handled while a line is logged, and drop the line."""
        error = sys.exc_info()[1]
        if error is not None:
            self.note(error)
        raise structlog.DropEvent


@contextmanager
def errors_watched() -> Iterator[CaughtErrors]:
    """Write no log lines, and note the errors in them: a story tells all that happens."""
    before, caught = structlog.get_config(), CaughtErrors()
    structlog.configure(
        processors=[caught], wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING)
    )
    try:
        yield caught
    finally:
        structlog.configure(**before)


def unexpected(error: BaseException) -> str:
    """Return the violation that an error is."""
    frames = traceback.extract_tb(error.__traceback__)
    places = [f"{frame.filename.rpartition('/')[2]}:{frame.lineno}" for frame in frames[-3:]]
    sentence = f"{type(error).__name__}: {error} at {' > '.join(places)}"
    return broken("no_error_of_the_program", sentence)
