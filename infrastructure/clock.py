"""The process's clock, corrected by what the database's clock was last seen to say."""

from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

REMEMBERED = 64


def wall() -> datetime:
    """The process's own clock, in UTC."""
    return datetime.now(UTC)


class DatabaseClock:
    """See `application.ports.Clock`. Instants that leases and due times are compared with come from the database."""

    def __init__(self, own: Callable[[], datetime] = wall) -> None:
        self._own = own
        self._offsets: deque[timedelta] = deque(maxlen=REMEMBERED)
        self._offset = timedelta(0)

    def now(self) -> datetime:
        """The instant in UTC, as the database would tell it."""
        return self._own() + self._offset

    def observe(self, database_now: datetime) -> None:
        """The database said this a moment ago. Of the latest answers, the one that was least delayed counts."""
        self._offsets.append(database_now - self._own())
        self._offset = max(self._offsets)
