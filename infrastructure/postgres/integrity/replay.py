"""Replay of the facts, stream by stream, to the rows that each stream leads to. Read only; memory
stays flat."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple
from uuid import UUID

import psycopg
from psycopg.rows import TupleRow

from domain.fact import Fact
from infrastructure.postgres import json_encoder
from infrastructure.postgres.integrity.decoder import Undecodable, decoded
from infrastructure.postgres.named_queries import queries
from projections.registry import Rows, rows_of

CHUNK = 4_000
"""Facts read at a time."""
BEFORE_ALL = (UUID(int=0), 0)
SQL = queries("integrity")

Blocking = psycopg.Connection[TupleRow]
StoredRow = tuple[UUID, int, str, bytes, int]
"""Stream, version, topic, state, position."""


class UnreadableStream(NamedTuple):
    """A stream that cannot be folded: it has a gap, or one of its rows is no fact."""

    stream: UUID
    position: int
    why: str


@dataclass(slots=True)
class ReplayedStreams:
    """Whole streams, and the rows that their facts lead to."""

    streams: list[UUID] = field(default_factory=list)
    rows: dict[str, list[tuple[UUID, object]]] = field(default_factory=dict)
    """By table, each row with its stream."""
    unreadable: list[UnreadableStream] = field(default_factory=list)
    facts: int = 0
    _encoded: dict[str, bytes] = field(default_factory=dict)

    def take(self, stream: UUID, stored: Sequence[StoredRow]) -> None:
        """Fold one whole stream. A stream that cannot be folded is unreadable, and has no rows."""
        self.facts += len(stored)
        led_to = _led_to(stream, stored)
        if isinstance(led_to, UnreadableStream):
            self.unreadable.append(led_to)
            return
        self.streams.append(stream)
        for table, rows in led_to.items():
            self.rows.setdefault(table, []).extend((stream, row) for row in rows)

    def encoded(self, table: str) -> bytes:
        """Encode the rows of one table as the members of a JSON array, once: call this after the
        last `take`."""
        if table not in self._encoded:
            self._encoded[table] = json_encoder.members(row for _, row in self.rows.get(table, ()))
        return self._encoded[table]

    def only(self, streams: Collection[UUID]) -> "ReplayedStreams":
        """Return only these streams."""
        rows = {
            table: [pair for pair in pairs if pair[0] in streams]
            for table, pairs in self.rows.items()
        }
        return ReplayedStreams([stream for stream in self.streams if stream in streams], rows)

    def replaced(self, newer: "ReplayedStreams") -> "ReplayedStreams":
        """Return the same streams, with those of `newer` in their present state."""
        moved = set(newer.streams) | {one.stream for one in newer.unreadable}
        streams = [stream for stream in self.streams if stream not in moved] + newer.streams
        kept = {
            table: [pair for pair in rows if pair[0] not in moved]
            for table, rows in self.rows.items()
        }
        tables = {
            table: kept.get(table, []) + newer.rows.get(table, [])
            for table in kept.keys() | newer.rows.keys()
        }
        return ReplayedStreams(streams, tables, newer.unreadable, newer.facts)


def replay_streams(stored: Iterable[StoredRow]) -> ReplayedStreams:
    """Fold facts that are whole streams, in order."""
    replayed = ReplayedStreams()
    for stream, facts in groupby(stored, itemgetter(0)):
        replayed.take(stream, list(facts))
    return replayed


def chunks(connection: Blocking, position: int, size: int = CHUNK) -> Iterator[list[StoredRow]]:
    """Yield all facts up to a position, in chunks of whole streams."""
    after, begun = BEFORE_ALL, list[StoredRow]()
    while True:
        read = _read(connection, after, position, size)
        begun += read
        if len(read) < size:
            break
        after = (read[-1][0], read[-1][1])
        whole = _length_of_whole_streams(begun)
        if whole:
            yield begun[:whole]
            begun = begun[whole:]
    if begun:
        yield begun


def moved(connection: Blocking, streams: Sequence[UUID], position: int) -> list[StoredRow]:
    """Read those of these streams, whole, that have facts after a position."""
    with connection.cursor(binary=True) as cursor:
        cursor.execute(SQL["moved"], {"streams": list(streams), "position": position})
        return cursor.fetchall()


def _read(
    connection: Blocking, after: tuple[UUID, int], position: int, limit: int
) -> list[StoredRow]:
    values = {"stream": after[0], "version": after[1], "position": position, "limit": limit}
    with connection.cursor(binary=True) as cursor:
        cursor.execute(SQL["streams"], values)
        return cursor.fetchall()


def _length_of_whole_streams(begun: Sequence[StoredRow]) -> int:
    """Count the facts without the last stream, which may go on in the next chunk."""
    last = begun[-1][0]
    return next(
        (index + 1 for index in range(len(begun) - 2, -1, -1) if begun[index][0] != last), 0
    )


def _led_to(stream: UUID, stored: Sequence[StoredRow]) -> Rows | UnreadableStream:
    facts: list[Fact] = []
    for expected, (_, version, topic, state, position) in enumerate(stored, start=1):
        if version != expected:
            return UnreadableStream(
                stream, position, f"version {version} follows version {expected - 1}"
            )
        try:
            facts.append(decoded(stream, version, topic, state))
        except Undecodable as error:
            return UnreadableStream(stream, position, str(error))
    try:
        return rows_of(facts)
    except Exception as error:  # facts that were falsified can break a fold in any way
        return UnreadableStream(
            stream, stored[-1][4], f"its facts cannot be folded: {type(error).__name__}: {error}"
        )
