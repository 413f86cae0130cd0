"""Lower bound of the search for due rows, for times in which dead rows cannot be removed.

While any session holds an old snapshot (an idle transaction, a long export), PostgreSQL keeps the
index entries of all rows that were settled since. They come before the entries of the due rows, so
each search would read all of them: 318 ms per claim after 50,000 settled rows.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from time import monotonic

from infrastructure.postgres.group_commit import PATIENCE

EARLIEST = datetime.min.replace(tzinfo=UTC)
MARGIN = PATIENCE + timedelta(seconds=5)
"""A row may become visible this long after the due time that it carries: an append may wait for
`PATIENCE`, and a command takes time to decide."""
SLOW = 0.05
"""Seconds of a search of everything up to which every search is one of everything."""
SHARE = 0.02
"""Part of the time that slow searches of everything may take."""
LONGEST = 60.0
"""Seconds after which everything is searched again, however slow that is."""


class DueBound:
    """Remembers the earliest due time of the rows that are not settled, leased ones included.

    A search from this bound on finds every due row, except one that came later than `MARGIN` after
    its due time: a rebuilt row, a suspended process. That row is found by a search of everything,
    which begins at most `LONGEST` seconds after the row came.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock, self._slow = clock, False
        self._bound, self._everything_at = EARLIEST, 0.0

    @property
    def bound(self) -> datetime:
        """Return the bound, or `EARLIEST` as long as searches of everything are fast."""
        return self._bound if self._slow else EARLIEST

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
        if since <= self._bound or since == EARLIEST:  # otherwise another claim saw earlier rows
            self._bound = min(earliest or now, now) - MARGIN
        if since == EARLIEST:
            self._slow = seconds > SLOW
            self._everything_at = self._clock() - seconds + min(seconds / SHARE, LONGEST)
