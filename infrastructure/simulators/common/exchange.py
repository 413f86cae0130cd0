"""One request and its answer: the steps that all simulators share, and the points at which faults act."""

from abc import ABC, abstractmethod
from typing import Any, Generic, TypeVar

from starlette.types import Scope

from infrastructure.simulators.common.connection import Connection, deliver
from infrastructure.simulators.common.fault_actions import Action, Mangle, Point
from infrastructure.simulators.common.fault_injection import inject
from infrastructure.simulators.common.faults import NO_FAULTS
from infrastructure.simulators.common.refusal import Refusal
from infrastructure.simulators.common.request import Answer, ApiOperation, ConnectionEnded, EarlyAnswer
from infrastructure.simulators.common.world import SimulatorWorld

World = TypeVar("World", bound=SimulatorWorld[Any])
Operation = TypeVar("Operation", bound=ApiOperation)


class Exchange(ABC, Generic[World, Operation]):
    """One request on its way. A request without faults neither sleeps nor opens a socket."""

    def __init__(self, world: World, operation: Operation, scope: Scope, connection: Connection) -> None:
        self.world = world
        self.operation = operation
        self.request = world.new_request(operation.name, operation.method, scope["path"], scope["path_params"])
        self._connection = connection
        self._plan = NO_FAULTS
        self._epoch = world.epoch
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        self.read_head(headers, scope["query_string"])

    @abstractmethod
    def read_head(self, headers: dict[str, str], query: bytes) -> None:
        """Read the headers (names in lower case) and the query."""

    @abstractmethod
    def read_body(self, body: bytes) -> None:
        """Read the body. Raises Refusal when that is impossible."""

    @abstractmethod
    async def process(self) -> Answer:
        """Return the answer, with a call of `fault` at each point. Raises Refusal, EarlyAnswer or ConnectionEnded."""

    async def run(self) -> None:
        """Answer the request, or end its connection as a fault demands, and write the request log."""
        try:
            answer, mangles = await self._answer()
        except ConnectionEnded as end:
            self.world.remember(self.request, f"connection {end}")
            await self._connection.end(end.reset)
            return
        self.world.remember(self.request, mangles[0].kind if mangles else "answered", answer)
        answer.headers = {**self.world.headers(self.request), **answer.headers}
        await deliver(self._connection, answer, mangles)

    async def fault(self, point: Point) -> list[Action]:
        """Let the faults of this point act. Returns the actions that are left to the caller."""
        return await inject(self.world, self.request, self._plan, point, self._connection) if self._plan else []

    def check_epoch(self) -> None:
        """Check that no reset or restored snapshot has replaced the state meanwhile. Raises ConnectionEnded."""
        if self._epoch != self.world.epoch:
            raise ConnectionEnded(reset=True)

    async def _answer(self) -> tuple[Answer, list[Mangle]]:
        try:
            self.read_body(await self._connection.body())
        except Refusal as refusal:
            return self.world.refused(refusal, self.request, stored=False), []
        self._plan, self._epoch = self.world.faults.plan(self.request), self.world.epoch
        try:
            answer = await self.process()
        except EarlyAnswer as end:
            answer = end.answer
        except Refusal as refusal:
            answer = self.world.refused(refusal, self.request, stored=False)
        return answer, [action for action in await self.fault(Point.DELIVERY) if isinstance(action, Mangle)]
