"""Ports of the poller: providers that can be asked for events, the progress of polling, and the
inbox.

A webhook that is lost for good leaves no trace in the ledger. Its provider still has the event or
the object.
"""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol

from domain.dispute import DisputeStatus


class PolledEvent(NamedTuple):
    """An event in the form of its webhook."""

    event_id: str
    event_type: str
    body: bytes


class Span(NamedTuple):
    """The time from `since` (included) to `until` (excluded)."""

    since: datetime
    until: datetime
    begun_at: datetime
    """Start of the ledger: earlier objects do not concern it."""
    asked_until: datetime
    """End of the earlier rounds. Objects from before are in the span in case a list shows them
    late."""
    horizon: datetime
    """The webhook of a change after this instant may still be under way."""


class Provider(Protocol):
    """A sender of webhooks that can be asked for events.

    Obligations: asking moves nothing; an event asked for twice has the same id; an incomplete
    answer raises `LookUpFailed` and never looks like a shorter list.
    """

    @property
    def name(self) -> str:
        """The provider's name in the inbox."""

    @property
    def longest(self) -> timedelta:
        """The longest span that may be asked for at once."""

    def events(self, span: Span) -> AsyncIterator[Sequence[PolledEvent]]:
        """Yield the events of this span, page by page. Events that are known to have arrived may be
        left out."""


class Poll(NamedTuple):
    """Progress of polling one provider, and the database's clock."""

    begun_at: datetime
    seen_until: datetime
    """All events from before this instant are in the inbox."""
    due_at: datetime
    checked_at: datetime | None
    """End of the last complete round."""
    now: datetime


class PollProgress(Protocol):
    """One row per provider, shared by all processes.

    Obligations: of several processes that ask for a due turn, one gets it; `seen_until` never goes
    back.
    """

    async def take(
        self, provider: str, interval: timedelta, *, anyway: bool = False
    ) -> Poll | None:
        """Take a turn; the next one is due in `interval`. None when no turn is due, unless it is
        taken `anyway`."""

    async def advance(self, provider: str, seen_until: datetime, interval: timedelta) -> None:
        """Record that all events from before this instant are stored. The turn goes on: the next is
        due in `interval`."""

    async def checked(self, provider: str) -> None:
        """Record that the round is complete."""

    async def until_due(self, providers: Collection[str]) -> float:
        """Return the seconds until the next turn of one of these providers."""


class PolledInbox(Protocol):
    """The inbox, as the poller uses it."""

    async def unknown(self, provider: str, ids: Sequence[str]) -> Collection[str]:
        """Return those of these event ids that have never arrived."""

    async def waiting(
        self, provider: str, about: Sequence[tuple[str, str]]
    ) -> Collection[tuple[str, str]]:
        """Return those of these (event type, object id) of which an event has arrived that is not
        handled yet."""

    async def put(
        self,
        provider: str,
        event_id: str,
        event_type: str,
        body: bytes,
        received_at: datetime,
        source: str = "webhook",
    ) -> bool:
        """Store an event durably; return whether it is new."""


class KnownRefund(NamedTuple):
    """A refund in the ledger."""

    status: str
    version: int
    """Version of its stream: it grows with each change of the refund."""


class KnownRefunds(Protocol):
    """Refunds in the ledger."""

    async def refund_statuses(self, names: Collection[str]) -> Mapping[str, KnownRefund]:
        """Return the last known status at the PSP of each of these refunds that the ledger knows.

        A refund that succeeded and could not be divided among the sellers is `succeeded`, although
        the ledger reviews it.
        """


class KnownDispute(NamedTuple):
    """A dispute in the ledger."""

    status: DisputeStatus
    version: int
    """Version of its stream: it grows with each change of the dispute."""


class KnownDisputes(Protocol):
    """Disputes in the ledger."""

    async def dispute_statuses(
        self, provider: str, names: Collection[str]
    ) -> Mapping[str, KnownDispute]:
        """Return the last known status of each of these disputes that the ledger knows."""


class UnpaidOrders(Protocol):
    """Orders in the ledger that name a payment and are not paid."""

    async def unpaid(self, since: datetime, until: datetime, nth: int, limit: int) -> Sequence[str]:
        """Return the payments of unpaid orders that were registered in this time.

        If there are more than the limit, the choice depends on `nth` only, so that no order is left
        out every time.
        """

    async def still_unpaid(self, payment_ids: Sequence[str]) -> Collection[str]:
        """Return those of these payments that an unpaid order names."""


class EventsPage(NamedTuple):
    """A part of Stripe's list of events, newest first."""

    events: Sequence[PolledEvent]
    more: bool


class StripeEvents(Protocol):
    """Stripe's list of events, which goes back thirty days."""

    async def events(self, since: datetime, until: datetime, after: str | None) -> EventsPage:
        """Return a page of the events from `since` (included) to `until` (excluded) that concern a
        ledger.

        `after`: the id of the last event of the page before. Raises LookUpFailed.
        """
