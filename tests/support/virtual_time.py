"""Virtual time: real asyncio tasks in a loop whose clock jumps to the next timer as soon as nothing else is ready.

A day costs only the work that is done in it, and nothing depends on how fast the machine is. There is nothing to wait for
besides timers: no sockets, no threads, no signals.
"""

import asyncio
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import NoReturn, TypeVar

BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
"""The instant at which every virtual loop starts."""

T = TypeVar("T")


class Deadlock(RuntimeError):
    """Everybody waits for somebody else, and no timer is left that could change it."""


class VirtualTimeLoop(asyncio.BaseEventLoop):
    """`time()` is what has been slept so far."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        self._clock_resolution = 1e-6  # coarser than the rounding of sums of seconds, finer than any of our timers
        self._selector = self

    def time(self) -> float:
        return self._now

    def select(self, timeout: float | None) -> list[object]:
        """What the loop asks of its selector when it has nothing to do for `timeout` seconds."""
        if timeout is None:
            raise Deadlock("every task waits, and no timer is left: nothing will ever happen again")
        self._now += timeout
        return []

    def run_in_executor(self, *_: object) -> NoReturn:
        raise RuntimeError("a thread was asked for, but its time would be real")

    def _process_events(self, _: list[object]) -> None:
        """There are none: nothing comes from outside."""

    def _write_to_self(self) -> None:
        """Nobody is asleep in a system call, so nobody has to be woken."""


def run(main: Coroutine[object, object, T]) -> T:
    """Run it in a loop of its own, from `BEGINNING` on."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main)


def now() -> datetime:
    """The virtual instant, in UTC."""
    return BEGINNING + timedelta(seconds=asyncio.get_running_loop().time())


def epoch_seconds() -> float:
    """The virtual instant, as the simulated Stripe counts time."""
    return now().timestamp()
