"""Bulk jobs in PostgreSQL."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from psycopg.types.json import Json

from application.bulk import (
    MOST_REFUSALS,
    MOST_TARGETS,
    RETRYABLE,
    BulkFilter,
    BulkJob,
    BulkKind,
    BulkMoney,
    BulkSlice,
    TooManyTargets,
    WebhookFilter,
)
from infrastructure.postgres.connections import (
    Pool,
    execute,
    fetch_all,
    fetch_by_index,
    fetch_one,
    fetch_rows,
)
from infrastructure.postgres.named_queries import queries
from infrastructure.postgres.read_side.lists import FILTERS, transfer_conditions

SQL = queries("bulk_jobs")


class _Target(NamedTuple):
    transfer_id: UUID


class PostgresBulkJobs:
    """The port `BulkJobs` of `application.bulk`, and the methods by which the web begins and shows
    jobs."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def matches(self, given: BulkFilter) -> list[UUID]:
        """List the transfers that a job with this filter concerns, oldest first. Raises
        TooManyTargets."""
        where, values = transfer_conditions(given)
        query = SQL["matches"].replace(FILTERS, " and ".join(["true", *where]).encode())
        values |= {"statuses": list(map(str, RETRYABLE)), "limit": MOST_TARGETS + 1}
        rows = await fetch_by_index(self._pool, _Target, query, values)
        if len(rows) > MOST_TARGETS:
            raise TooManyTargets
        return [row.transfer_id for row in rows]

    async def money(self, targets: Sequence[UUID]) -> list[BulkMoney]:
        """Return the open money behind targets, by currency and direction."""
        return await fetch_by_index(self._pool, BulkMoney, SQL["money"], (list(targets),))

    async def webhooks(self, given: WebhookFilter) -> list[UUID]:
        """List the parked and dead webhooks that a job with this filter concerns, oldest first, by
        their numbers as UUIDs. Raises TooManyTargets."""
        values = {**given._asdict(), "limit": MOST_TARGETS + 1}
        rows = await fetch_all(self._pool, SQL["webhooks"], values)
        if len(rows) > MOST_TARGETS:
            raise TooManyTargets("webhooks")
        return [UUID(int=row[0]) for row in rows]

    async def begin(
        self,
        job_id: str,
        kind: BulkKind,
        given: BulkFilter | WebhookFilter,
        actor: str,
        reason: str,
        targets: Sequence[UUID],
    ) -> bool:
        """Store a job, and wake the processes; False if its id is taken."""
        values = {
            "job_id": job_id,
            "kind": kind.value,
            "filter": Json(filter_as_text(given)),
            "actor": actor,
            "reason": reason,
            "targets": list(targets),
        }
        return await fetch_one(self._pool, SQL["begin"], values) is not None

    async def job(self, job_id: str) -> BulkJob | None:
        """Return a job; None if there is none with this id."""
        return next(iter(await fetch_rows(self._pool, BulkJob, SQL["job"], (job_id,))), None)

    async def recent(self, limit: int) -> list[BulkJob]:
        """List the newest jobs."""
        return await fetch_rows(self._pool, BulkJob, SQL["recent"], (limit,))

    async def cancel(self, job_id: str, actor: str, reason: str) -> bool:
        """End a job before its next target; False if there is no such job, or it has ended."""
        values = {"job_id": job_id, "actor": actor, "reason": reason}
        return await execute(self._pool, SQL["cancel"], values) > 0

    async def claim(self, holder: str, lease: timedelta, limit: int) -> BulkSlice | None:
        values = {"holder": holder, "lease": lease, "limit": limit}
        return next(iter(await fetch_rows(self._pool, BulkSlice, SQL["claim"], values)), None)

    async def advance(
        self, holder: str, lease: timedelta, job_id: str, done: int, refusal: str | None
    ) -> bool:
        values = {
            "holder": holder,
            "lease": lease,
            "job_id": job_id,
            "done": done,
            "refused": int(refusal is not None),
            "refusal": refusal,
            "most": MOST_REFUSALS,
        }
        return await execute(self._pool, SQL["advance"], values) > 0

    async def release(self, holder: str) -> None:
        await execute(self._pool, SQL["release"], (holder,))

    async def acted(self, target: UUID, reason: str) -> bool:
        return await fetch_one(self._pool, SQL["acted"], (target, reason)) is not None


def filter_as_text(given: BulkFilter | WebhookFilter) -> Mapping[str, str]:
    """Return the filter with the members that are set, as text."""
    return {
        name: value.isoformat() if isinstance(value, datetime) else str(value)
        for name, value in given._asdict().items()
        if value is not None
    }
