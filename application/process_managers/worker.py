"""Worker: the loop that claims due work and takes one step of each piece, at Stripe or at the PSP.

1. The rate of the whole claim is reserved, then the intent (`CallStarted`, frozen body and key) is
   committed.
2. The call waits for a slot, and is made if enough of the lease is left and the intent is young. No
   transaction or lock of the database is open.
3. The outcome is committed by itself. If the process dies in between, the lease ends and another
   process goes on under the same key.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Generic
from uuid import UUID, uuid4

import structlog

from application.log_ids import bind_call, bind_subject
from application.loop import Loop, wait_for
from application.ports import LEASE, Clock, EventLog, RateLimiter, WorkQueue
from application.process_managers.circuit_breaker import Monitor
from application.process_managers.leases import Leases
from application.process_managers.outcome_recorder import OutcomeRecorder
from application.process_managers.process import Answer, NotCalled, ProcessManager
from application.unit_of_work import UnitOfWork
from domain.errors import Conflict, NewerRelease
from domain.provider_call.outcome import ProviderSignal
from domain.provider_call.retry_policy import LATEST_CALL
from domain.provider_call.steps import LookUp, Rest, Send

ENOUGH_LEASE = timedelta(seconds=2)
"""With less of the lease left no call begins, since another process might begin it as well."""
SHORTEST_SLEEP = 0.01

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class WorkerLimits:
    """WorkerLimits of one worker."""

    capacity: int = 64
    """Number of transfers or refunds held at a time; more than the slots, so that intents are
    committed while calls run."""
    lease: timedelta = LEASE
    """Time after which the work of a process that vanished is claimed by another one."""
    interval: timedelta = timedelta(minutes=1)
    """Longest sleep without having been woken."""


class Worker(Loop, Generic[Answer]):
    """One loop for one kind of work. After `stop`, `run` waits for the calls in flight."""

    def __init__(
        self,
        process: ProcessManager[Answer],
        event_log: EventLog,
        work: WorkQueue,
        rate_limiter: RateLimiter,
        monitor: Monitor,
        clock: Clock,
        slots: asyncio.Semaphore,
        limits: WorkerLimits,
    ) -> None:
        super().__init__()
        self._process, self._event_log, self._work, self._rate_limiter = (
            process,
            event_log,
            work,
            rate_limiter,
        )
        self._monitor, self._clock, self._slots, self._limits = monitor, clock, slots, limits
        self._recorder = OutcomeRecorder(event_log, clock)
        self._leases = Leases(work, f"{process.kind}-{uuid4().hex[:12]}", limits.lease)
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def name(self) -> str:
        return self._process.kind

    async def run(self) -> None:
        """WorkQueue until `stop`, then record the calls in flight."""
        async with self._leases.kept():
            await super().run()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def turn(self) -> float:
        """Claim and begin due work; return the seconds until more is due."""
        free = self._limits.capacity - len(self._tasks)
        if free <= 0:
            await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
            return 0
        asked = self._clock.now()
        claimed = await self._leases.claim(self._process.kind, free)
        self._clock.observe(asked, claimed.now)
        if not claimed.ids:
            return await self._until_due()
        try:
            await self._begin(claimed.ids)
        except (
            BaseException
        ):  # including the end of a drain: otherwise the leases would be renewed without end
            for subject_id in claimed.ids:
                self._leases.done(subject_id)
            raise
        return 0

    async def _until_due(self) -> float:
        due = await self._work.next_due(self._process.kind)
        longest = self._limits.interval.total_seconds()
        until = longest if due is None else (due - self._clock.now()).total_seconds()
        return min(max(until, SHORTEST_SLEEP), longest)

    async def _begin(self, ids: Sequence[UUID]) -> None:
        waits = await self._rate_limiter.reserve(self._process.endpoint, len(ids))
        uow, unknown = await self._load(ids)
        for subject_id, wait in zip(ids, waits, strict=True):
            if subject_id in unknown:
                continue
            task = asyncio.create_task(self._work_on(subject_id, uow.only(subject_id), wait))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _load(self, ids: Sequence[UUID]) -> tuple[UnitOfWork, set[UUID]]:
        """Load claimed work. Work with a fact of a newer release is left to a process of that
        release; the rest goes on."""
        try:
            return await self._event_log.load(ids), set()
        except NewerRelease:
            uow, unknown = UnitOfWork({}, {}), set[UUID]()
        for subject_id in ids:
            try:
                uow.merge(await self._event_log.load([subject_id]))
            except NewerRelease as newer:
                log.warning(
                    "work waits for a newer release", subject_id=str(subject_id), why=str(newer)
                )
                self._leases.leave(subject_id)
                unknown.add(subject_id)
        return uow, unknown

    async def _work_on(self, subject_id: UUID, uow: UnitOfWork, wait: float) -> None:
        bind_subject(self._process.kind, uow, subject_id)
        try:
            await wait_for(self._stopping, wait)
            if not self._stopping.is_set() and self._may_run(uow, subject_id):
                await self._take_step(subject_id, uow)
        except Conflict:
            log.debug("another process was first", subject_id=str(subject_id))
        except Exception:  # its lease ends and it is claimed again; the others go on
            log.exception("a step failed", subject_id=str(subject_id))
        finally:
            self._leases.done(subject_id)
            self.wake()

    def _may_run(self, uow: UnitOfWork, subject_id: UUID) -> bool:
        return self._process.may_run(uow, subject_id, self._monitor.state)

    async def _take_step(self, subject_id: UUID, uow: UnitOfWork) -> None:
        decided_at = self._clock.now()
        step = self._process.next_step(uow, subject_id, decided_at, self._monitor.state)
        if uow.changed():
            await self._event_log.append(uow)
        if isinstance(step, Rest):
            return
        bind_call(key=step.key if isinstance(step, Send) else None)
        answer: Answer | NotCalled
        async with self._slots:
            if isinstance(step, Send) and self._clock.now() - decided_at > LATEST_CALL:
                answer = NotCalled("The call could not begin soon after its intent.")
            else:
                answer = await self._ask_provider(subject_id, uow, step)
        bind_call(request_id=getattr(answer, "request_id", None))
        await self._recorder.record(self._process, subject_id, uow, step, answer)
        if isinstance(answer, NotCalled):
            return
        signal = self._process.signal(answer)
        if signal is ProviderSignal.TOO_FAST:
            await self._rate_limiter.slow_down(self._process.endpoint)
        account = self._process.account(uow, subject_id)
        await self._monitor.observe(subject_id, step, signal, account)

    async def _ask_provider(
        self, subject_id: UUID, uow: UnitOfWork, step: Send | LookUp
    ) -> Answer | NotCalled:
        if self._leases.seconds_left(subject_id) < ENOUGH_LEASE.total_seconds():
            return NotCalled("Too little of the lease was left to begin the call.")
        if not self._may_run(uow, subject_id):
            return NotCalled("An outage or a pause began before the call did.")
        if isinstance(step, Send):
            return await self._process.call(uow, subject_id, step)
        return await self._process.look_up(uow, subject_id, step)
