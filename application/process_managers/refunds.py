"""The process manager that gives buyers their money back: `POST /refunds` at the PSP, and asking it what became of them.

The outcome of a call and the PSP's final word go the same way: what it shows is recorded with the order, its transfers and
the refund in one append, as if its webhook had said it. Whichever comes first counts, and the other is no news.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, cast
from uuid import UUID

import structlog

from application.commands.refunds import ANSWERED, ASKED, record_refund_at_psp
from application.gateways import PaymentGateway
from application.ports import Clock, EventLog, FleetState
from application.process_managers.outcome_recorder import insisting
from application.process_managers.worker import Watch
from application.unit_of_work import UnitOfWork
from domain.errors import ConstraintBroken, Refused, UnknownId
from domain.pause import EVERYTHING, scope_of_work
from domain.provider_call.outcome import Failure, NotExecuted, ProviderSignal, Rejected, Unknown, signal_of
from domain.provider_call.psp_objects import RefundAtPsp
from domain.provider_call.request_body import RefundBody
from domain.provider_call.retry_policy import Policy
from domain.provider_call.steps import LookUp, Send, Step
from domain.refund import psp_outcome
from domain.refund.aggregate import Refund
from domain.refund.state import RefundStatus

log = structlog.get_logger()

Decide = Callable[[UnitOfWork, datetime], None]


class Unheard:
    """The fleet's state, for a loop whose answers say nothing about Stripe: they neither open its breaker nor close it."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    @property
    def state(self) -> FleetState:
        return self._watch.state

    async def observe(self, subject_id: UUID, step: Send | LookUp, signal: ProviderSignal) -> None:
        """Trouble with the PSP is seen in each refund's own attempts."""


class RefundDesk(Protocol):
    """Where outcomes are recorded: the ledger's use cases."""

    async def record_psp_answer(self, stream: UUID, decide: Decide) -> None:
        """Decide with the refund, its order and all transfers of that in the book, and append. Raises Conflict."""
        ...


class RefundAnswer(Protocol):
    """What came of a step."""

    @property
    def signal(self) -> ProviderSignal: ...

    def record(self, uow: UnitOfWork, now: datetime) -> None: ...


@dataclass(frozen=True, slots=True)
class RefundProcess:
    """Submits what is `requested`, and asks about what is `submitted`, when it is due."""

    gateway: PaymentGateway
    policy: Policy
    desk: RefundDesk
    kind: str = "refunding"
    endpoint: str = "psp.refunds"

    def subject(self, uow: UnitOfWork, subject_id: UUID) -> Refund:
        refund = uow.refund()
        if refund is None or refund.id != subject_id:
            raise UnknownId("refund", str(subject_id))
        return refund

    def may(self, subject: Refund, state: FleetState) -> bool:
        """An outage of Stripe stops no refund of a buyer."""
        return state.paused.isdisjoint({EVERYTHING, scope_of_work(self.kind)})

    def begin(self, subject: Refund, now: datetime, state: FleetState) -> Step:
        return psp_outcome.begin(subject, now, self.policy)

    async def call(self, subject: Refund, step: Send) -> RefundAnswer:
        answer = await self.gateway.create_refund(step.key, cast("RefundBody", step.body), subject.currency)
        return Answered(step.attempt, answer, self.policy)

    async def look_up(self, subject: Refund, step: LookUp) -> RefundAnswer:
        name = subject.psp_refund_id or subject.key
        return Shown(step.attempt, subject.status, await self.gateway.refund(name), self.policy)

    def given_back(self, attempt: int, why: str) -> RefundAnswer:
        return CallGivenBack(attempt, why)

    def recorder(self, ledger: EventLog, clock: Clock) -> "RefundRecorder":
        return RefundRecorder(self.desk, self.policy)


class RefundRecorder:
    """Records outcomes through the ledger's use cases; what the database refuses is put off with an alarm, never dropped."""

    def __init__(self, desk: RefundDesk, policy: Policy) -> None:
        self._desk, self._policy = desk, policy

    async def record(self, subject_id: UUID, uow: UnitOfWork, answer: RefundAnswer) -> None:
        """The book of the intent is too small for a final word, so all is loaded anew."""

        async def store(_: bool) -> None:
            try:
                await self._desk.record_psp_answer(subject_id, answer.record)
            except (ConstraintBroken, Refused) as refused:
                why = str(refused)
                log.error("a refund's outcome cannot be recorded", refund=str(subject_id), why=why)
                await self._desk.record_psp_answer(subject_id, lambda uow, now: self._put_off(uow, why, now))

        await insisting(subject_id, store)

    def _put_off(self, uow: UnitOfWork, why: str, now: datetime) -> None:
        refund = uow.refund()
        if refund is not None:
            psp_outcome.postpone(refund, "held", why, now + self._policy.maximum, now)


