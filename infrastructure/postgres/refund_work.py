"""Which worker may ask the PSP for which refund: the port `Work` on the rows of `refunds`.

Refunds have no sellers who could take turns: the longest due comes first. As with transfers, the lease only spares double
work; what protects the money is the version of the aggregate, and the refund's one name at the PSP.
"""

from collections.abc import Collection
from datetime import datetime, timedelta
from uuid import UUID

from application.ports import ClaimedWork
from infrastructure.postgres.connections import Pool
from infrastructure.postgres.named_queries import queries

SQL = queries("refund_work")
AHEAD = 1_000
"""Rows that `next_due` looks at. More than one loop ever holds, or it might see leased ones only."""


class RefundWork:
    """See `application.ports.Work`. `refunding`: what is requested, or submitted and without the PSP's word, and due."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def claim(self, kind: str, holder: str, limit: int, lease: timedelta) -> ClaimedWork:
        """Lease up to `limit` due refunds, the longest due first. `now` is the database's clock."""
        values = {"holder": holder, "limit": limit, "lease": lease}
        async with self._pool.connection() as connection:
            row = await (await connection.execute(SQL["claim"], values)).fetchone()
        assert row, "the statement always returns a row"
        return ClaimedWork(*row)

    async def renew(self, holder: str, ids: Collection[UUID], lease: timedelta) -> set[UUID]:
        """Prolong leases; returns those that are still this holder's."""
        values = {"holder": holder, "ids": list(ids), "lease": lease}
        async with self._pool.connection() as connection:
            return {row[0] for row in await (await connection.execute(SQL["renew"], values)).fetchall()}

    async def release(self, holder: str, ids: Collection[UUID]) -> None:
        """End leases early. What another holder has taken over meanwhile stays its own."""
        async with self._pool.connection() as connection:
            await connection.execute(SQL["release"], {"holder": holder, "ids": list(ids)})

    async def next_due(self, kind: str) -> datetime | None:
        """The earliest instant at which something may be claimed, counting the leases of others."""
        async with self._pool.connection() as connection:
            row = await (await connection.execute(SQL["next_due"], {"window": AHEAD})).fetchone()
        return row[0] if row else None
