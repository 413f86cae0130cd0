"""Health of a writer: when it last stored something, and the reason if it cannot."""

import logging
from dataclasses import dataclass
from time import monotonic

import psycopg

REPEATED_AFTER = 60.0
"""Seconds after which the same failure is logged again."""

log = logging.getLogger(__name__)


@dataclass(slots=True)
class WriterHealth:
    """The last success and the last failure of one writer, by the process's monotonic clock."""

    succeeded_at: float | None = None
    failed_at: float = 0.0
    failure: str | None = None
    """None if the last attempt succeeded."""
    disk_full: bool = False
    _logged: tuple[str, float] = ("", 0.0)

    def succeeded(self) -> None:
        self.succeeded_at = monotonic()
        if self.failure is not None:
            log.warning("the database takes writes again")
        self.failure, self.disk_full, self._logged = None, False, ("", 0.0)

    def failed(self, error: Exception) -> None:
        """Remember the reason for which nothing is stored, and log it once a minute."""
        self.failed_at = monotonic()
        self.failure = sentence_of(error)
        self.disk_full = isinstance(error, psycopg.errors.DiskFull)
        text, at = self._logged
        if text != self.failure or self.failed_at - at > REPEATED_AFTER:
            self._logged = (self.failure, self.failed_at)
            log.error("the database takes no writes: %s", self.failure)

    @property
    def idle_seconds(self) -> float:
        """Return the seconds since the last success."""
        return float("inf") if self.succeeded_at is None else monotonic() - self.succeeded_at


def sentence_of(error: Exception) -> str:
    """Return the error's message as one line, without PostgreSQL's context."""
    primary = error.diag.message_primary if isinstance(error, psycopg.Error) else None
    return " ".join((primary or str(error)).split()) or type(error).__name__
