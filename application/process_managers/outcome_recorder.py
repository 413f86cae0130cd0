"""Storing an outcome. It is the one thing that must not be lost while the process lives: everything else is tried again."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from uuid import UUID

import structlog

from application.command_handler import LOOK_UP_FIRST_STREAM
from application.ports import Clock, EventLog
from application.process_managers.process import CallResult
from application.unit_of_work import UnitOfWork, recover_again
from domain.errors import Conflict, ConstraintBroken, Unavailable
from domain.identity import order_stream
from domain.seller_transfer.aggregate import SellerTransfer, to_settle

PAUSE, LONGEST_PAUSE = 0.1, 5.0

log = structlog.get_logger()


async def insisting(subject_id: UUID, store: Callable[[bool], Awaitable[None]]) -> None:
    """Until it is stored: after a lost race at once, while the database is away less and less often.

    `store` is told whether what was loaded before is still worth trying. Raises what else it raises.
    """
    pause, fresh = PAUSE, True
    while True:
        try:
            await store(fresh)
        except Conflict:
            fresh = False
        except Unavailable as away:
            log.warning("an outcome waits for the database", subject_id=str(subject_id), why=away.why)
            await asyncio.sleep(pause)
            pause, fresh = min(2 * pause, LONGEST_PAUSE), False
        else:
            return


class Recorder:
    """Records outcomes: decided again after a lost race, repeated while the database is away, held when it refuses."""

    def __init__(self, ledger: EventLog, clock: Clock) -> None:
        self._ledger, self._clock = ledger, clock

    async def record(self, subject_id: UUID, uow: UnitOfWork, answer: CallResult) -> None:
        """Store what the outcome leads to. `uow` is as fresh as the intent; it is loaded anew when that was too old."""

        async def store(fresh: bool) -> None:
            loaded = uow if fresh else await self._ledger.load([subject_id])
            try:
                await self._store(loaded, loaded.transfer(subject_id), answer)
            except ConstraintBroken as refused:
                await self._hold(subject_id, answer, refused)

        await insisting(subject_id, store)

    async def _store(self, uow: UnitOfWork, transfer: SellerTransfer, settlement: CallResult) -> None:
        reduced = dict(transfer.reductions)
        settlement.record(transfer, self._clock.now())
        await self._follow_up(uow, transfer, reduced)
        if uow.changed():
            await self._ledger.append(uow)

    async def _follow_up(self, uow: UnitOfWork, transfer: SellerTransfer, reduced: Mapping[str, int]) -> None:
        """A reversal whose cause vanished while its call was open has its outcome now, or Stripe paid what a refund had
        reduced: settle what that took, or paid, in vain."""
        for cause_id in to_settle(transfer, reduced):
            uow.merge(await self._ledger.load([order_stream(transfer.order_id), LOOK_UP_FIRST_STREAM]))
            order = uow.order(transfer.order_id)
            uow.merge(await self._ledger.load(order.transfer_ids()))
            uow.mark_unverified()
            recover_again(uow, order, cause_id, self._clock.now())

    async def _hold(self, transfer_id: UUID, settlement: CallResult, refused: ConstraintBroken) -> None:
        uow = await self._ledger.load([transfer_id])
        if settlement.hold(uow.transfer(transfer_id), str(refused), self._clock.now()) and uow.changed():
            await self._ledger.append(uow)
