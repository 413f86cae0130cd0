"""Base classes of facts and aggregates."""

from datetime import datetime
from typing import Self, TypedDict, TypeVar, dataclass_transform
from uuid import UUID

from eventsourcing.domain import Aggregate, AggregateCreated, AggregateEvent
from eventsourcing.utils import register_topic


@dataclass_transform(frozen_default=True, kw_only_default=True)
class Fact(AggregateEvent):
    """An event: named in the past tense, with results as primitives and a permanent `TOPIC`.

    A field that is added later needs a default, so that facts stored before still load. Appliers
    are total and pure: no clock, no new ids, no guard that a later release could tighten.
    """

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        topic = vars(cls).get("TOPIC")
        if topic is not None:
            register_topic(
                topic, cls
            )  # else a process that reads a fact before it writes one could not find its class


@dataclass_transform(frozen_default=True, kw_only_default=True)
class Opening(Fact, AggregateCreated):
    """The first fact of a stream. `originator_topic` names the class of its aggregate."""


class Stamp(TypedDict):
    """Members of every fact: its stream, the version of the stream after it, and its time (UTC)."""

    originator_id: UUID
    originator_version: int
    timestamp: datetime


class OpeningStamp(Stamp):
    """The stamp of the first fact of a stream."""

    originator_topic: str


class Stream(Aggregate):
    """An aggregate whose commands decide facts and whose facts assign state.

    `topic` is its permanent name and `opening` the class of its first fact. A class without them
    holds the state of another aggregate.
    """

    TOPIC = ""

    def __init_subclass__(cls, *, topic: str = "", opening: type[Opening] = Opening) -> None:
        cls.TOPIC = topic
        # the library uses classes that fit as they are; it would subclass others under topics of
        # its own
        cls.Event, cls.Created = Fact, opening  # type: ignore[misc, assignment]
        super().__init_subclass__()

    @classmethod
    def first(cls, stream_id: UUID, now: datetime) -> OpeningStamp:
        """Return the stamp of the first fact of a new stream."""
        return {
            "originator_id": stream_id,
            "originator_version": 1,
            "timestamp": now,
            "originator_topic": cls.TOPIC,
        }

    def record(self, fact: Fact) -> None:
        """Apply a fact and keep it for the next append. Raises the errors of `check`, and then
        nothing has changed."""
        self.check(fact)
        fact.mutate(self)
        self.pending_events.append(fact)

    def copied(self) -> Self:
        """Return an independent copy. The values of a state are immutable, so its containers are
        copied, and nothing below them."""
        copy = object.__new__(type(self))
        copy.__dict__.update(
            (name, value.copy() if isinstance(value, dict | list | set) else value)
            for name, value in self.__dict__.items()
        )
        return copy

    def check(self, fact: Fact) -> None:
        """Refuse a fact that this aggregate's state does not allow. The base class allows every
        fact."""

    def next(self, now: datetime) -> Stamp:
        """Return the stamp of the next fact, as a TypedDict so that `**self.next(now)` is
        type-checked.

        Times within a stream never go back, even if a clock does: the state at an instant is the
        fold of a prefix.
        """
        return {
            "originator_id": self.id,
            "originator_version": self.version + 1,
            "timestamp": max(now, self.modified_on),
        }


S = TypeVar("S", bound=Stream)


def opened(kind: type[S], fact: Opening) -> S:
    """Return a new aggregate whose opening fact is pending."""
    stream: S | None = fact.mutate(None)
    assert isinstance(stream, kind)
    stream.pending_events.append(fact)
    return stream
