"""Leases of one worker: claimed, renewed while their work goes on, and released in batches."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import UUID

import structlog

from application.ports import LEASE, ClaimedWork, WorkQueue

RENEWALS = 10 / 3
"""Renewals within one lease: three may fail before another process takes over."""
RELEASE_EVERY = timedelta(milliseconds=20)
"""Finished transfers are released together: one statement for each would double the number of
statements."""

log = structlog.get_logger()


def _now() -> float:
    """Return the seconds of the event loop's clock, which never goes back and which is virtual in
    simulations."""
    return asyncio.get_running_loop().time()


class Leases:
    """The leases of one holder. Their time is counted by this process, from before the request to
    the database."""

    def __init__(self, work: WorkQueue, holder: str, length: timedelta = LEASE) -> None:
        self._work, self.holder, self._length = work, holder, length
        self._until: dict[UUID, float] = {}
        self._done: set[UUID] = set()
        self._some_done = asyncio.Event()

    async def claim(self, kind: str, limit: int) -> ClaimedWork:
        """Claim up to `limit` due transfers or refunds."""
        asked = _now()
        claimed = await self._work.claim(kind, self.holder, limit, self._length)
        self._until.update(dict.fromkeys(claimed.ids, asked + self._length.total_seconds()))
        self._done.difference_update(claimed.ids)
        return claimed

    def seconds_left(self, transfer_id: UUID) -> float:
        """Return the seconds for which no other process claims it; 0 if it is not held."""
        return max(0.0, self._until.get(transfer_id, 0.0) - _now())

    def done(self, transfer_id: UUID) -> None:
        """End its lease: other processes may claim it."""
        if self._until.pop(transfer_id, None) is not None:
            self._done.add(transfer_id)
            self._some_done.set()

    def leave(self, transfer_id: UUID) -> None:
        """Let its lease end by itself, so that a process that can do the work claims it next."""
        self._until.pop(transfer_id, None)

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Renew and release in the background; on leaving, release all leases.

        If the background work ends unasked, so does the work of the caller: leases that are not
        renewed would let other processes begin the same work again and again.
        """
        try:
            async with asyncio.TaskGroup() as keepers:
                tasks = [
                    keepers.create_task(keep())
                    for keep in (self._keep_renewing, self._keep_releasing)
                ]
                try:
                    yield
                finally:
                    for task in tasks:
                        task.cancel()
        finally:
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
            self._until.update(
                {transfer_id: until for transfer_id in kept if transfer_id in self._until}
            )

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
        except (
            BaseException
        ):  # the database was away, or the drain ended: the next release includes them
            self._done |= done
            raise

    async def _guarded(self, step: Awaitable[None]) -> None:
        try:
            await step
        except Exception as error:  # a lease that could not be renewed or released ends by itself
            log.warning(
                "a lease could not be renewed or released", holder=self.holder, error=str(error)
            )
