"""Work queue: leases on due transfers, refunds and orders, each claimed by one statement.

A lease only avoids double work. The money is protected by the version of the aggregate: of two
workers that decide about the same transfer or refund, one gets a Conflict before it sends a
request. A refund also has one name at the PSP.

Sellers take turns: each claim continues after the last seller that the claim before it visited, and
takes as many transfers of each seller as there is room for. So a seller with 100,000 due refunds
has one turn like every other seller. Refunds, and orders whose charge is read, have no sellers: the
longest due comes first.
"""

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from time import monotonic
from typing import Literal
from uuid import UUID

from application.ports import ClaimedWork
from infrastructure.postgres.connections import Pool, execute, fetch_all, fetch_one
from infrastructure.postgres.due_bound import DueBound
from infrastructure.postgres.named_queries import queries

SQL = queries("work_queue")
VISITS = 500
"""Sellers that one claim visits: with 100,000 sellers that wait for a later time, it must not visit
all of them."""
SOONEST = 5_000
"""Rows, in the order of their due times, among which a claim looks for the sellers of the longest
due free transfers."""
AHEAD = 1_000
"""Rows that `next_due` reads, more than one loop ever holds; if all are leased or paused, it
answers to look again soon."""
STATUSES = {"transferring": b"'pending', 'failed'", "reversing": b"'reversal_pending'"}

WorkTable = Literal["seller_transfers", "refunds", "orders"]


def _of_kind(query: str, refunds: str, orders: str) -> Mapping[str, bytes]:
    """Return the statement for each kind. The statuses are part of its text, or PostgreSQL could
    use no partial index."""
    of_transfers = {
        kind: SQL[query].replace(STATUSES["reversing"], statuses)
        for kind, statuses in STATUSES.items()
    }
    return {**of_transfers, "refunding": SQL[refunds], "funding": SQL[orders]}


def _of_table(query: str) -> Mapping[WorkTable, bytes]:
    of_streams = SQL[query].replace(b"transfer_id", b"stream_id")
    return {
        "seller_transfers": SQL[query],
        "refunds": of_streams.replace(b"seller_transfers", b"refunds"),
        "orders": of_streams.replace(b"seller_transfers", b"orders"),
    }


CLAIM = _of_kind("claim", "claim_refunds", "claim_orders")
NEXT_DUE = _of_kind("next_due", "next_due_refund", "next_due_order")
HOLD, RENEW, RELEASE = _of_table("hold"), _of_table("renew"), _of_table("release")


class PostgresWorkQueue:
    """The port `Work` on one table. Kinds: `transferring` and `reversing` of `seller_transfers`,
    `refunding` of `refunds`, `funding` of `orders`."""

    def __init__(self, pool: Pool, table: WorkTable = "seller_transfers") -> None:
        self._pool, self._table = pool, table
        self._after = dict.fromkeys(CLAIM, "")
        self._due = {kind: DueBound() for kind in CLAIM}

    async def claim(self, kind: str, holder: str, limit: int, lease: timedelta) -> ClaimedWork:
        """Lease up to `limit` due rows; no two holders get the same one.

        An empty claim does not mean idle: others may hold the due rows (see `next_due`). `now` is
        the database's clock.
        """
        due = self._due[kind]
        values = {
            "kind": kind,
            "holder": holder,
            "limit": limit,
            "lease": lease,
            "after": self._after[kind],
            "visits": VISITS,
            "window": SOONEST,
        }
        async with self._pool.connection() as connection:
            since, began = due.start(), monotonic()
            claimed = await connection.execute(CLAIM[kind], values | {"since": since})
            row = await claimed.fetchone()
        assert row, "the statement always returns a row"
        ids, now, last, earliest = row
        due.end(since, monotonic() - began, earliest, now)
        self._after[kind] = last or self._after[kind]
        return ClaimedWork(ids, now)

    async def hold(self, holder: str, ids: Collection[UUID], lease: timedelta) -> None:
        """Lease these rows, due or not, except those that another holder has."""
        values = {"holder": holder, "ids": list(ids), "lease": lease}
        await execute(self._pool, HOLD[self._table], values)

    async def renew(self, holder: str, ids: Collection[UUID], lease: timedelta) -> set[UUID]:
        """Prolong leases and return those that this holder still has. The caller must stop working
        on the others."""
        values = {"holder": holder, "ids": list(ids), "lease": lease}
        return {row[0] for row in await fetch_all(self._pool, RENEW[self._table], values)}

    async def release(self, holder: str, ids: Collection[UUID]) -> None:
        """End leases early. Rows that another holder has taken over stay leased."""
        await execute(self._pool, RELEASE[self._table], {"holder": holder, "ids": list(ids)})

    async def next_due(self, kind: str) -> datetime | None:
        """Return the earliest instant at which a row may be claimed, counting the leases of others.

        None if no row waits for a time, or if no row may be claimed at present.
        """
        values = {"kind": kind, "window": AHEAD, "since": self._due[kind].bound}
        row = await fetch_one(self._pool, NEXT_DUE[kind], values)
        return self._due[kind].no_later(row[0] if row else None)
