"""Work with a fact of a newer release: a worker leaves it to a process of that release, and goes on
with the rest."""

import asyncio
from collections.abc import AsyncIterator, Collection
from datetime import timedelta
from uuid import UUID

import pytest

from application.commands import commands_on
from application.ports import EventLog, FleetState
from application.process_managers.transfers import TransferProcess
from application.process_managers.worker import Worker, WorkerLimits
from application.unit_of_work import CommitExtras, UnitOfWork
from domain.errors import NewerRelease
from domain.identity import transfer_stream
from domain.lifecycle import TransferStatus
from domain.provider_call.outcome import ProviderSignal
from domain.provider_call.retry_policy import Policy
from domain.provider_call.steps import LookUp, Send
from infrastructure.clock import DatabaseClock
from tests.support.in_memory.stripe import MemoryStripe
from tests.support.storage import Storage, in_memory


class OlderRelease:
    """An event log that does not know a fact of one stream."""

    def __init__(self, log: EventLog, unknown: UUID) -> None:
        self._log, self._unknown = log, unknown

    async def load(self, ids: Collection[UUID]) -> UnitOfWork:
        if self._unknown in ids:
            raise NewerRelease("ledger.seller_transfer.gift_noted")
        return await self._log.load(ids)

    async def append(self, uow: UnitOfWork, extras: CommitExtras = CommitExtras()) -> None:  # noqa: B008 - as the port
        await self._log.append(uow, extras)


class Calm:
    """A monitor of a fleet that may send everything."""

    state = FleetState()

    async def observe(
        self, subject_id: UUID, step: Send | LookUp, signal: ProviderSignal, account: str
    ) -> None:
        """Do nothing."""


@pytest.fixture
async def storage() -> AsyncIterator[Storage]:
    async with in_memory() as storage:
        yield storage


async def test_worker_leaves_unknown_work_and_pays_the_rest(storage: Storage) -> None:
    clock = DatabaseClock()
    clock.observe(clock.now(), await storage.now())
    commands = commands_on(storage.ledger, storage.directory, clock)
    for order_id in ("k", "o1", "o2"):
        share = {"seller_id": "a", "destination": "acct_a", "amount": 900}
        await commands.orders.register(
            order_id=order_id,
            currency="EUR",
            amount=1_000,
            shares=[share],  # type: ignore[list-item]  # the required members of a share
        )
        await commands.orders.record_payment(order_id, "p", None, "api")
    unknown, *known = (transfer_stream(order_id, "a") for order_id in ("k", "o1", "o2"))
    stripe = MemoryStripe(clock=clock.now)
    worker = Worker(
        TransferProcess(stripe, storage.directory, Policy()),
        OlderRelease(storage.ledger, unknown),
        storage.work,
        storage.new_rate_limiter(1_000.0),
        Calm(),
        clock,
        asyncio.Semaphore(10),
        WorkerLimits(),
    )
    await storage.let_pass(timedelta(seconds=1))
    await worker.turn()
    await asyncio.gather(*worker._tasks)
    paid = await storage.ledger.load([unknown, *known])
    assert [paid.transfer(one).status for one in (unknown, *known)] == [
        TransferStatus.PENDING,
        TransferStatus.COMPLETED,
        TransferStatus.COMPLETED,
    ]
    assert (await storage.work.claim("transferring", "newer", 10, timedelta(seconds=9))).ids == []
    await storage.let_pass(timedelta(seconds=11))
    claimed = await storage.work.claim("transferring", "newer", 10, timedelta(seconds=9))
    assert claimed.ids == [unknown], "a process of the newer release takes it"
