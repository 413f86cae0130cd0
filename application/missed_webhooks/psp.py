"""The PSP as a provider that can be asked: its refunds, and the payments of orders that nobody has paid yet."""

from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Protocol

from application.gateways import PaymentGateway
from application.missed_webhooks.ports import KnownRefunds, PolledInbox, Span, Told, UnpaidOrders
from application.missed_webhooks.psp_payments import MissedPayments
from application.missed_webhooks.psp_reader import Asking
from application.missed_webhooks.psp_refunds import MissedRefunds
from application.ports import RateLimiter


class Known(KnownRefunds, UnpaidOrders, Protocol):
    """What the ledger has recorded."""


class MissedAtPsp:
    """The provider `hyperswitch`. See `application.missed_webhooks.ports.Provider`."""

    name = "hyperswitch"
    longest = timedelta(days=1)

    def __init__(self, psp: PaymentGateway, known: Known, inbox: PolledInbox, rate_limiter: RateLimiter) -> None:
        asking = Asking(rate_limiter)
        self._refunds = MissedRefunds(self.name, psp, known, inbox, asking)
        self._payments = MissedPayments(self.name, psp, known, inbox, asking)

    async def told(self, span: Span) -> AsyncIterator[Sequence[Told]]:
        """Refunds first: they cost few calls. Raises LookUpFailed."""
        for part in (self._refunds, self._payments):
            async for page in part.told(span):
                yield page
