"""The webhook senders of one provider, and the log of their deliveries."""

import asyncio
import random
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from fnmatch import fnmatchcase
from itertools import count
from typing import Any, Generic

from infrastructure.simulators.common.clock import SimClock
from infrastructure.simulators.common.delivery_settings import Deliver, WebhookTarget
from infrastructure.simulators.common.webhook_sender import (
    Delivery,
    DeliveryResult,
    EventT,
    Target,
    WebhookEvent,
    WebhookRequest,
    WebhookSender,
)

RESULTS_REMEMBERED = 50_000


class DeliveryLog:
    """The result of each delivery. `outstanding` counts the deliveries that are queued (retries
    included) or under way."""

    def __init__(self, outstanding: Callable[[], int], clock: SimClock) -> None:
        self._outstanding = outstanding
        self._clock = clock
        self._changed = asyncio.Event()
        self._shut = False
        self.outcomes: deque[dict[str, Any]] = deque(maxlen=RESULTS_REMEMBERED)

    def dropped(self, target: WebhookTarget, event: WebhookEvent) -> None:
        self._write(target, event, 0, "dropped", None, None)

    def tried(self, target: WebhookTarget, delivery: Delivery[Any], result: DeliveryResult) -> None:
        outcome = "delivered" if result.delivered else "given_up" if result.final else "failed"
        self._write(target, delivery.event, delivery.attempt, outcome, result.status, result.error)
        self._notify()

    async def quiet(self) -> None:
        """Wait until nothing is outstanding, or the simulator shuts down."""
        while self._outstanding() and not self._shut:
            await self._changed.wait()

    def shut(self) -> None:
        """End every wait for quiet."""
        self._shut = True
        self._notify()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _write(
        self,
        target: WebhookTarget,
        event: WebhookEvent,
        attempt: int,
        outcome: str,
        status: int | None,
        error: str | None,
    ) -> None:
        self.outcomes.append(
            {
                "endpoint": target.id,
                "event": event.id,
                "type": event.type,
                "attempt": attempt,
                "outcome": outcome,
                "status": status,
                "error": error,
                "at": self._clock.now(),
            }
        )


class ProviderWebhooks(ABC, Generic[Target, EventT]):
    """One sender for each endpoint."""

    def __init__(self, seed: int, clock: SimClock, post: Deliver | None = None) -> None:
        """`post` sends the webhooks instead of HTTP."""
        self._clock = clock
        self._post = post
        self._random = random.Random(seed)
        self._numbers = count(1)
        self._senders: dict[str, WebhookSender[Target, EventT]] = {}
        self._retired: list[WebhookSender[Target, EventT]] = []
        self.log = DeliveryLog(lambda: self.outstanding, clock)

    @abstractmethod
    def compose(self, target: Target, event: EventT) -> WebhookRequest:
        """Return the body and headers of one attempt."""

    def report(self, target: Target, delivery: Delivery[EventT], result: DeliveryResult) -> None:
        """Write the result of one attempt into the log."""
        self.log.tried(target, delivery, result)

    @property
    def outstanding(self) -> int:
        """Deliveries that are queued (retries included) or under way."""
        return sum(sender.outstanding for sender in self._senders.values())

    def wake(self) -> None:
        for sender in self._senders.values():
            sender.wake()

    def flush(self, shuffle_seed: int | None = None, types: str = "*") -> int:
        """Send the queued deliveries (of the types, a glob) now, optionally in a random order.
        Returns their number."""
        if shuffle_seed is not None:
            for sender in self._senders.values():
                sender.shuffle(shuffle_seed)
        return sum(sender.flush(types) for sender in self._senders.values())

    def clear(self) -> None:
        """Forget all endpoints and send nothing more; `dispose` then closes their connections."""
        for sender in self._senders.values():
            sender.stop()
        self._retired.extend(self._senders.values())
        self._senders.clear()
        self.log.outcomes.clear()

    async def dispose(self) -> None:
        while self._retired:
            await self._retired.pop().close()

    async def close(self) -> None:
        for sender in self._senders.values():
            await sender.close()
        await self.dispose()

    def _add_sender(self, target: Target) -> WebhookSender[Target, EventT]:
        sender = WebhookSender(
            target, self.compose, self._clock, self._random, self.report, self._post
        )
        self._senders[target.id] = sender
        return sender

    def _drops(self, target: Target, event: EventT) -> bool:
        """Decide whether the endpoint's settings lose this delivery, and log the loss."""
        settings = target.delivery
        unwanted = any(fnmatchcase(event.type, pattern) for pattern in settings.drop)
        if not unwanted and self._random.random() >= settings.drop_probability:
            return False
        self.log.dropped(target, event)
        return True
