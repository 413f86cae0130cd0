"""Calls that have to wait for a slot, in virtual time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from application.commands import commands_on
from application.process_managers.transfers import TransferProcess
from application.process_managers.worker import Worker, WorkerLimits
from domain.identity import transfer_stream
from domain.lifecycle import TransferStatus
from domain.order.state import Share
from domain.provider_call.retry_policy import LATEST_CALL, Policy
from domain.seller_transfer.aggregate import SellerTransfer
from domain.seller_transfer.facts import CallStarted
from infrastructure.clock import DatabaseClock
from infrastructure.simulation.in_memory.database import MemoryDatabase, event_log
from infrastructure.simulation.in_memory.directory import MemoryDirectory
from infrastructure.simulation.in_memory.work_queue import MemoryRateLimiter, MemoryWork
from infrastructure.simulation.network import NetworkConditions
from infrastructure.simulation.virtual_time import now, run
from tests.support.held_process import FleetOf
from tests.support.in_memory.stripe import MemoryStripe

CAPACITY = 16
SLOW = 5.0
"""Factor of the recorded latency: about four seconds for one call."""


class Ledger:
    """A ledger whose only process pays sellers, and whose slots for calls the test keeps."""

    def __init__(self) -> None:
        self._database, self._clock = MemoryDatabase(now), DatabaseClock(now)
        self.log = event_log(self._database)
        self.stripe = MemoryStripe(network=NetworkConditions(), clock=now)
        self.slots = asyncio.Semaphore(0)

    async def pay(self, count: int) -> list[UUID]:
        """Let so many transfers be due."""
        commands = commands_on(self.log, MemoryDirectory(self._database), self._clock)
        for number in range(count):
            share = Share(seller_id=f"s{number}", destination=f"acct_{number}", amount=900)
            await commands.orders.register(
                order_id=f"o{number}", currency="EUR", amount=1_000, shares=[share]
            )
            await commands.orders.record_payment(f"o{number}", "pay", None, "test")
        return [transfer_stream(f"o{number}", f"s{number}") for number in range(count)]

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """Run the worker meanwhile."""
        worker = Worker(
            TransferProcess(self.stripe, MemoryDirectory(self._database), Policy()),
            self.log,
            MemoryWork(self._database),
            MemoryRateLimiter(self._database, 1_000.0),
            FleetOf(self._database),
            self._clock,
            self.slots,
            WorkerLimits(CAPACITY),
        )
        for channel in ("ledger_events", "ledger_work"):
            self._database.on(channel, worker.wake)
        running = asyncio.create_task(worker.run())
        yield
        worker.stop()
        await running

    async def transfers(self, ids: list[UUID]) -> list[SellerTransfer]:
        uow = await self.log.load(ids)
        return [uow.transfer(one) for one in ids]

    def intents(self) -> int:
        """Return the number of committed intents."""
        return sum(one.topic == CallStarted.TOPIC for one in self._database.recorded)


def test_call_long_after_its_intent_is_not_made() -> None:
    """The lease is renewed meanwhile, so it does not prevent the call. If the process died right
    after a call that late, a look-up would find nothing, and the transfer would be made twice."""

    async def late() -> None:
        ledger = Ledger()
        ids = await ledger.pay(1)
        async with ledger.at_work():
            await asyncio.sleep(LATEST_CALL.total_seconds() + 1)
            assert ledger.intents() == 1
            ledger.slots.release()
            await asyncio.sleep(5)
            (transfer,) = await ledger.transfers(ids)
        assert transfer.status is TransferStatus.COMPLETED
        assert ledger.stripe.calls == 1
        assert ledger.intents() == 2, "the first intent was given back"

    run(late())


def test_work_whose_slots_come_late_is_done_without_lost_attempts() -> None:
    """Stripe is so slow that much of the claimed work waits for longer than an intent may be old."""

    async def slow() -> None:
        ledger = Ledger()
        ledger.stripe.network.slowness = SLOW
        ids = await ledger.pay(CAPACITY)
        ledger.slots.release()
        async with ledger.at_work():
            await asyncio.sleep(120)
            paid = await ledger.transfers(ids)
        assert {one.status for one in paid} == {TransferStatus.COMPLETED}
        assert ledger.stripe.calls == CAPACITY
        assert ledger.intents() > 2 * CAPACITY, "many were given back"

    run(slow())
