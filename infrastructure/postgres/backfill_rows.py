"""What the backfill asks of our rows: one destination at a time."""

from collections.abc import AsyncIterator, Sequence

from psycopg.rows import class_row

from application.backfill.matching import Missing
from infrastructure.postgres.connections import Pool
from infrastructure.postgres.named_queries import queries

SQL = queries("backfilling")


class RowsWithoutStripeId:
    """Transfers whose id at Stripe nobody knows."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def historical(self) -> int:
        """How many of them are completed."""
        async with self._pool.connection() as connection:
            row = await (await connection.execute(SQL["historical"])).fetchone()
        return int(row[0]) if row else 0

    async def by_destination(self) -> AsyncIterator[Sequence[Missing]]:
        """All of them; those to one destination together."""
        destination = ""
        while True:
            async with self._pool.connection() as connection:
                following = await (await connection.execute(SQL["next_destination"], (destination,))).fetchone()
            if following is None:
                return
            destination = following[0]
            async with self._pool.connection() as connection, connection.cursor(row_factory=class_row(Missing)) as cursor:
                await cursor.execute(SQL["without_id"], (destination,))
                rows = await cursor.fetchall()
            if rows:
                yield rows
