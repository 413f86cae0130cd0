"""What will happen by itself later, as when Stripe finishes after a 500 what it had begun."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import count

from infrastructure.simulators.common.clock import SimClock


class Agenda:
    """Each entry happens once: when its seconds have passed in the event loop, or the clock was put past its instant."""

    def __init__(self, clock: SimClock) -> None:
        self._clock = clock
        self._numbers = count()
        self._entries: dict[int, tuple[float, Callable[[], None]]] = {}

    def after(self, seconds: float, act: Callable[[], None]) -> None:
        number = next(self._numbers)
        self._entries[number] = (self._clock.now() + seconds, act)
        asyncio.get_running_loop().call_later(seconds, self._do, number)

    def catch_up(self) -> None:
        """Do what is due by the clock, in the order in which it was put down."""
        now = self._clock.now()
        for number in [number for number, (due, _) in self._entries.items() if due <= now]:
            self._do(number)

    def clear(self) -> None:
        self._entries.clear()

    def _do(self, number: int) -> None:
        entry = self._entries.pop(number, None)
        if entry is not None:
            entry[1]()
