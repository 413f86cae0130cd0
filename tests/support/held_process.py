"""A process of the ledger whose steps are taken one at a time: the real workers, gateway and SDK,
held before each step that a trace of the model names.

Time is virtual. A request reaches the simulated Stripe when the trace says so, and its answer is
delivered when the outcome is to be recorded.
"""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

import aiohttp
from starlette.types import ASGIApp

from application.ports import EventLog, FleetState
from application.process_managers.reversals import ReversalProcess
from application.process_managers.transfers import TransferProcess
from application.process_managers.worker import Worker, WorkerLimits
from application.unit_of_work import CommitExtras, UnitOfWork
from domain.provider_call.outcome import ProviderSignal
from domain.provider_call.retry_policy import Policy
from domain.provider_call.steps import LookUp, Send
from infrastructure.clock import DatabaseClock
from infrastructure.simulation.in_memory.circuit_breaker import state
from infrastructure.simulation.in_memory.database import MemoryDatabase, event_log
from infrastructure.simulation.in_memory.directory import MemoryDirectory
from infrastructure.simulation.in_memory.work_queue import MemoryWork
from infrastructure.simulation.network import Exchange, ReceivedAnswer, VirtualNetwork
from infrastructure.simulation.stripe_in_process import KEY, URL, InProcessClient
from infrastructure.simulation.virtual_time import now
from infrastructure.stripe.gateway import StripeGateway

INSTANT = 0.002
"""Seconds after which every step that is not held has been taken."""


async def settle() -> None:
    """Let everything happen that is not held."""
    await asyncio.sleep(INSTANT)


@dataclass(eq=False)
class SentRequest:
    """One request that has left its process."""

    exchange: Exchange
    answer: asyncio.Future[ReceivedAnswer] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    async def execute(self, app: ASGIApp) -> None:
        """Let Stripe execute it; the answer is not delivered yet."""
        await self.exchange.carried_out(app)

    def deliver(self) -> None:
        exchange = self.exchange
        self._end(ReceivedAnswer(exchange.body, exchange.status, exchange.headers))

    def lose(self) -> None:
        """Break the connection."""
        if not self.answer.done():
            self.answer.set_exception(aiohttp.ServerDisconnectedError())

    def _end(self, answer: ReceivedAnswer) -> None:
        if not self.answer.done():  # else its process has died
            self.answer.set_result(answer)


class HeldNetwork(VirtualNetwork):
    """The network of one process: requests wait until they are executed and answered."""

    def __init__(self, app: ASGIApp) -> None:
        super().__init__(app, "held")
        self.sent: list[SentRequest] = []

    async def send(self, exchange: Exchange, timeout: float) -> ReceivedAnswer:
        """Send a request; the time limit is the trace's matter."""
        request = SentRequest(exchange)
        self.sent.append(request)
        return await request.answer

    def take(self) -> SentRequest | None:
        """Return the oldest request that has left since the last call."""
        return self.sent.pop(0) if self.sent else None


class Gate:
    """A point at which a process waits until the gate is opened, which lets those pass that
    wait."""

    def __init__(self) -> None:
        self._waiting: list[asyncio.Future[None]] = []

    async def passed(self) -> None:
        here = asyncio.get_running_loop().create_future()
        self._waiting.append(here)
        await here

    @property
    def reached(self) -> bool:
        """Return whether the process waits here."""
        return any(not here.done() for here in self._waiting)

    def open(self) -> None:
        for here in self._waiting:
            if not here.done():
                here.set_result(None)
        self._waiting.clear()


class HeldLimiter:
    """The port `RateLimiter`: a claim has no further step before the gate is opened."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    async def reserve(self, endpoint: str, count: int) -> Sequence[float]:
        await self._gate.passed()
        return [0.0] * count

    async def slow_down(self, endpoint: str) -> None:
        """Do nothing: the trace chooses when calls are made."""


class HeldSlots(asyncio.Semaphore):
    """The slots for calls: one is free when the gate is opened."""

    def __init__(self, gate: Gate) -> None:
        super().__init__(0)
        self._gate = gate

    async def acquire(self) -> bool:  # type: ignore[override]  # a coroutine in both
        await self._gate.passed()
        return True

    def release(self) -> None:
        """Do nothing: the trace chooses when a slot is free."""


class HeldLog:
    """The port `EventLog`: while it is held, appends wait for the gate."""

    def __init__(self, event_log: EventLog, gate: Gate) -> None:
        self._event_log, self._gate, self.held = event_log, gate, False

    async def load(self, ids: Collection[UUID]) -> UnitOfWork:
        return await self._event_log.load(ids)

    async def append(self, uow: UnitOfWork, extras: CommitExtras = CommitExtras()) -> None:  # noqa: B008 - an immutable NamedTuple
        if self.held:
            await self._gate.passed()
        await self._event_log.append(uow, extras)


class FleetOf:
    """The state of the fleet, without a circuit breaker."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database

    @property
    def state(self) -> FleetState:
        return state(self._database)

    async def observe(
        self, subject_id: UUID, step: Send | LookUp, signal: ProviderSignal, account: str
    ) -> None:
        """Do nothing: one transfer opens no circuit breaker."""


class HeldProcess:
    """One process with a worker for transfers and one for reversals."""

    def __init__(
        self, database: MemoryDatabase, app: ASGIApp, policy: Policy, lease: timedelta
    ) -> None:
        self.begin, self.slot, self.commit = Gate(), Gate(), Gate()
        self.network, self.log = HeldNetwork(app), HeldLog(event_log(database), self.commit)
        gateway = StripeGateway(KEY, URL, 30.0, 1, InProcessClient(self.network))
        kinds = {
            "transfer": TransferProcess(gateway, MemoryDirectory(database), policy),
            "reversal": ReversalProcess(gateway, policy),
        }
        self._workers: dict[str, Worker[object]] = {
            what: Worker(
                process,  # type: ignore[arg-type]  # each worker sees answers of its own kind
                self.log,
                MemoryWork(database),
                HeldLimiter(self.begin),
                FleetOf(database),
                DatabaseClock(now),
                HeldSlots(self.slot),
                WorkerLimits(lease=lease),
            )
            for what, process in kinds.items()
        }
        self._turns: list[asyncio.Task[float]] = []
        self.call: SentRequest | None = None
        """The call whose answer the process waits for."""

    async def claim(self, what: str) -> None:
        """Begin a turn: claim, and stop before the work is loaded."""
        self._turns.append(asyncio.create_task(self._workers[what].turn()))
        await settle()

    async def renew(self) -> None:
        """Renew all leases, as a process does that is not frozen."""
        for worker in self._workers.values():
            await worker._leases._renew()

    async def release(self) -> None:
        """Release the leases of the work that is done."""
        for worker in self._workers.values():
            await worker._leases._release()

    async def die(self) -> None:
        """End as after `kill -9`: nothing more leaves the process, and its lease is not
        released."""
        ending = [*self._turns, *(task for one in self._workers.values() for task in one._tasks)]
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)
