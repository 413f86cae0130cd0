"""Process manager that reverses transfers: `POST /v1/transfers/{id}/reversals`, and look-ups of a
transfer's reversals."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, assert_never
from uuid import UUID

from application.gateways import TransferGateway
from application.process_managers.process import NotCalled
from application.process_managers.transfers import StripeProcess, postpone_look_up
from application.unit_of_work import UnitOfWork
from domain.provider_call.outcome import (
    Failure,
    LookUpFailed,
    NotAtStripe,
    Pending,
    ProviderSignal,
    Succeeded,
    signal_of,
)
from domain.provider_call.retry_policy import Policy
from domain.provider_call.steps import LookUp, Send, proves_absence
from domain.provider_call.stripe_objects import TransferAtStripe
from domain.seller_transfer.aggregate import causes_to_recover
from domain.seller_transfer.reversal_outcome import (
    complete_reversal,
    needs_look_up,
    record_failure,
    record_look_up,
    record_pending,
    record_unknown_transfer,
)
from domain.seller_transfer.stripe_call import give_back, keep_evidence


class ReversalFailed(NamedTuple):
    """A call that did not succeed."""

    failure: Failure
    seen: TransferAtStripe | None
    """The transfer as read at Stripe after a refusal; None if it was not or could not be read."""


ReversalAnswer = (
    Succeeded | Pending | ReversalFailed | TransferAtStripe | LookUpFailed | NotAtStripe
)


@dataclass(frozen=True, slots=True)
class ReversalProcess(StripeProcess):
    """Reverses transfers that are `reversal_pending` and due."""

    gateway: TransferGateway
    policy: Policy
    kind: str = "reversing"
    endpoint: str = "reversals.create"
    ledger_id: str | None = None

    async def call(self, uow: UnitOfWork, subject_id: UUID, step: Send) -> ReversalAnswer:
        body = step.body
        assert "stripe_transfer_id" in body, "the step of a reversal has the body of one"
        outcome = await self.gateway.reverse(
            body["stripe_transfer_id"],
            body["amount"],
            body["reason"],
            step.key,
            body["metadata"],
            body.get("currency", ""),
        )
        if isinstance(outcome, Succeeded | Pending):
            return outcome
        seen = await self._read(body["stripe_transfer_id"]) if needs_look_up(outcome) else None
        return ReversalFailed(outcome, seen if isinstance(seen, TransferAtStripe) else None)

    async def look_up(self, uow: UnitOfWork, subject_id: UUID, step: LookUp) -> ReversalAnswer:
        return await self._read(uow.transfer(subject_id).stripe_transfer_id or "")

    async def _read(self, stripe_transfer_id: str) -> TransferAtStripe | LookUpFailed | NotAtStripe:
        try:
            return await self.gateway.get_transfer(stripe_transfer_id)
        except (LookUpFailed, NotAtStripe) as unread:
            return unread

    def books(self, answer: ReversalAnswer | NotCalled) -> Sequence[TransferAtStripe]:
        seen = answer.seen if isinstance(answer, ReversalFailed) else answer
        return [seen] if isinstance(seen, TransferAtStripe) else []

    def signal(self, answer: ReversalAnswer) -> ProviderSignal:
        return signal_of(answer.failure if isinstance(answer, ReversalFailed) else answer)

    def record(
        self,
        uow: UnitOfWork,
        subject_id: UUID,
        step: Send | LookUp,
        answer: ReversalAnswer | NotCalled,
        now: datetime,
    ) -> Sequence[str]:
        transfer = uow.transfer(subject_id)
        reduced, recorded = dict(transfer.reductions), uow.recorded_causes(transfer.order_id)
        found: list[str] = []
        match answer:
            case Succeeded():
                complete_reversal(
                    transfer, step.what, answer.stripe_id, answer.amount, answer.request_id, now
                )
            case Pending():
                record_pending(transfer, step.what, answer, now, self.policy)
            case ReversalFailed():
                found = record_failure(
                    transfer,
                    step.what,
                    step.attempt,
                    answer.failure,
                    answer.seen,
                    now,
                    self.policy,
                    recorded,
                )
            case TransferAtStripe():
                assert isinstance(step, LookUp)
                found = record_look_up(transfer, answer, now, self.policy, step, recorded)
            case NotAtStripe():
                assert isinstance(step, LookUp)
                if (
                    transfer.in_flight is not None
                    and transfer.operation
                    and proves_absence(step, transfer.operation, now, self.policy)
                ):
                    record_unknown_transfer(transfer, str(answer), None, now)
            case LookUpFailed():
                postpone_look_up(transfer, answer, now, self.policy)
            case NotCalled():
                if isinstance(
                    step, Send
                ):  # a look-up has no intent, and says nothing about a call before it
                    give_back(transfer, step.what, step.attempt, answer.why, now)
            case _:
                assert_never(answer)
        return [*causes_to_recover(transfer, reduced), *found]

    def keep(
        self,
        uow: UnitOfWork,
        subject_id: UUID,
        step: Send | LookUp,
        answer: ReversalAnswer | NotCalled,
        why: str,
        now: datetime,
    ) -> None:
        transfer = uow.transfer(subject_id)
        match answer:
            case Succeeded():
                detail = (
                    f"Stripe holds {answer.stripe_id} for this reversal, but it cannot be "
                    f"recorded: {why}"
                )
                keep_evidence(
                    transfer,
                    step.what,
                    answer.stripe_id,
                    answer.amount,
                    detail,
                    answer.request_id,
                    now,
                )
            case TransferAtStripe():
                detail = f"Stripe's books of {answer.stripe_transfer_id} cannot be recorded: {why}"
                keep_evidence(
                    transfer,
                    "look-up",
                    answer.stripe_transfer_id,
                    answer.amount_reversed,
                    detail,
                    None,
                    now,
                )
            case _:
                return
