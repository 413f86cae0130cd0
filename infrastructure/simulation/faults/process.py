"""A process that faults strike at its calls of ports."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import ClassVar, Protocol, TypeVar

from application.ports import EventLog
from application.webhooks.inbox_worker import InboxLoop
from domain.errors import NewerRelease
from domain.fact import Fact
from infrastructure.clock import DatabaseClock
from infrastructure.postgres.event_store import RecordedFact, StoredFact
from infrastructure.postgres.ledger import FactCodec
from infrastructure.simulation.faults.kinds import step_of
from infrastructure.simulation.fleet import PortCall, ProcessConnection
from infrastructure.simulation.in_memory.database import event_log
from infrastructure.simulation.serving import ServingProcess, TrustingInbox
from infrastructure.simulation.virtual_time import now

T = TypeVar("T")

POLLS = ("claim", "next_due", "state", "until_due", "until_probe", "take", "renew")
"""Methods that take no time: loops call them all the time, and each is one atomic statement."""


class StepsOfProcesses(Protocol):
    """Is told each step of a process."""

    async def before_step(self, process: "FaultyProcess", step: str) -> None:
        """Strike before a call. Raises Unavailable, or cuts the connection."""

    async def after_step(self, process: "FaultyProcess", step: str, answer: object) -> None:
        """Strike when a call was carried out, and its answer is not read yet."""


class FaultyConnection(ProcessConnection):
    """Connection of a process on whose calls faults strike."""

    process: "FaultyProcess"

    async def call(self, call: Callable[[], Awaitable[T]], made: PortCall) -> T:
        """Make the call, named by its step: an append empties its unit of work, so that its step
        cannot be told afterwards."""
        return await super().call(call, made._replace(method=step_of(made)))

    def _delay(self, made: PortCall) -> float:
        return 0 if made.method.partition(".")[2] in POLLS else super()._delay(made)

    async def _before(self, made: PortCall) -> None:
        await self.process.steps.before_step(self.process, made.method)
        await self._pass()

    async def _after(self, made: PortCall, answer: object) -> None:
        await self.process.steps.after_step(self.process, made.method, answer)


class OldCodec(FactCodec):
    """Codec of a release that does not know one kind of fact."""

    def __init__(self, unknown: str) -> None:
        super().__init__()
        self._unknown = unknown

    def stored(self, fact: Fact) -> StoredFact:
        stored = super().stored(fact)
        self._refuse(stored.topic)
        return stored

    def fact(self, recorded: RecordedFact) -> Fact:
        self._refuse(recorded.topic)
        return super().fact(recorded)

    def _refuse(self, topic: str) -> None:
        if topic == self._unknown:
            raise NewerRelease(topic)


@dataclass
class FaultyProcess(ServingProcess):
    """A process whose wall clock, release and calls can be wrong."""

    _inbox_worker: ClassVar[type[InboxLoop]] = TrustingInbox
    steps: StepsOfProcesses = field(kw_only=True)
    number: int = field(kw_only=True)
    """Index in the fleet."""
    skew: timedelta = field(init=False, default=timedelta(0))
    """Error of its wall clock."""
    unknown: str | None = field(init=False, default=None)
    """Topic of the fact that its release does not know."""

    def _connect(self) -> ProcessConnection:
        connection = FaultyConnection(self.fleet.chance, self.fleet.latency)
        connection.process = self
        return connection

    def _clock(self) -> DatabaseClock:
        return DatabaseClock(lambda: now() + self.skew)

    def _event_log(self) -> EventLog:
        codec = OldCodec(self.unknown) if self.unknown is not None else None
        return event_log(self.fleet.database, codec)
