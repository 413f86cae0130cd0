"""Process manager that pays sellers: `POST /v1/transfers`, and look-ups of our transfer at
Stripe."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple, assert_never
from uuid import UUID

from application.gateways import TransferGateway
from application.ports import Directory, EventLog, FleetState
from application.process_managers.process import NotCalled
from application.reconciliation.lost_compensations import (
    lost_compensation,
    obstacle,
    record_compensation,
)
from application.unit_of_work import UnitOfWork
from domain.errors import ConstraintBroken, LedgerError
from domain.identity import compensated
from domain.provider_call.operation import TRANSFER
from domain.provider_call.outcome import (
    LookUpFailed,
    NotExecuted,
    Outcome,
    ProviderSignal,
    Rejected,
    Succeeded,
    Unknown,
    signal_of,
)
from domain.provider_call.reasons import DeferralReason
from domain.provider_call.retry_policy import Policy
from domain.provider_call.steps import LookUp, Rest, Send, Step
from domain.provider_call.stripe_objects import TransferAtStripe
from domain.seller_transfer.aggregate import SellerTransfer, causes_to_recover
from domain.seller_transfer.stripe_call import begin, give_back, keep_evidence, postpone
from domain.seller_transfer.transfer_outcome import (
    complete,
    give_way,
    record_failure,
    record_look_up,
)

PAYING = "transferring"
"""The kind of work that pays sellers."""
SLACK = timedelta(days=1)
"""A look-up begins this much earlier than the instant that an older system names: its clock and
time zone may differ."""


class TransfersFound(NamedTuple):
    """Result of a look-up at Stripe."""

    ours: Sequence[TransferAtStripe]
    """Transfers that carry our id."""
    similar: Sequence[TransferAtStripe] = ()
    """Transfers that an older system may have paid the seller with."""
    compensations: Sequence[TransferAtStripe] = ()
    """Transfers that give an amount of it back, whether recorded here or not."""


TransferAnswer = Outcome | TransfersFound | LookUpFailed


class StripeProcess:
    """The rules that paying sellers and reversing have in common."""

    __slots__ = ()
    kind: str
    policy: Policy
    ledger_id: str | None

    @property
    def unrecordable(self) -> tuple[type[LedgerError], ...]:
        return (ConstraintBroken,)

    async def load(
        self, event_log: EventLog, subject_id: UUID, intent: UnitOfWork | None
    ) -> UnitOfWork:
        return intent or await event_log.load([subject_id])

    def account(self, uow: UnitOfWork, subject_id: UUID) -> str:
        return uow.transfer(subject_id).destination

    def may_run(self, uow: UnitOfWork, subject_id: UUID, state: FleetState) -> bool:
        return state.allows(self.kind, uow.transfer(subject_id).seller_id)

    def next_step(
        self, uow: UnitOfWork, subject_id: UUID, now: datetime, state: FleetState
    ) -> Step:
        transfer = uow.transfer(subject_id)
        operation = transfer.operation
        if operation is not None and (operation.what == TRANSFER) is not (self.kind == PAYING):
            # the claim is old: another process has ended the operation that was claimed
            return Rest("another kind of work is due")
        return begin(transfer, now, self.policy, state.look_first, self.ledger_id)


@dataclass(frozen=True, slots=True)
class TransferProcess(StripeProcess):
    """Pays transfers that are `pending` or `failed` and due."""

    gateway: TransferGateway
    directory: Directory
    policy: Policy
    kind: str = PAYING
    endpoint: str = "transfers.create"
    ledger_id: str | None = None

    async def call(self, uow: UnitOfWork, subject_id: UUID, step: Send) -> TransferAnswer:
        assert "destination" in step.body, "the step of a transfer has the body of one"
        return await self.gateway.create(step.body, step.key)

    async def look_up(self, uow: UnitOfWork, subject_id: UUID, step: LookUp) -> TransferAnswer:
        transfer, since = uow.transfer(subject_id), step.since - self.policy.clock_leeway
        try:
            own = str(transfer.id)
            found = [
                seen
                for destination in transfer.accounts
                for seen in await self.gateway.find_by_our_id(own, destination, since)
                if step.restored or not self._foreign(transfer, seen)
            ]
            ours = [one for one in found if one.transfer_id == own]
            others = [one for one in found if one.transfer_id != own]
            similar = await self._similar(transfer) if not found else ()
            return TransfersFound(ours, similar, others)
        except LookUpFailed as unread:
            return unread

    def _foreign(self, transfer: SellerTransfer, seen: TransferAtStripe) -> bool:
        """Return whether another ledger made it. A key that this transfer was sent under names the
        ledger too, in case a restore has lost the binding."""
        sent_under = (transfer.operation.epoch_key if transfer.operation else None) or ""
        return seen.is_foreign(self.ledger_id) and not sent_under.endswith(seen.ledger_id or "")

    async def _similar(self, transfer: SellerTransfer) -> Sequence[TransferAtStripe]:
        if not transfer.imported:
            return ()
        since = transfer.begun_at - SLACK
        seen = await self.gateway.find_similar(
            transfer.destination, transfer.currency, transfer.original, since
        )
        claimed = await self.directory.claimed(seen)
        return [
            one
            for one in seen
            if one.stripe_transfer_id not in claimed and not one.is_foreign(self.ledger_id)
        ]

    def books(self, answer: TransferAnswer | NotCalled) -> Sequence[TransferAtStripe]:
        if not isinstance(answer, TransfersFound):
            return ()
        return [*answer.ours, *answer.compensations]

    def signal(self, answer: TransferAnswer) -> ProviderSignal:
        return signal_of(answer)

    def record(
        self,
        uow: UnitOfWork,
        subject_id: UUID,
        step: Send | LookUp,
        answer: TransferAnswer | NotCalled,
        now: datetime,
    ) -> Sequence[str]:
        transfer = uow.transfer(subject_id)
        reduced = dict(transfer.reductions)
        found: list[str] = []
        match answer:
            case Succeeded():
                complete(transfer, answer.stripe_id, answer.amount, answer.request_id, now)
            case Rejected() | NotExecuted() | Unknown():
                record_failure(transfer, step.attempt, answer, now, self.policy)
            case TransfersFound():
                assert isinstance(step, LookUp)
                found = _record_found(uow, transfer, step, answer, now, self.policy)
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
        answer: TransferAnswer | NotCalled,
        why: str,
        now: datetime,
    ) -> None:
        match answer:
            case Succeeded(stripe_id=stripe_id, amount=amount, request_id=request_id):
                pass
            case TransfersFound(ours=[first, *_]):
                stripe_id, amount, request_id = first.stripe_transfer_id, first.amount, None
            case _:
                return
        detail = f"Stripe holds {stripe_id} for this transfer, but it cannot be recorded: {why}"
        keep_evidence(
            uow.transfer(subject_id), TRANSFER, stripe_id, amount, detail, request_id, now
        )


def _record_found(
    uow: UnitOfWork,
    transfer: SellerTransfer,
    look: LookUp,
    answer: TransfersFound,
    now: datetime,
    policy: Policy,
) -> list[str]:
    """Record a look-up, with the compensations that a restored backup has lost; return the causes
    for which shares must be recovered again."""
    known = {str(other.id) for other in uow.transfers()}
    lost = [
        one
        for seen in answer.compensations
        if seen.transfer_id not in known and (one := lost_compensation(seen)) is not None
    ]
    if uow.known_order(transfer.order_id) is None:
        lost = []
    if not answer.ours:
        for one in lost:
            give_way(transfer, one.cause_id, one.seen.amount, look, now, policy)
    recorded = uow.recorded_causes(transfer.order_id)
    found = record_look_up(transfer, answer.ours, now, policy, look, answer.similar, recorded)
    for one in lost:
        if obstacle(one, uow.transfers()) is None:
            found += record_compensation(uow, one, None, now)
    given_back = compensated(transfer.cause)
    if given_back is not None and transfer.amount > transfer.original:
        found.append(given_back.cause_id)  # a lost ledger had given back more
    return found


def postpone_look_up(
    transfer: SellerTransfer, failed: LookUpFailed, now: datetime, policy: Policy
) -> None:
    """Repeat a look-up that failed; it decides nothing."""
    if transfer.operation is not None:
        until = now + policy.delay(transfer.operation.retry_count)
        postpone(transfer, DeferralReason.LOOK_UP_FAILED, str(failed), until, now)
