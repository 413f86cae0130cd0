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
SLOW, IN_A_ROW = 0.05, 3
"""Seconds, and number of searches of everything that took longer, one after the other, before the
bound is used. One slow search may be the load of the machine."""
SHARE = 0.02
"""Part of the time that slow searches of everything may take."""
LONGEST = 60.0
"""Seconds after which everything is searched again, however slow that is."""


class DueBound:
    """Remembers the earliest due time of the rows that are not settled, leased ones included.

    A search from this bound on finds every due row, except one that came later than `MARGIN` after
    its due time: a long wait for the database, a rebuilt row. That row is found by the next search
    of everything, at most `LONGEST` seconds later.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock, self._slow_ones = clock, 0
        self._bound, self._everything_at = EARLIEST, 0.0
        self._seen, self._seen_at = EARLIEST, 0.0

    @property
    def _slow(self) -> bool:
        return self._slow_ones >= IN_A_ROW

    @property
    def bound(self) -> datetime:
        """Return the bound, or `EARLIEST` as long as searches of everything are fast."""
        return self._bound if self._slow else EARLIEST

    def no_later(self, due: datetime | None) -> datetime | None:
        """Return the instant of the next claim: `due`, or earlier to search everything."""
        if not self._slow:
            return due
        everything = self._seen + timedelta(seconds=self._everything_at - self._seen_at)
        return everything if due is None else min(due, everything)

    def start(self) -> datetime:
        """Return the instant from which the claim that starts now searches.

        While searches of everything are slow, one of several claims at a time searches everything.
        """
        if self._slow and self._clock() < self._everything_at:
            return self._bound
        self._everything_at = self._clock() + LONGEST
        return EARLIEST

    def end(
        self, since: datetime, seconds: float, earliest: datetime | None, now: datetime
    ) -> None:
        """Take note of a claim that has searched from `since` on, and of the earliest due time that
        it has seen; None if it saw no row."""
        self._seen, self._seen_at = now, self._clock() - seconds
        if since <= self._bound or since == EARLIEST:  # otherwise another claim saw earlier rows
            self._bound = min(earliest or now, now) - MARGIN
        if since == EARLIEST:
            self._slow_ones = self._slow_ones + 1 if seconds > SLOW else 0
            self._everything_at = self._clock() - seconds + min(seconds / SHARE, LONGEST)
