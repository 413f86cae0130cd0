"""Bulk jobs in PostgreSQL."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from psycopg.types.json import Json

from application.bulk import (
    MOST_TARGETS,
    RETRYABLE,
    BulkFilter,
    BulkJob,
    BulkKind,
    BulkSlice,
    TooManyTargets,
    WebhookFilter,
)
from infrastructure.postgres.connections import Pool, execute, fetch_all, fetch_one, fetch_rows
from infrastructure.postgres.named_queries import queries

SQL = queries("bulk_jobs")


class PostgresBulkJobs:
    """The port `BulkJobs` of `application.bulk`, and the methods by which the web begins and shows
    jobs."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def matches(self, given: BulkFilter) -> list[UUID]:
        """List the transfers that a job with this filter concerns, oldest first. Raises
        TooManyTargets."""
        statuses = [given.status] if given.status is not None else list(map(str, RETRYABLE))
        values = {**given._asdict(), "statuses": statuses, "limit": MOST_TARGETS + 1}
        rows = await fetch_all(self._pool, SQL["matches"], values)
        if len(rows) > MOST_TARGETS:
            raise TooManyTargets
        return [row[0] for row in rows]

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
        }
        return await execute(self._pool, SQL["advance"], values) > 0

    async def release(self, holder: str) -> None:
        await execute(self._pool, SQL["release"], (holder,))

    async def acted(self, target: UUID, reason: str) -> bool:
        return await fetch_one(self._pool, SQL["acted"], (target, reason)) is not None


def filter_as_text(given: BulkFilter | WebhookFilter) -> Mapping[str, str]:
    """Return the filter with the members that are set, as text."""
    return {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in given._asdict().items()
        if value is not None
    }
