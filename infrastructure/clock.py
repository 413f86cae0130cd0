"""Clock of the process, corrected to the database's clock."""

from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

REMEMBERED = 64


def wall() -> datetime:
    """Return the time of the process's own clock, in UTC."""
    return datetime.now(UTC)


class DatabaseClock:
    """The port `Clock`: leases and due times have instants of the database, so the process must use
    the same clock."""

    def __init__(self, own: Callable[[], datetime] = wall) -> None:
        self._own = own
        self._offsets: deque[timedelta] = deque(maxlen=REMEMBERED)
        self._offset = timedelta(0)

    def now(self) -> datetime:
        """Return the instant in UTC, by the database's clock."""
        return self._own() + self._offset

    def observe(self, database_now: datetime) -> None:
        """Adjust to an instant that the database has just returned. Of the latest answers, the
        least delayed one counts."""
        self._offsets.append(database_now - self._own())
        self._offset = max(self._offsets)
