"""Stripe's webhooks about sellers' accounts: their state, their balance and their payouts.

An account can become ready and unready again, and events arrive in any order: the present state is
read at Stripe.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from pydantic import TypeAdapter

from application.ports import Directory
from application.webhooks.handler import DONE, EventHandler, Ignored, StoredEvent, WebhookResult
from application.webhooks.stripe.account_pauses import REVOKED, AccountPauses
from application.webhooks.stripe.event_object import ObjectUnread, StripeObjects
from application.webhooks.stripe.events import ACCOUNT, CAPABILITY, PAYOUT, AccountObject
from application.webhooks.stripe.transfer_capability import (
    ACTIVE,
    ALLOW_TRANSFERS,
    TRANSFERS,
    TransferState,
    account_of_v2,
    capabilities_for_transfers,
    transfer_state,
    v2_path,
)
from domain.currency import from_stripe
from domain.errors import BadMoney
from domain.lifecycle import TransferStatus
from domain.payout import PayoutStatus
from domain.provider_call.reasons import WaitingFor

V2_CLOSED = "v2.core.account.closed"
V2_UPDATED = (
    V2_CLOSED,
    "v2.core.account.updated",
    "v2.core.account[configuration.recipient].updated",
    "v2.core.account[configuration.recipient].capability_status_updated",
    "v2.core.account[requirements].updated",
)
"""Events after which an account of the v2 API may be able to receive transfers, or not any more."""
CLOSED = "it is closed"
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

    def v2_handlers(self) -> Mapping[str, EventHandler]:
        """Return the handlers of the v2 API's events by event type. They have no other form."""
        return dict.fromkeys(V2_UPDATED, self._v2_updated)

    # --- the account's state ----------------------------------------------------------------------

    async def _account_updated(self, event: StoredEvent) -> WebhookResult:
        carried = self._carried(event, ACCOUNT)
        return await self._apply_state(event, self._objects.account_of(event), carried)

    async def _capability_updated(self, event: StoredEvent) -> WebhookResult:
        """Apply the state of the whole account: one capability is not active, but another may
        be."""
        account = self._objects.account_of(event)
        told = self._carried(event, CAPABILITY)
        if told is None or account is None:
            return await self._apply_state(event, account, None)
        if told.id not in ALLOW_TRANSFERS:
            return Ignored(f"a capability that no transfer needs: {told.id}")
        return await self._apply_state(
            event, account, AccountObject(account, {told.id: told.status}, whole=False)
        )

    async def _deauthorized(self, event: StoredEvent) -> WebhookResult:
        return await self._apply_state(event, self._objects.account_of(event), None, REVOKED)

    async def _v2_updated(self, event: StoredEvent) -> WebhookResult:
        """Apply the state of an account of the v2 API. Its events carry no state, so the account is
        read; one that our key may not read changes nothing, unless the event says that it is
        closed."""
        related = self._objects.envelope(event).related_object
        url = related.url or "" if related is not None else ""
        account = url.rpartition("/")[2] if related is None or related.id is None else related.id
        if_closed = CLOSED if event.event_type == V2_CLOSED else None
        try:
            return await self._apply_state(event, account, None, if_closed, v2=True)
        except ObjectUnread as unread:
            if unread.closed:
                return Ignored(f"the account cannot be read, so nothing is known of it: {unread}")
            raise

    async def _apply_state(
        self,
        event: StoredEvent,
        account: str | None,
        carried: AccountObject | None,
        if_closed: str | None = None,
        *,
        v2: bool = False,
    ) -> WebhookResult:
        """Pause or resume the account's sellers. `if_closed`: the reason of the pause if our key
        may not read the account."""
        sellers = await self._directory.sellers_of(account) if account else ()
        if account is None or not sellers:
            return Ignored(NO_SELLER)
        now, seen = await self._state(event, sellers, account, carried, if_closed, v2=v2)
        if now is None or transfer_state(now) is TransferState.NOT_ALLOWED:
            why = if_closed if now is None else _not_ready(now)
            await self._pauses.pause(sellers, account, why or "it cannot be reached", event.source)
            if not seen:
                await self._pauses.close(event)
                return DONE
            # the event that ends the pause may have been handled between our read and our pause,
            # and would not come again
            now, seen = await self._state(event, sellers, account, carried, if_closed, v2=v2)
        state = transfer_state(now) if now is not None else TransferState.NOT_ALLOWED
        if state is TransferState.ALLOWED:
            await self._pauses.resume(sellers, account, event.source, seen=seen)
            why = "its account may be paid again"
            await self._pauses.retry(
                TransferStatus.FAILED, WaitingFor.ACCOUNT, account, event.source, why
            )
        elif now is not None and state is TransferState.UNKNOWN:
            known = dict(capabilities_for_transfers(now)) or "none of them"
            return Ignored(
                "the ledger does not know whether the account can receive transfers: of the "
                f"capabilities that allow them, it shows {known}"
            )
        await self._pauses.close(event)
        return DONE

    async def _state(
        self,
        event: StoredEvent,
        sellers: Sequence[str],
        account: str,
        carried: AccountObject | None,
        if_closed: str | None,
        *,
        v2: bool,
    ) -> tuple[AccountObject | None, bool]:
        """Return the account as Stripe shows it, and True; as events told it, and False, if our key
        may not read it.

        None instead of an account: the platform has no access. Raises ObjectUnread.
        """
        try:
            return await self._read(account, v2=v2), True
        except ObjectUnread as unread:
            if unread.closed and carried is not None:
                return await self._as_told(event, sellers, carried), False
            if unread.closed and if_closed is not None:
                return None, False
            raise

    async def _as_told(
        self, event: StoredEvent, sellers: Sequence[str], carried: AccountObject
    ) -> AccountObject:
        """Return the account as this event and earlier ones told it.

        As long as `transfers`, which nearly all accounts use, was not told, one capability that is
        not active says nothing.
        """
        told = capabilities_for_transfers(carried)
        known = await self._pauses.tell(
            sellers, carried.id, told, event.source, whole=carried.whole
        )
        says_nothing = TRANSFERS not in known and ACTIVE not in known.values() and not carried.whole
        return replace(carried, capabilities={} if says_nothing else dict(known))

    async def _read(self, account: str, *, v2: bool) -> AccountObject:
        """Read an account; one that only the v2 API shows, there. Raises ObjectUnread."""
        try:
            return ACCOUNT.validate_python(await self._objects.read(f"/v1/accounts/{account}"))
        except ObjectUnread as unread:
            if not (v2 and unread.closed):
                raise
        return account_of_v2(account, await self._objects.read(v2_path(account)))

    def _carried(self, event: StoredEvent, kind: TypeAdapter[T]) -> T | None:
        """Return the object of a snapshot event; None for a thin one, since the account is read
        anyway."""
        data = self._objects.envelope(event).data
        return kind.validate_python(data.object) if data is not None else None

    # --- its balance ------------------------------------------------------------------------------

    async def _balance_available(self, event: StoredEvent) -> WebhookResult:
        account = self._objects.account_of(event)
        if account is None:
            status, why = TransferStatus.FAILED, "the platform has money"
        else:
            status, why = TransferStatus.REVERSAL_PENDING, "its account has money"
        await self._pauses.retry(status, WaitingFor.FUNDS, account, event.source, why)
        await self._pauses.close(event)
        return DONE

    # --- its payouts ------------------------------------------------------------------------------

    async def _payout(self, event: StoredEvent) -> WebhookResult:
        account = self._objects.account_of(event)
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
    states = ", ".join(
        f"{name} are {state}" for name, state in capabilities_for_transfers(account).items()
    )
    disabled = account.requirements.disabled_reason if account.requirements else None
    return f"its {states}" + (f" ({disabled})" if disabled else "")
