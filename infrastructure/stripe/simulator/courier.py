"""Carries events to one webhook endpoint: at least once, signed anew for each try, in no promised order."""

from __future__ import annotations

import asyncio
import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import orjson

from infrastructure.stripe.simulator.books import Books
from infrastructure.stripe.simulator.config import Deliver
from infrastructure.stripe.simulator.endpoints import OLD, Endpoint, signature, thin_body
from infrastructure.stripe.simulator.post import HttpPost
from infrastructure.stripe.simulator.render import event_json
from infrastructure.stripe.simulator.rows import Event

WRONG_SECRET = "whsec_somebody_else"
AT_ONCE = float("-inf")
"""Due time of a delivery that was flushed: not even a pause holds it."""


@dataclass(order=True, slots=True)
class Delivery:
    """One event on its way, ordered by when it is due (seconds of the steady clock), then by rank."""

    due: float
    rank: int
    number: int = field(compare=False)
    event: Event = field(compare=False)
    attempt: int = field(default=1, compare=False)


Report: TypeAlias = Callable[["Courier", Delivery, "Outcome"], None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """`status` is None when no answer came; `final` when nothing more will be tried."""

    status: int | None
    final: bool
    error: str | None = None

    @property
    def delivered(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


class Courier:
    def __init__(
        self, endpoint: Endpoint, books: Books, chance: random.Random, report: Report, deliver: Deliver | None = None
    ) -> None:
        self.endpoint = endpoint
        self._http = HttpPost()
        self._deliver: Deliver = deliver or self._http
        self._books = books
        self._chance = chance
        self._report = report
        self._queue: list[Delivery] = []
        self._sending: set[asyncio.Task[tuple[Delivery, Outcome]]] = set()
        self._pump: asyncio.Task[None] | None = None
        self._news = asyncio.Event()

    @property
    def outstanding(self) -> int:
        """Deliveries that are queued (retries included) or under way."""
        return len(self._queue) + len(self._sending)

    def enqueue(self, event: Event, number: int, after: float) -> None:
        knobs = self.endpoint.knobs
        wait = after + knobs.delay + self._chance.uniform(0, knobs.reorder_window)
        heapq.heappush(self._queue, Delivery(self._books.clock.steady() + wait, number, number, event))

    def wake(self) -> None:
        """Look at the queue again. Needs a running loop once there is something in it."""
        self._news.set()
        if self._queue and (self._pump is None or self._pump.done()):
            self._pump = asyncio.get_running_loop().create_task(self._run())

    def flush(self) -> int:
        """Deliver everything that is queued now, due or not, paused or not."""
        for delivery in self._queue:
            delivery.due = AT_ONCE
        heapq.heapify(self._queue)
        self.wake()
        return len(self._queue)

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
            wait = due - self._books.clock.steady()
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

    def _sent(self, task: asyncio.Task[tuple[Delivery, Outcome]]) -> None:
        self._sending.discard(task)
        if not task.cancelled():
            self._report(self, *task.result())
            self.wake()

    async def _carry(self, delivery: Delivery) -> tuple[Delivery, Outcome]:
        status, error = await self._post(delivery.event)
        delivered = status is not None and 200 <= status < 300
        again = not delivered and delivery.attempt <= len(self.endpoint.knobs.retry_schedule)
        if again:
            self._try_again(delivery)
        return delivery, Outcome(status, not again, error)

    def _try_again(self, delivery: Delivery) -> None:
        knobs = self.endpoint.knobs
        due = self._books.clock.steady() + knobs.retry_schedule[delivery.attempt - 1] * knobs.retry_factor
        heapq.heappush(self._queue, replace(delivery, due=due, attempt=delivery.attempt + 1))

    async def _post(self, event: Event) -> tuple[int | None, str | None]:
        body = self._body(event)
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "Stripe-Signature": self._signature(body),
            "User-Agent": "Stripe/1.0 (simulator)",
        }
        try:
            async with asyncio.timeout(self.endpoint.knobs.timeout):
                return await self._deliver(self.endpoint.url, body, headers), None
        except OSError as failure:  # TimeoutError is one
            return None, f"{type(failure).__name__}: {failure}"

    def _body(self, event: Event) -> bytes:
        if self.endpoint.payload == "thin":
            return thin_body(event, self._books.config.livemode)
        return orjson.dumps(event_json(self._books, event))

    def _signature(self, body: bytes) -> str:
        knobs = self.endpoint.knobs
        secrets, timestamp = self.endpoint.secrets, self._books.clock.seconds()
        if knobs.bad_signatures:
            knobs.bad_signatures -= 1
            secrets = [WRONG_SECRET]
        elif knobs.old_timestamps:
            knobs.old_timestamps -= 1
            timestamp -= OLD
        return signature(secrets, body, timestamp)
