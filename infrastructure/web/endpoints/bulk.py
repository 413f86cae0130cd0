"""Bulk jobs: begin one for all transfers that match a filter, and show its progress."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from application.bulk import BulkFilter, BulkJob, BulkKind
from domain.errors import ContentDiffers, UnknownId
from infrastructure.postgres.bulk_jobs import PostgresBulkJobs, filter_as_text
from infrastructure.web.operation import ApiCall, Reply
from infrastructure.web.requests import Body, Id, Instant, Line, Parameters, RetryIn

SAMPLE = 20


class BulkFilterIn(Body):
    """Filter of transfers; without a member, that member does not filter. `error`: beginning of the
    last error. Only transfers that could be retried match."""

    status: Literal["pending", "failed", "reversal_pending", "permanently_failed"] | None = None
    seller_id: Id | None = None
    order_id: Id | None = None
    destination: Id | None = None
    waiting_for: Line | None = None
    error: Line | None = None
    created_from: Instant | None = None
    created_to: Instant | None = None


class BulkRetryIn(RetryIn):
    """A retry of all transfers that match. `job_id` is the caller's name of the job; a repetition
    begins no second one. `dry_run`: count the matches, and begin nothing."""

    job_id: Id
    filter: BulkFilterIn
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Bulk:
    """A job. `status`: planned (a dry run: nothing begins), running or ended. `done` of `total`
    transfers are handled, and `refused` of these were refused by the ledger, for example because
    nothing was due. `sample`: the first transfers of a dry run."""

    job_id: str
    kind: str
    status: str
    total: int
    done: int
    refused: int
    last_refusal: str | None
    filter: Mapping[str, str]
    actor: str
    reason: str
    created_at: datetime | None
    ended_at: datetime | None
    sample: Sequence[UUID]


async def begin_bulk_retry(call: ApiCall[BulkRetryIn, Parameters]) -> Reply:
    body, jobs = call.body, PostgresBulkJobs(call.service.pool)
    given = BulkFilter(**body.filter.model_dump())
    known = await jobs.job(body.job_id)
    if known is None:
        targets = await jobs.matches(given)
        if body.dry_run:
            return Reply(200, _planned(body, given, targets), fresh=True)
        news = await jobs.begin(
            body.job_id, BulkKind.RETRY, given, body.actor, body.reason, targets
        )
        known = await jobs.job(body.job_id)
        assert known is not None, "a job is never deleted"
    else:
        news = False
    _require_same(known, body, given)
    return Reply(202 if news else 200, shown(known))


def _planned(body: BulkRetryIn, given: BulkFilter, targets: Sequence[UUID]) -> Bulk:
    return Bulk(
        body.job_id,
        BulkKind.RETRY,
        "planned",
        len(targets),
        0,
        0,
        None,
        filter_as_text(given),
        body.actor,
        body.reason,
        None,
        None,
        targets[:SAMPLE],
    )


def _require_same(known: BulkJob, body: BulkRetryIn, given: BulkFilter) -> None:
    """Raise ContentDiffers if the id names a job with other content."""
    same = {
        "filter": known.filter == filter_as_text(given),
        "actor": known.actor == body.actor,
        "reason": known.reason == body.reason,
    }
    if not all(same.values()):
        differing = [name for name, equal in same.items() if not equal]
        raise ContentDiffers("Bulk job", body.job_id, differing)


async def show_bulk(call: ApiCall[None, Parameters]) -> Reply:
    job_id = call.id("job_id")
    known = await PostgresBulkJobs(call.service.pool).job(job_id)
    if known is None:
        raise UnknownId("bulk job", job_id)
    return Reply(200, shown(known))


def shown(job: BulkJob) -> Bulk:
    """Return a job as callers see it."""
    status = "running" if job.ended_at is None else "ended"
    return Bulk(**job._asdict(), status=status, sample=[])
