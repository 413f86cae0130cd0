"""What one loop holds: leases claimed, kept alive while their work goes on, and given back in batches when it is done."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import UUID

import structlog

from application.ports import LEASE, Claimed, Work

RENEWALS = 10 / 3
"""Renewals within one lease: three may fail before somebody else takes over."""
RELEASE_EVERY = timedelta(milliseconds=20)
"""Finished transfers are released together; one statement each would be as many as the calls themselves."""

log = structlog.get_logger()


def _now() -> float:
    """Seconds of the event loop's clock, by which everything here sleeps: never set back, and virtual where the loop is."""
    return asyncio.get_running_loop().time()


class Leases:
    """The leases of one holder. Times left are counted by this process from before the database was asked."""

    def __init__(self, work: Work, holder: str, length: timedelta = LEASE) -> None:
        self._work, self.holder, self._length = work, holder, length
        self._until: dict[UUID, float] = {}
        self._done: set[UUID] = set()
        self._some_done = asyncio.Event()

    async def claim(self, kind: str, limit: int) -> Claimed:
        """Lease up to `limit` due transfers."""
        asked = _now()
        claimed = await self._work.claim(kind, self.holder, limit, self._length)
        self._until.update(dict.fromkeys(claimed.ids, asked + self._length.total_seconds()))
        self._done.difference_update(claimed.ids)
        return claimed

    def left(self, transfer_id: UUID) -> float:
        """Seconds for which nobody else will claim it; 0 when it is not held."""
        return max(0.0, self._until.get(transfer_id, 0.0) - _now())

    def done(self, transfer_id: UUID) -> None:
        """Its step is over: others may claim it."""
        if self._until.pop(transfer_id, None) is not None:
            self._done.add(transfer_id)
            self._some_done.set()

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Renew and release in the background; on leaving, everything is given back."""
        tasks = [asyncio.create_task(self._keep_renewing()), asyncio.create_task(self._keep_releasing())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._done.update(self._until)
            await self._guarded(self._release())

    async def _keep_renewing(self) -> None:
        while True:
            await asyncio.sleep(self._length.total_seconds() / RENEWALS)
            await self._guarded(self._renew())

    async def _renew(self) -> None:
        held = set(self._until)
        if held:
            asked = _now()
            kept = await self._work.renew(self.holder, held, self._length)
            until = asked + self._length.total_seconds()
            self._until.update({transfer_id: until for transfer_id in kept if transfer_id in self._until})

    async def _keep_releasing(self) -> None:
        while True:
            await self._some_done.wait()
            await asyncio.sleep(RELEASE_EVERY.total_seconds())
            self._some_done.clear()
            await self._guarded(self._release())

    async def _release(self) -> None:
        done, self._done = self._done, set()
        try:
            if done:
                await self._work.release(self.holder, done)
        except BaseException:  # the database was away, or a drain cut this short: the next release takes them along
            self._done |= done
            raise

    async def _guarded(self, step: Awaitable[None]) -> None:
        try:
            await step
        except Exception as error:  # a lease that could not be kept or given back runs out by itself
            log.warning("a lease could not be renewed or released", holder=self.holder, error=str(error))
