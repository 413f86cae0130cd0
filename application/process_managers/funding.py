"""Process manager that reads the charge of a paid order at Stripe, so that the sale funds its own
transfers.

The answer is recorded once, with the order and its transfers in one append. A read moves no money,
so no intent precedes it: if the process dies, another process reads again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, assert_never
from uuid import UUID

from application.gateways import ChargeReader
from application.ports import EventLog, FleetState
from application.process_managers.process import NotCalled, load_order
from application.unit_of_work import UnitOfWork
from domain.errors import ConstraintBroken, LedgerError, UnknownId
from domain.order import charge
from domain.order.aggregate import Order
from domain.pause import EVERYTHING, scope_of_work
from domain.provider_call.outcome import (
    Failure,
    Hindrance,
    NotExecuted,
    ProviderSignal,
    Rejected,
    Unknown,
    signal_of,
)
from domain.provider_call.reasons import DeferralReason
from domain.provider_call.retry_policy import Policy
from domain.provider_call.steps import LookUp, Send, Step
from domain.provider_call.stripe_objects import ChargeAtStripe, TransferAtStripe


class NoChargeYet(NamedTuple):
    """A PaymentIntent that has no charge."""


ChargeAnswer = ChargeAtStripe | NoChargeYet | Failure


@dataclass(frozen=True, slots=True)
class FundingProcess:
    """Reads the charges of paid orders when they are due."""

    reader: ChargeReader
    policy: Policy
    kind: str = "funding"
    endpoint: str = "payment_intents.retrieve"

    @property
    def unrecordable(self) -> tuple[type[LedgerError], ...]:
        return (ConstraintBroken,)

    async def load(
        self, event_log: EventLog, subject_id: UUID, intent: UnitOfWork | None
    ) -> UnitOfWork:
        """Load the order with its transfers, which the answer changes."""
        order = _order(await event_log.load([subject_id]), subject_id)
        uow = await load_order(event_log, order.order_id)
        uow.mark_unverified()
        return uow

    def account(self, uow: UnitOfWork, subject_id: UUID) -> str:
        return ""  # a charge is the platform's own

    def may_run(self, uow: UnitOfWork, subject_id: UUID, state: FleetState) -> bool:
        scopes = {EVERYTHING, scope_of_work(self.kind)}
        return not state.outage and state.paused.isdisjoint(scopes)

    def next_step(
        self, uow: UnitOfWork, subject_id: UUID, now: datetime, state: FleetState
    ) -> Step:
        return charge.begin(_order(uow, subject_id), now)

    async def call(self, uow: UnitOfWork, subject_id: UUID, step: Send) -> ChargeAnswer:
        raise NotImplementedError("a charge is only read")

    async def look_up(self, uow: UnitOfWork, subject_id: UUID, step: LookUp) -> ChargeAnswer:
        payment = _order(uow, subject_id).connector_payment
        assert payment is not None, "the step of an order whose payment has a name"
        return await self.reader.charge(payment) or NoChargeYet()

    def books(self, answer: ChargeAnswer | NotCalled) -> Sequence[TransferAtStripe]:
        return ()

    def signal(self, answer: ChargeAnswer) -> ProviderSignal:
        """Return the signal of an answer. A payment that our key may not read says nothing about
        the key of transfers."""
        return ProviderSignal.ANSWER if _is_unreadable(answer) else signal_of(answer)

    def record(
        self,
        uow: UnitOfWork,
        subject_id: UUID,
        step: Send | LookUp,
        answer: ChargeAnswer | NotCalled,
        now: datetime,
    ) -> Sequence[str]:
        order = _order(uow, subject_id)
        if order.read_charge_at is None or order.charge_reads != step.attempt:
            return ()  # another process has recorded an answer
        match answer:
            case ChargeAtStripe():
                charge.find(order, uow.transfers(), answer, now)
            case NoChargeYet():
                self._record_no_charge(uow, order, now)
            case Rejected() | NotExecuted() | Unknown() if _is_unreadable(answer):
                charge.lose(order, uow.transfers(), "not_readable", answer.message, now)
            case Rejected() | NotExecuted() | Unknown():
                why = (
                    DeferralReason(answer.why.value)
                    if isinstance(answer, NotExecuted)
                    else DeferralReason.LOOK_UP_FAILED
                )
                charge.defer(order, why, answer.message, now, self.policy)
            case NotCalled():
                pass
            case _:
                assert_never(answer)
        return ()

    def _record_no_charge(self, uow: UnitOfWork, order: Order, now: datetime) -> None:
        detail = f"Stripe shows no charge of {order.connector_payment!r}."
        if order.charge_absences < self.policy.max_retries:
            charge.defer(order, DeferralReason.PENDING, detail, now, self.policy)
        else:
            charge.lose(order, uow.transfers(), "no_charge", detail, now)

    def keep(
        self,
        uow: UnitOfWork,
        subject_id: UUID,
        step: Send | LookUp,
        answer: ChargeAnswer | NotCalled,
        why: str,
        now: datetime,
    ) -> None:
        """Put the read off; its deferral raises an alarm."""
        order = _order(uow, subject_id)
        if order.read_charge_at is not None:
            charge.defer(order, DeferralReason.HELD, why, now, self.policy)


def _order(uow: UnitOfWork, subject_id: UUID) -> Order:
    order = uow.order_with(subject_id)
    if order is None:
        raise UnknownId("order", str(subject_id))
    return order


def _is_unreadable(answer: object) -> bool:
    """Return whether Stripe answered that our key cannot read the payment."""
    match answer:
        case Rejected() | NotExecuted(why=Hindrance.FORBIDDEN):
            return True
        case _:
            return False
