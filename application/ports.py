"""What the use cases need from the outside, each with the obligations that every implementation must meet.

tests/contracts holds the implementations to the obligations written here.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol
from uuid import UUID

from application.unit_of_work import CommitExtras, UnitOfWork
from domain.pause import EVERYTHING, scope_of_seller, scope_of_work
from domain.provider_call.operation import LookFirst
from domain.provider_call.stripe_objects import TransferAtStripe


class Clock(Protocol):
    """The instant, in UTC, as close to the database's as the process can tell."""

    def now(self) -> datetime: ...

    def observe(self, database_now: datetime) -> None:
        """The database's clock said this a moment ago: the offset to it is measured anew."""
        ...


class EventLog(Protocol):
    """The facts.

    Obligations: an append is stored completely, with the rows its facts lead to and what goes along, or not at all; it
    raises `Conflict` when a version is taken and `ConstraintBroken` when the database refuses the rows; the order of
    positions is the order of commits; cancelling the caller withdraws nothing.
    """

    async def load(self, ids: Collection[UUID]) -> UnitOfWork:
        """These streams as they are now; what does not exist is absent from the book."""
        ...

    async def append(self, uow: UnitOfWork, extras: CommitExtras = CommitExtras()) -> None:  # noqa: B008 - an immutable NamedTuple
        """Store the pending facts of the book, which is up to date afterwards. After an error it must not be used again."""
        ...


class Directory(Protocol):
    """Finds streams by names that are not their own. Answers may be as old as the last commit, never older."""

    async def refund_named(self, name: str) -> UUID | None:
        """The stream of the refund with this `refund_id` or `psp_refund_id`."""
        ...

    async def orders_paid_by(self, payment_id: str) -> Sequence[str]:
        """The ids of the orders with this payment; two are enough to know that it is ambiguous."""
        ...

    async def order_of_refund(self, name: str) -> str | None:
        """The order of the refund with this `refund_id` or `psp_refund_id`."""
        ...

    async def knows_order(self, order_id: str) -> bool:
        """Whether there is such an order."""
        ...

    async def orders_of_charge(self, names: Collection[str]) -> Sequence[str]:
        """The ids of the orders that one of these paid, a charge or a payment; two are enough to know that it is ambiguous."""
        ...

    async def transfer_at_stripe(self, stripe_transfer_id: str) -> UUID | None:
        """Our transfer with this id at Stripe."""
        ...

    async def sellers_of(self, account: str) -> Sequence[str]:
        """The sellers whose transfers go to this account at Stripe."""
        ...

    async def waiting(self, status: str, waiting_for: str, account: str | None, after: UUID | None) -> Sequence[UUID]:
        """A batch of the transfers of this status, to this account or to any, that wait for `account` or `funds`; they are in
        order of their ids, so the last of a batch leads to the next."""
        ...

    async def transfers_of(self, order_id: str) -> Sequence[UUID]:
        """The transfers of an order, whether the order itself is known or not."""
        ...

    async def claimed(self, transfers: Sequence[TransferAtStripe]) -> frozenset[str]:
        """The Stripe ids of those that a transfer of ours claims: as what has paid it, or by the name of ours they bear."""
        ...


class Claimed(NamedTuple):
    """Work leased to one holder, and the database's clock at that moment."""

    ids: Sequence[UUID]
    now: datetime


class Work(Protocol):
    """Due transfers or refunds, leased to whoever works on them. `kind` is `transferring`, `reversing` or `refunding`.

    Obligations: no two holders have the same transfer while a lease runs; an empty claim does not mean that nothing is due;
    nothing is claimed, and nothing is due, while the breaker is open or what it belongs to is paused; sellers take turns, so
    that one seller's storm of refunds does not keep the others waiting.
    """

    async def claim(self, kind: str, holder: str, limit: int, lease: timedelta) -> Claimed: ...

    async def renew(self, holder: str, ids: Collection[UUID], lease: timedelta) -> Collection[UUID]:
        """Prolong; answers those still held."""
        ...

    async def release(self, holder: str, ids: Collection[UUID]) -> None:
        """End leases before their time, and wake every worker: what is due again can be claimed from now on."""
        ...

    async def next_due(self, kind: str) -> datetime | None:
        """The earliest instant at which there may be something to claim."""
        ...


