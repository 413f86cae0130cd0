"""Readiness of a process: the database takes its writes, and all its loops make progress."""

import asyncio
from collections.abc import Iterator, Sequence
from time import monotonic

import psycopg

from application.loop import Loop
from domain.errors import LedgerError
from infrastructure.postgres.connections import Pool
from infrastructure.postgres.event_store import EventStore
from infrastructure.postgres.inbox import PostgresInbox

FRESH = 2.0
"""Seconds for which a successful append proves that the next one will succeed."""
WITHIN = 2.0
"""Seconds in which a probe has to succeed."""
REMEMBERED = 5.0
"""Seconds for which a failed intake of webhooks counts, after which a probe of the appends must
do."""
ROOM = (
    "select count(*) from (select set_config('work_mem', '64kB', true)) w, "
    "lateral generate_series(1, 200000 + 0 * length(w.set_config)) n"
)
"""Writes some megabytes to a temporary file: PostgreSQL may still find room for a small write in
old pages when the disk is full."""


class Readiness:
    """The tests behind `/readyz`. Probes run one at a time, however often the page is asked for."""

    def __init__(self, pool: Pool, store: EventStore, inbox: PostgresInbox) -> None:
        self._pool, self._store, self._inbox = pool, store, inbox
        self._probing: asyncio.Task[None] | None = None

    async def reasons(self, loops: Sequence[tuple[Loop, asyncio.Task[None]]]) -> list[str]:
        """Return the reasons why this process cannot serve now; empty if it can."""
        reason = await self._cannot_read() or await self._cannot_write()
        return [*_troubles(loops), *([reason] if reason else [])]

    async def _cannot_write(self) -> str | None:
        append, intake = self._store.health, self._inbox.health
        if append.idle_seconds > FRESH or append.failure is not None or intake.disk_full:
            try:
                await self._probe()
            except TimeoutError:
                return (
                    f"an append gets no answer within {WITHIN:.0f} s: another session holds the "
                    "lock of the appends, a synchronous standby is away, or the database is"
                )
            except (LedgerError, psycopg.Error) as error:
                return f"the database takes no writes: {_one_line(error)}"
        if intake.failure is not None and monotonic() - intake.failed_at < REMEMBERED:
            return f"webhooks cannot be stored: {intake.failure}"
        return None

    async def _probe(self) -> None:
        """Wait for the running probe, or a new one. A slow probe goes on after the time limit."""
        if self._probing is None or self._probing.done():
            full = self._store.health.disk_full or self._inbox.health.disk_full
            self._probing = asyncio.create_task(self._write(full), name="write probe")
            self._probing.add_done_callback(_retrieved)
        async with asyncio.timeout(WITHIN):
            await asyncio.shield(self._probing)

    async def _write(self, full: bool) -> None:
        if full:
            async with self._pool.connection() as connection, connection.transaction():
                await connection.execute(ROOM)
            self._inbox.health.disk_full = False
        await self._store.probe()

    async def _cannot_read(self) -> str | None:
        try:
            async with asyncio.timeout(WITHIN), self._pool.connection() as connection:
                await connection.execute("select 1")
        except (psycopg.Error, TimeoutError):  # psycopg_pool's own errors are psycopg errors
            return "the database does not answer"
        return None


def _troubles(loops: Sequence[tuple[Loop, asyncio.Task[None]]]) -> Iterator[str]:
    for loop, task in loops:
        if task.done():
            yield f"the loop {task.get_name()} has ended"
        elif trouble := loop.trouble():
            yield f"the loop {task.get_name()} makes no progress: {trouble}"


def _retrieved(task: asyncio.Task[None]) -> None:
    """Take the error, which a caller that has given up does not."""
    if not task.cancelled():
        task.exception()


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
