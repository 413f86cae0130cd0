"""Answers that the writers got, one record per append, in a file of their process."""

from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path
from struct import Struct
from typing import NamedTuple

RECORD = Struct("<qiiqqq")
TOKENS_PER_PROCESS = 1 << 40
"""Each fact carries a token, a number of its own; the upper bits number the process."""


class Result(IntEnum):
    """Result of an append, as far as its writer knows."""

    STORED = 0
    """Acknowledged with a position."""
    UNKNOWN = 1
    """The connection was lost or the caller was cancelled: stored whole, or absent."""
    ABSENT = 2
    """Refused, rolled back, or given up for certain."""
    CONFLICT = 3
    """Another writer stored this version of a contested stream first."""
    SELF_CONFLICT = 4
    """A conflict on a stream that has one writer: always an error."""


class Answer(NamedTuple):
    """One append of `facts` facts, whose tokens follow each other from `token` on.

    `position` is that of the last fact, 0 if unknown. `sent` and `answered` are nanoseconds of the
    monotonic clock, which all processes of a machine share.
    """

    token: int
    facts: int
    result: int
    position: int
    sent: int
    answered: int


def read(path: Path) -> Iterator[Answer]:
    """Read the records of one process."""
    return map(Answer._make, RECORD.iter_unpack(path.read_bytes()))
