"""The process managers' common loop: claim what is due, and see each piece of it through one step, at Stripe or at the PSP.

1. The pace of the whole claim is reserved, then the intent (`CallStarted`, frozen body and key) is committed.
2. A slot, then the call, while enough of the lease is left. No transaction or lock of the database is open meanwhile.
3. The outcome is committed by itself. If we die anywhere in between, the lease runs out and somebody else goes on under
   the same key.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Generic, Protocol
from uuid import UUID, uuid4

import structlog

from application.ports import LEASE, Clock, EventLog, FleetState, RateLimiter, Work
from application.process_managers.leases import Leases
from application.process_managers.process import Answer, ProcessManager, Subject
from application.unit_of_work import UnitOfWork
from domain.errors import Conflict
from domain.provider_call.outcome import ProviderSignal
from domain.provider_call.steps import LookUp, Rest, Send

ENOUGH_LEASE = timedelta(seconds=2)
"""With less of the lease left no call is begun: somebody else might begin it as well."""
TROUBLE_PAUSE = 1.0
"""Seconds before the loop goes on after the database failed it."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one loop takes on."""

    capacity: int = 64
    """How many are held at a time; more than the slots, so that intents are committed while calls run."""
    lease: timedelta = LEASE
    """How long the work of a process that vanished stays its own."""
    interval: timedelta = timedelta(minutes=1)
    """The safety net: how long the loop sleeps at most without having been woken."""


class Watch(Protocol):
    """What the whole fleet obeys, and who listens to the answers."""

    @property
    def state(self) -> FleetState: ...

    async def observe(self, subject_id: UUID, step: Send | LookUp, signal: ProviderSignal) -> None: ...


class Worker(Generic[Subject, Answer]):
    """One loop for one kind of work: `run` until `stop`, which waits for the calls in flight."""

    def __init__(
        self,
        errand: ProcessManager[Subject, Answer],
        ledger: EventLog,
        work: Work,
        rate_limiter: RateLimiter,
        watch: Watch,
        clock: Clock,
        slots: asyncio.Semaphore,
        limits: Limits,
    ) -> None:
        self._errand, self._ledger, self._work, self._rate_limiter, self._clock = errand, ledger, work, rate_limiter, clock
        self._watch, self._slots, self._limits = watch, slots, limits
        self._recorder = errand.recorder(ledger, clock)
        self._leases = Leases(work, f"{errand.kind}-{uuid4().hex[:12]}", limits.lease)
        self._woken, self._stopping = asyncio.Event(), asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    def wake(self) -> None:
        """Something may be due: look now."""
        self._woken.set()

    def stop(self) -> None:
        """No new claims; `run` ends when the calls in flight are recorded."""
        self._stopping.set()
        self._woken.set()

    async def run(self) -> None:
        """Work until `stop`. Trouble with the database pauses the loop, it never ends it."""
        async with self._leases.kept():
            while not self._stopping.is_set():
                self._woken.clear()
                try:
                    claimed = await self._claim()
                    if not claimed:
                        await self._rest()
                except Exception as error:  # whatever the database does, the loop lives on
                    log.warning("claiming failed", kind=self._errand.kind, error=str(error))
                    await self._pause(TROUBLE_PAUSE)
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _claim(self) -> bool:
        free = self._limits.capacity - len(self._tasks)
        if free <= 0:
            await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
            return True
        claimed = await self._leases.claim(self._errand.kind, free)
        self._clock.observe(claimed.now)
        if not claimed.ids:
            return False
        try:
            await self._begin(claimed.ids)
        except BaseException:  # also a drain that cuts this short: what was claimed would be renewed for ever
            for subject_id in claimed.ids:
                self._leases.done(subject_id)
            raise
        return True

    async def _begin(self, ids: Sequence[UUID]) -> None:
        waits = await self._rate_limiter.reserve(self._errand.endpoint, len(ids))
        uow = await self._ledger.load(ids)
        for subject_id, wait in zip(ids, waits, strict=True):
            task = asyncio.create_task(self._see_through(subject_id, uow.only(subject_id), wait))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _see_through(self, subject_id: UUID, uow: UnitOfWork, wait: float) -> None:
        try:
            await self._pause(wait)
            if not self._stopping.is_set() and self._may(self._errand.subject(uow, subject_id)):
                await self._step(subject_id, uow)
        except Conflict:
            log.debug("somebody else was first", subject_id=str(subject_id))
        except Exception:  # one subject's trouble is not the loop's; its lease runs out and it is claimed again
            log.exception("a step failed", kind=self._errand.kind, subject_id=str(subject_id))
        finally:
            self._leases.done(subject_id)
            self._woken.set()

    def _may(self, subject: Subject) -> bool:
        return self._errand.may(subject, self._watch.state)

    async def _step(self, subject_id: UUID, uow: UnitOfWork) -> None:
        step = self._errand.begin(self._errand.subject(uow, subject_id), self._clock.now(), self._watch.state)
        if uow.changed():
            await self._ledger.append(uow)
        if isinstance(step, Rest):
            return
        answer = await self._carried_out(subject_id, uow, step)
        await self._recorder.record(subject_id, uow, answer)
        if answer.signal is ProviderSignal.TOO_FAST:
            await self._rate_limiter.slow_down(self._errand.endpoint)
        await self._watch.observe(subject_id, step, answer.signal)

    async def _carried_out(self, subject_id: UUID, uow: UnitOfWork, step: Send | LookUp) -> Answer:
        subject = self._errand.subject(uow, subject_id)
        # a look-up has no intent that could be taken back, and says nothing about a call before it
        intent = step.attempt if isinstance(step, Send) else 0
        async with self._slots:
            if self._leases.left(subject_id) < ENOUGH_LEASE.total_seconds():
                return self._errand.given_back(intent, "Too little of the lease was left to begin the call.")
            if not self._may(subject):
                return self._errand.given_back(intent, "An outage or a pause began before the call did.")
            if isinstance(step, Send):
                return await self._errand.call(subject, step)
            return await self._errand.look_up(subject, step)

    async def _rest(self) -> None:
        """Until woken, or until something is due."""
        due = await self._work.next_due(self._errand.kind)
        longest = self._limits.interval.total_seconds()
        until = longest if due is None else (due - self._clock.now()).total_seconds()
        await self._pause_until_woken(min(max(until, 0.01), longest))

    async def _pause_until_woken(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            pass

    async def _pause(self, seconds: float) -> None:
        """Sleep, but not through a stop."""
        if seconds <= 0:
            return
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            pass
