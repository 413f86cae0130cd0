"""Turns of the commands on one order within this process.

Commands on the same order decide on the same streams, so that all but one of those that run at the
same time would lose the race and decide again.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from domain.errors import OrderBusy


@dataclass(slots=True)
class _Turn:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    users: int = 0


class OrderTurns:
    """Lets one command at a time run for each order, in the order in which they asked."""

    def __init__(self) -> None:
        self._turns: dict[str, _Turn] = {}

    @asynccontextmanager
    async def of(self, order_id: str, patience: float) -> AsyncIterator[None]:
        """Wait for the turn of a command on this order. Raises OrderBusy after `patience` seconds,
        so that the caller makes room for work on other orders."""
        turn = self._turns.setdefault(order_id, _Turn())
        turn.users += 1
        try:
            try:
                async with asyncio.timeout(patience):
                    await turn.lock.acquire()
            except TimeoutError:
                raise OrderBusy(order_id) from None
            try:
                yield
            finally:
                turn.lock.release()
        finally:
            turn.users -= 1
            if not turn.users:
                del self._turns[order_id]
