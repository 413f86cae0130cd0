"""What every fact and every aggregate of the ledger is."""

from datetime import datetime
from typing import TypedDict, TypeVar, dataclass_transform
from uuid import UUID

from eventsourcing.domain import Aggregate, AggregateCreated, AggregateEvent
from eventsourcing.utils import register_topic


@dataclass_transform(frozen_default=True, kw_only_default=True)
class Fact(AggregateEvent):
    """A thing that happened: past tense, results in primitives, a permanent `TOPIC`.

    A field added later needs a default, so that facts stored before it still load. Appliers are total and boring:
    no clock, no ids made, no guard that a later release could tighten.
    """

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        topic = vars(cls).get("TOPIC")
        if topic is not None:
            register_topic(topic, cls)  # or a process that reads a fact before it writes one could not tell its class


@dataclass_transform(frozen_default=True, kw_only_default=True)
class Opening(Fact, AggregateCreated):
    """The first fact of a stream. `originator_topic` names its aggregate."""


class Stamp(TypedDict):
    """What a fact needs besides its content: whose it is, which version it makes, when it happened (UTC)."""

    originator_id: UUID
    originator_version: int
    timestamp: datetime


class OpeningStamp(Stamp):
    """The stamp of the first fact of a stream."""

    originator_topic: str


class Stream(Aggregate):
    """An aggregate whose commands decide facts and whose facts assign state.

    `topic` is its permanent name and `opening` its first fact; a class without them is the state of another aggregate.
    """

    TOPIC = ""

    def __init_subclass__(cls, *, topic: str = "", opening: type[Opening] = Opening) -> None:
        cls.TOPIC = topic
        # the library leaves classes alone that already fit; others it would subclass, under topics of its own making
        cls.Event, cls.Created = Fact, opening  # type: ignore[misc, assignment]
        super().__init_subclass__()

    @classmethod
    def first(cls, stream_id: UUID, now: datetime) -> OpeningStamp:
        """Return the stamp of the first fact of a new stream."""
        return {"originator_id": stream_id, "originator_version": 1, "timestamp": now, "originator_topic": cls.TOPIC}

    def record(self, fact: Fact) -> None:
        """Apply a fact and keep it for the next append."""
        fact.mutate(self)
        self.pending_events.append(fact)

    def next(self, now: datetime) -> Stamp:
        """The stamp of the next fact; a TypedDict, so that `**self.next(now)` stays type-checked.

        A stream's instants never go back, whatever clocks do: what it was at an instant is the fold up to there.
        """
        return {
            "originator_id": self.id,
            "originator_version": self.version + 1,
            "timestamp": max(now, self.modified_on),
        }


S = TypeVar("S", bound=Stream)


def opened(kind: type[S], fact: Opening) -> S:
    """A new aggregate with its opening fact pending."""
    stream: S | None = fact.mutate(None)
    assert isinstance(stream, kind)
    stream.pending_events.append(fact)
    return stream
