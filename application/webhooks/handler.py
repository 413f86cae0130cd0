"""What a stored webhook does. Its row is the job: handled in the transaction of the facts it causes, and at most once.

Arrival order and timestamps decide nothing. What is not known yet is parked and comes back; what contradicts a recorded
final is parked with an alarm, never dropped; what does not concern us is ignored, with the reason. What each event means is
told by the reactions of its provider.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from pydantic import ValidationError

from application.unit_of_work import CommitExtras, InboxMark


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """A webhook as it lies in the inbox."""

    inbox_id: int
    provider: str
    event_id: str
    event_type: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Done:
    """Handled; the inbox row was marked together with the facts."""


@dataclass(frozen=True, slots=True)
class Ignored:
    """Of no concern to the ledger, and why."""

    reason: str


@dataclass(frozen=True, slots=True)
class Parked:
    """It waits for `subject`; with `alarm`, a person should know.

    `passing`: it may be no concern of ours at all, so when nothing has come of it by the deadline it is ignored.
    """

    subject: str
    reason: str
    alarm: str | None = None
    passing: bool = False


@dataclass(frozen=True, slots=True)
class Later:
    """The same again after `wait`, through no fault of the event's: somebody else has to answer first."""

    reason: str
    wait: timedelta


Disposition = Done | Ignored | Parked | Later
DONE = Done()

Reaction = Callable[[StoredEvent], Awaitable[Disposition]]

NOT_YET = "the ledger takes no part in it yet"


class WebhookReactions:
    """Hands each event to the reaction of its provider and type. Raises what the ledger raises for trouble of its own."""

    def __init__(self, **reactions: Mapping[str, Reaction]) -> None:
        """By provider, as it is called in the inbox: the reactions by event type."""
        self._reactions = reactions

    async def react(self, event: StoredEvent) -> Disposition:
        """Handle one event. An unreadable body is parked with an alarm: it was signed, so it means something."""
        reaction = self._reactions.get(event.provider, {}).get(event.event_type)
        if reaction is None:
            return Ignored(f"{event.provider} {event.event_type}: {NOT_YET}")
        try:
            return await reaction(event)
        except ValidationError as unreadable:
            first = unreadable.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            return Parked(f"event:{event.event_id}", f"unreadable at {where}: {first['msg']}", "webhook_unreadable")


def source(event: StoredEvent) -> str:
    """How facts name the webhook that caused them."""
    return f"{event.provider}:{event.event_id}"


def marked(event: StoredEvent) -> CommitExtras:
    """The event is done in the transaction of its facts."""
    return CommitExtras(inbox=InboxMark(event.inbox_id, "done"))
