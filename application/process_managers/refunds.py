"""Process manager that gives buyers their money back: `POST /refunds` at the PSP, and questions to
it about refunds.

The outcome of a call and the PSP's decision are recorded alike: with the order, its transfers and
the refund in one append, as if the PSP's webhook had reported them. The first report counts, a
second one changes nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, assert_never
from uuid import UUID

from application.commands.refunds import ANSWERED, ASKED, record_refund_at_psp
from application.gateways import PaymentGateway
from application.ports import EventLog, FleetState
from application.process_managers.process import NotCalled, load_order
from application.unit_of_work import UnitOfWork
from domain.errors import ConstraintBroken, LedgerError, Refused, UnknownId
from domain.pause import EVERYTHING, scope_of_work
from domain.provider_call.outcome import (
    Failure,
    NotExecuted,
    ProviderSignal,
    Rejected,
    Unknown,
    signal_of,
)
from domain.provider_call.psp_objects import RefundAtPsp
from domain.provider_call.reasons import DeferralReason
from domain.provider_call.retry_policy import Policy
from domain.provider_call.steps import LookUp, Send, Step
from domain.provider_call.stripe_objects import TransferAtStripe
from domain.refund import psp_outcome
from domain.refund.aggregate import Refund
from domain.refund.state import RefundStatus


class Shown(NamedTuple):
    """The refund as the PSP shows it."""

    seen: RefundAtPsp
    asked_at: int
    """Version of the refund here when the PSP was called or asked. Later reports outweigh the
    answer."""


class NotShown(NamedTuple):
    """A question to the PSP that was not answered with the refund."""

    failure: Failure
    asked_at: int
    """Version of the refund here when the PSP was asked."""


RefundAnswer = Shown | Failure | NotShown


@dataclass(frozen=True, slots=True)
class RefundProcess:
    """Submits refunds that are `requested` and asks about those that are `submitted`, when they are
    due."""

    gateway: PaymentGateway
    policy: Policy
    kind: str = "refunding"
    endpoint: str = "psp.refunds"

    @property
    def unrecordable(self) -> tuple[type[LedgerError], ...]:
        return (ConstraintBroken, Refused)

    async def load(
        self, event_log: EventLog, subject_id: UUID, intent: UnitOfWork | None
    ) -> UnitOfWork:
        """Load everything anew: the unit of work of the intent lacks the order, which a decision
        changes."""
        uow = await event_log.load([subject_id])
        uow.merge(await load_order(event_log, _refund(uow, subject_id).order_id))
        uow.mark_unverified()
        return uow

    def account(self, uow: UnitOfWork, subject_id: UUID) -> str:
        return ""

    def may_run(self, uow: UnitOfWork, subject_id: UUID, state: FleetState) -> bool:
        """Return whether no pause forbids it; an outage of Stripe stops no refund."""
        return state.paused.isdisjoint({EVERYTHING, scope_of_work(self.kind)})

    def next_step(
        self, uow: UnitOfWork, subject_id: UUID, now: datetime, state: FleetState
    ) -> Step:
        return psp_outcome.begin(_refund(uow, subject_id), now, self.policy)

    async def call(self, uow: UnitOfWork, subject_id: UUID, step: Send) -> RefundAnswer:
        assert "refund_id" in step.body, "the step of a refund has the body of one"
        refund = _refund(uow, subject_id)
        asked_at = refund.version
        answer = await self.gateway.create_refund(step.key, step.body, refund.currency)
        return Shown(answer, asked_at) if isinstance(answer, RefundAtPsp) else answer

    async def look_up(self, uow: UnitOfWork, subject_id: UUID, step: LookUp) -> RefundAnswer:
        refund = _refund(uow, subject_id)
        asked_at = refund.version
        answer = await self.gateway.refund(refund.psp_refund_id or refund.key)
        if isinstance(answer, RefundAtPsp):
            return Shown(answer, asked_at)
        return NotShown(answer, asked_at)

    def books(self, answer: RefundAnswer | NotCalled) -> Sequence[TransferAtStripe]:
        return ()

    def signal(self, answer: RefundAnswer) -> ProviderSignal:
        match answer:
            case Shown():
                return signal_of(answer.seen)
            case NotShown():
                return signal_of(answer.failure)
            case _:
                return signal_of(answer)

    def record(
        self,
        uow: UnitOfWork,
        subject_id: UUID,
        step: Send | LookUp,
        answer: RefundAnswer | NotCalled,
        now: datetime,
    ) -> Sequence[str]:
        refund = _refund(uow, subject_id)
        match answer:
            case Shown():
                self._record_shown(
                    uow, refund, answer, ANSWERED if isinstance(step, Send) else ASKED, now
                )
            case Rejected() | NotExecuted() | Unknown():
                why = psp_outcome.record_failure(refund, step.attempt, answer, now, self.policy)
                _fail(uow, refund, why, ANSWERED, now)
            case NotShown():
                self._record_not_shown(uow, refund, answer, now)
            case NotCalled():
                if isinstance(
                    step, Send
                ):  # a look-up has no intent, and says nothing about a call before it
                    psp_outcome.give_back(refund, step.attempt, answer.why, now)
            case _:
                assert_never(answer)
        return ()

    def _record_shown(
        self, uow: UnitOfWork, refund: Refund, answer: Shown, source: str, now: datetime
    ) -> None:
        """Record the PSP's acknowledgement, and its decision if the answer contains one.

        If the refund has changed since the question, its decision may be an old one: a refund that
        is still undecided here is due, and is asked about again.
        """
        seen, current = answer.seen, refund.version == answer.asked_at
        acknowledged = refund.status is RefundStatus.REQUESTED
        if acknowledged:
            refund.submit(seen.refund_id, psp_outcome.ask_first_at(refund, now, self.policy), now)
        if not current:
            return
        decided = record_refund_at_psp(uow, refund, seen, source, now)
        if not decided and not acknowledged and refund.status is RefundStatus.SUBMITTED:
            detail = f"The payment provider shows it as {seen.status}."
            psp_outcome.ask_again(refund, DeferralReason.PENDING, detail, now, self.policy)

    def _record_not_shown(
        self, uow: UnitOfWork, refund: Refund, answer: NotShown, now: datetime
    ) -> None:
        operation, failure = refund.operation, answer.failure
        if operation is None or refund.version != answer.asked_at:
            return  # the question is outdated: a call that began later may have made the refund
        if not (isinstance(failure, Rejected) and failure.status == 404):
            # an answer that cannot be read decides nothing
            why = (
                DeferralReason(failure.why)
                if isinstance(failure, NotExecuted)
                else DeferralReason.LOOK_UP_FAILED
            )
            until = now + self.policy.base
            psp_outcome.put_off(refund, why, failure.message, until, now, self.policy)
        elif refund.status is RefundStatus.SUBMITTED:
            psp_outcome.ask_again(
                refund, DeferralReason.UNKNOWN_THERE, failure.message, now, self.policy
            )
        else:
            _fail(uow, refund, psp_outcome.record_absence(refund, failure.message, now), ASKED, now)

    def keep(
        self,
        uow: UnitOfWork,
        subject_id: UUID,
        step: Send | LookUp,
        answer: RefundAnswer | NotCalled,
        why: str,
        now: datetime,
    ) -> None:
        """Put the refund off; its deferral raises an alarm."""
        until = now + self.policy.maximum
        psp_outcome.postpone(_refund(uow, subject_id), DeferralReason.HELD, why, until, now)


def _refund(uow: UnitOfWork, subject_id: UUID) -> Refund:
    refund = uow.refund()
    if refund is None or refund.id != subject_id:
        raise UnknownId("refund", str(subject_id))
    return refund


def _fail(uow: UnitOfWork, refund: Refund, why: str | None, source: str, now: datetime) -> None:
    """Record that the refund has failed, if there is a reason, and release its reservation of the
    order."""
    if why is not None:
        refund.fail(source, why, now)
        uow.order(refund.order_id).release_refund(refund.key, now)
