"""Bulk jobs: begin one for all transfers that match a filter, and show its progress."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from application.bulk import (
    MOST_TARGETS,
    BulkFilter,
    BulkJob,
    BulkKind,
    BulkMoney,
    WebhookFilter,
)
from domain.errors import ContentDiffers, Refused, UnknownId
from domain.money import LARGEST
from infrastructure.postgres.bulk_jobs import PostgresBulkJobs, filter_as_text
from infrastructure.web.operation import ApiCall, Reply
from infrastructure.web.requests import Body, Currency, Id, Instant, Line, Parameters, RetryIn

SAMPLE, LISTED = 20, 50


class BulkFilterIn(Body):
    """Filter of transfers as in their list; without a member, that member does not filter. Only
    transfers that could be retried match."""

    status: Literal["pending", "failed", "reversal_pending", "permanently_failed"] | None = None
    seller_id: Id | None = None
    order_id: Id | None = None
    refund_id: Id | None = None
    destination: Id | None = None
    currency: Currency | None = None
    waiting_for: Line | None = None
    min_amount: Annotated[int, Field(ge=0, le=LARGEST)] | None = None
    attempts: Annotated[int, Field(ge=0, le=LARGEST)] | None = None
    error: Line | None = None
    created_from: Instant | None = None
    created_to: Instant | None = None


class BulkRetryIn(RetryIn):
    """A retry of all transfers that match. `job_id` is the caller's name of the job; a repetition
    begins no second one. `dry_run`: count the matches, and begin nothing. `at_most`: the number
    that the caller has seen; a job with more transfers is refused."""

    job_id: Id
    filter: BulkFilterIn
    at_most: Annotated[int, Field(ge=0, le=MOST_TARGETS)] | None = None
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class BulkRefusal:
    """A transfer or a webhook that the ledger refused to act on, and why; the other is null."""

    transfer_id: UUID | None
    inbox_id: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class Bulk:
    """A job. `status`: planned (a dry run: nothing begins), running, cancelled or ended. `done` of
    `total` transfers are handled, and `refused` of these were refused by the ledger, for example
    because nothing was due; `refusals`: the first of them. `sample` and `money`: the first
    transfers of a dry run, and the open money of all of them."""

    job_id: str
    kind: str
    status: str
    total: int
    done: int
    refused: int
    last_refusal: str | None
    refusals: Sequence[BulkRefusal]
    filter: Mapping[str, str]
    actor: str
    reason: str
    created_at: datetime | None
    ended_at: datetime | None
    cancelled_by: str | None
    cancel_reason: str | None
    sample: Sequence[UUID]
    money: Sequence[BulkMoney]


@dataclass(frozen=True, slots=True)
class BulkList:
    """The newest jobs."""

    data: Sequence[Bulk]


async def begin_bulk_retry(call: ApiCall[BulkRetryIn, Parameters]) -> Reply:
    body, jobs = call.body, PostgresBulkJobs(call.service.pool)
    given = BulkFilter(**body.filter.model_dump())
    known = await jobs.job(body.job_id)
    if known is None:
        targets = await jobs.matches(given)
        if body.dry_run:
            planned = _planned(body, given, targets, await jobs.money(targets))
            return Reply(200, planned, fresh=True)
        _require_as_seen(body, len(targets))
        news = await jobs.begin(
            body.job_id, BulkKind.RETRY, given, body.actor, body.reason, targets
        )
        known = await jobs.job(body.job_id)
        assert known is not None, "a job is never deleted"
    else:
        news = False
    require_same(known, body, BulkKind.RETRY, given)
    return Reply(202 if news else 200, shown(known))


def _planned(
    body: BulkRetryIn, given: BulkFilter, targets: Sequence[UUID], money: Sequence[BulkMoney]
) -> Bulk:
    return Bulk(
        job_id=body.job_id,
        kind=BulkKind.RETRY,
        status="planned",
        total=len(targets),
        done=0,
        refused=0,
        last_refusal=None,
        refusals=[],
        filter=filter_as_text(given),
        actor=body.actor,
        reason=body.reason,
        created_at=None,
        ended_at=None,
        cancelled_by=None,
        cancel_reason=None,
        sample=targets[:SAMPLE],
        money=money,
    )


def _require_as_seen(body: BulkRetryIn, count: int) -> None:
    if body.at_most is not None and count > body.at_most:
        raise Refused(
            f"{count} transfers match now, more than the {body.at_most} of your preview; look at "
            "them again."
        )


def require_same(
    known: BulkJob, body: RetryIn, kind: BulkKind, given: BulkFilter | WebhookFilter
) -> None:
    """Raise ContentDiffers if the id names a job with other content."""
    same = {
        "kind": known.kind == kind,
        "filter": known.filter == filter_as_text(given),
        "actor": known.actor == body.actor,
        "reason": known.reason == body.reason,
    }
    if not all(same.values()):
        differing = [name for name, equal in same.items() if not equal]
        raise ContentDiffers("Bulk job", known.job_id, differing)


async def show_bulk(call: ApiCall[None, Parameters]) -> Reply:
    job_id = call.id("job_id")
    known = await PostgresBulkJobs(call.service.pool).job(job_id)
    if known is None:
        raise UnknownId("bulk job", job_id)
    return Reply(200, shown(known))


async def list_bulk(call: ApiCall[None, Parameters]) -> Reply:
    recent = await PostgresBulkJobs(call.service.pool).recent(LISTED)
    return Reply(200, BulkList([shown(job) for job in recent]))


async def cancel_bulk(call: ApiCall[RetryIn, Parameters]) -> Reply:
    """Cancel a job; a repetition changes nothing. A job at its end is refused."""
    job_id, jobs = call.id("job_id"), PostgresBulkJobs(call.service.pool)
    news = await jobs.cancel(job_id, call.body.actor, call.body.reason)
    known = await jobs.job(job_id)
    if known is None:
        raise UnknownId("bulk job", job_id)
    if not news and known.cancelled_by is None:
        raise Refused(f"Bulk job {job_id} has ended, so there is nothing to cancel.")
    return Reply(200, shown(known))


def shown(job: BulkJob) -> Bulk:
    """Return a job as callers see it."""
    members = job._asdict()
    members["refusals"] = [_refusal(job, **one) for one in job.refusals]
    return Bulk(**members, status=status_of(job), sample=[], money=[])


def _refusal(job: BulkJob, transfer_id: str, reason: str) -> BulkRefusal:
    target = UUID(transfer_id)
    if job.kind == BulkKind.RETRY:
        return BulkRefusal(target, None, reason)
    return BulkRefusal(None, target.int, reason)


def status_of(job: BulkJob) -> str:
    """Return running, cancelled or ended."""
    if job.cancelled_by is not None:
        return "cancelled"
    return "running" if job.ended_at is None else "ended"
