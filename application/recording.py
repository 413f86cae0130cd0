"""Storing an outcome. It is the one thing that must not be lost while the process lives: everything else is tried again."""

import asyncio
from collections.abc import Mapping
from uuid import UUID

import structlog

from application.book import Book, settle_anew
from application.ports import Clock, Ledger
from application.settlements import Settlement
from domain.claims import ClaimState
from domain.errors import Conflict, ConstraintBroken, Unavailable
from domain.identity import order_stream
from domain.seller_transfer import SellerTransfer

PAUSE, LONGEST_PAUSE = 0.1, 5.0

log = structlog.get_logger()


class Recorder:
    """Records outcomes: decided again after a lost race, repeated while the database is away, held when it refuses."""

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self._ledger, self._clock = ledger, clock

    async def record(self, transfer_id: UUID, book: Book, settlement: Settlement) -> None:
        """Store what the outcome leads to. `book` is as fresh as the intent; it is loaded anew when that was too old."""
        pause, fresh = PAUSE, True
        while True:
            try:
                if not fresh:
                    book = await self._ledger.load([transfer_id])
                await self._store(book, book.transfer(transfer_id), settlement)
            except Conflict:
                fresh = False
            except Unavailable as away:
                log.warning("an outcome waits for the database", transfer_id=str(transfer_id), why=away.why)
                await asyncio.sleep(pause)
                pause, fresh = min(2 * pause, LONGEST_PAUSE), False
            except ConstraintBroken as refused:
                await self._hold(transfer_id, settlement, refused)
                return
            else:
                return

    async def _store(self, book: Book, transfer: SellerTransfer, settlement: Settlement) -> None:
        reduced = dict(transfer.reductions)
        settlement.record(transfer, self._clock.now())
        await self._follow_up(book, transfer, reduced)
        if book.changed():
            await self._ledger.append(book)

    async def _follow_up(self, book: Book, transfer: SellerTransfer, reduced: Mapping[str, int]) -> None:
        """A reversal whose cause vanished while its call was open has its outcome now, or Stripe paid what a refund had
        reduced: settle what that took, or paid, in vain."""
        for cause_id in to_settle(transfer, reduced):
            book.merge(await self._ledger.load([order_stream(transfer.order_id)]))
            order = book.order(transfer.order_id)
            book.merge(await self._ledger.load(order.transfer_ids()))
            settle_anew(book, order, cause_id, self._clock.now())

    async def _hold(self, transfer_id: UUID, settlement: Settlement, refused: ConstraintBroken) -> None:
        book = await self._ledger.load([transfer_id])
        if settlement.hold(book.transfer(transfer_id), str(refused), self._clock.now()) and book.changed():
            await self._ledger.append(book)


def to_settle(transfer: SellerTransfer, reduced: Mapping[str, int]) -> list[str]:
    """What an outcome has left to settle: causes that vanished during its call, and reductions since `reduced` that did not
    happen after all."""
    return [*_causes_vanished(transfer), *transfer.undone_since(reduced)]


def _causes_vanished(transfer: SellerTransfer) -> list[str]:
    operation = transfer.operation
    still_open = operation.what if operation is not None and operation.open else None
    contested = [c for c in transfer.claims.values() if c.contested and c.state is not ClaimState.WITHDRAWN]
    return [claim.refund_id for claim in contested if claim.refund_id and claim.reversal_id != still_open]
