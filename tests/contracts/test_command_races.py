"""A command that workers outrun holds their transfers, and then wins the race."""

from datetime import timedelta
from uuid import UUID

import pytest

from application.command_handler import ATTEMPTS, CommandHandler
from application.unit_of_work import UnitOfWork
from domain.errors import Conflict
from infrastructure.clock import DatabaseClock
from tests.support.storage import Storage
from tests.support.streams import NOW, stored, transfer

LEASE = timedelta(seconds=10)


class BusyWorker:
    """A worker that changes a due transfer between every load and append of the command."""

    def __init__(self, storage: Storage) -> None:
        self._storage, self.changes = storage, 0

    async def works(self) -> None:
        """Change one transfer, if there is one to claim."""
        work, log = self._storage.work, self._storage.ledger
        for transfer_id in (await work.claim("reversing", "busy", 1, LEASE)).ids:
            uow = await log.load([transfer_id])
            uow.transfer(transfer_id).take_back(f"other{self.changes}", 1, NOW)
            await log.append(uow)
            await work.release("busy", [transfer_id])
            self.changes += 1


async def due_reversals(storage: Storage) -> list[UUID]:
    return await stored(
        storage.ledger,
        *(
            transfer(
                f"seller{number}",
                status="reversal_pending",
                stripe_transfer_id=f"tr_{number}",
                next_retry_at=NOW,
            )
            for number in range(3)
        ),
    )


@pytest.mark.parametrize("holds", [True, False])
async def test_outrun_command_holds_its_transfers_and_wins(storage: Storage, holds: bool) -> None:
    ids, busy = await due_reversals(storage), BusyWorker(storage)
    handler = CommandHandler(storage.ledger, DatabaseClock(), storage.work if holds else None)

    async def load() -> UnitOfWork:
        uow = await handler.load(*ids)
        await busy.works()
        return uow

    def decide(uow: UnitOfWork, now: object) -> None:
        for transfer_id in ids:
            uow.transfer(transfer_id).take_back("r2", 5, NOW)

    if holds:
        await handler.handle(load, decide)
        assert busy.changes < ATTEMPTS / 2
        claimed = await storage.work.claim("reversing", "w", 10, LEASE)
        assert set(claimed.ids) == set(ids), "nothing stays held"
    else:
        with pytest.raises(Conflict):
            await handler.handle(load, decide)
        assert busy.changes == ATTEMPTS
