"""Traffic on the tables that change most: webhooks are stored, claimed and handled, and their
reversals are claimed, paced and recorded. No provider is called.

Each webhook costs the statements of the product: one row in the inbox and its claim, three appends
with the row of the transfer, a lease and its end, a reservation of the rate limiter.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from statistics import fmean
from typing import NamedTuple, TypeVar
from uuid import UUID, uuid4

from infrastructure.postgres.circuit_breaker import PostgresCircuitBreaker
from infrastructure.postgres.connections import new_pool
from infrastructure.postgres.event_store import EventStore, StoredFact
from infrastructure.postgres.inbox import PostgresInbox
from infrastructure.postgres.rate_limiter import PostgresRateLimiter
from infrastructure.postgres.work_queue import PostgresWorkQueue

IN_PROGRESS = 64
LOOPS = 2
"""Loops of each kind, as many as two processes would have."""
LEASE = timedelta(seconds=10)
SELLERS = 50
RATE = 1_000_000.0
"""Calls per second of the rate limiter: its row is used, but it delays nothing."""
LOOK_EVERY = 0.05
BODY = b'{"type":"refund.succeeded","content":{"object":{"amount":1000,"currency":"EUR"}}}' * 4

Answer = TypeVar("Answer")


class Turn(NamedTuple):
    """Measurement of one turn: completed webhooks per second, their latencies in ms, the mean time
    of each statement in ms."""

    per_second: float
    latencies: Sequence[float]
    statements: dict[str, float]


@dataclass(slots=True)
class Traffic:
    """The storage ports of one ledger, and the loops that use them. `traffic_on` opens it."""

    store: EventStore
    inbox: PostgresInbox
    work: PostgresWorkQueue
    rate_limiter: PostgresRateLimiter
    breaker: PostgresCircuitBreaker
    handled: dict[str, asyncio.Future[None]] = field(default_factory=dict)
    of_transfer: dict[UUID, str] = field(default_factory=dict)
    received: asyncio.Event = field(default_factory=asyncio.Event)
    due: asyncio.Event = field(default_factory=asyncio.Event)
    times: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    async def turn(self, seconds: float) -> Turn:
        """Keep `IN_PROGRESS` webhooks in progress for some seconds; none is left afterwards."""
        self.times.clear()
        latencies: list[float] = []
        loops = [
            asyncio.create_task(loop(f"{loop.__name__}-{number}"))
            for number in range(LOOPS)
            for loop in (self._handle, self._reverse)
        ]
        began = time.perf_counter()
        senders = (self._send(began + seconds, latencies) for _ in range(IN_PROGRESS))
        sending = asyncio.gather(*senders)
        try:
            watched: list[asyncio.Future[list[None]] | asyncio.Task[None]] = [sending, *loops]
            await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
            for loop in loops:
                if loop.done():
                    loop.result()
            await sending
        finally:
            sending.cancel()
            for loop in loops:
                loop.cancel()
            await asyncio.gather(*loops, return_exceptions=True)
        means = {name: 1_000 * fmean(several) for name, several in self.times.items()}
        return Turn(len(latencies) / (time.perf_counter() - began), latencies, means)

    async def _send(self, end: float, latencies: list[float]) -> None:
        while (began := time.perf_counter()) < end:
            event_id = f"evt_{uuid4().hex}"
            self.handled[event_id] = done = asyncio.get_running_loop().create_future()
            put = self.inbox.put("stripe", event_id, "charge.refunded", BODY, datetime.now(UTC))
            await self._timed("put", put)
            self.received.set()
            await done
            latencies.append(1_000 * (time.perf_counter() - began))

    async def _handle(self, holder: str) -> None:
        """Claim webhooks, and record a due reversal of a new transfer for each."""
        while True:
            self.received.clear()
            claim = await self._timed("claim webhooks", self.inbox.claim(holder, 32, LEASE))
            if not claim.events:
                await _woken(self.received)
                continue
            await asyncio.gather(
                *(self._record(one.inbox_id, one.event_id, claim.now) for one in claim.events)
            )
            self.due.set()

    async def _record(self, inbox_id: int, event_id: str, now: datetime) -> None:
        transfer = uuid4()
        self.of_transfer[transfer] = event_id
        mark = {"inbox_id": inbox_id, "status": "done", "reason": None}
        await self._append(transfer, 1, _row(transfer, 1, "reversal_pending", now), mark)

    async def _reverse(self, holder: str) -> None:
        """Claim due reversals, and record intent and outcome of each."""
        while True:
            self.due.clear()
            claimed = await self._timed(
                "claim reversals", self.work.claim("reversing", holder, 32, LEASE)
            )
            if not claimed.ids:
                await _woken(self.due)
                continue
            await self._timed("breaker", self.breaker.state())
            await self._timed("reserve", self.rate_limiter.reserve("bench", len(claimed.ids)))
            await asyncio.gather(*(self._make(transfer, claimed.now) for transfer in claimed.ids))
            await self._timed("release", self.work.release(holder, claimed.ids))
            for transfer in claimed.ids:
                if event_id := self.of_transfer.pop(transfer, None):
                    self.handled.pop(event_id).set_result(None)

    async def _make(self, transfer: UUID, now: datetime) -> None:
        await self._append(transfer, 2, _row(transfer, 2, "reversal_pending", now))
        await self._append(transfer, 3, _row(transfer, 3, "reversed", now))

    async def _append(
        self, transfer: UUID, version: int, row: object, mark: object | None = None
    ) -> None:
        fact = StoredFact(transfer, version, "bench.happened", b'{"amount":1000,"currency":"EUR"}')
        rows = {"seller_transfers": [row]} | ({"webhook_inbox": [mark]} if mark else {})
        await self._timed("append", self.store.append([fact], rows))

    async def _timed(self, name: str, call: Awaitable[Answer]) -> Answer:
        began = time.perf_counter()
        answer = await call
        self.times[name].append(time.perf_counter() - began)
        return answer


@asynccontextmanager
async def traffic_on(database_url: str) -> AsyncIterator[Traffic]:
    """Open the storage ports of a migrated database."""
    async with new_pool(database_url) as pool:
        store, inbox = EventStore(database_url, pool), PostgresInbox(database_url, pool)
        await store.start()
        await inbox.start()
        try:
            yield Traffic(
                store,
                inbox,
                PostgresWorkQueue(pool),
                PostgresRateLimiter(pool, RATE),
                PostgresCircuitBreaker(pool),
            )
        finally:
            await inbox.aclose()
            await store.aclose()


async def _woken(event: asyncio.Event) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(LOOK_EVERY):
            await event.wait()


def _row(transfer: UUID, version: int, status: str, now: datetime) -> dict[str, object]:
    settled = status == "reversed"
    return {
        "transfer_id": transfer, "order_id": f"order-{transfer.hex[:12]}",
        "seller_id": f"seller-{transfer.int % SELLERS}", "destination": "acct_1bench",
        "cause": "sale", "amount": 1_000, "currency": "EUR", "status": status,
        "amount_reversed": 1_000 if settled else 0, "stripe_transfer_id": f"tr_{transfer.hex}",
        "stripe_reversal_id": f"trr_{transfer.hex}" if settled else None, "retry_count": 0,
        "next_retry_at": None if settled else now, "waiting_for": None, "last_error": None,
        "refund_id": None, "transfer_group": "bench", "source_transaction": None,
        "version": version, "created_at": now, "updated_at": now,
    }  # fmt: skip
