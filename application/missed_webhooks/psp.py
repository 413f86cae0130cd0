"""The PSP as a provider for the poller: its refunds, its disputes, and the payments of unpaid
orders."""

from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Protocol

from application.gateways import PaymentGateway
from application.missed_webhooks.ports import (
    KnownDisputes,
    KnownRefunds,
    PolledEvent,
    PolledInbox,
    Span,
    UnpaidOrders,
)
from application.missed_webhooks.psp_disputes import MissedDisputes
from application.missed_webhooks.psp_payments import MissedPayments
from application.missed_webhooks.psp_reader import PspReader
from application.missed_webhooks.psp_refunds import MissedRefunds
from application.ports import RateLimiter


class KnownToLedger(KnownRefunds, KnownDisputes, UnpaidOrders, Protocol):
    """Refunds, disputes and unpaid orders in the ledger."""


class MissedPspEvents:
    """The provider `hyperswitch`. See `application.missed_webhooks.ports.Provider`."""

    name = "hyperswitch"
    longest = timedelta(days=1)

    def __init__(
        self,
        psp: PaymentGateway,
        known: KnownToLedger,
        inbox: PolledInbox,
        rate_limiter: RateLimiter,
    ) -> None:
        reader = PspReader(psp, rate_limiter)
        self._refunds = MissedRefunds(self.name, reader, known, inbox)
        self._disputes = MissedDisputes(self.name, reader, known, inbox)
        self._payments = MissedPayments(self.name, reader, known, inbox)

    async def events(self, span: Span) -> AsyncIterator[Sequence[PolledEvent]]:
        """Yield missed refunds and disputes, then missed payments, since lists cost few calls.
        Raises LookUpFailed."""
        for part in (self._refunds, self._disputes, self._payments):
            async for page in part.events(span):
                yield page
