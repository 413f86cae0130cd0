"""The process manager that pays sellers: `POST /v1/transfers`, and looking for our transfer in Stripe's books."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import cast

from application.ports import Directory, TransferGateway
from application.process_managers.process import CallResult
from application.process_managers.transfer_errands import OnTransfers
from domain.provider_call.operation import TRANSFER
from domain.provider_call.outcome import LookUpFailed, Outcome, ProviderSignal, Succeeded, signal_of
from domain.provider_call.request_body import TransferBody
from domain.provider_call.retry_policy import Policy
from domain.provider_call.steps import LookUp, Send
from domain.provider_call.stripe_objects import TransferAtStripe
from domain.seller_transfer import transfer_outcome
from domain.seller_transfer.aggregate import SellerTransfer
from domain.seller_transfer.stripe_call import keep_evidence, postpone

SLACK = timedelta(days=1)
"""How much earlier than an older system says it may have sent a transfer: its clock and its zone are not ours."""


@dataclass(frozen=True, slots=True)
class TransferProcess(OnTransfers):
    """Pays what is `pending` or `failed` and due."""

    gateway: TransferGateway
    directory: Directory
    policy: Policy
    kind: str = "transferring"
    endpoint: str = "transfers.create"

    async def call(self, transfer: SellerTransfer, step: Send) -> CallResult:
        outcome = await self.gateway.create(cast("TransferBody", step.body), step.key)
        return Answered(step.attempt, outcome, self.policy)

    async def look_up(self, transfer: SellerTransfer, step: LookUp) -> CallResult:
        since = step.since - self.policy.clock_leeway
        try:
            found = await self.gateway.find_by_our_id(str(transfer.id), transfer.destination, since)
            alike = await self._alike(transfer) if not found else ()
        except LookUpFailed as unread:
            return Unread(str(unread), self.policy, unread.signal)
        return Found(found, step, alike)

    async def _alike(self, transfer: SellerTransfer) -> Sequence[TransferAtStripe]:
        """What an older system may have paid this transfer with: like it, and claimed by none of ours."""
        if not transfer.imported:
            return ()
        since = transfer.begun_at - SLACK
        seen = await self.gateway.find_similar(transfer.destination, transfer.currency, transfer.original, since)
        claimed = await self.directory.claimed(seen)
        return [one for one in seen if one.stripe_transfer_id not in claimed]


@dataclass(frozen=True, slots=True)
class Answered:
    """Stripe's answer, or the lack of one, to one call."""

    attempt: int
    outcome: Outcome
    policy: Policy

    @property
    def signal(self) -> ProviderSignal:
        return signal_of(self.outcome)

    def record(self, transfer: SellerTransfer, now: datetime) -> None:
        transfer_outcome.settle_transfer(transfer, self.attempt, self.outcome, now, self.policy)

    def hold(self, transfer: SellerTransfer, why: str, now: datetime) -> bool:
        return isinstance(self.outcome, Succeeded) and _held(
            transfer, self.outcome.stripe_id, self.outcome.amount, why, self.outcome.request_id, now
        )


@dataclass(frozen=True, slots=True)
class Found:
    """What Stripe's books show of this transfer."""

    seen: Sequence[TransferAtStripe]
    look: LookUp
    """The step that was taken: what it did not find proves nothing about a call that began after it."""
    alike: Sequence[TransferAtStripe] = ()
    """What an older system may have paid it with."""
    signal: ProviderSignal = ProviderSignal.ANSWER

    def record(self, transfer: SellerTransfer, now: datetime) -> None:
        transfer_outcome.settle_look_up(transfer, self.seen, now, self.look, self.alike)

    def hold(self, transfer: SellerTransfer, why: str, now: datetime) -> bool:
        return any(_held(transfer, seen.stripe_transfer_id, seen.amount, why, None, now) for seen in self.seen[:1])


@dataclass(frozen=True, slots=True)
class Unread:
    """Stripe's books could not be read: that says nothing, and never ends anything."""

    why: str
    policy: Policy
    signal: ProviderSignal

    def record(self, transfer: SellerTransfer, now: datetime) -> None:
        operation = transfer.operation
        if operation is not None:
            postpone(transfer, "look_up_failed", self.why, now + self.policy.delay(operation.retry_count), now)

    def hold(self, transfer: SellerTransfer, why: str, now: datetime) -> bool:
        return False


def _held(transfer: SellerTransfer, stripe_id: str, amount: int, why: str, request_id: str | None, now: datetime) -> bool:
    detail = f"Stripe holds {stripe_id} for this transfer, but it cannot be recorded: {why}"
    keep_evidence(transfer, TRANSFER, stripe_id, amount, detail, request_id, now)
    return True
