"""Recorder of outcomes. An outcome must not get lost while the process lives, so it is stored
without a limit of attempts."""

import asyncio
from collections.abc import Iterable
from uuid import UUID

import structlog

from application.command_handler import load_causes
from application.ports import Clock, EventLog
from application.process_managers.process import (
    Answer,
    NotCalled,
    ProcessManager,
    load_order,
)
from application.unit_of_work import UnitOfWork, recover_again
from domain.errors import Conflict, Unavailable
from domain.provider_call.steps import LookUp, Send
from domain.seller_transfer.stripe_call import forgive

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
"""Seconds between two attempts while the database is away."""

log = structlog.get_logger()


class OutcomeRecorder:
    """Stores outcomes: decides again after a lost race, waits while the database is away, keeps a
    refused one for a person."""

    def __init__(self, event_log: EventLog, clock: Clock) -> None:
        self._event_log, self._clock = event_log, clock

    async def record(
        self,
        process: ProcessManager[Answer],
        subject_id: UUID,
        uow: UnitOfWork,
        step: Send | LookUp,
        answer: Answer | NotCalled,
    ) -> None:
        """Store the facts of an answer. `uow` is the unit of work of the step's intent."""
        intent: UnitOfWork | None = uow
        refusal: str | None = None
        pause = FIRST_PAUSE
        while True:
            try:
                loaded = await process.load(self._event_log, subject_id, intent)
                if refusal is None:
                    if books := process.books(answer):
                        await load_causes(self._event_log, loaded, subject_id, books)
                    causes = process.record(loaded, subject_id, step, answer, self._clock.now())
                    await self._recover_shares(loaded, subject_id, causes)
                else:
                    process.keep(loaded, subject_id, step, answer, refusal, self._clock.now())
                await self._append(loaded)
                return
            except Conflict:
                pass
            except Unavailable as away:
                pause = await _wait_out(away, subject_id, pause)
            except process.unrecordable as refused:
                if refusal is not None:
                    raise
                refusal = str(refused)
                log.error(
                    "an outcome cannot be recorded",
                    subject_id=str(subject_id),
                    why=refusal,
                )
            intent = None

    async def forgive(self, transfer_id: UUID, what: str, attempt: int) -> None:
        """Give an attempt back that an outage of Stripe has consumed."""
        pause = FIRST_PAUSE
        while True:
            try:
                uow = await self._event_log.load([transfer_id])
                forgive(uow.transfer(transfer_id), what, attempt, self._clock.now())
                await self._append(uow)
                return
            except Conflict:
                pass
            except Unavailable as away:
                pause = await _wait_out(away, transfer_id, pause)

    async def _recover_shares(
        self, uow: UnitOfWork, transfer_id: UUID, causes: Iterable[str]
    ) -> None:
        """Recover shares again: causes disappeared during the call, or reductions did not
        happen."""
        for cause_id in causes:
            order_id = uow.transfer(transfer_id).order_id
            uow.merge(await load_order(self._event_log, order_id))
            uow.mark_unverified()
            uow.mark_moved()
            recover_again(uow, uow.order(order_id), cause_id, self._clock.now())

    async def _append(self, uow: UnitOfWork) -> None:
        if uow.changed():
            await self._event_log.append(uow)


async def _wait_out(away: Unavailable, subject_id: UUID, pause: float) -> float:
    """Wait for the database; return the next, longer pause."""
    log.warning("an outcome waits for the database", subject_id=str(subject_id), why=away.why)
    await asyncio.sleep(pause)
    return min(2 * pause, LONGEST_PAUSE)
