"""Commands of account events: pause sellers, resume them, retry their transfers, and record their
payouts."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from uuid import UUID

from application.command_handler import CommandHandler
from application.ports import Directory
from application.unit_of_work import UnitOfWork
from application.webhooks.handler import StoredEvent
from application.webhooks.stripe.events import PayoutObject
from domain.errors import CallInFlight, NothingToRetry
from domain.identity import pause_stream, payout_stream, seller_account_stream
from domain.lifecycle import TransferStatus
from domain.money import currency
from domain.pause import scope_of_seller
from domain.payout import Payout, PayoutStatus
from domain.provider_call.reasons import WaitingFor
from domain.seller_transfer.aggregate import SellerTransfer

REVOKED = "it has revoked the platform's access"
"""Reason of the pause of a seller who has disconnected the account. `resume` compares it with
recorded pauses."""
MOST_BATCHES = 100
"""Upper limit of batches per event. Transfers beyond it are retried at their own
`next_retry_at`."""


class AccountPauses:
    """Commands of account events. Every method may be repeated. Facts name the event as their
    actor."""

    def __init__(self, handler: CommandHandler, directory: Directory) -> None:
        self._handler, self._directory = handler, directory

    async def pause(self, sellers: Sequence[str], account: str, why: str, actor: str) -> None:
        """Stop the transfers to these sellers. Reversals go on, since money may leave the account
        at any time.

        A pause by a person has a scope of its own and stays. A seller who has moved away from this
        account goes on.
        """
        for seller_id in sellers:

            def decide(uow: UnitOfWork, now: datetime, seller_id: str = seller_id) -> None:
                moved = uow.seller_account(seller_id)
                if moved is None or moved.destination == account:
                    pause = uow.pause_of(_scope(seller_id), now)
                    pause.pause(actor, f"{_of(account)}{why}", now)

            streams = (pause_stream(_scope(seller_id)), seller_account_stream(seller_id))
            await self._handler.handle(partial(self._handler.load, *streams), decide)

    async def resume(self, sellers: Sequence[str], account: str, actor: str, *, seen: bool) -> None:
        """End the pauses that events about this account began.

        Unless the account was `seen` at Stripe, a pause for revoked access stays: the event may be
        older than the revocation.
        """
        for scope in map(_scope, sellers):

            def decide(uow: UnitOfWork, now: datetime, scope: str = scope) -> None:
                pause = uow.pause(scope)
                if (
                    pause is None
                    or not pause.paused_by_stripe
                    or not pause.reason.startswith(_of(account))
                ):
                    return
                if seen or not pause.reason.endswith(REVOKED):
                    pause.resume(actor, f"{_of(account)}its transfers are active", now)

            await self._handler.handle(partial(self._handler.load, pause_stream(scope)), decide)

    async def tell(
        self,
        sellers: Sequence[str],
        account: str,
        told: Mapping[str, str],
        source: str,
        *,
        whole: bool,
    ) -> Mapping[str, str]:
        """Keep the capabilities that an event tells about an account that our key may not read;
        return all that are known of it. `whole`: the event tells all of them."""
        known: Mapping[str, str] = told
        for scope in map(_scope, sellers):

            def decide(uow: UnitOfWork, now: datetime, scope: str = scope) -> Mapping[str, str]:
                pause = uow.pause_of(scope, now)
                before = {} if whole else pause.capabilities.get(account, {})
                pause.tell(account, {**before, **told}, source, now)
                return pause.capabilities[account]

            load = partial(self._handler.load, pause_stream(scope))
            known = await self._handler.handle(load, decide)
        return known

    async def retry(
        self,
        status: TransferStatus,
        waiting_for: WaitingFor,
        account: str | None,
        actor: str,
        why: str,
    ) -> None:
        """Make the transfers that wait for `account` or `funds` due now, a batch at a time."""
        after: UUID | None = None
        for _ in range(MOST_BATCHES):
            batch = await self._directory.waiting(status.value, waiting_for.value, account, after)
            if not batch:
                return

            def decide(uow: UnitOfWork, now: datetime) -> None:
                for transfer in uow.transfers():
                    _retry(transfer, status, actor, why, now)

            await self._handler.handle(partial(self._handler.load, *batch), decide)
            after = batch[-1]

    async def record_payout(
        self, seen: PayoutObject, account: str, sellers: Sequence[str], event: StoredEvent
    ) -> None:
        """Record a payout, and close the event with it. Raises ValueError for an unknown status,
        BadMoney."""
        iso_currency = currency(seen.currency)
        arrival = (
            datetime.fromtimestamp(seen.arrival_date, UTC)
            if seen.arrival_date is not None
            else None
        )

        def decide(uow: UnitOfWork, now: datetime) -> None:
            payout = uow.payout(account, seen.id)
            if payout is None:
                payout = Payout.announce(
                    payout_id=seen.id,
                    account=account,
                    seller_ids=list(sellers),
                    amount=seen.amount,
                    currency=iso_currency,
                    arrival_date=arrival,
                    source=event.source,
                    now=now,
                )
                uow.add([payout])
            payout.report(
                PayoutStatus(seen.status),
                seen.failure_message or seen.failure_code,
                event.source,
                now,
            )

        await self._handler.handle(
            partial(self._handler.load, payout_stream(account, seen.id)), decide, event.done
        )

    async def close(self, event: StoredEvent) -> None:
        """Close an event after all its facts are stored."""
        await self._handler.handle(self._handler.load, lambda uow, now: None, event.done)


def _scope(seller_id: str) -> str:
    return scope_of_seller(seller_id, "transferring")


def _of(account: str) -> str:
    return f"account {account}: "


def _retry(
    transfer: SellerTransfer, status: TransferStatus, actor: str, why: str, now: datetime
) -> None:
    """Retry, unless the transfer has moved on since the look-up, or is held back: only a person
    ends a payment hold."""
    if transfer.status is not status or transfer.held is not None:
        return
    try:
        transfer.retry(actor, why, now)
    except (CallInFlight, NothingToRetry):
        return
