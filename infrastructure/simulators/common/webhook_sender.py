"""Delivery of events to one webhook endpoint: at least once, in no promised order."""

import asyncio
import heapq
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any, Generic, NamedTuple, Protocol, TypeAlias, TypeVar

import aiohttp

from infrastructure.simulators.common.clock import SimClock
from infrastructure.simulators.common.delivery_settings import Deliver, WebhookTarget

AT_ONCE = float("-inf")
"""Due time of a delivery that was flushed: not even a pause delays it."""


class WebhookRequest(NamedTuple):
    """Body and headers of one attempt."""

    body: bytes
    headers: dict[str, str]


class WebhookEvent(Protocol):
    """An event that can be delivered."""

    id: str
    type: str


Target = TypeVar("Target", bound=WebhookTarget)
EventT = TypeVar("EventT", bound=WebhookEvent)


@dataclass(order=True, slots=True)
class Delivery(Generic[EventT]):
    """One queued event, ordered by its due time (seconds of the steady clock), then by rank."""

    due: float
    rank: int
    number: int = field(compare=False)
    event: EventT = field(compare=False)
    attempt: int = field(default=1, compare=False)


@dataclass(frozen=True, slots=True)
class DeliveryResult:
    """Result of one attempt. `status` is None without an answer; `final` means that no attempt
    follows."""

    status: int | None
    final: bool
    error: str | None = None

    @property
    def delivered(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


Report: TypeAlias = Callable[[Target, Delivery[EventT], DeliveryResult], None]
Compose: TypeAlias = Callable[[Target, EventT], WebhookRequest]


class HttpPost:
    """Posts over HTTP. Connections are opened on first use and kept until `close`."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def __call__(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        """Post one webhook and return the status. Raises OSError when no answer came."""
        if self._session is None:  # the sender sets the time limit
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None))
        try:
            async with self._session.post(
                url, data=body, headers=headers, allow_redirects=False
            ) as answer:
                await answer.read()
                return answer.status
        except aiohttp.ClientError as failure:
            raise OSError(f"{type(failure).__name__}: {failure}") from failure

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()


class WebhookSender(Generic[Target, EventT]):
    """`compose` writes each attempt anew, `report` gets its result."""

    def __init__(
        self,
        endpoint: Target,
        compose: Compose[Target, EventT],
        clock: SimClock,
        random_: random.Random,
        report: Report[Target, EventT],
        post: Deliver | None = None,
    ) -> None:
        self.endpoint = endpoint
        self._compose = compose
        self._clock = clock
        self._http = HttpPost()
        self._post: Deliver = post or self._http
        self._random = random_
        self._report = report
        self._queue: list[Delivery[EventT]] = []
        self._sending: set[asyncio.Task[tuple[Delivery[EventT], DeliveryResult]]] = set()
        self._loop: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()

    @property
    def outstanding(self) -> int:
        """Deliveries that are queued (retries included) or under way."""
        return len(self._queue) + len(self._sending)

    def enqueue(self, event: EventT, number: int, after: float) -> None:
        settings = self.endpoint.delivery
        wait = after + settings.delay + self._random.uniform(0, settings.reorder_window)
        heapq.heappush(self._queue, Delivery(self._clock.steady() + wait, number, number, event))

    def wake(self) -> None:
        """Look at the queue again. A queue with deliveries needs a running event loop."""
        self._changed.set()
        if self._queue and (self._loop is None or self._loop.done()):
            self._loop = asyncio.get_running_loop().create_task(self._run())

    def flush(self, types: str = "*") -> int:
        """Send the queued deliveries (of the types, a glob), due or not, paused or not. Returns
        their number."""
        chosen = [delivery for delivery in self._queue if fnmatchcase(delivery.event.type, types)]
        for delivery in chosen:
            delivery.due = AT_ONCE
        heapq.heapify(self._queue)
        self.wake()
        return len(chosen)

    def shuffle(self, seed: int) -> None:
        """Put the queued deliveries into a random order, the same for the same seed."""
        ranks = list(range(len(self._queue)))
        random.Random(seed).shuffle(ranks)
        for delivery, rank in zip(
            sorted(self._queue, key=lambda queued: queued.number), ranks, strict=True
        ):
            delivery.rank = rank
        heapq.heapify(self._queue)

    def stop(self) -> list[asyncio.Task[Any]]:
        """Send nothing more. Returns the tasks that are ending."""
        self._queue.clear()
        tasks: list[asyncio.Task[Any]] = [
            task for task in (self._loop, *self._sending) if task is not None
        ]
        for task in tasks:
            task.cancel()
        return tasks

    async def close(self) -> None:
        await asyncio.gather(*self.stop(), return_exceptions=True)
        await self._http.close()

    async def _run(self) -> None:
        while self._queue:
            self._changed.clear()
            due = self._queue[0].due
            wait = due - self._clock.steady()
            paused = self.endpoint.delivery.paused and due != AT_ONCE
            if paused or wait > 0 or len(self._sending) >= self.endpoint.delivery.concurrency:
                await self._wait_for_change(None if paused or wait <= 0 else wait)
                continue
            task = asyncio.create_task(self._try(heapq.heappop(self._queue)))
            self._sending.add(task)
            task.add_done_callback(self._tried)

    async def _wait_for_change(self, seconds: float | None) -> None:
        try:
            await asyncio.wait_for(self._changed.wait(), seconds)
        except TimeoutError:
            return

    def _tried(self, task: asyncio.Task[tuple[Delivery[EventT], DeliveryResult]]) -> None:
        self._sending.discard(task)
        if not task.cancelled():
            self._report(self.endpoint, *task.result())
            self.wake()

    async def _try(self, delivery: Delivery[EventT]) -> tuple[Delivery[EventT], DeliveryResult]:
        status, error = await self._send(delivery.event)
        result = DeliveryResult(
            status, delivery.attempt > len(self.endpoint.delivery.retry_schedule), error
        )
        if result.delivered:
            result = replace(result, final=True)
        if not result.final:
            self._schedule_retry(delivery)
        return delivery, result

    def _schedule_retry(self, delivery: Delivery[EventT]) -> None:
        settings = self.endpoint.delivery
        due = (
            self._clock.steady()
            + settings.retry_schedule[delivery.attempt - 1] * settings.retry_factor
        )
        heapq.heappush(self._queue, replace(delivery, due=due, attempt=delivery.attempt + 1))

    async def _send(self, event: EventT) -> tuple[int | None, str | None]:
        request = self._compose(self.endpoint, event)
        try:
            async with asyncio.timeout(self.endpoint.delivery.timeout):
                return await self._post(self.endpoint.url, request.body, request.headers), None
        except OSError as failure:  # TimeoutError is one
            return None, f"{type(failure).__name__}: {failure}"
