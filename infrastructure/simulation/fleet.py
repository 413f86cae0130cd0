"""Several processes on one database and one Stripe, in one virtual loop; each can be killed, frozen
and started again.

A process acts on the outside only through its `ProcessConnection`. After a kill no call leaves it,
whatever its tasks do while they are cancelled. While it is frozen, its calls are delayed.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextvars import Context, ContextVar
from dataclasses import dataclass, field
from datetime import timedelta
from typing import ClassVar, NamedTuple, Protocol, TypeVar, cast

from application.command_handler import CommandHandler
from application.commands import commands_on
from application.gateways import TransferGateway
from application.ports import EventLog
from application.process_managers.circuit_breaker import BreakerMonitor
from application.process_managers.outcome_recorder import OutcomeRecorder
from application.process_managers.reversals import ReversalProcess
from application.process_managers.transfers import TransferProcess
from application.process_managers.worker import Worker, WorkerLimits
from application.webhooks.handler import WebhookHandler
from application.webhooks.hyperswitch.payments_refunds import HyperswitchPaymentsRefunds
from application.webhooks.inbox_worker import InboxLoop
from application.webhooks.stripe.external_changes import ExternalChanges
from application.webhooks.stripe.transfers import StripeTransfers
from infrastructure.clock import DatabaseClock
from infrastructure.settings import Settings
from infrastructure.simulation.in_memory.alarms import MemoryAlarms
from infrastructure.simulation.in_memory.circuit_breaker import MemoryCircuitBreaker
from infrastructure.simulation.in_memory.database import MemoryDatabase, event_log
from infrastructure.simulation.in_memory.directory import MemoryDirectory
from infrastructure.simulation.in_memory.inbox import MemoryInbox
from infrastructure.simulation.in_memory.work_queue import MemoryRateLimiter, MemoryWork
from infrastructure.simulation.virtual_time import now

P = TypeVar("P")
T = TypeVar("T")

DEFAULT_SETTINGS = Settings()
"""The default settings of a fleet."""
LONG_LEASE = Settings(lease=timedelta(minutes=10))
"""Settings for scenarios of weeks: a short lease, renewed every few seconds, would take most of the
time and show nothing."""


class Loop(Protocol):
    """A loop that a process runs until it is stopped."""

    async def run(self) -> None: ...

    def stop(self) -> None: ...

    def wake(self) -> None: ...


class PortCall(NamedTuple):
    """A call of a port: the port, its method, and the positional arguments."""

    port: object
    method: str
    arguments: tuple[object, ...]


class ProcessConnection:
    """Connection of one process to the database and to Stripe, which can be cut and frozen."""

    def __init__(self, chance: random.Random, latency: float) -> None:
        self._chance, self._latency = chance, latency
        self._cut, self._flowing = False, asyncio.Event()
        self._flowing.set()

    def cut(self) -> None:
        self._cut = True
        self._flowing.set()

    def freeze(self) -> None:
        self._flowing.clear()

    def thaw(self) -> None:
        self._flowing.set()

    def to(self, port: P) -> P:
        """Return the port as this process sees it."""
        return cast("P", _PortProxy(port, self))  # a proxy has the methods of its port

    async def call(self, call: Callable[[], Awaitable[T]], made: PortCall) -> T:
        """Make the call and return its answer. A call that has arrived is done, even if its caller
        gets no answer."""
        await asyncio.sleep(self._delay(made))  # and others come first, even where no time passes
        await self._pass()
        await self._before(made)
        answer = await call()
        await self._after(made, answer)
        if back := self._delay(made):
            await asyncio.sleep(back)
        await self._pass()
        return answer

    async def _before(self, made: PortCall) -> None:
        """Do nothing: a world with faults strikes here."""

    async def _after(self, made: PortCall, answer: object) -> None:
        """Do nothing: a world with faults strikes here."""

    def _delay(self, made: PortCall) -> float:
        return self._chance.uniform(0, self._latency) if self._latency else 0

    async def _pass(self) -> None:
        if not self._flowing.is_set():
            await self._flowing.wait()
        if self._cut:
            raise asyncio.CancelledError


class _PortProxy:
    """A port behind a connection. Every method of a port is a coroutine, so one proxy fits all
    ports."""

    def __init__(self, port: object, connection: ProcessConnection) -> None:
        self._port, self._connection = port, connection

    def __getattr__(self, name: str) -> Callable[..., Awaitable[object]]:
        method: Callable[..., Awaitable[object]] = getattr(self._port, name)

        async def called(*arguments: object, **named: object) -> object:
            made = PortCall(self._port, name, arguments)
            return await self._connection.call(lambda: method(*arguments, **named), made)

        return called


OWNER: ContextVar["Process | None"] = ContextVar("owner", default=None)


def _owned_task(
    loop: asyncio.AbstractEventLoop,
    coroutine: Coroutine[object, object, T] | Generator[asyncio.Future[object] | None, None, T],
    context: Context | None = None,
) -> asyncio.Task[T]:
    """Create a task that belongs to the current process, so that a kill finds it."""
    task: asyncio.Task[T] = asyncio.Task(coroutine, loop=loop, context=context)
    owner = OWNER.get() if context is None else context.get(OWNER)
    if owner is not None:
        owner.tasks[task] = None
        task.add_done_callback(lambda done: owner.tasks.pop(done, None))
    return task


@dataclass
class Process:
    """One set of workers and one inbox loop, as `serve` runs them."""

    name: str
    fleet: "Fleet"
    _monitor: ClassVar[type[BreakerMonitor]] = BreakerMonitor
    tasks: dict[asyncio.Task[object], None] = field(default_factory=dict)
    connection: ProcessConnection = field(init=False)
    loops: list[Loop] = field(init=False, default_factory=list)
    ends: list[asyncio.Task[None]] = field(init=False, default_factory=list)

    def start(self) -> None:
        """Start as a new process, without memory."""
        self.connection = self._connect()
        self.loops = self._loops()
        token = OWNER.set(self)
        try:
            self.ends = [asyncio.create_task(loop.run()) for loop in self.loops]
        finally:
            OWNER.reset(token)
        self._listen()

    def _connect(self) -> ProcessConnection:
        return ProcessConnection(self.fleet.chance, self.fleet.latency)

    def _clock(self) -> DatabaseClock:
        """Make the clock of a new process."""
        return DatabaseClock(now)

    def _event_log(self) -> EventLog:
        """Make the event log of a new process."""
        return event_log(self.fleet.database)

    def _listen(self) -> None:
        for loop in self.loops:
            for channel in ("webhook_inbox", "ledger_events", "ledger_work"):
                self.fleet.database.on(channel, loop.wake)

    async def kill(self) -> None:
        """Kill the process as `kill -9` does: calls that have left it are done, no other call
        leaves it."""
        self.connection.cut()
        self._disconnect()
        ending = list(self.tasks)
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)

    async def freeze(self, seconds: float) -> None:
        """Freeze the process as SIGSTOP does, and continue it later; its clocks go on meanwhile."""
        self.connection.freeze()
        await asyncio.sleep(seconds)
        self.connection.thaw()

    async def stop(self) -> None:
        """Drain the process, as SIGTERM does."""
        for loop in self.loops:
            loop.stop()
        await asyncio.gather(*self.ends)
        self._disconnect()

    def _disconnect(self) -> None:
        for loop in self.loops:
            self.fleet.database.off(loop.wake)

    def _loops(self) -> list[Loop]:
        clock = self._clock()
        ledger = self.connection.to(self._event_log())
        gateway = self.connection.to(self.fleet.new_gateway())
        watch = self._watch(ledger, gateway, clock)
        workers = self._workers(ledger, gateway, watch, clock)
        return (
            workers if self.fleet.bare else [self._inbox(ledger, gateway, clock), watch, *workers]
        )

    def _watch(
        self, ledger: EventLog, gateway: TransferGateway, clock: DatabaseClock
    ) -> BreakerMonitor:
        database, connection = self.fleet.database, self.connection
        commands = commands_on(ledger, connection.to(MemoryDirectory(database)), clock)
        breaker, alarms, recorder = (
            connection.to(MemoryCircuitBreaker(database)),
            connection.to(MemoryAlarms(database)),
            OutcomeRecorder(ledger, clock),
        )

        return self._monitor(
            breaker, gateway, alarms, forgive=recorder.forgive, stop=commands.operator.pause
        )

    def _workers(
        self,
        ledger: EventLog,
        gateway: TransferGateway,
        watch: BreakerMonitor,
        clock: DatabaseClock,
    ) -> list[Loop]:
        fleet, settings, connection = self.fleet, self.fleet.settings, self.connection
        slots, directory = (
            asyncio.Semaphore(settings.stripe_max_concurrency),
            connection.to(MemoryDirectory(fleet.database)),
        )
        transfers = TransferProcess(gateway, directory, settings.policy(settings.transfers))
        reversals = ReversalProcess(gateway, settings.policy(settings.reversals))
        work, rate_limiter = (
            connection.to(MemoryWork(fleet.database)),
            connection.to(MemoryRateLimiter(fleet.database, settings.stripe_max_rps)),
        )
        capacity = 2 * settings.stripe_max_concurrency
        of_transfers = WorkerLimits(capacity, settings.lease, settings.transfers.check_interval)
        of_reversals = WorkerLimits(capacity, settings.lease, settings.reversals.check_interval)
        return [
            Worker(transfers, ledger, work, rate_limiter, watch, clock, slots, of_transfers),
            Worker(reversals, ledger, work, rate_limiter, watch, clock, slots, of_reversals),
        ]

    def _inbox(self, ledger: EventLog, gateway: TransferGateway, clock: DatabaseClock) -> InboxLoop:
        database, settings, connection = self.fleet.database, self.fleet.settings, self.connection
        directory = connection.to(MemoryDirectory(database))
        return InboxLoop(
            connection.to(MemoryInbox(database)),
            WebhookHandler(
                hyperswitch=HyperswitchPaymentsRefunds(
                    commands_on(ledger, directory, clock), directory
                ).handlers(),
                stripe=StripeTransfers(
                    ExternalChanges(CommandHandler(ledger, clock)), directory, gateway
                ).handlers(),
            ),
            connection.to(MemoryAlarms(database)),
            clock,
            parked_deadline=settings.parked_deadline,
            lease=settings.lease,
        )


class Fleet:
    """The processes, their database, and the commands of the marketplace. It works only inside a
    virtual loop."""

    def __init__(
        self,
        new_gateway: Callable[[], TransferGateway],
        *,
        processes: int = 3,
        seed: int = 1,
        settings: Settings = DEFAULT_SETTINGS,
        latency: float = 0.0,
        bare: bool = False,
        new_process: Callable[[str, "Fleet"], "Process"] | None = None,
        database: MemoryDatabase | None = None,
    ) -> None:
        """`latency`: longest delay in seconds of a call to the database or to Stripe's edge, on
        each way.

        `bare`: workers only. A loop that polls every few seconds would cost a scenario of months
        millions of polls.
        """
        asyncio.get_running_loop().set_task_factory(_owned_task)
        self.new_gateway, self.settings, self.latency, self.bare = (
            new_gateway,
            settings,
            latency,
            bare,
        )
        self.chance = random.Random(f"fleet {seed}")
        self.use(database or MemoryDatabase(now))
        made = new_process or Process
        self.processes = [made(f"process {number}", self) for number in range(1, processes + 1)]

    def use(self, database: MemoryDatabase) -> None:
        """Use this database from now on. Processes that run keep theirs."""
        self.database = database
        self.ledger = event_log(database)
        self.inbox = MemoryInbox(database)
        self.commands = commands_on(self.ledger, MemoryDirectory(database), DatabaseClock(now))

    async def __aenter__(self) -> "Fleet":
        for process in self.processes:
            process.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        """Drained at the end; after a failure there is nothing to wait for."""
        for process in self.processes:
            await (process.stop() if kind is None else process.kill())

    async def until(
        self, condition: Callable[[], object], within: timedelta, what: str = ""
    ) -> None:
        """Check the condition now and after each append. Raises AssertionError when the virtual
        time is over."""
        happened = asyncio.Event()
        self.database.on("ledger_events", happened.set)
        try:
            async with asyncio.timeout(within.total_seconds()):
                while not condition():
                    happened.clear()
                    await happened.wait()
        except TimeoutError:
            raise AssertionError(
                f"waited {within} of virtual time in vain{': ' if what else ''}{what}"
            ) from None
        finally:
            self.database.off(happened.set)

    def quiet(self) -> bool:
        """Return whether no transfer is due, now or later, and every webhook is handled or has an
        alarm."""
        if any(
            row.next_retry_at is not None
            for row in self.database.tables["seller_transfers"].values()
        ):
            return False
        told = {alarm.subject for alarm in self.database.alarms.raised()}
        return all(
            f"{row.provider}:{row.event_id}" in told
            for row in self.database.inbox.rows.values()
            if row.open
        )
