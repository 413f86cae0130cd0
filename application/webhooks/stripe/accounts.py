"""What Stripe's webhooks say of sellers' accounts: may they be paid, is there money, and what goes to their banks.

Whether an account is ready turns to and fro, and events come in any order: its present state is read at Stripe.
"""

from datetime import UTC, datetime
from typing import TypeVar

from pydantic import TypeAdapter

from application.ports import Directory
from application.webhooks.handler import DONE, Disposition, Ignored, Reaction, StoredEvent, marked, source
from application.webhooks.stripe.account_pauses import REVOKED, SellersWork
from application.webhooks.stripe.events import ACCOUNT, CAPABILITY, PAYOUT, Account
from application.webhooks.stripe.objects import StripesObjects, Unread
from domain.lifecycle import TransferStatus
from domain.money import currency
from domain.payout import PayoutStatus
from domain.provider_call.reasons import WaitingFor

TRANSFERS = "transfers"
ACTIVE, NOT_ACTIVE = "active", frozenset({"inactive", "pending", "unrequested"})
T = TypeVar("T")
NO_SELLER = "no transfer of ours goes to this account"


class StripeAccounts:
    """Finds out what an event means for sellers, and holds or releases their transfers."""

    def __init__(self, work: SellersWork, directory: Directory, objects: StripesObjects) -> None:
        self._work, self._directory, self._objects = work, directory, objects

    def by_type(self) -> dict[str, Reaction]:
        """The reactions by event type."""
        payouts = ("created", "updated", "paid", "failed", "canceled", "reconciliation_completed")
        return {
            "account.updated": self._account_updated,
            "capability.updated": self._capability_updated,
            "account.application.deauthorized": self._deauthorized,
            "balance.available": self._balance_available,
            **dict.fromkeys([f"payout.{name}" for name in payouts], self._payout),
        }

    # --- may it be paid -----------------------------------------------------------------------------------------------

    async def _account_updated(self, event: StoredEvent) -> Disposition:
        told = await self._carried(event, ACCOUNT)
        return await self._turned(event, told.id if told else None, told)

    async def _capability_updated(self, event: StoredEvent) -> Disposition:
        told = await self._carried(event, CAPABILITY)
        if told is not None and told.id != TRANSFERS:
            return Ignored(f"a capability that no transfer needs: {told.id}")
        said = Account(told.account, {TRANSFERS: told.status}) if told is not None else None
        return await self._turned(event, told.account if told else None, said)

    async def _deauthorized(self, event: StoredEvent) -> Disposition:
        return await self._turned(event, None, None, REVOKED)

    async def _turned(
        self, event: StoredEvent, account: str | None, told: Account | None, if_closed: str | None = None
    ) -> Disposition:
        account = account or self._objects.envelope(event).of_account
        sellers = await self._directory.sellers_of(account) if account else ()
        if account is None or not sellers:
            return Ignored(NO_SELLER)
        now, seen = await self._now(account, told, if_closed)
        if now is None or now.capabilities.get(TRANSFERS) in NOT_ACTIVE:
            why = if_closed if now is None else _not_ready(now)
            await self._work.pause(sellers, account, why or "it cannot be reached", source(event))
            if not seen:
                return await self._work.close(marked(event))
            # the event that ends it may have been done between our look and our pause, and would not come again
            now, seen = await self._now(account, told, if_closed)
        capability = now.capabilities.get(TRANSFERS) if now is not None else None
        if now is not None and capability == ACTIVE:
            await self._work.resume(sellers, account, source(event), seen=seen)
            await self._work.retry(
                TransferStatus.FAILED, WaitingFor.ACCOUNT, account, source(event), "its account may be paid again"
            )
        elif now is not None and capability not in NOT_ACTIVE:
            return Ignored(f"it says nothing about transfers that anybody understands ({capability!r})")
        return await self._work.close(marked(event))

    async def _now(self, account: str, told: Account | None, if_closed: str | None) -> tuple[Account | None, bool]:
        """The account as it is at Stripe; as the event says where our key may not read it. None: no access to it.
        And whether it was seen at Stripe."""
        try:
            return ACCOUNT.validate_python(await self._objects.read(f"/v1/accounts/{account}")), True
        except Unread as unread:
            if unread.closed and (told is not None or if_closed is not None):
                return told, False
            raise

    async def _carried(self, event: StoredEvent, kind: TypeAdapter[T]) -> T | None:
        """What a snapshot event carries; None for a thin one: the account is read anyway."""
        data = self._objects.envelope(event).data
        return kind.validate_python(data.object) if data is not None else None

    # --- is there money -----------------------------------------------------------------------------------------------

    async def _balance_available(self, event: StoredEvent) -> Disposition:
        account = self._objects.envelope(event).of_account
        if account is None:
            await self._work.retry(TransferStatus.FAILED, WaitingFor.FUNDS, None, source(event), "the platform has money")
        else:
            await self._work.retry(
                TransferStatus.REVERSAL_PENDING, WaitingFor.FUNDS, account, source(event), "its account has money"
            )
        return await self._work.close(marked(event))

    # --- what goes to banks -------------------------------------------------------------------------------------------

    async def _payout(self, event: StoredEvent) -> Disposition:
        account = self._objects.envelope(event).of_account
        sellers = await self._directory.sellers_of(account) if account is not None else ()
        if account is None or not sellers:
            return Ignored(NO_SELLER)
        told = await self._objects.subject(event, PAYOUT)
        if told.status not in list(PayoutStatus):
            return Ignored(f"a payout that is {told.status!r}: nobody knows what that means")
        await self._work.payout(
            payout_id=told.id,
            account=account,
            seller_ids=list(sellers),
            amount=told.amount,
            currency=currency(told.currency),
            arrival_date=datetime.fromtimestamp(told.arrival_date, UTC) if told.arrival_date is not None else None,
            status=PayoutStatus(told.status),
            detail=told.failure_message or told.failure_code,
            source=source(event),
            extras=marked(event),
        )
        return DONE


def _not_ready(account: Account) -> str:
    disabled = account.requirements.disabled_reason if account.requirements else None
    return f"its transfers are {account.capabilities[TRANSFERS]}" + (f" ({disabled})" if disabled else "")
