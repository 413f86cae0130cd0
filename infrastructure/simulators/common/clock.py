"""The simulator's clock: real time, a clock that was handed in, or one that stands still; all can be put forward."""

from __future__ import annotations

import time
from collections.abc import Callable


class SimClock:
    """Seconds since the epoch as the simulated Stripe sees them.

    Sleeps are the event loop's, so a clock that is handed in belongs to the loop that the simulator runs in.
    """

    def __init__(self, virtual_start: float | None = None, source: Callable[[], float] | None = None) -> None:
        """Raises ValueError when two clocks are asked for."""
        if virtual_start is not None and source is not None:
            raise ValueError("the simulator was given a clock and a virtual start, but it has one clock: choose one of them")
        self._now = source or (time.time if virtual_start is None else _standing_still(virtual_start))
        self._steady = source or time.monotonic
        self.offset = 0.0

    def now(self) -> float:
        return self._now() + self.offset

    def seconds(self) -> int:
        return int(self.now())

    def steady(self) -> float:
        """For durations and for what is due later: never set back, and put forward together with the clock."""
        return self._steady() + self.offset

    def advance(self, seconds: float) -> float:
        """Move forward and return the new time. Raises ValueError on a negative step: Stripe's time never runs back."""
        if seconds < 0:
            raise ValueError(f"the clock was asked to go back {-seconds} s, but it only moves forward: use a reset")
        self.offset += seconds
        return self.now()

    def rewind(self) -> None:
        self.offset = 0.0


def _standing_still(at: float) -> Callable[[], float]:
    return lambda: at
