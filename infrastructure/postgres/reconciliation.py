"""What a reconciliation asks of our rows, page by page: never more of them in memory than Stripe shows at once."""

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from uuid import UUID

from psycopg.rows import class_row

from application.reconciliation.ports import IgnoredFinding, UnlistedTransfer
from infrastructure.postgres.connections import Connection, Pool, connect
from infrastructure.postgres.named_queries import queries

SQL = queries("reconciling")
SEEN = b"create temporary table seen_at_stripe (stripe_transfer_id text primary key)"
"""What one reconciliation has seen at Stripe; it goes with the connection."""


class RowsBeside:
    """Our rows beside a page of Stripe's list."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def paid_by(self, stripe_ids: Sequence[str]) -> dict[str, UUID]:
        """Which transfers these of Stripe's have paid."""
        async with self._pool.connection() as connection:
            rows = await (await connection.execute(SQL["paid_by"], (list(stripe_ids),))).fetchall()
        return {row[0]: row[1] for row in rows}

    async def alike(self, groups: Collection[str], destinations: Collection[str]) -> list[UUID]:
        """Ours that may be what Stripe shows without an id of ours."""
        values = {"groups": list(groups), "destinations": list(destinations)}
        async with self._pool.connection() as connection:
            rows = await (await connection.execute(SQL["alike"], values)).fetchall()
        return [row[0] for row in rows]

    async def ignored(self, finding_ids: Sequence[str]) -> dict[str, IgnoredFinding]:
        """Which of these findings somebody lets stand."""
        async with self._pool.connection() as connection, connection.cursor(row_factory=class_row(IgnoredFinding)) as cursor:
            await cursor.execute(SQL["ignored"], (list(finding_ids),))
            return {row.finding_id: row for row in await cursor.fetchall()}


class SeenAtStripe:
    """What one reconciliation has seen at Stripe, remembered by the database on a connection of its own.

    The connection is in autocommit: no transaction is open while Stripe is asked.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @classmethod
    @asynccontextmanager
    async def begin(cls, database_url: str) -> AsyncIterator["SeenAtStripe"]:
        """Nothing is seen yet; forgotten at the end."""
        async with await connect(database_url) as connection:
            await connection.execute(SEEN)
            yield cls(connection)

    async def add(self, stripe_ids: Sequence[str]) -> int:
        """Answers how many of them are news."""
        return (await self._connection.execute(SQL["see"], (list(stripe_ids),))).rowcount

    async def unverified(self, since: datetime, until: datetime) -> AsyncIterator[Sequence[UnlistedTransfer]]:
        """Ours from this time that are paid and were not seen, in batches."""
        after: UnlistedTransfer | None = None
        while True:
            place = {"after": after and after.transfer_id, "after_at": after and after.created_at}
            async with self._connection.cursor(row_factory=class_row(UnlistedTransfer)) as cursor:
                await cursor.execute(SQL["unseen"], {"since": since, "until": until, **place})
                batch = await cursor.fetchall()
            if not batch:
                return
            yield batch
            after = batch[-1]
