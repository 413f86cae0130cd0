"""What the poller needs: providers that can be asked for what their webhooks should have told, and how far they were asked.

A webhook that is lost for good leaves no trace here. It does at its provider, which can be asked.
"""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol


class Told(NamedTuple):
    """An event as its webhook tells it, or should have."""

    event_id: str
    event_type: str
    body: bytes


class Span(NamedTuple):
    """What was made from `since` on and before `until`."""

    since: datetime
    until: datetime
    begun_at: datetime
    """Nothing from before concerns this ledger."""
    asked_until: datetime
    """What was made before was asked for in an earlier round; it is in the span in case a list shows it late."""
    horizon: datetime
    """The webhook of what happened from here on may still be under way."""


class Provider(Protocol):
    """Somebody who sends webhooks, and can be asked for what they should have told.

    Obligations: asking moves nothing; an event asked for twice has the same id; an incomplete answer raises `LookUpFailed`,
    never looks like less.
    """

    @property
    def name(self) -> str:
        """As the inbox calls it."""
        ...

    @property
    def longest(self) -> timedelta:
        """How long a span may be to be asked for at once."""
        ...

    def told(self, span: Span) -> AsyncIterator[Sequence[Told]]:
        """What was made in this span, page by page; what is known to have come in may be left out."""
        ...


class Poll(NamedTuple):
    """How far a provider was asked, and the database's clock."""

    begun_at: datetime
    seen_until: datetime
    """What was made before this instant is in the inbox."""
    due_at: datetime
    checked_at: datetime | None
    """When a round last came to its end."""
    now: datetime


class Polls(Protocol):
    """One row per provider, shared by all processes.

    Obligations: of several that ask for a turn when it is due, one gets it; `seen_until` never goes back.
    """

    async def take(self, provider: str, interval: timedelta, *, anyway: bool = False) -> Poll | None:
        """A turn, after which the next is due in `interval`; None when it is not due, unless it is taken `anyway`."""
        ...

    async def advance(self, provider: str, seen_until: datetime, interval: timedelta) -> None:
        """What was made before this instant is stored. The turn goes on: nobody else's is due before `interval`."""
        ...

    async def checked(self, provider: str) -> None:
        """The round came to its end."""
        ...

    async def until_due(self, providers: Collection[str]) -> float:
        """Seconds until the next turn of one of these."""
        ...


class PolledInbox(Protocol):
    """The inbox, for whoever asks what is missing in it."""

    async def unknown(self, provider: str, ids: Sequence[str]) -> Collection[str]:
        """Which of these events have never come in."""
        ...

    async def waiting(self, provider: str, about: Sequence[tuple[str, str]]) -> Collection[tuple[str, str]]:
        """Of which of these (event type, name of the object) an event has come in that is not handled."""
        ...

    async def put(
        self, provider: str, event_id: str, event_type: str, body: bytes, received_at: datetime, source: str = "webhook"
    ) -> bool:
        """Durable when this returns; whether it is new."""
        ...


class KnownRefunds(Protocol):
    """What the ledger has recorded of refunds."""

    async def refunds_heard_of(self, names: Collection[str]) -> Mapping[str, str]:
        """Of those that are known by these names, the status that the PSP is known to have given them.

        One that succeeded and could not be divided among the sellers is `succeeded`, although here it is under review.
        """
        ...


class UnpaidOrders(Protocol):
    """The orders that name a payment and are not paid, as far as the ledger has recorded."""

    async def unpaid(self, since: datetime, until: datetime, nth: int, limit: int) -> Sequence[str]:
        """The payments of those that were registered in this time. Where there are more than the limit, which ones depends on
        `nth`, and on nothing that an order could be the last in every time."""
        ...

    async def still_unpaid(self, payment_ids: Sequence[str]) -> Collection[str]:
        """Of these payments, those that have an order which is not paid."""
        ...


class EventsPage(NamedTuple):
    """A part of Stripe's list of events, newest first."""

    events: Sequence[Told]
    more: bool


class StripeEvents(Protocol):
    """Stripe's list of events, which goes back thirty days. Raises `LookUpFailed`."""

    async def events(self, since: datetime, until: datetime, after: str | None) -> EventsPage:
        """The events that concern a ledger, made from `since` on and before `until`; those that follow after `after`."""
        ...
