"""The simulator's clock: real time, a given clock, or a fixed instant. Each can be advanced."""

import time
from collections.abc import Callable


class SimClock:
    """Seconds since the epoch in simulated time.

    Sleeps use the event loop, so a given clock must belong to the loop that the simulator runs in.
    """

    def __init__(
        self, virtual_start: float | None = None, source: Callable[[], float] | None = None
    ) -> None:
        """Use one clock. Raises ValueError for both a start and a clock."""
        if virtual_start is not None and source is not None:
            raise ValueError(
                "the simulator got both `clock` and `virtual_start`, but it has one clock; "
                "choose one of them"
            )
        self._now = source or (time.time if virtual_start is None else _fixed(virtual_start))
        self._steady = source or time.monotonic
        self.offset = 0.0

    def now(self) -> float:
        return self._now() + self.offset

    def unmoved(self) -> float:
        """Return the time without the advances: that of clients, which cannot be advanced."""
        return self._now()

    def seconds(self) -> int:
        return int(self.now())

    def steady(self) -> float:
        """Return the time for durations and due times: never set back, and advanced together with
        the clock."""
        return self._steady() + self.offset

    def advance(self, seconds: float) -> float:
        """Move forward and return the new time. Raises ValueError on a negative step."""
        if seconds < 0:
            raise ValueError(
                f"the clock was asked to go back {-seconds} s, but it only moves forward; use a "
                "reset"
            )
        self.offset += seconds
        return self.now()

    def rewind(self) -> None:
        self.offset = 0.0


def _fixed(at: float) -> Callable[[], float]:
    return lambda: at
