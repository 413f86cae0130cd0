"""Which worker may work on which transfer: a lease on the row, claimed by one statement.

The lease only spares double work. What protects the money is the version of the aggregate: of two workers that decide
about the same transfer, one meets a Conflict before it sends anything.

Sellers take turns. Each claim goes on at the seller after the last one that the claim before it looked at, and takes as
many of each as there is room for; a seller with 100,000 due refunds has one turn like everybody else.
"""

from collections.abc import Collection
from datetime import datetime, timedelta
from uuid import UUID

from application.ports import ClaimedWork
from infrastructure.postgres.connections import Pool
from infrastructure.postgres.named_queries import queries

SQL = queries("work")
VISITS = 500
"""Sellers that one claim looks at: with 100,000 sellers that wait for a later time, it must not look at all of them."""
SOONEST = 5_000
"""Rows, in the order of their due times, among which a claim looks for the sellers of the longest due that are free."""
AHEAD = 1_000
"""Rows that `next_due` looks at; if all of them are leased or paused, the answer is that it is worth looking again soon."""
STATUSES = {"transferring": b"'pending', 'failed'", "reversing": b"'reversal_pending'"}


def _of_kind(query: str) -> dict[str, bytes]:
    """The same statement for each kind. The statuses are part of its text, or no partial index would do for it."""
    return {kind: SQL[query].replace(STATUSES["reversing"], statuses) for kind, statuses in STATUSES.items()}


CLAIM, NEXT_DUE = _of_kind("claim"), _of_kind("next_due")


class Work:
    """See `application.ports.Work`. `transferring`: pending or failed transfers that are due; `reversing`: due reversals."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._after = dict.fromkeys(STATUSES, "")

    async def claim(self, kind: str, holder: str, limit: int, lease: timedelta) -> ClaimedWork:
        """Lease up to `limit` due transfers, the longest due of each seller; no two holders get the same one.

        An empty claim does not mean idle: others may hold what is due (see `next_due`). `now` is the database's clock.
        """
        values = {"kind": kind, "holder": holder, "limit": limit, "lease": lease, "after": self._after[kind]}
        async with self._pool.connection() as connection:
            row = await (await connection.execute(CLAIM[kind], values | {"visits": VISITS, "window": SOONEST})).fetchone()
        assert row, "the statement always returns a row"
        ids, now, last = row
        self._after[kind] = last or self._after[kind]
        return ClaimedWork(ids, now)

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
        waiting for a time, or nothing may be claimed at present."""
        async with self._pool.connection() as connection:
            row = await (await connection.execute(NEXT_DUE[kind], {"kind": kind, "window": AHEAD})).fetchone()
        return row[0] if row else None
