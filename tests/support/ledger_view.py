"""A second connection to the database: it sees only committed rows, and waits for them without
sleeping."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from time import monotonic
from typing import TypeVar
from uuid import UUID

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.rows import TupleRow, class_row, dict_row

from domain.fact import Fact
from infrastructure.postgres.connections import Pool, connect, new_pool
from infrastructure.postgres.event_store import EventStore
from infrastructure.postgres.read_side.fact_reader import FactReader
from projections.seller_transfers import SellerTransferRow
from tests.support.json_types import Json

PATIENCE = 30.0
"""Seconds after which waiting has failed."""
NAME = "view"
"""By which PostgreSQL knows our own connections from those of the ledger."""
ROWS = "select * from seller_transfers where order_id = %s order by seller_id, created_at, cause"

T = TypeVar("T")
F = TypeVar("F", bound=Fact)


async def eventually(
    condition: Callable[[], Awaitable[T]], what: str, patience: float = PATIENCE
) -> T:
    """Ask until the answer is true: for states without a notification, such as a lock wait."""
    deadline = monotonic() + patience
    while not (answer := await condition()):
        assert monotonic() < deadline, f"waited {patience:.0f} s in vain for: {what}"
        await asyncio.sleep(0.01)
    return answer


class LedgerView:
    """A connection that listens, and a small pool for queries."""

    def __init__(
        self, database_url: str, pool: Pool, listening: psycopg.AsyncConnection[TupleRow]
    ) -> None:
        self.database_url, self.pool, self._listening = database_url, pool, listening
        self._history = FactReader(EventStore(database_url, pool))

    @classmethod
    @asynccontextmanager
    async def of(cls, database_url: str) -> AsyncIterator["LedgerView"]:
        ours = make_conninfo(database_url, application_name=NAME)
        async with new_pool(ours, max_size=4) as pool, await connect(ours) as listening:
            await listening.execute("listen ledger_events")
            yield cls(ours, pool, listening)

    async def until(
        self, condition: Callable[[], Awaitable[T]], what: str, patience: float = PATIENCE
    ) -> T:
        """Ask now, and after each append, until the answer is true."""
        deadline = monotonic() + patience
        while not (answer := await condition()):
            assert monotonic() < deadline, f"waited {patience:.0f} s in vain for: {what}"
            # appends announce themselves; the second is for what is committed beside one, such as a
            # mark in the inbox
            async for _ in self._listening.notifies(timeout=1, stop_after=1):
                pass
        return answer

    async def transfers(self, order_id: str) -> list[SellerTransferRow]:
        """Return the order's rows, by seller, oldest first."""
        columns = ", ".join(SellerTransferRow._fields)
        async with (
            self.pool.connection() as connection,
            connection.cursor(row_factory=class_row(SellerTransferRow)) as cursor,
        ):
            await cursor.execute(ROWS.replace("*", columns, 1).encode(), (order_id,))
            return await cursor.fetchall()

    async def transfer(self, order_id: str) -> SellerTransferRow:
        """Return the only row of the order."""
        (row,) = await self.transfers(order_id)
        return row

    async def reached(
        self, order_id: str, *statuses: str, patience: float = PATIENCE
    ) -> list[SellerTransferRow]:
        """Wait until the order's rows have these statuses."""

        async def there() -> list[SellerTransferRow]:
            rows = await self.transfers(order_id)
            return rows if [row.status for row in rows] == list(statuses) else []

        try:
            return await self.until(there, f"{order_id}: {', '.join(statuses)}", patience)
        except AssertionError as late:
            raise AssertionError(f"{late}; it has {await self.transfers(order_id)}") from None

    async def facts(self, transfer_id: UUID) -> list[Fact]:
        """Return the facts of a stream."""
        return [told.fact for told in await self._history.of(transfer_id)]

    async def story(self, transfer_id: UUID) -> list[str]:
        """Return the names of the facts of a stream."""
        return [type(fact).__name__ for fact in await self.facts(transfer_id)]

    async def happened(self, transfer_id: UUID, kind: type[F], times: int = 1) -> F:
        """Wait for that many facts of a kind; return the last one."""

        async def there() -> list[F]:
            found = [fact for fact in await self.facts(transfer_id) if isinstance(fact, kind)]
            return found if len(found) >= times else []

        found: list[F] = await self.until(there, f"{times} {kind.__name__} of {transfer_id}")
        return found[-1]

    async def select(self, query: str, *values: object) -> list[Json]:
        """Return rows as dictionaries."""
        async with (
            self.pool.connection() as connection,
            connection.cursor(row_factory=dict_row) as cursor,
        ):
            await cursor.execute(query.encode(), values)
            return await cursor.fetchall()

    async def reversals(self, order_id: str) -> Sequence[Json]:
        """Return the order's rows of `transfer_reversals`, oldest first."""
        return await self.select(
            "select * from transfer_reversals where order_id = %s order by created_at, reversal_id",
            order_id,
        )

    async def alarms(self) -> set[str]:
        """Return the kinds of open alarms."""
        return {
            row["kind"]
            for row in await self.select("select kind from alarms where cleared_at is null")
        }
