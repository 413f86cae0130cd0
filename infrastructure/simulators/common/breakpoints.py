"""Breakpoints at which requests stop until a test releases them: the basis of every kill -9
test."""

import asyncio
import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from fnmatch import fnmatchcase
from itertools import count
from typing import Any, TypeAlias

from infrastructure.simulators.common.connection import Connection
from infrastructure.simulators.common.fault_actions import Point
from infrastructure.simulators.common.request import ApiRequest


class ReleaseReason(StrEnum):
    """Why a stopped request goes on."""

    RELEASED = "released"
    EXPIRED = "expired"
    CLIENT_GONE = "client_gone"


Waits: TypeAlias = "dict[asyncio.Future[Any], ReleaseReason]"


class StoppedRequest:
    def __init__(self, id_: str, request: ApiRequest, point: Point) -> None:
        self.id = id_
        self.request = request
        self.point = point
        self.released = asyncio.Event()

    def listing(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "operation": self.request.operation,
            "point": self.point.value,
            "key": self.request.key,
            "request_id": self.request.request_id,
            "transfer": self.request.transfer,
            "destination": self.request.destination,
        }


class Breakpoints:
    def __init__(self) -> None:
        self._numbers = count(1)
        self._stopped: dict[str, StoppedRequest] = {}
        self._changed = asyncio.Event()
        self._closed = asyncio.Event()

    async def stop(
        self,
        request: ApiRequest,
        point: Point,
        connection: Connection,
        seconds: float | None = None,
        patient: bool = False,
    ) -> ReleaseReason:
        """Stop the request until its release. A `patient` stop outlives the client; others end when
        the client disconnects."""
        with self._listed(request, point) as stopped:
            waits: Waits = {asyncio.ensure_future(stopped.released.wait()): ReleaseReason.RELEASED}
            if not patient:
                waits[asyncio.ensure_future(connection.gone())] = ReleaseReason.CLIENT_GONE
            try:
                done, _ = await asyncio.wait(
                    waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED
                )
            finally:
                for wait in waits:
                    wait.cancel()
                await asyncio.gather(*waits, return_exceptions=True)
        return min(
            (waits[wait] for wait in done),
            key=list(ReleaseReason).index,
            default=ReleaseReason.EXPIRED,
        )

    @contextmanager
    def _listed(self, request: ApiRequest, point: Point) -> Iterator[StoppedRequest]:
        stopped = StoppedRequest(f"held_{next(self._numbers)}", request, point)
        self._stopped[stopped.id] = stopped
        if self._closed.is_set():
            stopped.released.set()
        self._notify()
        try:
            yield stopped
        finally:
            del self._stopped[stopped.id]
            self._notify()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def stopped(self, operation: str = "*") -> list[StoppedRequest]:
        return [
            stopped
            for stopped in self._stopped.values()
            if fnmatchcase(stopped.request.operation, operation)
        ]

    async def wait_until_stopped(self, operation: str, requests: int) -> list[StoppedRequest]:
        """Wait until that many requests of the operation are stopped, or the simulator shuts
        down."""
        while len(self.stopped(operation)) < requests and not self._closed.is_set():
            await self._changed.wait()
        return self.stopped(operation)

    def release(self, operation: str = "*", id_: str | None = None) -> int:
        """Let the requests go on. Returns their number."""
        chosen = [stopped for stopped in self.stopped(operation) if id_ in (None, stopped.id)]
        for stopped in chosen:
            stopped.released.set()
        return len(chosen)

    def close(self) -> None:
        """Release all requests and stop none any more: the simulator shuts down."""
        self._closed.set()
        self._notify()
        self.release()

    async def sleep(self, seconds: float) -> None:
        """Sleep in real time, or until the simulator shuts down."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._closed.wait(), seconds)
