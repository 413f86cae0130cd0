"""Rows for a reconciliation and a backfill, page by page: never more of them in memory than Stripe
returns at once."""

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from uuid import UUID

from psycopg.rows import class_row

from application.backfill.matches import Missing
from application.reconciliation.ports import IgnoredFinding, UnlistedTransfer
from infrastructure.postgres.connections import (
    Connection,
    Pool,
    connect,
    fetch_all,
    fetch_one,
    fetch_rows,
)
from infrastructure.postgres.named_queries import queries

SQL = queries("reconciliation")
SEEN = b"create temporary table seen_at_stripe (stripe_transfer_id text primary key)"
"""The ids that one reconciliation has seen at Stripe; the table ends with the connection."""


class LedgerRows:
    """Our rows for a page of Stripe's list."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def paid_by(self, stripe_ids: Sequence[str]) -> dict[str, UUID]:
        """Find our transfers that these transfers at Stripe have paid, by Stripe's id."""
        rows = await fetch_all(self._pool, SQL["paid_by"], (list(stripe_ids),))
        return {row[0]: row[1] for row in rows}

    async def alike(self, names: Collection[str], destinations: Collection[str]) -> list[UUID]:
        """Find our transfers that may belong to transfers at Stripe without an id of ours."""
        values = {"names": list(names), "destinations": list(destinations)}
        rows = await fetch_all(self._pool, SQL["alike"], values)
        return [row[0] for row in rows]

    async def ignored(self, finding_ids: Sequence[str]) -> dict[str, IgnoredFinding]:
        """Find those of these findings that a person ignores, by their ids."""
        rows = await fetch_rows(self._pool, IgnoredFinding, SQL["ignored"], (list(finding_ids),))
        return {row.finding_id: row for row in rows}


class SeenAtStripe:
    """The transfers that one reconciliation has seen at Stripe, in a temporary table on a
    connection of its own.

    The connection is in autocommit: no transaction is open during a call to Stripe.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @classmethod
    @asynccontextmanager
    async def begin(cls, database_url: str) -> AsyncIterator["SeenAtStripe"]:
        """Begin with nothing seen; forget everything at the end."""
        async with await connect(database_url) as connection:
            await connection.execute(SEEN)
            yield cls(connection)

    async def add(self, stripe_ids: Sequence[str]) -> int:
        """Remember a page of ids and return how many of them are new."""
        return (await self._connection.execute(SQL["see"], (list(stripe_ids),))).rowcount

    async def unlisted(
        self, since: datetime, until: datetime
    ) -> AsyncIterator[Sequence[UnlistedTransfer]]:
        """Yield, in batches, our transfers of this time that are paid and were not seen."""
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


class RowsWithoutStripeId:
    """Transfers whose id at Stripe is unknown: the input of the backfill."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.begun = 0
        """Number of destinations that were yielded."""

    async def destinations(self) -> int:
        """Count the destinations."""
        row = await fetch_one(self._pool, SQL["destinations"])
        return int(row[0]) if row else 0

    async def historical(self) -> int:
        """Count those that are completed."""
        row = await fetch_one(self._pool, SQL["completed_without_id"])
        return int(row[0]) if row else 0

    async def by_destination(self) -> AsyncIterator[Sequence[Missing]]:
        """Yield all of them, grouped by destination."""
        destination = ""
        while True:
            following = await fetch_one(self._pool, SQL["next_destination"], (destination,))
            if following is None:
                return
            destination = following[0]
            self.begun += 1
            if rows := await fetch_rows(self._pool, Missing, SQL["without_id"], (destination,)):
                yield rows
