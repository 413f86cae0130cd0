"""Fixtures of the end-to-end tests, and locks that stop PostgreSQL statements at a chosen
moment."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
import pytest

from infrastructure.postgres.connections import connect
from tests.e2e.conftest import (
    Processes,
    kindness,
    processes,
    settings,
    simulator,
    stripe,
    system,
    view,
)
from tests.support.ledger_view import LedgerView, eventually

__all__ = [
    "Processes",
    "kindness",
    "processes",
    "settings",
    "simulator",
    "stripe",
    "system",
    "view",
]

WRITERS = "pg_advisory_lock(x'6c6564676572'::bigint)"
"""The lock that every append needs; its holder stops all appends."""
WAITING = """
    select pid from pg_stat_activity
     where datname = current_database() and wait_event_type = 'Lock' and position(%s in query) > 0 and pid <> pg_backend_pid()
"""


class DatabaseLocks:
    """Stops the ledger's statements in PostgreSQL: a process that waits for one of them can be
    killed exactly there."""

    def __init__(self, view: LedgerView) -> None:
        self._view = view

    @asynccontextmanager
    async def on_appends(self) -> AsyncIterator[None]:
        """Stop all appends."""
        async with await self._session() as session:
            await session.execute(f"select {WRITERS}".encode())
            yield

    @asynccontextmanager
    async def on_rate_limiter(self, endpoint: str) -> AsyncIterator[None]:
        """Stop reservations for this endpoint: claimed transfers wait before their intent."""
        async with await self._session() as session, session.transaction():
            await session.execute(
                "insert into pace values (%s, now()) on conflict (endpoint) do update set "
                "next_at = now()",
                (endpoint,),
            )
            yield

    async def until_waiting(self, words: str, sessions: int = 1) -> list[int]:
        """Return the PostgreSQL processes that wait for a lock in a statement with these words."""

        async def there() -> list[int]:
            found = [row["pid"] for row in await self._view.select(WAITING, words)]
            return found if len(found) >= sessions else []

        return await eventually(there, f"{sessions} sessions held up in {words!r}")

    async def end(self, sessions: list[int]) -> None:
        """End these sessions; their waiting statements are never executed."""
        for pid in sessions:
            await self._view.select("select pg_terminate_backend(%s, 5000)", pid)

    async def until_done(self, sessions: list[int]) -> None:
        """Wait until PostgreSQL has finished the statements of killed clients."""

        async def gone() -> bool:
            alive = await self._view.select(
                "select from pg_stat_activity where pid = any(%s) and state = 'active'", sessions
            )
            return not alive

        await eventually(gone, "the statements of the dead have ended")

    async def _session(self) -> psycopg.AsyncConnection[tuple[object, ...]]:
        return await connect(self._view.database_url)


@pytest.fixture
def locks(view: LedgerView) -> DatabaseLocks:
    return DatabaseLocks(view)
