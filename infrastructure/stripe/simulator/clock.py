"""The simulator's clock: real time with an offset, or a virtual time that only moves when told to."""

from __future__ import annotations

import time
from collections.abc import Callable


class SimClock:
    """Seconds since the epoch as the simulated Stripe sees them. Sleeps and latencies use the event loop's."""

    def __init__(self, virtual_start: float | None = None, source: Callable[[], float] | None = None) -> None:
        self._source = source or time.time
        self._frozen_at = virtual_start
        self._start = virtual_start
        self.offset = 0.0

    @property
    def is_virtual(self) -> bool:
        return self._frozen_at is not None

    def now(self) -> float:
        return (self._source() if self._frozen_at is None else self._frozen_at) + self.offset

    def seconds(self) -> int:
        return int(self.now())

    def advance(self, seconds: float) -> float:
        """Move forward and return the new time. Raises ValueError on a negative step: Stripe's time never runs back."""
        if seconds < 0:
            raise ValueError(f"the clock was asked to go back {-seconds} s, but it only moves forward: use a reset")
        self.offset += seconds
        return self.now()

    def rewind(self) -> None:
        self._frozen_at = self._start
        self.offset = 0.0
