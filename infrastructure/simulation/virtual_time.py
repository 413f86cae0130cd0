"""Virtual time: real asyncio tasks in a loop whose clock jumps to the next timer as soon as no task
is ready.

A virtual day costs only the work done in it, and no result depends on the speed of the machine.
Tasks can wait for timers only: there are no sockets, threads or signals.
"""

import asyncio
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import NoReturn, TypeVar

BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
"""The instant at which every virtual loop starts."""

T = TypeVar("T")


class Deadlock(RuntimeError):
    """Every task waits, and no timer is left that could wake one."""


class Livelock(RuntimeError):
    """Tasks go on and on, and no time passes."""


MOST_TURNS = 200_000
"""Turns of the loop at one instant after which a livelock is assumed."""


class VirtualTimeLoop(asyncio.BaseEventLoop):
    """An event loop whose `time()` is the sum of all sleeps so far."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        self._still = 0
        self._clock_resolution = (
            1e-8  # coarser than the rounding of sums of seconds, finer than that of epoch seconds
        )
        self._selector = self

    def time(self) -> float:
        return self._now

    def select(self, timeout: float | None) -> list[object]:
        """Advance the clock: the loop asks its selector to wait for `timeout` seconds. Raises
        Deadlock and Livelock."""
        if timeout is None:
            raise Deadlock("every task waits, and no timer is left: nothing will ever happen again")
        self._still = 0 if timeout else self._still + 1
        if self._still > MOST_TURNS:
            self._still = 0
            raise Livelock(f"after {MOST_TURNS:,} turns of the loop it is still the same instant")
        self._now += timeout
        return []

    def run_in_executor(self, *_: object) -> NoReturn:
        raise RuntimeError("a thread was asked for, but its time would be real")

    def _process_events(self, _: list[object]) -> None:
        """Do nothing: no event comes from outside."""

    def _write_to_self(self) -> None:
        """Do nothing: the loop never sleeps in a system call."""


def run(main: Coroutine[object, object, T]) -> T:
    """Run it in a loop of its own, from `BEGINNING` on."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main)


def now() -> datetime:
    """Return the virtual instant, in UTC."""
    return BEGINNING + timedelta(seconds=asyncio.get_running_loop().time())


def epoch_seconds() -> float:
    """Return the virtual instant in seconds since 1970, as the simulated Stripe counts time."""
    return now().timestamp()
