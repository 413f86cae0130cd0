"""Bulk jobs: one decision of a person about many transfers, executed one by one, with progress.

The targets are chosen when the job begins. One process at a time works on a job, under a lease that
each step renews; after a crash another one goes on. A target whose effect is stored, though a crash
kept the job from counting it, is counted and not acted on again. A target that fails never stops
the job, nor the jobs behind it.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple, Protocol
from uuid import UUID

import structlog

from application.loop import Loop, wait_for
from domain.errors import NewerRelease, Refused
from domain.lifecycle import TransferStatus

MOST_TARGETS = 10_000
SLICE = 50
"""Targets of one turn."""
LEASE = timedelta(seconds=60)
BETWEEN_LOOKS = 5.0
"""Seconds until the next look for a job; a new job wakes the loop at once."""
LONGEST_REFUSAL = 500
WAITS = (0.25, 1.0, 4.0)
"""Seconds between the attempts on a target whose error may pass: a lost race, a lock, a database
that does not answer. After the last one the error counts as the target's failure."""
MOST_REFUSALS = 100
"""Refusals of a job that are kept with their target and reason; the others are counted."""
RETRYABLE = (
    TransferStatus.PENDING,
    TransferStatus.FAILED,
    TransferStatus.REVERSAL_PENDING,
    TransferStatus.PERMANENTLY_FAILED,
)

log = structlog.get_logger()


class BulkKind(StrEnum):
    """The action that a job takes on each of its targets."""

    RETRY = "retry"
    REPLAY_WEBHOOKS = "replay_webhooks"
    DISCARD_WEBHOOKS = "discard_webhooks"
    """The targets of a job about webhooks are their inbox numbers, as the values of UUIDs."""


class BulkFilter(NamedTuple):
    """Filter of the transfers of a job; None does not filter. Its members mean the same as those of
    the list of transfers, so that a job concerns the transfers that the list shows."""

    status: str | None = None
    seller_id: str | None = None
    order_id: str | None = None
    refund_id: str | None = None
    destination: str | None = None
    currency: str | None = None
    waiting_for: str | None = None
    min_amount: int | None = None
    attempts: int | None = None
    error: str | None = None
    created_from: datetime | None = None
    created_to: datetime | None = None


class WebhookFilter(NamedTuple):
    """Filter of the webhooks of a job, which are parked or dead; None does not filter. `reason`:
    beginning of the reason."""

    status: str | None = None
    provider: str | None = None
    event_type: str | None = None
    reason: str | None = None
    received_from: datetime | None = None
    received_to: datetime | None = None


class BulkJob(NamedTuple):
    """A job and its progress. `done` counts the handled targets, `refused` those of them that the
    ledger refused; `refusals` are the first `MOST_REFUSALS`. `cancelled_by` ended it early."""

    job_id: str
    kind: str
    filter: Mapping[str, str]
    actor: str
    reason: str
    total: int
    done: int
    refused: int
    last_refusal: str | None
    refusals: Sequence[Mapping[str, str]]
    """`transfer_id` and `reason` of each."""
    cancelled_by: str | None
    cancel_reason: str | None
    created_at: datetime
    ended_at: datetime | None


class BulkSlice(NamedTuple):
    """The next targets of a claimed job."""

    job_id: str
    kind: str
    actor: str
    reason: str
    done: int
    targets: Sequence[UUID]


@dataclass(frozen=True, slots=True)
class BulkMoney:
    """Open money behind the targets of a job: the sum in minor units, and the number of amounts."""

    currency: str
    direction: str
    amount: int
    number: int


class TooManyTargets(Refused):
    """More transfers or webhooks match than one job may have."""

    def __init__(self, targets: str = "transfers") -> None:
        super().__init__(
            f"More than {MOST_TARGETS} {targets} match, and a job has at most {MOST_TARGETS}; "
            "narrow the filter, or start several jobs."
        )


class BulkJobs(Protocol):
    """The stored jobs."""

    async def claim(self, holder: str, lease: timedelta, limit: int) -> BulkSlice | None:
        """Claim the oldest open job; None if there is none, or others work on all of them."""

    async def advance(
        self, holder: str, lease: timedelta, job_id: str, done: int, refusal: str | None
    ) -> bool:
        """Record that one more target than `done` is handled; False if the job is not ours any
        more, or has been cancelled."""

    async def release(self, holder: str) -> None:
        """Let other processes go on with the jobs of this one."""

    async def acted(self, target: UUID, reason: str) -> bool:
        """Return whether a person's retry with this reason is stored for the target."""


class BulkLoop(Loop):
    """Loop that executes jobs: `run` until `stop`."""

    def __init__(
        self,
        jobs: BulkJobs,
        holder: str,
        retry: Callable[[UUID, str, str], Awaitable[None]],
        webhooks: Mapping[str, Callable[[int, str, str], Awaitable[object]]] | None = None,
    ) -> None:
        """Build the loop. `webhooks`: by kind of job, its action on a webhook, which may be
        repeated."""
        super().__init__()
        self._jobs, self._holder, self._retry = jobs, holder, retry
        self._webhooks = webhooks or {}

    async def turn(self) -> float:
        """Execute a slice of the oldest job; return the seconds until the next look."""
        work = await self._jobs.claim(self._holder, LEASE, SLICE)
        if work is None:
            return BETWEEN_LOOKS
        for done, target in enumerate(work.targets, work.done):
            if self._stopping.is_set():
                break
            refusal = await self._refusal(work, target, doubtful=done == work.done)
            if self._stopping.is_set() and refusal is not None:
                break  # it may be an error that passes: another process tries the target again
            if not await self._jobs.advance(self._holder, LEASE, work.job_id, done, refusal):
                return 0.0  # another process goes on, since our lease had ended; or it is cancelled
        if self._stopping.is_set():
            await self._jobs.release(self._holder)
        return 0.0

    async def _refusal(self, work: BulkSlice, target: UUID, *, doubtful: bool) -> str | None:
        """Act on one target; return why it was refused or has failed, or None.

        `doubtful`: a process that has died may have acted on the target. A database that does not
        answer at all ends the turn, since the job cannot be advanced.
        """
        reason = f"{work.reason} (bulk job {work.job_id})"
        for wait in (*WAITS, None):
            try:
                if work.kind != BulkKind.RETRY:
                    await self._webhooks[work.kind](target.int, work.actor, reason)
                elif not doubtful or not await self._jobs.acted(target, reason):
                    await self._retry(target, work.actor, reason)
                return None
            except (Refused, NewerRelease) as refused:
                return str(refused)[:LONGEST_REFUSAL]
            except Exception as error:
                log.warning("a bulk job's target failed", target=str(target), error=str(error))
                if wait is None or self._stopping.is_set():
                    return f"{type(error).__name__}: {error}"[:LONGEST_REFUSAL]
                doubtful = True  # the answer may be lost, and the effect stored
                await wait_for(self._stopping, wait)
        raise AssertionError("the last attempt returns")
