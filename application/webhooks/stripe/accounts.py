"""Stripe's webhooks about sellers' accounts: their state, their balance and their payouts.

An account can become ready and unready again, and events arrive in any order: the present state is
read at Stripe.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

from pydantic import TypeAdapter

from application.ports import Directory
from application.webhooks.handler import DONE, EventHandler, Ignored, StoredEvent, WebhookResult
from application.webhooks.stripe.account_pauses import REVOKED, AccountPauses
from application.webhooks.stripe.event_object import ObjectUnread, StripeObjects
from application.webhooks.stripe.events import ACCOUNT, CAPABILITY, PAYOUT, AccountObject
from domain.currency import from_stripe
from domain.errors import BadMoney
from domain.lifecycle import TransferStatus
from domain.payout import PayoutStatus
from domain.provider_call.reasons import WaitingFor

TRANSFERS = "transfers"
ACTIVE, NOT_ACTIVE = "active", frozenset({"inactive", "pending", "unrequested"})
T = TypeVar("T")
NO_SELLER = "no transfer of ours goes to this account"


class StripeAccounts:
    """Handlers of account, balance and payout events."""

    def __init__(self, pauses: AccountPauses, directory: Directory, objects: StripeObjects) -> None:
        self._pauses, self._directory, self._objects = pauses, directory, objects

    def handlers(self) -> Mapping[str, EventHandler]:
        """Return the handlers by event type."""
        payouts = ("created", "updated", "paid", "failed", "canceled", "reconciliation_completed")
        return {
            "account.updated": self._account_updated,
            "capability.updated": self._capability_updated,
            "account.application.deauthorized": self._deauthorized,
            "balance.available": self._balance_available,
            **dict.fromkeys([f"payout.{name}" for name in payouts], self._payout),
        }

    # --- the account's state ----------------------------------------------------------------------

    async def _account_updated(self, event: StoredEvent) -> WebhookResult:
        carried = self._carried(event, ACCOUNT)
        return await self._apply_state(event, carried.id if carried else None, carried)

    async def _capability_updated(self, event: StoredEvent) -> WebhookResult:
        carried = self._carried(event, CAPABILITY)
        if carried is None:
            return await self._apply_state(event, None, None)
        if carried.id != TRANSFERS:
            return Ignored(f"a capability that no transfer needs: {carried.id}")
        return await self._apply_state(
            event, carried.account, AccountObject(carried.account, {TRANSFERS: carried.status})
        )

    async def _deauthorized(self, event: StoredEvent) -> WebhookResult:
        return await self._apply_state(event, None, None, REVOKED)

    async def _apply_state(
        self,
        event: StoredEvent,
        account: str | None,
        carried: AccountObject | None,
        if_closed: str | None = None,
    ) -> WebhookResult:
        """Pause or resume the account's sellers. `if_closed`: the reason of the pause if our key
        may not read the account."""
        account = account or self._objects.envelope(event).of_account
        sellers = await self._directory.sellers_of(account) if account else ()
        if account is None or not sellers:
            return Ignored(NO_SELLER)
        now, seen = await self._state(account, carried, if_closed)
        if now is None or now.capabilities.get(TRANSFERS) in NOT_ACTIVE:
            why = if_closed if now is None else _not_ready(now)
            await self._pauses.pause(sellers, account, why or "it cannot be reached", event.source)
            if not seen:
                await self._pauses.close(event)
                return DONE
            # the event that ends the pause may have been handled between our read and our pause,
            # and would not come again
            now, seen = await self._state(account, carried, if_closed)
        capability = now.capabilities.get(TRANSFERS) if now is not None else None
        if now is not None and capability == ACTIVE:
            await self._pauses.resume(sellers, account, event.source, seen=seen)
            why = "its account may be paid again"
            await self._pauses.retry(
                TransferStatus.FAILED, WaitingFor.ACCOUNT, account, event.source, why
            )
        elif now is not None and capability not in NOT_ACTIVE:
            return Ignored(
                f"the ledger does not know the state {capability!r} of the capability `transfers`"
            )
        await self._pauses.close(event)
        return DONE

    async def _state(
        self, account: str, carried: AccountObject | None, if_closed: str | None
    ) -> tuple[AccountObject | None, bool]:
        """Return the account as Stripe shows it, and True; the carried one, and False, if our key
        may not read it.

        None instead of an account: the platform has no access. Raises ObjectUnread.
        """
        try:
            return ACCOUNT.validate_python(
                await self._objects.read(f"/v1/accounts/{account}")
            ), True
        except ObjectUnread as unread:
            if unread.closed and (carried is not None or if_closed is not None):
                return carried, False
            raise

    def _carried(self, event: StoredEvent, kind: TypeAdapter[T]) -> T | None:
        """Return the object of a snapshot event; None for a thin one, since the account is read
        anyway."""
        data = self._objects.envelope(event).data
        return kind.validate_python(data.object) if data is not None else None

    # --- its balance ------------------------------------------------------------------------------

    async def _balance_available(self, event: StoredEvent) -> WebhookResult:
        account = self._objects.envelope(event).of_account
        if account is None:
            status, why = TransferStatus.FAILED, "the platform has money"
        else:
            status, why = TransferStatus.REVERSAL_PENDING, "its account has money"
        await self._pauses.retry(status, WaitingFor.FUNDS, account, event.source, why)
        await self._pauses.close(event)
        return DONE

    # --- its payouts ------------------------------------------------------------------------------

    async def _payout(self, event: StoredEvent) -> WebhookResult:
        account = self._objects.envelope(event).of_account
        sellers = await self._directory.sellers_of(account) if account is not None else ()
        if account is None or not sellers:
            return Ignored(NO_SELLER)
        payout = await self._objects.subject(event, PAYOUT)
        if payout.status not in list(PayoutStatus):
            return Ignored(
                f"a payout that is {payout.status!r}: the ledger does not know this status"
            )
        try:
            payout = replace(payout, amount=from_stripe(payout.currency, payout.amount))
        except BadMoney as fraction:
            return Ignored(str(fraction))
        await self._pauses.record_payout(payout, account, sellers, event)
        return DONE


def _not_ready(account: AccountObject) -> str:
    disabled = account.requirements.disabled_reason if account.requirements else None
    return f"its transfers are {account.capabilities[TRANSFERS]}" + (
        f" ({disabled})" if disabled else ""
    )
