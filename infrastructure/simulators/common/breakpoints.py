"""Where calls are held, and where a test waits until one is: the heart of every kill -9 test."""

from __future__ import annotations

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
from infrastructure.simulators.common.request import Call


class Ending(StrEnum):
    """Why a held call is held no longer."""

    RELEASED = "released"
    EXPIRED = "expired"
    CLIENT_GONE = "client_gone"


Waits: TypeAlias = "dict[asyncio.Future[Any], Ending]"


class HeldCall:
    def __init__(self, id_: str, call: Call, point: Point) -> None:
        self.id = id_
        self.call = call
        self.point = point
        self.released = asyncio.Event()

    def listing(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "operation": self.call.operation,
            "point": self.point.value,
            "key": self.call.key,
            "request_id": self.call.request_id,
            "transfer": self.call.transfer,
            "destination": self.call.destination,
        }


class Gate:
    def __init__(self) -> None:
        self._numbers = count(1)
        self._held: dict[str, HeldCall] = {}
        self._changed = asyncio.Event()
        self._closed = asyncio.Event()

    async def hold(
        self, call: Call, point: Point, connection: Connection, seconds: float | None = None, patient: bool = False
    ) -> Ending:
        """Stop here. A `patient` hold outlives its client, others end when the client goes away."""
        with self._holding(call, point) as held:
            waits: Waits = {asyncio.ensure_future(held.released.wait()): Ending.RELEASED}
            if not patient:
                waits[asyncio.ensure_future(connection.gone())] = Ending.CLIENT_GONE
            try:
                done, _ = await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            finally:
                await _cancelled(waits)
        return min((waits[wait] for wait in done), key=list(Ending).index, default=Ending.EXPIRED)

    @contextmanager
    def _holding(self, call: Call, point: Point) -> Iterator[HeldCall]:
        held = HeldCall(f"held_{next(self._numbers)}", call, point)
        self._held[held.id] = held
        if self._closed.is_set():
            held.released.set()
        self._tell()
        try:
            yield held
        finally:
            del self._held[held.id]
            self._tell()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def waiting(self, operation: str = "*") -> list[HeldCall]:
        return [held for held in self._held.values() if fnmatchcase(held.call.operation, operation)]

    async def wait_until_held(self, operation: str, calls: int) -> list[HeldCall]:
        """Returns as soon as that many calls of the operation are being held, or the simulator shuts down."""
        while len(self.waiting(operation)) < calls and not self._closed.is_set():
            await self._changed.wait()
        return self.waiting(operation)

    def release(self, operation: str = "*", id_: str | None = None) -> int:
        """Let them go on; returns how many."""
        chosen = [held for held in self.waiting(operation) if id_ in (None, held.id)]
        for held in chosen:
            held.released.set()
        return len(chosen)

    def close(self) -> None:
        """The simulator shuts down: nothing is held any more."""
        self._closed.set()
        self._tell()
        self.release()

    async def pause(self, seconds: float) -> None:
        """Real time passes; cut short when the simulator shuts down."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._closed.wait(), seconds)


async def _cancelled(waits: Waits) -> None:
    for wait in waits:
        wait.cancel()
    await asyncio.gather(*waits, return_exceptions=True)
