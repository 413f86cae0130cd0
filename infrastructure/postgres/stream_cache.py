"""Cache of long streams: the state after a known fact, so that a load decodes only the facts after
that fact.

Facts never change, but a fail-over to a standby that lacks the last commits, or a restored backup,
can take some away. So each use compares the digest of the last known fact with the database's: the
digest continues the hash chain, so an equal one proves that all facts before it are the same.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from domain.fact import Stream
from infrastructure.postgres.event_store import RecordedFact
from projections.registry import FoldedStream

SHORTEST = 16
"""Facts. A shorter stream is decoded faster than it would be kept."""
MOST_STREAMS = 4_096


class KnownStream(NamedTuple):
    """State of a stream after its fact with this digest. The stream itself is never handed out."""

    stream: Stream
    folded: FoldedStream
    version: int
    digest: bytes

    def is_continued_by(self, recorded: Sequence[RecordedFact]) -> bool:
        """Return whether the first of these facts is the last one that led to this state."""
        return bool(recorded) and recorded[0].digest == self.digest


class StreamCache:
    """The streams that were used last."""

    def __init__(self, most: int = MOST_STREAMS) -> None:
        self._known: OrderedDict[UUID, KnownStream] = OrderedDict()
        self._most = most

    def known(self, stream_id: UUID) -> KnownStream | None:
        """Return the known state of this stream, from whose last fact on it has to be loaded."""
        known = self._known.get(stream_id)
        if known is not None:
            self._known.move_to_end(stream_id)
        return known

    def forget(self, stream_id: UUID) -> None:
        """Forget a state whose last fact the database does not have any more."""
        self._known.pop(stream_id, None)

    def keep(self, stream: Stream, folded: FoldedStream, last: RecordedFact) -> None:
        """Keep the state of a long stream after its last fact."""
        if last.originator_version < SHORTEST:
            return
        self._known[stream.id] = KnownStream(
            stream.copied(), folded, last.originator_version, last.digest
        )
        self._known.move_to_end(stream.id)
        while len(self._known) > self._most:
            self._known.popitem(last=False)
