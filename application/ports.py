"""Storage ports and the clock, each with the obligations of every implementation.

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

LEASE = timedelta(seconds=10)
"""Default length of a lease."""


class Clock(Protocol):
    """The present instant in UTC, as close to the database's clock as the process can measure."""

    def now(self) -> datetime: ...

    def observe(self, asked: datetime, database_now: datetime) -> None:
        """Measure the offset to the database's clock, which showed `database_now` between `asked`,
        an instant of this clock, and the present one."""


class EventLog(Protocol):
    """The stored facts.

    Obligations: an append stores the facts, their rows and the extras completely or not at all. It
    raises `Conflict` if a version is taken, and `ConstraintBroken` if the database refuses the
    rows. The order of positions is the order of commits. Cancelling the caller withdraws nothing.
    """

    async def load(self, ids: Collection[UUID]) -> UnitOfWork:
        """Load these streams as they are now; the unit of work lacks streams that do not exist."""

    async def append(self, uow: UnitOfWork, extras: CommitExtras = CommitExtras()) -> None:  # noqa: B008 - an immutable NamedTuple
        """Store the pending facts and bring the unit of work up to date. After an error it must not
        be used again."""


class OrderMatches(NamedTuple):
    """The orders that the names in a webhook match."""

    by_refund: str | None = None
    """The order of the refund."""
    refund: UUID | None = None
    """The refund's stream."""
    by_id: Sequence[str] = ()
    """In the order in which the ids were given."""
    by_payment: Sequence[str] = ()
    """Two at most: enough to know that the payment is ambiguous."""
    paid: frozenset[str] = frozenset()
    """Ids of these orders that are paid."""

    @property
    def sole_by_payment(self) -> str | None:
        """The one order of the payment; None if there is no order or more than one."""
        return self.by_payment[0] if len(self.by_payment) == 1 else None


class WebhookName(NamedTuple):
    """Names and status of a stored webhook."""

    provider: str
    event_id: str
    event_type: str
    status: str
    reason: str | None
    leased: bool
    """True while a process handles it."""


class AlarmState(NamedTuple):
    """State of an alarm. `times`: the number of times that it was raised since its beginning."""

    open: bool
    times: int


class Directory(Protocol):
    """Finds streams by other names than their ids. An answer includes every commit before the
    question."""

    async def find_order(
        self,
        *,
        refund_id: str | None = None,
        order_ids: Sequence[str] = (),
        payment_ids: Sequence[str] = (),
        source_transactions: Sequence[str] = (),
    ) -> OrderMatches:
        """Find the orders with these names in one query.

        `refund_id` is a `refund_id` or `psp_refund_id`; `payment_ids` and `source_transactions` are
        the payments of orders.
        """

    async def refund_named(self, name: str) -> UUID | None:
        """Return the stream of the refund with this `refund_id` or `psp_refund_id`."""

    async def transfer_at_stripe(self, stripe_transfer_id: str) -> UUID | None:
        """Return our transfer with this id at Stripe."""

    async def sellers_of(self, account: str) -> Sequence[str]:
        """Return the sellers whose transfers go to this account at Stripe."""

    async def waiting(
        self, status: str, waiting_for: str, account: str | None, after: UUID | None
    ) -> Sequence[UUID]:
        """Return a batch of the transfers of this status, to this account or to any, that wait for
        `account` or `funds`.

        They come in the order of their ids, so the last one of a batch is the `after` of the next.
        """

    async def transfers_of(self, order_id: str) -> Sequence[UUID]:
        """Return the transfers of an order. The order itself may be unknown."""

    async def unsent_of(self, seller_id: str, after: UUID | None) -> Sequence[UUID]:
        """Return a batch of the seller's transfers that are not paid, in the order of their
        ids."""

    async def webhook(self, inbox_id: int) -> "WebhookName | None":
        """Return the stored webhook with this number; None if there is none."""

    async def alarm(self, kind: str, subject: str) -> AlarmState | None:
        """Return the alarm, open or not; None if it was never raised."""

    async def claimed(self, transfers: Sequence[TransferAtStripe]) -> frozenset[str]:
        """Return the Stripe ids of those that belong to a transfer of ours: by our record, or by
        the id in their metadata."""


class ClaimedWork(NamedTuple):
    """Work leased to one holder, and the instant of the claim by the database's clock."""

    ids: Sequence[UUID]
    now: datetime


