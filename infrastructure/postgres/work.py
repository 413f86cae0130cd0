"""Which worker may work on which transfer: a lease on the row, claimed by one statement.

The lease only spares double work. What protects the money is the version of the aggregate: of two workers that decide
about the same transfer, one meets a Conflict before it sends anything.
"""

from collections.abc import Collection
from datetime import datetime, timedelta
from uuid import UUID

from application.ports import Claimed
from infrastructure.postgres.connections import Pool
from infrastructure.postgres.sql import queries

SQL = queries("work")


class Work:
    """See `application.ports.Work`. `transferring`: pending or failed transfers that are due; `reversing`: due reversals."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def claim(self, kind: str, holder: str, limit: int, lease: timedelta) -> Claimed:
        """Lease up to `limit` due transfers, the longest due first; no two holders get the same one.

        An empty claim does not mean idle: others may hold what is due (see `next_due`). `now` is the database's clock.
        """
        values = {"holder": holder, "limit": limit, "lease": lease}
        async with self._pool.connection() as connection:
            row = await (await connection.execute(SQL[f"claim_{kind}"], values)).fetchone()
        assert row, "the statement always returns a row"
        return Claimed(*row)

    async def renew(self, holder: str, ids: Collection[UUID], lease: timedelta) -> set[UUID]:
        """Prolong leases; returns those that are still this holder's. Stop working on the others."""
        values = {"holder": holder, "ids": list(ids), "lease": lease}
        async with self._pool.connection() as connection:
            return {row[0] for row in await (await connection.execute(SQL["renew"], values)).fetchall()}

    async def release(self, holder: str, ids: Collection[UUID]) -> None:
        """End leases early. What another holder has taken over meanwhile stays its own."""
        async with self._pool.connection() as connection:
            await connection.execute(SQL["release"], {"holder": holder, "ids": list(ids)})

    async def next_due(self, kind: str) -> datetime | None:
        """The earliest instant at which something may be claimed, counting the leases of others; None if nothing is
        waiting for a time."""
        async with self._pool.connection() as connection:
            row = await (await connection.execute(SQL[f"next_due_{kind}"])).fetchone()
        return row[0] if row else None
