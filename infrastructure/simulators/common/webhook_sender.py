"""Carries events to one webhook endpoint: at least once, in no promised order. What a try consists of, others say."""

from __future__ import annotations

import asyncio
import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any, Generic, NamedTuple, Protocol, TypeAlias, TypeVar

from infrastructure.simulators.common.clock import SimClock
from infrastructure.simulators.common.delivery_settings import Deliver, DeliveryKnobs
from infrastructure.simulators.common.post import HttpPost

AT_ONCE = float("-inf")
"""Due time of a delivery that was flushed: not even a pause holds it."""


class Letter(NamedTuple):
    """One try, as it goes over the wire."""

    body: bytes
    headers: dict[str, str]


class Address(Protocol):
    """Where a courier goes."""

    @property
    def id(self) -> str: ...
    @property
    def url(self) -> str: ...
    @property
    def knobs(self) -> DeliveryKnobs: ...


class Announced(Protocol):
    """What a courier carries."""

    @property
    def id(self) -> str: ...
    @property
    def type(self) -> str: ...


To = TypeVar("To", bound=Address)
What = TypeVar("What", bound=Announced)


@dataclass(order=True, slots=True)
class Delivery(Generic[What]):
    """One event on its way, ordered by when it is due (seconds of the steady clock), then by rank."""

    due: float
    rank: int
    number: int = field(compare=False)
    event: What = field(compare=False)
    attempt: int = field(default=1, compare=False)


@dataclass(frozen=True, slots=True)
class Outcome:
    """`status` is None when no answer came; `final` when nothing more will be tried."""

    status: int | None
    final: bool
    error: str | None = None

    @property
    def delivered(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


Report: TypeAlias = Callable[[To, Delivery[What], Outcome], None]
Compose: TypeAlias = Callable[[To, What], Letter]


class Courier(Generic[To, What]):
    """`compose` writes each try anew, `report` hears what became of it."""

    def __init__(
        self,
        endpoint: To,
        compose: Compose[To, What],
        clock: SimClock,
        chance: random.Random,
        report: Report[To, What],
        deliver: Deliver | None = None,
    ) -> None:
        self.endpoint = endpoint
        self._compose = compose
        self._clock = clock
        self._http = HttpPost()
        self._deliver: Deliver = deliver or self._http
        self._chance = chance
        self._report = report
        self._queue: list[Delivery[What]] = []
        self._sending: set[asyncio.Task[tuple[Delivery[What], Outcome]]] = set()
        self._pump: asyncio.Task[None] | None = None
        self._news = asyncio.Event()

    @property
    def outstanding(self) -> int:
        """Deliveries that are queued (retries included) or under way."""
        return len(self._queue) + len(self._sending)

    def enqueue(self, event: What, number: int, after: float) -> None:
        knobs = self.endpoint.knobs
        wait = after + knobs.delay + self._chance.uniform(0, knobs.reorder_window)
        heapq.heappush(self._queue, Delivery(self._clock.steady() + wait, number, number, event))

    def wake(self) -> None:
        """Look at the queue again. Needs a running loop once there is something in it."""
        self._news.set()
        if self._queue and (self._pump is None or self._pump.done()):
            self._pump = asyncio.get_running_loop().create_task(self._run())

    def flush(self, types: str = "*") -> int:
        """Deliver what is queued now (of the types, a glob), due or not, paused or not; returns how many."""
        chosen = [delivery for delivery in self._queue if fnmatchcase(delivery.event.type, types)]
        for delivery in chosen:
            delivery.due = AT_ONCE
        heapq.heapify(self._queue)
        self.wake()
        return len(chosen)

    def shuffle(self, seed: int) -> None:
        """Put what is queued into a random order, the same for the same seed."""
        ranks = list(range(len(self._queue)))
        random.Random(seed).shuffle(ranks)
        for delivery, rank in zip(sorted(self._queue, key=lambda queued: queued.number), ranks, strict=True):
            delivery.rank = rank
        heapq.heapify(self._queue)

    def stop(self) -> list[asyncio.Task[Any]]:
        """Send nothing more; the tasks that are ending are returned."""
        self._queue.clear()
        tasks: list[asyncio.Task[Any]] = [task for task in (self._pump, *self._sending) if task is not None]
        for task in tasks:
            task.cancel()
        return tasks

    async def close(self) -> None:
        await asyncio.gather(*self.stop(), return_exceptions=True)
        await self._http.close()

    async def _run(self) -> None:
        while self._queue:
            self._news.clear()
            due = self._queue[0].due
            wait = due - self._clock.steady()
            paused = self.endpoint.knobs.paused and due != AT_ONCE
            if paused or wait > 0 or len(self._sending) >= self.endpoint.knobs.concurrency:
                await self._something_new(None if paused or wait <= 0 else wait)
                continue
            task = asyncio.create_task(self._carry(heapq.heappop(self._queue)))
            self._sending.add(task)
            task.add_done_callback(self._sent)

    async def _something_new(self, seconds: float | None) -> None:
        try:
            await asyncio.wait_for(self._news.wait(), seconds)
        except TimeoutError:
            return

    def _sent(self, task: asyncio.Task[tuple[Delivery[What], Outcome]]) -> None:
        self._sending.discard(task)
        if not task.cancelled():
            self._report(self.endpoint, *task.result())
            self.wake()

    async def _carry(self, delivery: Delivery[What]) -> tuple[Delivery[What], Outcome]:
        status, error = await self._post(delivery.event)
        delivered = status is not None and 200 <= status < 300
        again = not delivered and delivery.attempt <= len(self.endpoint.knobs.retry_schedule)
        if again:
            self._try_again(delivery)
        return delivery, Outcome(status, not again, error)

    def _try_again(self, delivery: Delivery[What]) -> None:
        knobs = self.endpoint.knobs
        due = self._clock.steady() + knobs.retry_schedule[delivery.attempt - 1] * knobs.retry_factor
        heapq.heappush(self._queue, replace(delivery, due=due, attempt=delivery.attempt + 1))

    async def _post(self, event: What) -> tuple[int | None, str | None]:
        letter = self._compose(self.endpoint, event)
        try:
            async with asyncio.timeout(self.endpoint.knobs.timeout):
                return await self._deliver(self.endpoint.url, letter.body, letter.headers), None
        except OSError as failure:  # TimeoutError is one
            return None, f"{type(failure).__name__}: {failure}"
