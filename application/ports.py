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
from domain.provider_call.outcome import Outcome
from domain.provider_call.request_body import TransferBody
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
    """Those of all these orders that are paid."""

    @property
    def sole_by_payment(self) -> str | None:
        """The one order of the payment; None if there is no order or more than one."""
        return self.by_payment[0] if len(self.by_payment) == 1 else None


class Directory(Protocol):
    """Finds streams by names that are not their own. Answers may be as old as the last commit, never older."""

    async def find_order(
        self,
        *,
        refund_id: str | None = None,
        order_ids: Sequence[str] = (),
        payment_ids: Sequence[str] = (),
        source_transactions: Sequence[str] = (),
    ) -> OrderMatches:
        """Find the orders with these names in one query.

        `refund_id` is a `refund_id` or `psp_refund_id`; `payment_ids` and `source_transactions` are the payments of orders.
        """
        ...

    async def refund_named(self, name: str) -> UUID | None:
        """Return the stream of the refund with this `refund_id` or `psp_refund_id`."""
        ...

    async def transfer_at_stripe(self, stripe_transfer_id: str) -> UUID | None:
        """Return our transfer with this id at Stripe."""
        ...

    async def sellers_of(self, account: str) -> Sequence[str]:
        """Return the sellers whose transfers go to this account at Stripe."""
        ...

    async def waiting(self, status: str, waiting_for: str, account: str | None, after: UUID | None) -> Sequence[UUID]:
        """Return a batch of the transfers of this status, to this account or to any, that wait for `account` or `funds`.

        They come in the order of their ids, so the last one of a batch is the `after` of the next.
        """
        ...

    async def transfers_of(self, order_id: str) -> Sequence[UUID]:
        """Return the transfers of an order. The order itself may be unknown."""
        ...

    async def claimed(self, transfers: Sequence[TransferAtStripe]) -> frozenset[str]:
        """Return the Stripe ids of those that belong to a transfer of ours: by our record, or by the id in their metadata."""
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


class Listed(NamedTuple):
    """A transfer in a list of Stripe's, with its newest reversals only where they do not add up to `amount_reversed`."""

    transfer: TransferAtStripe
    created_at: datetime
    order_id: str | None = None
    """Out of its metadata."""
    transfer_group: str | None = None


class Page(NamedTuple):
    """A part of a list, newest first."""

    listed: Sequence[Listed]
    more: bool


class StripeBooks(Protocol):
    """What a reconciliation reads at Stripe. Obligation: an incomplete answer raises `LookUpFailed`, never looks like less."""

    async def page(self, since: datetime, until: datetime, after: str | None, destination: str | None = None) -> Page:
        """All transfers made from `since` on and before `until`, whosever they are; those that follow after `after`.

        With a `destination`, only those to it.
        """
        ...

    async def get_transfer(self, stripe_transfer_id: str) -> TransferAtStripe:
        """See `TransferGateway`."""
        ...


class TransferGateway(Protocol):
    """Stripe's transfers. Every method may be repeated with the same key without moving money twice.

    Obligations: never raises for anything Stripe or the network does, the answer is an `Outcome`; never retries by itself;
    an answer counts as `Succeeded` only when id prefix, amount, currency and (for reversals) transfer agree with the request;
    a cancelled caller's task is cancelled, and the caller has to treat the call as `Unknown`.
    """

    async def create(self, body: TransferBody, key: str) -> Outcome:
        """Pay a seller. `Succeeded.stripe_id` is the transfer's `tr_…` id. `key` is the idempotency key."""
        ...

    async def reverse(
        self, stripe_transfer_id: str, amount: int | None, reason: str, key: str, metadata: dict[str, str] | None = None
    ) -> Outcome:
        """Take `amount` (minor units) back from a transfer. `Succeeded.stripe_id` is the reversal's `trr_…` id.

        None means all that is left; it is resolved by reading the transfer before the body is frozen and sent.
        """
        ...

    async def get_transfer(self, stripe_transfer_id: str) -> TransferAtStripe:
        """The transfer with all its reversals, every page of them.

        Raises `NotAtStripe` when Stripe says there is none, `LookUpFailed` for anything less than a complete answer.
        """
        ...

    async def find_by_our_id(self, transfer_id: str, destination: str, since: datetime) -> Sequence[TransferAtStripe]:
        """All transfers to `destination` created at or after `since` whose metadata carries our `transfer_id`.

        Reads every page; an incomplete answer raises `LookUpFailed`, since a page not read says nothing about its content.
        """
        ...

    async def find_similar(self, destination: str, currency: str, amount: int, since: datetime) -> Sequence[TransferAtStripe]:
        """All transfers of this currency (upper case) and amount to `destination` created at or after `since`, whosever they
        are, without their reversals. Reads every page, like `find`."""
        ...

    async def answers(self) -> bool:
        """Whether Stripe answers at all, with anything below 500: one cheap read that moves nothing."""
        ...

    async def get_object(self, path: str, account: str | None = None) -> Mapping[str, object]:
        """The object at this path of Stripe's API, on behalf of a connected account where one is given.

        Raises `NotAtStripe` and `LookUpFailed` as `get_transfer` does.
        """
        ...

    async def account(self) -> str | None:
        """The id of the platform account behind the key; None where Stripe does not tell. Raises `LookUpFailed`."""
        ...


LEASE = timedelta(seconds=10)
