"""News of facts in one process: readers of the feed wait here, and hold no connection meanwhile."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class FactNews:
    """Wakes all waiting readers after each append of any process, and at the end of this one."""

    def __init__(self) -> None:
        self._next, self._ended = asyncio.Event(), False
        self.readers = 0
        """Number of calls that wait here."""

    @property
    def next(self) -> asyncio.Event:
        """The event that is set by the next news. Take it before a read: facts that are appended
        after the read set it."""
        return self._next

    @property
    def ended(self) -> bool:
        """True once the process is stopping: nothing waits any more."""
        return self._ended

    @contextmanager
    def reader(self) -> Iterator[None]:
        """Count a call while it waits."""
        self.readers += 1
        try:
            yield
        finally:
            self.readers -= 1

    def wake(self) -> None:
        """Wake everything that waits, since there may be facts."""
        woken, self._next = self._next, asyncio.Event()
        woken.set()

    def end(self) -> None:
        """Wake everything that waits, for the last time."""
        self._ended = True
        self.wake()
