"""The state of one simulator, and the operations on it that are the same for all providers."""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from infrastructure.simulators.common.breakpoints import Breakpoints
from infrastructure.simulators.common.clock import SimClock
from infrastructure.simulators.common.delivery_settings import Deliver
from infrastructure.simulators.common.fault_actions import Error
from infrastructure.simulators.common.faults import FaultBoard
from infrastructure.simulators.common.ids import IdSequence
from infrastructure.simulators.common.rate_limits import ObjectLocks
from infrastructure.simulators.common.refusal import ErrorShape, Refusal, Wording
from infrastructure.simulators.common.request import Answer, ApiRequest, LogEntry
from infrastructure.simulators.common.scheduler import Scheduler
from infrastructure.simulators.common.webhooks import ProviderWebhooks


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderConfig:
    """Settings that every simulator has. Times in seconds."""

    seed: int = 1
    accepted_keys: frozenset[str] | None = None
    """None accepts every secret key."""
    lock_wait: float = 2.0
    """Time for which a request waits for another request on the same object, before 429."""
    virtual_start: float | None = None
    """Epoch seconds of a clock that stands still until a test advances it; None follows the real
    clock."""
    clock: Callable[[], float] | None = None
    """Another clock, in epoch seconds. It belongs to the event loop, because the simulator sleeps
    in that loop."""
    deliver: Deliver | None = None
    """Function that posts webhooks; None: over HTTP. With a function the simulator opens no
    socket."""
    faults: tuple[Mapping[str, Any], ...] = ()
    wording: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    request_log_limit: int = 200_000


Config = TypeVar("Config", bound=ProviderConfig)


class SimulatorWorld(ABC, Generic[Config]):
    """Shared by the API and the control routes of one app. Everything happens in one event loop."""

    webhooks: ProviderWebhooks[Any, Any]
    wording: Wording

    def __init__(
        self,
        config: Config,
        clock: SimClock,
        catalogue: Mapping[str, ErrorShape],
        impossible_faults: frozenset[str] = frozenset(),
    ) -> None:
        self.config = config
        self.clock = clock
        self.ids = IdSequence(config.seed)
        self.scheduler = Scheduler(clock)
        self.locks = ObjectLocks(config.lock_wait)
        self.faults = FaultBoard(impossible_faults)
        self.breakpoints = Breakpoints()
        self.log: deque[LogEntry] = deque(maxlen=config.request_log_limit)
        self.epoch = 0
        """Counts resets and restored snapshots."""
        self._catalogue = catalogue

    @abstractmethod
    def commit(self) -> None:
        """Make the changes since the last commit durable and hand their events to the webhooks."""

    @abstractmethod
    def refused(self, refusal: Refusal, request: ApiRequest, stored: bool) -> Answer:
        """Return the answer to a refusal in its present wording."""

    @abstractmethod
    def injected(self, action: Error, request: ApiRequest) -> Answer:
        """Return the error of a fault in the provider's own shape."""

    @abstractmethod
    def headers(self, request: ApiRequest, status: int) -> dict[str, str]:
        """Return the headers of every answer with this status to this request."""

    @abstractmethod
    def log_details(self, request: ApiRequest, answer: Answer | None) -> LogEntry:
        """Return the members of a line of the request log that only this provider has."""

    @abstractmethod
    def ledger(self) -> dict[str, Any]:
        """Return every object that the provider has, for a test to compare."""

    @abstractmethod
    def clear(self) -> None:
        """Forget every object of the provider."""

    def equip(self) -> None:
        """Apply the configuration, at the start and after each reset."""
        self.wording = Wording(self._catalogue, self.config.wording)
        for fault in self.config.faults:
            self.faults.add(fault)

    def new_request(
        self, operation: str, method: str, path: str, target: dict[str, str] | None = None
    ) -> ApiRequest:
        return ApiRequest(
            operation,
            method,
            path,
            target or {},
            self.ids.next("req"),
            self.clock.now(),
            self.clock.steady(),
        )

    def remember(self, request: ApiRequest, outcome: str, answer: Answer | None = None) -> None:
        """Add one line to the request log. A request without an answer has no status."""
        self.log.append(
            {
                "operation": request.operation,
                "request_id": request.request_id,
                "key": request.key,
                "status": answer.status if answer else None,
                "outcome": outcome,
                "at": request.at,
                "seconds": round(self.clock.steady() - request.started, 6),
                **self.log_details(request, answer),
            }
        )

    def advance(self, seconds: float) -> float:
        """Move the clock forward and return the new time. Raises ValueError on a negative step."""
        return self.clock.advance(seconds)

    def reset(self) -> None:
        """Return to the state of a fresh start: no objects, no faults, first ids again."""
        self.begin_epoch()
        self.faults.clear()
        self.log.clear()
        self.clear()
        self.clock.rewind()
        self.ids.counters.clear()
        self.equip()

    def begin_epoch(self) -> None:
        """Drop scheduled work. Stopped requests end without an answer instead of changing a state
        that replaced theirs."""
        self.epoch += 1
        self.scheduler.clear()
        self.breakpoints.release()

    def shut(self) -> None:
        """End every wait: breakpoints, latencies, long polls."""
        self.begin_epoch()
        self.breakpoints.close()
        self.webhooks.log.shut()

    async def close(self) -> None:
        self.shut()
        await self.webhooks.close()
