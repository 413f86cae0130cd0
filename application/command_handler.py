"""Command handler: loads streams, lets a pure function decide, appends the new facts, and starts
anew after a lost race.

A decision has no side effect that could be repeated.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import TypeVar
from uuid import UUID, uuid4

from application.log_ids import bind_loaded
from application.order_turns import OrderTurns
from application.ports import Clock, EventLog, WorkQueue
from application.unit_of_work import CommitExtras, UnitOfWork
from domain.errors import Conflict, ConstraintBroken
from domain.identity import DISPUTE, order_stream, pause_stream, refund_stream, streams_of_cause
from domain.order.aggregate import Order
from domain.pause import LOOK_UP_FIRST
from domain.provider_call.stripe_objects import TransferAtStripe
from domain.seller_transfer.found_reversals import not_recorded

ATTEMPTS = 20
"""Upper limit of decisions per command; after that the caller gets the Conflict."""
FAIR_RACES = 3
"""Races that a command may lose before it holds the transfers that it decides about."""
FIRST_WAIT, LONGEST_WAIT = 0.025, 0.3
"""Seconds between further decisions, while calls that are in flight end."""
HOLD = timedelta(seconds=5)
"""Lease of the held transfers, in case this process dies before it releases them."""
PATIENCE, WEBHOOK_PATIENCE = 10.0, 1.0
"""Seconds for which a command waits for other commands on its order. A webhook gives its place in
the batch back sooner, and comes again."""
LOOK_UP_FIRST_STREAM = pause_stream(LOOK_UP_FIRST)
"""Stream of the pause during which, after a restore, a transfer is looked up at Stripe before it is
sent."""
NAME_TAKEN = frozenset({"one_refund_per_psp_refund", "one_refund_per_refund_id"})

T = TypeVar("T")
Decision = Callable[[UnitOfWork, datetime], T]
NO_EXTRAS = CommitExtras()


class CommandHandler:
    """Load, decide, append; repeated until no other process was faster."""

    def __init__(self, log: EventLog, clock: Clock, work: WorkQueue | None = None) -> None:
        """Take the queue of transfers, if workers run that could win every race; see `_hold`."""
        self._log, self._clock, self._work = log, clock, work
        self._turns = OrderTurns()

    async def handle(
        self,
        load: Callable[[], Awaitable[UnitOfWork]],
        decide: Decision[T],
        extras: CommitExtras | Callable[[T], CommitExtras] = NO_EXTRAS,
        order_id: str | None = None,
    ) -> T:
        """Return the result of `decide` once its changes are stored. `extras` may depend on that
        result. With `order_id`, commands on the same order wait for each other.

        Raises Conflict after `ATTEMPTS` lost races, OrderBusy, and the errors of `load` and
        `decide`.
        """
        if order_id is None:
            return await self._handle(load, decide, extras)
        of_webhook = isinstance(extras, CommitExtras) and extras.inbox is not None
        patience = WEBHOOK_PATIENCE if of_webhook else PATIENCE
        async with self._turns.of(order_id, patience):
            return await self._handle(load, decide, extras)

    async def _handle(
        self,
        load: Callable[[], Awaitable[UnitOfWork]],
        decide: Decision[T],
        extras: CommitExtras | Callable[[T], CommitExtras],
    ) -> T:
        holder, held, uow = f"command-{uuid4().hex[:12]}", set[UUID](), UnitOfWork({}, {})
        try:
            for attempt in range(1, ATTEMPTS + 1):
                if attempt > FAIR_RACES:
                    held |= await self._hold(holder, uow)
                    wait = FIRST_WAIT * 2 ** (attempt - FAIR_RACES)
                    await asyncio.sleep(min(wait, LONGEST_WAIT))
                uow = await load()
                of_webhook = isinstance(extras, CommitExtras) and extras.inbox is not None
                if of_webhook:  # it has a task of its own
                    bind_loaded(uow)
                result = self.foresee(uow, decide)
                if of_webhook:  # the decision may have begun a refund
                    bind_loaded(uow)
                along = extras if isinstance(extras, CommitExtras) else extras(result)
                if not uow.changed() and along.inbox is None:
                    return result
                try:
                    await self._log.append(uow, along)
                    return result
                except Conflict:
                    if attempt == ATTEMPTS:
                        raise
                except ConstraintBroken as broken:
                    if broken.constraint not in NAME_TAKEN or attempt == ATTEMPTS:
                        # otherwise another process recorded the same refund under its other name:
                        # the next load finds it
                        raise
        finally:
            if held and self._work is not None:
                await self._work.release(holder, held)
        raise AssertionError("the last attempt returns or raises")

    def foresee(self, uow: UnitOfWork, decide: Decision[T]) -> T:
        """Decide on loaded streams, and append nothing: the unit of work then has the facts that
        `handle` would append."""
        uow.mark_unverified()
        uow.mark_moved()
        return decide(uow, self._clock.now())

    async def _hold(self, holder: str, uow: UnitOfWork) -> set[UUID]:
        """Lease the transfers that no worker holds, and return their ids.

        While the reversals of a large order are sent, each outcome changes a stream that the
        command decides about. The calls in flight end; no new one begins while the lease runs.
        """
        transfers = {transfer.id for transfer in uow.transfers()}
        if self._work is not None and transfers:
            await self._work.hold(holder, transfers, HOLD)
        return transfers

    async def load(self, *streams: UUID) -> UnitOfWork:
        """Load these streams and nothing else."""
        return await self._log.load(streams)

    async def with_causes(
        self, uow: UnitOfWork, transfer_id: UUID, seen: TransferAtStripe
    ) -> UnitOfWork:
        """Return the unit of work after `load_causes`."""
        await load_causes(self._log, uow, transfer_id, [seen])
        return uow

    async def load_order(self, order_id: str, *streams: UUID) -> UnitOfWork:
        """Load an order without its transfers, and these streams."""
        return await self._log.load([order_stream(order_id), LOOK_UP_FIRST_STREAM, *streams])

    async def load_order_with_transfers(self, order_id: str, *streams: UUID) -> UnitOfWork:
        """Load an order, all its transfers, its refunds that were set aside, and these streams.
        Raises UnknownId.

        The order comes first: a transfer that is created later also changes the order, so the
        append raises Conflict.
        """
        uow = await self.load_order(order_id, *streams)
        await self.with_transfers(uow, uow.order(order_id), *streams)
        return uow

    async def with_transfers(self, uow: UnitOfWork, order: Order, *streams: UUID) -> None:
        """Load all transfers of an order into the unit of work, and its refunds that were set
        aside, except those of `streams`."""
        uow.merge(await self._log.load([*order.transfer_ids(), *order.seller_streams()]))
        aside = {refund_stream(name) for name in order.set_aside if not name.startswith(DISPUTE)}
        if aside.difference(streams):
            uow.add_beside(await self._log.load(sorted(aside.difference(streams))))

    async def load_transfer_with_order(self, transfer_id: UUID, *streams: UUID) -> UnitOfWork:
        """Load a transfer, its order and all transfers of the order if that is known, and these
        streams. Raises UnknownId."""
        uow = await self._log.load([transfer_id, LOOK_UP_FIRST_STREAM, *streams])
        order_id = uow.transfer(transfer_id).order_id
        uow.merge(await self._log.load([order_stream(order_id)]))
        if (order := uow.known_order(order_id)) is not None:
            uow.merge(
                await self._log.load(
                    [
                        *(other for other in order.transfer_ids() if other != transfer_id),
                        *order.seller_streams(),
                    ]
                )
            )
        return uow


async def load_causes(
    log: EventLog, uow: UnitOfWork, transfer_id: UUID, books: Sequence[TransferAtStripe]
) -> None:
    """Load the order, and the refunds and disputes, of reversals that Stripe holds for a transfer
    and that are not recorded here."""
    transfer = uow.transfer(transfer_id)
    found = [made for seen in books for made in not_recorded(transfer, seen)]
    running = transfer.in_flight
    found += [
        made
        for seen in books
        for made in seen.reversals
        if running is not None and made.reversal_id == running.reversal_id
    ]
    causes = {made.refund_id for made in found if made.refund_id is not None}
    compensations = [seen.gives_back for seen in books if seen.gives_back is not None]
    causes |= {names.cause_id for names in compensations}
    if found or compensations:
        streams = {stream for cause_id in causes for stream in streams_of_cause(cause_id)}
        uow.merge(await log.load([order_stream(transfer.order_id), *streams]))
    order = uow.known_order(transfer.order_id)
    if compensations and order is not None:
        uow.merge(await log.load(order.transfer_ids()))
