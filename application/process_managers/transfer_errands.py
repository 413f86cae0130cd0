"""What both kinds of work on transfers have in common: paying sellers, and taking money back from them."""

from datetime import datetime
from uuid import UUID

from application.ports import Clock, EventLog, FleetState
from application.process_managers.outcome_recorder import Recorder
from application.process_managers.process import CallResult, GivenBack
from application.unit_of_work import UnitOfWork
from domain.provider_call.retry_policy import Policy
from domain.provider_call.steps import Step
from domain.seller_transfer.aggregate import SellerTransfer
from domain.seller_transfer.stripe_call import begin


class OnTransfers:
    """A part of an `ProcessManager`: its subject is a transfer, which may be paused by seller and stops in Stripe's outages."""

    __slots__ = ()
    kind: str
    policy: Policy

    def subject(self, uow: UnitOfWork, subject_id: UUID) -> SellerTransfer:
        return uow.transfer(subject_id)

    def may(self, subject: SellerTransfer, state: FleetState) -> bool:
        return state.allows(self.kind, subject.seller_id)

    def begin(self, subject: SellerTransfer, now: datetime, state: FleetState) -> Step:
        return begin(subject, now, self.policy, state.look_first)

    def given_back(self, attempt: int, why: str) -> CallResult:
        return GivenBack(attempt, why)

    def recorder(self, ledger: EventLog, clock: Clock) -> Recorder:
        return Recorder(ledger, clock)
