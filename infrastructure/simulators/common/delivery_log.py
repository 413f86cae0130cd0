"""What became of each delivery, and how a test waits until nothing is under way."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from infrastructure.simulators.common.clock import SimClock
from infrastructure.simulators.common.webhook_sender import Address, Announced, Delivery, Outcome

OUTCOMES_REMEMBERED = 50_000


class DeliveryLog:
    """`outstanding` counts what is queued (retries included) or under way."""

    def __init__(self, outstanding: Callable[[], int], clock: SimClock) -> None:
        self._outstanding = outstanding
        self._clock = clock
        self._changed = asyncio.Event()
        self._shut = False
        self.outcomes: deque[dict[str, Any]] = deque(maxlen=OUTCOMES_REMEMBERED)

    def dropped(self, endpoint: Address, event: Announced) -> None:
        """It never set out."""
        self._write(endpoint, event, 0, "dropped", None, None)

    def tried(self, endpoint: Address, delivery: Delivery[Any], outcome: Outcome) -> None:
        word = "delivered" if outcome.delivered else "given_up" if outcome.final else "failed"
        self._write(endpoint, delivery.event, delivery.attempt, word, outcome.status, outcome.error)
        self._tell()

    async def quiet(self) -> None:
        """Returns when nothing is outstanding, or the simulator shuts down."""
        while self._outstanding() and not self._shut:
            await self._changed.wait()

    def shut(self) -> None:
        """Nobody waits for quiet any more."""
        self._shut = True
        self._tell()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _write(self, endpoint: Address, event: Announced, attempt: int, word: str, status: int | None, error: str | None) -> None:
        self.outcomes.append(
            {
                "endpoint": endpoint.id,
                "event": event.id,
                "type": event.type,
                "attempt": attempt,
                "outcome": word,
                "status": status,
                "error": error,
                "at": self._clock.now(),
            }
        )
