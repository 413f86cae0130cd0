"""Standard error for log lines: a write never blocks and never fails.

Logs are written from the event loop. A reader that is stuck would block the whole process, and a
reader that has died, or a full disk, would raise an error inside of a loop that handles another
error.
"""

import atexit
import contextlib
import os
import threading
from collections import deque

MOST_WAITING = 1 << 20
"""Characters that wait for the writing thread. Lines beyond them are dropped and counted."""
FLUSH_SECONDS = 1.0
"""Time for the waiting lines at the end of the process."""


class LogStream:
    """Text stream whose lines a thread writes to a file descriptor."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lines: deque[str] = deque()
        self.waiting = 0
        """Characters that are not written yet."""
        self._dropped = 0
        self._changed = threading.Condition()
        self._pid: int | None = None

    def write(self, text: str) -> int:
        """Queue text for the thread; drop it if too much is waiting."""
        with self._changed:
            if self.waiting > MOST_WAITING:
                self._dropped += 1
                return len(text)
            self._lines.append(text)
            self.waiting += len(text)
            if self._pid != os.getpid():  # the first line, or a process that was forked since
                self._pid = os.getpid()
                threading.Thread(target=self._write_for_ever, name="log", daemon=True).start()
                atexit.register(self.flush_within, FLUSH_SECONDS)
            self._changed.notify_all()
        return len(text)

    def flush(self) -> None:
        """Do nothing: the thread writes each line at once."""

    def flush_within(self, seconds: float) -> None:
        """Wait until the thread has written all lines, at most `seconds`."""
        with self._changed:
            self._changed.wait_for(lambda: self.waiting == 0, seconds)

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def _write_for_ever(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._lines))
                lines, self._lines = self._lines, deque()
                dropped, self._dropped = self._dropped, 0
            text = "".join(lines)
            if dropped:
                text += f'{{"event": "log lines were dropped", "lines": {dropped}}}\n'
            self._write_all(text)
            with self._changed:
                self.waiting -= sum(map(len, lines))
                self._changed.notify_all()

    def _write_all(self, text: str) -> None:
        rest = memoryview(text.encode("utf-8", "backslashreplace"))
        with contextlib.suppress(OSError):  # the reader is gone, or the disk is full
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