class ClaimedEvent(Protocol):
    """A webhook leased to us."""

    @property
    def inbox_id(self) -> int: ...
    @property
    def provider(self) -> str: ...
    @property
    def event_id(self) -> str: ...
    @property
    def event_type(self) -> str: ...
    @property
    def body(self) -> bytes: ...
    @property
    def received_at(self) -> datetime: ...
    @property
    def attempts(self) -> int: ...
    @property
    def subject(self) -> str | None:
        """What it waited for, if it was ever parked."""
        ...


class ClaimedEvents(Protocol):
    """What a claim of the inbox answers: events, the longest due first, and the database's clock."""

    @property
    def events(self) -> Sequence[ClaimedEvent]: ...
    @property
    def now(self) -> datetime: ...


class Inbox(Protocol):
    """Stored webhooks; the row is the job. A row that is closed stays as it is."""

    async def claim(self, holder: str, limit: int, lease: timedelta) -> ClaimedEvents: ...

    async def park(self, inbox_id: int, subject: str, due_at: datetime | None, reason: str) -> None:
        """It waits for `subject`, at most until `due_at`.

        Obligation: what came between the claim and the parking counts as come now, so that nothing sleeps on what is there.
        """
        ...

    async def ignore(self, reasons: Mapping[int, str]) -> None:
        """Close a batch of events that are of no concern, each with its reason."""
        ...

    async def bury(self, inbox_id: int, reason: str) -> None: ...

    async def retry_later(self, inbox_id: int, due_at: datetime, reason: str, counted: bool) -> None: ...

    async def next_due(self) -> datetime | None: ...


class Alarms(Protocol):
    """What a person has to look at; one per kind and subject, however often it is raised."""

    async def raise_(self, kind: str, subject: str, detail: str) -> None: ...

    async def clear(self, kind: str, subject: str) -> bool:
        """It is over; False if it was not raised."""
        ...

    async def clear_all(self, subject: str) -> None:
        """Nobody has to look at this any more, whatever was raised about it."""
        ...


class RateLimiter(Protocol):
    """The rate of one endpoint at Stripe, shared by all processes."""

    async def reserve(self, endpoint: str, count: int) -> Sequence[float]:
        """Seconds to wait, from now, before each of `count` calls."""
        ...

    async def slow_down(self, endpoint: str) -> None:
        """Stripe says that we are too fast: all processes slow down at this endpoint, and find back to the full rate.

        Obligation: refusals that come close together, as those of calls in flight at once do, slow down once.
        """
        ...


class FleetState(NamedTuple):
    """What the whole fleet obeys before anything is sent to Stripe."""

    outage: bool = False
    """The breaker is open: Stripe does not answer."""
    paused: frozenset[str] = frozenset()
    """Scopes (see `domain.pause`) that somebody has paused."""
    look_first: LookFirst | None = None

    def allows(self, kind: str, seller_id: str) -> bool:
        """Whether work of this kind for this seller may begin."""
        return not self.outage and self.paused.isdisjoint(
            {EVERYTHING, scope_of_work(kind), scope_of_seller(seller_id), scope_of_seller(seller_id, kind)}
        )


class CircuitBreaker(Protocol):
    """The breaker that all processes share, and what is paused. The claims of `Work` obey both by themselves.

    Obligation: every change wakes every worker, so that nobody sleeps on work that may begin again.
    """

    async def state(self) -> FleetState: ...

    async def open_breaker(self) -> bool:
        """Nobody claims anything from now on; answers whether it was closed before.

        Opened again soon after it was closed, it waits longer between probes: what answers a probe need not answer more.
        """
        ...

    async def take_probe(self) -> bool:
        """Whether the breaker is open and it is the caller's turn to ask whether Stripe answers: one process per interval."""
        ...

    async def until_probe(self) -> float | None:
        """Seconds until the next probe may be taken; None while the breaker is closed."""
        ...

    async def close_breaker(self) -> bool:
        """Work goes on; answers whether it was open."""
        ...


LEASE = timedelta(seconds=10)
