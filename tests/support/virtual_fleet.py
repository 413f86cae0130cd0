"""Several processes on one database and one Stripe, in one virtual loop; each can be killed, frozen and started again.

What belongs to a process is what it says to the outside: all of that goes through its `Line`. Kill it, and not one word
leaves any more, whatever its tasks still do while they are cancelled; freeze it, and its words are late.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Protocol

from application.commands import commands_on
from application.gateways import TransferGateway
from application.ports import EventLog
from application.process_managers.circuit_breaker import BreakerMonitor
from application.process_managers.outcome_recorder import OutcomeRecorder
from application.process_managers.process import ProcessManager
from application.process_managers.reversals import ReversalProcess
from application.process_managers.transfers import TransferProcess
from application.process_managers.worker import Worker, WorkerLimits
from application.webhooks.handler import WebhookHandler
from application.webhooks.hyperswitch.payments_refunds import HyperswitchPayments
from application.webhooks.inbox_worker import InboxLoop
from infrastructure.clock import DatabaseClock
from infrastructure.postgres.ledger import PostgresEventLog
from infrastructure.settings import Settings
from tests.support.in_memory.alarms import MemoryAlarms
from tests.support.in_memory.circuit_breaker import MemoryCircuitBreaker
from tests.support.in_memory.database import MemoryDatabase, MemoryDirectory, MemoryStore
from tests.support.in_memory.inbox import MemoryInbox
from tests.support.in_memory.work_queue import MemoryRateLimiter, MemoryWork
from tests.support.virtual_time import now

CALM = Settings()
"""As a fleet is run by default."""
PATIENT = Settings(lease=timedelta(minutes=10))
"""For weeks: a short lease is renewed every few seconds, which tells nothing and costs most of the time."""


class Loop(Protocol):
    """What a process runs until it is told to stop."""

    async def run(self) -> None: ...

    def stop(self) -> None: ...

    def wake(self) -> None: ...


class Line:
    """Between one process and everything outside."""

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

    def to(self, port: Any) -> Any:
        """The port as this process sees it."""
        return _Through(port, self)

    async def carry(self, call: Callable[[], Awaitable[Any]]) -> Any:
        """There and back. What has arrived is done, even if nobody hears the answer."""
        await asyncio.sleep(self._way())  # and others come first, even where no time passes
        await self._through()
        answer = await call()
        if self._latency:
            await asyncio.sleep(self._way())
        await self._through()
        return answer

    def _way(self) -> float:
        return self._chance.uniform(0, self._latency) if self._latency else 0

    async def _through(self) -> None:
        if not self._flowing.is_set():
            await self._flowing.wait()
        if self._cut:
            raise asyncio.CancelledError


class _Through:
    """Every method of a port is a coroutine, so one wrapper fits them all."""

    def __init__(self, port: Any, line: Line) -> None:
        self._port, self._line = port, line

    def __getattr__(self, name: str) -> Callable[..., Coroutine[Any, Any, Any]]:
        method = getattr(self._port, name)

        async def called(*arguments: Any, **named: Any) -> Any:
            return await self._line.carry(lambda: method(*arguments, **named))

        return called


OWNER: ContextVar["Process | None"] = ContextVar("owner", default=None)


def _owned_task(loop: asyncio.AbstractEventLoop, coroutine: Any, **named: Any) -> asyncio.Task[Any]:
    """Tasks belong to the process in which they were begun, so that a kill finds them all."""
    task: asyncio.Task[Any] = asyncio.Task(coroutine, loop=loop, **named)
    context = named.get("context")
    owner = OWNER.get() if context is None else context.get(OWNER)
    if owner is not None:
        owner.tasks[task] = None
        task.add_done_callback(lambda done: owner.tasks.pop(done, None))
    return task


@dataclass
class Process:
    """One set of workers and one inbox loop, as `serve` has them."""

    name: str
    fleet: "Fleet"
    tasks: dict[asyncio.Task[Any], None] = field(default_factory=dict)
    line: Line = field(init=False)
    loops: list[Loop] = field(init=False, default_factory=list)
    ends: list[asyncio.Task[None]] = field(init=False, default_factory=list)

    def start(self) -> None:
        """Like a new process: it remembers nothing."""
        self.line = Line(self.fleet.chance, self.fleet.latency)
        self.loops = self._loops()
        token = OWNER.set(self)
        try:
            self.ends = [asyncio.create_task(loop.run()) for loop in self.loops]
        finally:
            OWNER.reset(token)
        for loop in self.loops:
            for channel in ("webhook_inbox", "ledger_events", "ledger_work"):
                self.fleet.database.on(channel, loop.wake)

    async def kill(self) -> None:
        """kill -9: what was said is said, nothing more is."""
        self.line.cut()
        self._hang_up()
        ending = list(self.tasks)
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)

    async def freeze(self, seconds: float) -> None:
        """SIGSTOP and, later, SIGCONT: its clocks have gone on meanwhile."""
        self.line.freeze()
        await asyncio.sleep(seconds)
        self.line.thaw()

    async def stop(self) -> None:
        """SIGTERM: it drains."""
        for loop in self.loops:
            loop.stop()
        await asyncio.gather(*self.ends)
        self._hang_up()

    def _hang_up(self) -> None:
        for loop in self.loops:
            self.fleet.database.off(loop.wake)

    def _loops(self) -> list[Loop]:
        clock = DatabaseClock(now)
        ledger = self.line.to(PostgresEventLog(MemoryStore(self.fleet.database)))
        gateway = self.line.to(self.fleet.new_gateway())
        watch = self._watch(ledger, gateway, clock)
        workers = self._workers(ledger, gateway, watch, clock)
        return workers if self.fleet.bare else [self._inbox(ledger, clock), watch, *workers]

    def _watch(self, ledger: EventLog, gateway: TransferGateway, clock: DatabaseClock) -> BreakerMonitor:
        database, line = self.fleet.database, self.line
        commands = commands_on(ledger, line.to(MemoryDirectory(database)), clock)
        breaker, alarms, recorder = (
            line.to(MemoryCircuitBreaker(database)),
            line.to(MemoryAlarms(database)),
            OutcomeRecorder(ledger, clock),
        )

        return BreakerMonitor(breaker, gateway, alarms, forgive=recorder.forgive, stop=commands.operator.pause)

    def _workers(self, ledger: EventLog, gateway: TransferGateway, watch: BreakerMonitor, clock: DatabaseClock) -> list[Loop]:
        fleet, settings, line = self.fleet, self.fleet.settings, self.line
        slots, directory = asyncio.Semaphore(settings.stripe_max_concurrency), line.to(MemoryDirectory(fleet.database))
        errands: list[tuple[ProcessManager, timedelta]] = [
            (TransferProcess(gateway, directory, settings.policy(settings.transfers)), settings.transfers.check_interval),
            (ReversalProcess(gateway, settings.policy(settings.reversals)), settings.reversals.check_interval),
        ]
        work, rate_limiter = (
            line.to(MemoryWork(fleet.database)),
            line.to(MemoryRateLimiter(fleet.database, settings.stripe_max_rps)),
        )
        capacity = 2 * settings.stripe_max_concurrency
        return [
            Worker(errand, ledger, work, rate_limiter, watch, clock, slots, WorkerLimits(capacity, settings.lease, interval))
            for errand, interval in errands
        ]

    def _inbox(self, ledger: EventLog, clock: DatabaseClock) -> InboxLoop:
        database, settings, line = self.fleet.database, self.fleet.settings, self.line
        directory = line.to(MemoryDirectory(database))
        return InboxLoop(
            line.to(MemoryInbox(database)),
            WebhookHandler(hyperswitch=HyperswitchPayments(commands_on(ledger, directory, clock), directory).handlers()),
            line.to(MemoryAlarms(database)),
            clock,
            parked_deadline=settings.parked_deadline,
            lease=settings.lease,
        )


class Fleet:
    """The processes, their database, and a desk at which the marketplace speaks. Only inside a virtual loop."""

    def __init__(
        self,
        new_gateway: Callable[[], TransferGateway],
        *,
        processes: int = 3,
        seed: int = 1,
        settings: Settings = CALM,
        latency: float = 0.0,
        bare: bool = False,
    ) -> None:
        """`latency`: seconds that a word to the database, or to Stripe's edge, takes at most, on each way.

        `bare`: nothing but workers, since whoever looks at something every few seconds costs a scenario of months millions
        of looks.
        """
        asyncio.get_running_loop().set_task_factory(_owned_task)
        self.new_gateway, self.settings, self.latency, self.bare = new_gateway, settings, latency, bare
        self.chance = random.Random(f"fleet {seed}")
        self.database = MemoryDatabase(now)
        self.ledger = PostgresEventLog(MemoryStore(self.database))
        self.inbox = MemoryInbox(self.database)
        self.commands = commands_on(self.ledger, MemoryDirectory(self.database), DatabaseClock(now))
        self.processes = [Process(f"process {number}", self) for number in range(1, processes + 1)]

    async def __aenter__(self) -> "Fleet":
        for process in self.processes:
            process.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        """Drained at the end; after a failure there is nothing to wait for."""
        for process in self.processes:
            await (process.stop() if kind is None else process.kill())

    async def until(self, condition: Callable[[], Any], within: timedelta, what: str = "") -> None:
        """Asks now, and after each append. Raises AssertionError when the virtual time is over."""
        happened = asyncio.Event()
        self.database.on("ledger_events", happened.set)
        try:
            async with asyncio.timeout(within.total_seconds()):
                while not condition():
                    happened.clear()
                    await happened.wait()
        except TimeoutError:
            raise AssertionError(f"waited {within} of virtual time in vain{': ' if what else ''}{what}") from None
        finally:
            self.database.off(happened.set)

    def quiet(self) -> bool:
        """Nothing is due any more, now or later, and every webhook is handled, or a person has been told why not."""
        if any(row.next_retry_at is not None for row in self.database.tables["seller_transfers"].values()):
            return False
        told = {alarm.subject for alarm in self.database.alarms.raised()}
        return all(f"{row.provider}:{row.event_id}" in told for row in self.database.inbox.rows.values() if row.open)
