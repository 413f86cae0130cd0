"""Bulk jobs on webhooks: replay or discard all that are parked or dead and match a filter."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from application.bulk import BulkKind, WebhookFilter
from infrastructure.postgres.bulk_jobs import PostgresBulkJobs, filter_as_text
from infrastructure.web.endpoints.bulk import SAMPLE, require_same, status_of
from infrastructure.web.operation import ApiCall, Reply
from infrastructure.web.requests import Body, Id, Instant, Line, Parameters, RetryIn


class WebhookFilterIn(Body):
    """Filter of webhooks that are parked or dead; without a member, that member does not filter.
    `reason`: beginning of the reason."""

    status: Literal["parked", "dead"] | None = None
    provider: Literal["hyperswitch", "stripe"] | None = None
    event_type: Id | None = None
    reason: Line | None = None
    received_from: Instant | None = None
    received_to: Instant | None = None


class BulkWebhooksIn(RetryIn):
    """A replay, or the discarding, of all webhooks that match. `job_id` is the caller's name of the
    job; a repetition begins no second one. `dry_run`: count the matches, and begin nothing."""

    job_id: Id
    filter: WebhookFilterIn
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class BulkWebhooks:
    """A job on webhooks as it begins; `GET /v1/bulk/{job_id}` shows its progress. `status`: planned
    (a dry run: nothing begins), running, cancelled or ended. `inbox_ids`: the first webhooks of a
    dry run."""

    job_id: str
    kind: str
    status: str
    total: int
    filter: Mapping[str, str]
    inbox_ids: Sequence[int]


async def begin_bulk_replay(call: ApiCall[BulkWebhooksIn, Parameters]) -> Reply:
    return await _begin(call, BulkKind.REPLAY_WEBHOOKS)


async def begin_bulk_discard(call: ApiCall[BulkWebhooksIn, Parameters]) -> Reply:
    return await _begin(call, BulkKind.DISCARD_WEBHOOKS)


async def _begin(call: ApiCall[BulkWebhooksIn, Parameters], kind: BulkKind) -> Reply:
    body, jobs = call.body, PostgresBulkJobs(call.service.pool)
    given, news = WebhookFilter(**body.filter.model_dump()), False
    known = await jobs.job(body.job_id)
    if known is None:
        targets = await jobs.webhooks(given)
        if body.dry_run:
            first = [target.int for target in targets[:SAMPLE]]
            told = filter_as_text(given)
            planned = BulkWebhooks(body.job_id, kind, "planned", len(targets), told, first)
            return Reply(200, planned, fresh=True)
        news = await jobs.begin(body.job_id, kind, given, body.actor, body.reason, targets)
        known = await jobs.job(body.job_id)
        assert known is not None, "a job is never deleted"
    require_same(known, body, kind, given)
    status = status_of(known)
    shown = BulkWebhooks(known.job_id, known.kind, status, known.total, known.filter, [])
    return Reply(202 if news else 200, shown)
