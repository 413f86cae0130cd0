"""Lower bound of the search for due rows, for times in which dead rows cannot be removed.

While any session holds an old snapshot (an idle transaction, a long export), PostgreSQL keeps the
index entries of all rows that were settled since. They come before the entries of the due rows, so
each search would read all of them: 318 ms per claim after 50,000 settled rows.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from time import monotonic

EARLIEST = datetime.min.replace(tzinfo=UTC)
MARGIN = timedelta(seconds=5)
"""A row may become visible this long after the due time that it carries."""
SLOW = 0.05
"""Seconds of a search of everything up to which every search is one of everything."""
SHARE = 0.02
"""Part of the time that slow searches of everything may take."""


class DueBound:
    """Remembers the earliest due time of the rows that are not settled, leased ones included.

    A search from this bound on finds every due row, except one that came late with an old due time:
    a slow commit, a rebuilt row. For those, everything is searched now and then.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._bound, self._everything_at, self._clock = EARLIEST, 0.0, clock

    @property
    def since(self) -> datetime:
        """Return the instant from which the next search starts; `EARLIEST` to search everything."""
        return self._bound if self._clock() < self._everything_at else EARLIEST

    def found(self, earliest: datetime | None, now: datetime) -> None:
        """Take note of the earliest due time among the rows of a search; None if it saw none."""
        self._bound = min(earliest or now, now) - MARGIN

    def took(self, since: datetime, seconds: float) -> None:
        """Take note of the duration of a search from `since` on."""
        if since == EARLIEST:
            self._everything_at = self._clock() + (seconds / SHARE if seconds > SLOW else 0)