@dataclass(frozen=True, slots=True)
class Answered:
    """The PSP's answer, or the lack of one, to one call."""

    attempt: int
    answer: RefundAtPsp | Failure
    policy: Policy

    @property
    def signal(self) -> ProviderSignal:
        return ProviderSignal.ANSWER if isinstance(self.answer, RefundAtPsp) else signal_of(self.answer)

    def record(self, uow: UnitOfWork, now: datetime) -> None:
        refund = uow.refund()
        assert refund is not None
        if isinstance(self.answer, RefundAtPsp):
            acknowledged(uow, refund, self.answer, ANSWERED, self.policy, now)
        elif psp_outcome.awaits(refund, self.attempt):
            self._not_done(uow, refund, self.answer, now)

    def _not_done(self, uow: UnitOfWork, refund: Refund, failure: Failure, now: datetime) -> None:
        match failure:
            case Rejected():
                _failed(uow, refund, psp_outcome.refused(refund, failure, now, self.policy), ANSWERED, now)
            case NotExecuted():
                psp_outcome.hindered(refund, failure, now, self.policy)
            case Unknown():
                psp_outcome.defer_unknown(refund, failure, now, self.policy)


@dataclass(frozen=True, slots=True)
class Shown:
    """What the PSP's books show of a refund. `status`: ours, when they were read."""

    attempt: int
    status: RefundStatus
    answer: RefundAtPsp | Failure
    policy: Policy

    @property
    def signal(self) -> ProviderSignal:
        return ProviderSignal.ANSWER if isinstance(self.answer, RefundAtPsp) else signal_of(self.answer)

    def record(self, uow: UnitOfWork, now: datetime) -> None:
        refund = uow.refund()
        assert refund is not None
        if isinstance(self.answer, RefundAtPsp):
            acknowledged(uow, refund, self.answer, ASKED, self.policy, now)
        elif self._still_the_question(refund):
            self._not_shown(uow, refund, self.answer, now)

    def _still_the_question(self, refund: Refund) -> bool:
        """What was not found says nothing about a call that began after the look."""
        operation = refund.operation
        return operation is not None and refund.status is self.status and operation.attempt == self.attempt

    def _not_shown(self, uow: UnitOfWork, refund: Refund, failure: Failure, now: datetime) -> None:
        if not (isinstance(failure, Rejected) and failure.status == 404):
            # an answer that cannot be read never ends anything
            why = failure.why.value if isinstance(failure, NotExecuted) else "look_up_failed"
            psp_outcome.postpone(refund, why, failure.message, now + self.policy.base, now)
        elif refund.status is RefundStatus.SUBMITTED:
            psp_outcome.undecided(refund, "unknown_there", failure.message, now, self.policy)
        else:
            _failed(uow, refund, psp_outcome.absent(refund, failure.message, now), ASKED, now)


@dataclass(frozen=True, slots=True)
class CallGivenBack:
    """The call was not made after all."""

    attempt: int
    why: str
    signal: ProviderSignal = ProviderSignal.NOTHING

    def record(self, uow: UnitOfWork, now: datetime) -> None:
        refund = uow.refund()
        if refund is not None:
            psp_outcome.give_back(refund, self.attempt, self.why, now)


def acknowledged(uow: UnitOfWork, refund: Refund, seen: RefundAtPsp, source: str, policy: Policy, now: datetime) -> None:
    """The PSP has it: that is recorded, and its final word where it has one already."""
    if refund.status is RefundStatus.REQUESTED:
        refund.submit(seen.refund_id, now + policy.base, now)
        record_refund_at_psp(uow, refund, seen, source, now)
    elif not record_refund_at_psp(uow, refund, seen, source, now) and refund.status is RefundStatus.SUBMITTED:
        psp_outcome.undecided(refund, "pending", f"The payment provider shows it as {seen.status}.", now, policy)


def _failed(uow: UnitOfWork, refund: Refund, why: str | None, source: str, now: datetime) -> None:
    """It is certain that the buyer gets nothing: what was reserved is free again."""
    if why is not None:
        refund.fail(source, why, now)
        uow.order(refund.order_id).release(refund.key, now)
