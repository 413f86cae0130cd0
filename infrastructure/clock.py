"""Clock of the process, corrected to the database's clock."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

# It goes on while a virtual machine is suspended. Systems without it have the monotonic clock.
_STEADY = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def steady() -> Callable[[], datetime]:
    """Return a clock that starts at the present wall time and then only counts elapsed time.

    A step of the wall clock, by a person or by NTP, does not change it.
    """
    wall, began = datetime.now(UTC), time.clock_gettime(_STEADY)
    return lambda: wall + timedelta(seconds=time.clock_gettime(_STEADY) - began)


class DatabaseClock:
    """The port `Clock`: leases, due times and facts have instants of the database, so the process
    must use the same clock."""

    def __init__(self, own: Callable[[], datetime] | None = None) -> None:
        self._own = own or steady()
        self._offset = timedelta(0)

    def now(self) -> datetime:
        """Return the instant in UTC, by the database's clock."""
        return self._own() + self._offset

    def observe(self, asked: datetime, database_now: datetime) -> None:
        """Adjust to an instant that the database has returned to a question of the instant `asked`.

        The newest measurement counts: an older one may be from before a step of one of the clocks.
        The correction is the smallest that agrees with it: the answer may have come late, which
        would turn the clock back.
        """
        self._offset += max(database_now - self.now(), min(database_now - asked, timedelta(0)))
