"""Scheduled changes, such as a transfer that Stripe completes some time after its 500."""

import asyncio
from collections.abc import Callable
from itertools import count

from infrastructure.simulators.common.clock import SimClock


class Scheduler:
    """Runs each entry once: when its seconds have passed in the event loop, or when the clock was
    advanced past its time."""

    def __init__(self, clock: SimClock) -> None:
        self._clock = clock
        self._numbers = count()
        self._entries: dict[int, tuple[float, Callable[[], None]]] = {}

    def after(self, seconds: float, act: Callable[[], None]) -> None:
        number = next(self._numbers)
        self._entries[number] = (self._clock.now() + seconds, act)
        asyncio.get_running_loop().call_later(seconds, self._run, number)

    def catch_up(self) -> None:
        """Run the due entries in the order of their creation."""
        now = self._clock.now()
        for number in [number for number, (due, _) in self._entries.items() if due <= now]:
            self._run(number)

    def clear(self) -> None:
        self._entries.clear()

    def _run(self, number: int) -> None:
        entry = self._entries.pop(number, None)
        if entry is not None:
            entry[1]()