class WorkQueue(Protocol):
    """Due transfers, refunds or orders, leased to workers. `kind` is `transferring`, `reversing`,
    `refunding` or `funding`.

    Obligations: while a lease runs, no other holder gets the same work. An empty claim does not
    mean that nothing is due. While the circuit breaker is open, or a pause covers the work, nothing
    is claimed and nothing is due. Sellers take turns, so that many refunds of one seller do not
    delay the others.
    """

    async def claim(self, kind: str, holder: str, limit: int, lease: timedelta) -> ClaimedWork: ...

    async def hold(self, holder: str, ids: Collection[UUID], lease: timedelta) -> None:
        """Lease these transfers, due or not, except those that another holder has: no call begins
        for them meanwhile."""

    async def renew(self, holder: str, ids: Collection[UUID], lease: timedelta) -> Collection[UUID]:
        """Renew the leases; return the ids that are still held."""

    async def release(self, holder: str, ids: Collection[UUID]) -> None:
        """End the leases early and wake every worker, since due work can be claimed again."""

    async def next_due(self, kind: str) -> datetime | None:
        """Return the earliest instant at which work may be claimed."""


class ClaimedEvent(Protocol):
    """A webhook leased to this process."""

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
        """Subject that it waited for; None if it was never parked."""


class ClaimedEvents(Protocol):
    """Claimed webhooks, the longest due first, and the instant of the claim by the database's
    clock."""

    @property
    def events(self) -> Sequence[ClaimedEvent]: ...
    @property
    def now(self) -> datetime: ...


class Inbox(Protocol):
    """Stored webhooks; each row is a job. A closed row never changes."""

    async def claim(self, holder: str, limit: int, lease: timedelta) -> ClaimedEvents: ...

    async def park(self, inbox_id: int, subject: str, due_at: datetime | None, reason: str) -> bool:
        """Let a webhook wait for `subject`, at most until `due_at`. Returns whether it is still
        open: another process may have handled it while this one was frozen.

        Obligation: a subject that was released between the claim and the parking counts, so that no
        webhook waits for it.
        """

    async def ignore(self, reasons: Mapping[int, str]) -> None:
        """Close a batch of webhooks that change nothing, each with its reason."""

    async def bury(self, inbox_id: int, reason: str) -> None: ...

    async def retry_later(
        self, inbox_id: int, due_at: datetime, reason: str, counted: bool
    ) -> None: ...

    async def next_due(self) -> datetime | None: ...


class Alarms(Protocol):
    """Alarms for a person, one per kind and subject."""

    async def raise_alarm(self, kind: str, subject: str, detail: str) -> None:
        """Raise an alarm, or raise it again with new detail.

        Obligation: about a webhook that is closed (`provider:event_id`) none is raised. Its caller
        may have been frozen since it read the webhook, and may die before it looks again.
        """

    async def clear(self, kind: str, subject: str) -> bool:
        """Clear an alarm; return whether the alarm was open."""

    async def clear_all(self, subject: str) -> None:
        """Clear the alarms of every kind about this subject."""


class RateLimiter(Protocol):
    """Rate limit of each endpoint of a provider, shared by all processes."""

    async def reserve(self, endpoint: str, count: int) -> Sequence[float]:
        """Reserve `count` calls; return for each the seconds to wait from now."""

    async def slow_down(self, endpoint: str) -> None:
        """Lower the rate after a refusal of the provider's rate limiter; it returns to the full
        rate by itself.

        Obligation: refusals close together, as those of calls in flight at the same time, lower the
        rate once.
        """


class FleetState(NamedTuple):
    """State that every process of the fleet obeys before it sends anything to Stripe."""

    outage: bool = False
    """True if the circuit breaker is open, since Stripe does not answer."""
    paused: frozenset[str] = frozenset()
    """Paused scopes (see `domain.pause`)."""
    look_first: LookFirst | None = None

    def allows(self, kind: str, seller_id: str) -> bool:
        """Return whether work of this kind for this seller may begin."""
        return not self.outage and self.paused.isdisjoint(
            {
                EVERYTHING,
                scope_of_work(kind),
                scope_of_seller(seller_id),
                scope_of_seller(seller_id, kind),
            }
        )


class CircuitBreaker(Protocol):
    """The circuit breaker of the fleet, and the pauses. `WorkQueue` obeys both.

    Obligation: every change wakes every worker, since work may begin again.
    """

    async def state(self) -> FleetState: ...

    async def open_breaker(self) -> bool:
        """Stop all claims; return whether the breaker was closed.

        If it had been closed only recently, the interval between probes grows: an answer to a probe
        does not prove that Stripe answers other requests.
        """

    async def take_probe(self) -> bool:
        """Return whether the caller has to probe Stripe: the breaker is open, and one process per
        interval does."""

    async def until_probe(self) -> float | None:
        """Return the seconds until the next probe; None while the breaker is closed."""

    async def close_breaker(self) -> bool:
        """Allow claims again; return whether the breaker was open."""
