"""One request and its answer: the steps that all simulators share, and the points at which faults
act."""

from abc import ABC, abstractmethod
from typing import Any, Generic, TypeVar, assert_never

from starlette.types import Scope

from infrastructure.simulators.common.breakpoints import ReleaseReason
from infrastructure.simulators.common.connection import Connection, deliver
from infrastructure.simulators.common.fault_actions import (
    Action,
    Cut,
    Error,
    ErrorStatus,
    ForgetfulKeys,
    Latency,
    Mangle,
    Point,
    Silence,
    Stop,
    Stored500,
)
from infrastructure.simulators.common.faults import ArmedFault
from infrastructure.simulators.common.latency import seconds_of
from infrastructure.simulators.common.refusal import Refusal
from infrastructure.simulators.common.request import (
    Answer,
    ApiOperation,
    ApiRequest,
    ConnectionEnded,
    EarlyAnswer,
)
from infrastructure.simulators.common.world import SimulatorWorld

BAD_GATEWAY_PAGE = (
    b"<html><head><title>%d</title></head><body><center><h1>%d</h1></center></body></html>"
)
BARE_BODY = b'{"message":"The upstream server did not answer."}'

World = TypeVar("World", bound=SimulatorWorld[Any])
Operation = TypeVar("Operation", bound=ApiOperation)


class Exchange(ABC, Generic[World, Operation]):
    """One request on its way. A request without faults neither sleeps nor opens a socket."""

    def __init__(
        self, world: World, operation: Operation, scope: Scope, connection: Connection
    ) -> None:
        self.world = world
        self.operation = operation
        self.request = world.new_request(
            operation.name, operation.method, scope["path"], scope["path_params"]
        )
        self._connection = connection
        self._faults: list[ArmedFault] = []
        self._epoch = world.epoch
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        self.read_head(headers, scope["query_string"])

    @abstractmethod
    def read_head(self, headers: dict[str, str], query: bytes) -> None:
        """Read the headers (names in lower case) and the query."""

    @abstractmethod
    def read_body(self, body: bytes) -> None:
        """Read the body. Raises Refusal when that is impossible."""

    @abstractmethod
    async def process(self) -> Answer:
        """Return the answer, with a call of `fault` at each point. Raises Refusal, EarlyAnswer or
        ConnectionEnded."""

    async def run(self) -> None:
        """Answer the request, or end its connection as a fault demands, and write the request
        log."""
        try:
            answer, mangles = await self._answer()
        except ConnectionEnded as end:
            self.world.remember(self.request, f"connection {end}")
            await self._connection.end(end.reset)
            return
        self.world.remember(self.request, mangles[0].kind if mangles else "answered", answer)
        answer.headers = {**self.world.headers(self.request, answer.status), **answer.headers}
        await deliver(self._connection, answer, mangles)

    async def fault(self, point: Point) -> list[Action]:
        """Execute the faults of this point. Returns the actions that are left to the caller.

        Raises EarlyAnswer, ConnectionEnded or Refusal when the request ends here.
        """
        left: list[Action] = []
        for armed in self._faults:
            match action := armed.action_at(point):
                case None:
                    pass
                case Latency():
                    await self.world.breakpoints.sleep(
                        seconds_of(action, self.request.operation, armed.random)
                    )
                case Stop():
                    await self._stop(action)
                case ErrorStatus():
                    raise injected_status(self.world, self.request, action)
                case Error():
                    raise EarlyAnswer(
                        self.world.injected(action, self.request), stored=action.stored
                    )
                case Cut():
                    raise ConnectionEnded(reset=True)
                case Silence():
                    await self.world.breakpoints.stop(
                        self.request, point, self._connection, action.seconds
                    )
                    raise ConnectionEnded(reset=False)
                case Mangle() | Stored500() | ForgetfulKeys():
                    left.append(action)
                case _:
                    assert_never(action)
        return left

    async def _stop(self, action: Stop) -> None:
        patient = action.on_disconnect == "wait"
        reason = await self.world.breakpoints.stop(
            self.request, action.point, self._connection, patient=patient
        )
        gone = reason is ReleaseReason.CLIENT_GONE
        if gone and action.on_disconnect == "abandon" and action.point is Point.BEFORE_COMMIT:
            raise ConnectionEnded(reset=False)

    def check_epoch(self) -> None:
        """Check that no reset or restored snapshot has replaced the state meanwhile. Raises
        ConnectionEnded."""
        if self._epoch != self.world.epoch:
            raise ConnectionEnded(reset=True)

    async def _answer(self) -> tuple[Answer, list[Mangle]]:
        try:
            self.read_body(await self._connection.body())
        except Refusal as refusal:
            return self.world.refused(refusal, self.request, stored=False), []
        self._faults, self._epoch = self.world.faults.matching(self.request), self.world.epoch
        try:
            answer = await self.process()
        except EarlyAnswer as end:
            answer = end.answer
        except Refusal as refusal:
            answer = self.world.refused(refusal, self.request, stored=False)
        return answer, [
            action for action in await self.fault(Point.DELIVERY) if isinstance(action, Mangle)
        ]


def injected_status(
    world: SimulatorWorld[Any], request: ApiRequest, action: ErrorStatus
) -> Refusal | EarlyAnswer:
    """Return the error that the fault asks for. The catalogue has `server_fault`, `rate_limited`
    and `lock_timeout`."""
    if action.lock:
        return Refusal("lock_timeout")
    if action.status == 429:
        return Refusal("rate_limited", reason=action.reason)
    answer = world.refused(Refusal("server_fault"), request, stored=False)
    answer.status = action.status
    if action.should_retry is not None:
        answer.headers["Stripe-Should-Retry"] = str(action.should_retry).lower()
    if action.html:
        answer.body, answer.content_type = (
            BAD_GATEWAY_PAGE % (action.status, action.status),
            "text/html",
        )
    elif action.bare:
        answer.body = BARE_BODY
    return EarlyAnswer(answer)
