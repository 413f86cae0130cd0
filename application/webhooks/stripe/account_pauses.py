"""Holding and releasing the work for sellers when their accounts at Stripe turn, and recording what Stripe pays out to them."""

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from uuid import UUID

from application.command_handler import CommandHandler
from application.ports import Clock, Directory, EventLog
from application.unit_of_work import CommitExtras, UnitOfWork
from application.webhooks.handler import DONE, Done
from domain.errors import CallInFlight, NothingToRetry
from domain.identity import pause_stream, payout_stream
from domain.lifecycle import TransferStatus
from domain.pause import Pause, scope_of_seller
from domain.payout import Payout, PayoutStatus
from domain.provider_call.reasons import WaitingFor
from domain.seller_transfer.aggregate import SellerTransfer

REVOKED = "it has revoked the platform's access"
"""Why a seller is paused who has left."""
MOST_BATCHES = 100
"""Of the transfers that one event makes due; what waits beyond them keeps its own time."""


class SellersWork:
    """Every method may be repeated. Facts name the event that caused them as their actor."""

    def __init__(self, ledger: EventLog, directory: Directory, clock: Clock) -> None:
        self._ledger, self._directory, self._handler = ledger, directory, CommandHandler(ledger, clock)

    async def pause(self, sellers: Sequence[str], account: str, why: str, actor: str) -> None:
        """No seller of these is paid; reversals go on, since money may leave the account all the same.
        A person's pause is another switch, and stays."""
        for seller_id in sellers:
            scope = scope_of_seller(seller_id, "transferring")

            def decide(uow: UnitOfWork, now: datetime, scope: str = scope) -> None:
                pause = uow.pause(scope)
                if pause is None:
                    pause = Pause.install(scope, now)
                    uow.add([pause])
                pause.pause(actor, f"{_of(account)}{why}", now)

            await self._handler.handle(partial(self._ledger.load, [pause_stream(scope)]), decide)

    async def resume(self, sellers: Sequence[str], account: str, actor: str, *, seen: bool) -> None:
        """End what an event about this account has paused, and nobody else. Unless it was `seen` at Stripe that it may be paid,
        a revoked access stays revoked: an event that says otherwise may be older."""
        for seller_id in sellers:
            scope = scope_of_seller(seller_id, "transferring")

            def decide(uow: UnitOfWork, now: datetime, scope: str = scope) -> None:
                pause = uow.pause(scope)
                if pause is None or not pause.paused_by_stripe or not pause.reason.startswith(_of(account)):
                    return
                if seen or not pause.reason.endswith(REVOKED):
                    pause.resume(actor, f"{_of(account)}its transfers are active", now)

            await self._handler.handle(partial(self._ledger.load, [pause_stream(scope)]), decide)

    async def retry(self, status: TransferStatus, waiting_for: WaitingFor, account: str | None, actor: str, why: str) -> None:
        """What waits for this is due now, a batch at a time."""
        after: UUID | None = None
        for _ in range(MOST_BATCHES):
            batch = await self._directory.waiting(status.value, waiting_for.value, account, after)
            if not batch:
                return

            def decide(uow: UnitOfWork, now: datetime) -> None:
                for transfer in uow.transfers():
                    _due_now(transfer, status, actor, why, now)

            await self._handler.handle(partial(self._ledger.load, batch), decide)
            after = batch[-1]

    async def payout(
        self,
        *,
        payout_id: str,
        account: str,
        seller_ids: list[str],
        amount: int,
        currency: str,
        arrival_date: datetime | None,
        status: PayoutStatus,
        detail: str | None,
        source: str,
        extras: CommitExtras,
    ) -> None:
        """Record what Stripe says of a payout."""

        def decide(uow: UnitOfWork, now: datetime) -> None:
            payout = uow.payout(account, payout_id)
            if payout is None:
                payout = Payout.announce(
                    payout_id=payout_id,
                    account=account,
                    seller_ids=seller_ids,
                    amount=amount,
                    currency=currency,
                    arrival_date=arrival_date,
                    source=source,
                    now=now,
                )
                uow.add([payout])
            payout.report(status, detail, source, now)

        await self._handler.handle(lambda: self._ledger.load([payout_stream(account, payout_id)]), decide, extras)

    async def close(self, extras: CommitExtras) -> Done:
        """The event is done: all that it caused is stored."""
        await self._ledger.append(UnitOfWork({}, {}), extras)
        return DONE


def _of(account: str) -> str:
    return f"account {account}: "


def _due_now(transfer: SellerTransfer, status: TransferStatus, actor: str, why: str, now: datetime) -> None:
    """Unless it has moved on since it was looked for, or is held back: that only a person ends."""
    if transfer.status is not status or transfer.held is not None:
        return
    try:
        transfer.retry(actor, why, now)
    except (CallInFlight, NothingToRetry):
        return
