"""Log lines never block and never raise, whatever becomes of their reader."""

import fcntl
import json
import os
from collections.abc import Iterator

import pytest

from infrastructure.log_stream import MOST_WAITING, LogStream

F_SETPIPE_SZ = 1031
"""Linux: sets the size of a pipe's buffer."""


class Pipe:
    """A pipe whose reading end the test controls."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        fcntl.fcntl(self.writer, F_SETPIPE_SZ, 4096)
        self._open = {self.reader, self.writer}

    def close(self, descriptor: int) -> None:
        self._open.discard(descriptor)
        os.close(descriptor)

    def close_all(self) -> None:
        for descriptor in set(self._open):
            self.close(descriptor)

    def read(self, size: int) -> str:
        text = b""
        while len(text) < size and (piece := os.read(self.reader, size - len(text))):
            text += piece
        return text.decode()


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    made = Pipe()
    yield made
    made.close_all()


def test_lines_arrive_in_their_order(pipe: Pipe) -> None:
    stream, lines = LogStream(pipe.writer), [f"line {n}\n" for n in range(200)]
    for line in lines:
        stream.write(line)
    stream.flush_within(5)
    assert pipe.read(sum(map(len, lines))) == "".join(lines)


def test_reader_that_is_stuck_blocks_no_writer_and_lines_are_counted(pipe: Pipe) -> None:
    stream, late = LogStream(pipe.writer), "y" * 999 + "\n"
    lines = 3 * MOST_WAITING // len(late)
    for _ in range(lines):
        stream.write("x" * 999 + "\n")  # would block for ever on the pipe of 4 KiB
    kept, dropped, text = 0, 0, ""
    for _ in range(lines + 100):
        if kept + dropped == lines:
            break
        if not stream.waiting:
            stream.write(late)  # so that there is something to read, and a reason to tell
        *whole, text = (text + pipe.read(len(late))).split("\n")
        kept += sum(one.startswith("x") for one in whole)
        told = [json.loads(one) for one in whole if one.startswith("{")]
        assert {one["event"] for one in told} <= {"log lines were dropped"}
        dropped += sum(one["lines"] for one in told)
    assert dropped
    assert kept + dropped == lines


def test_reader_that_is_gone_raises_nothing(pipe: Pipe) -> None:
    stream = LogStream(pipe.writer)
    pipe.close(pipe.reader)
    for _ in range(3):
        assert stream.write("nobody reads this\n") == 18
        stream.flush_within(5)
    assert stream.waiting == 0


def test_unencodable_text_is_escaped(pipe: Pipe) -> None:
    stream = LogStream(pipe.writer)
    stream.write("a \ud800 b\n")
    stream.flush_within(5)
    assert pipe.read(11) == "a \\ud800 b\n"
