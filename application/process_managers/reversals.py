"""The process manager that takes money back: `POST /v1/transfers/{id}/reversals`, and reading a transfer's reversals."""

from dataclasses import dataclass
from datetime import datetime
from typing import cast

from application.ports import TransferGateway
from application.process_managers.process import CallResult
from application.process_managers.transfer_errands import OnTransfers
from application.process_managers.transfers import Unread
from domain.provider_call.outcome import LookUpFailed, NotAtStripe, Outcome, ProviderSignal, Succeeded, signal_of
from domain.provider_call.request_body import ReversalBody
from domain.provider_call.retry_policy import Policy
from domain.provider_call.steps import LookUp, Send, proves_absence
from domain.provider_call.stripe_objects import TransferAtStripe
from domain.seller_transfer import reversal_outcome
from domain.seller_transfer.aggregate import SellerTransfer
from domain.seller_transfer.stripe_call import keep_evidence


@dataclass(frozen=True, slots=True)
class ReversalProcess(OnTransfers):
    """Reverses what is `reversal_pending` and due."""

    gateway: TransferGateway
    policy: Policy
    kind: str = "reversing"
    endpoint: str = "reversals.create"

    async def call(self, transfer: SellerTransfer, step: Send) -> CallResult:
        body = cast("ReversalBody", step.body)
        outcome = await self.gateway.reverse(
            body["stripe_transfer_id"], body["amount"], body["reason"], step.key, body["metadata"]
        )
        seen = await self._seen(body["stripe_transfer_id"]) if reversal_outcome.needs_look(outcome) else None
        return Answered(step.what, step.attempt, outcome, seen, self.policy)

    async def look_up(self, transfer: SellerTransfer, step: LookUp) -> CallResult:
        try:
            return Seen(await self.gateway.get_transfer(transfer.stripe_transfer_id or ""), step)
        except LookUpFailed as unread:
            return Unread(str(unread), self.policy, unread.signal)
        except NotAtStripe as absent:
            return NoSuchTransfer(str(absent), step)

    async def _seen(self, stripe_transfer_id: str) -> TransferAtStripe | None:
        """Stripe's books after a refusal; None when they could not be read, and then the refusal stays undecided."""
        try:
            return await self.gateway.get_transfer(stripe_transfer_id)
        except (LookUpFailed, NotAtStripe):
            return None


@dataclass(frozen=True, slots=True)
class Answered:
    """Stripe's answer to one call, and what its books showed after a refusal."""

    reversal_id: str
    attempt: int
    outcome: Outcome
    seen: TransferAtStripe | None
    policy: Policy

    @property
    def signal(self) -> ProviderSignal:
        return signal_of(self.outcome)

    def record(self, transfer: SellerTransfer, now: datetime) -> None:
        reversal_outcome.settle_reversal(transfer, self.reversal_id, self.attempt, self.outcome, self.seen, now, self.policy)

    def hold(self, transfer: SellerTransfer, why: str, now: datetime) -> bool:
        if not isinstance(self.outcome, Succeeded):
            return False
        detail = f"Stripe holds {self.outcome.stripe_id} for this reversal, but it cannot be recorded: {why}"
        keep_evidence(
            transfer,
            self.reversal_id,
            self.outcome.stripe_id,
            self.outcome.amount,
            detail,
            self.outcome.request_id,
            now,
        )
        return True


@dataclass(frozen=True, slots=True)
class Seen:
    """What Stripe's books show of this transfer and its reversals."""

    transfer: TransferAtStripe
    look: LookUp
    """The step that was taken: what it did not find proves nothing about a call that began after it."""
    signal: ProviderSignal = ProviderSignal.ANSWER

    def record(self, transfer: SellerTransfer, now: datetime) -> None:
        reversal_outcome.settle_look_up(transfer, self.transfer, now, self.look)

    def hold(self, transfer: SellerTransfer, why: str, now: datetime) -> bool:
        detail = f"Stripe's books of {self.transfer.stripe_transfer_id} cannot be recorded: {why}"
        keep_evidence(transfer, "look-up", self.transfer.stripe_transfer_id, self.transfer.amount_reversed, detail, None, now)
        return True


@dataclass(frozen=True, slots=True)
class NoSuchTransfer:
    """Stripe says that it does not know the transfer."""

    why: str
    look: LookUp
    signal: ProviderSignal = ProviderSignal.NOT_FOUND

    def record(self, transfer: SellerTransfer, now: datetime) -> None:
        if transfer.in_flight is not None and transfer.operation and proves_absence(self.look, transfer.operation):
            reversal_outcome.no_such_transfer(transfer, self.why, None, now)

    def hold(self, transfer: SellerTransfer, why: str, now: datetime) -> bool:
        return False
