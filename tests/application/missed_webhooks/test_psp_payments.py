"""Polling of the PSP for payments of unpaid orders, with clocks that differ."""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from application.missed_webhooks.ports import Span
from application.missed_webhooks.psp_payments import MissedPayments
from application.missed_webhooks.psp_reader import AGES, PspReader
from domain.provider_call.outcome import Failure
from domain.provider_call.psp_objects import DisputeAtPsp, PaymentAtPsp, RefundAtPsp
from domain.provider_call.request_body import PaymentBody, RefundBody

BEGUN = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
ROUND = timedelta(minutes=5)
PAID = PaymentAtPsp(
    payment_id="pay_1", status="succeeded", amount=1_000, currency="EUR", amount_received=1_000
)


class FakePsp:
    """A PSP that has the payment `PAID`."""

    async def payment(self, payment_id: str) -> PaymentAtPsp | Failure:
        return PAID

    async def refunds(
        self, since: datetime, until: datetime, payment_id: str | None = None
    ) -> list[RefundAtPsp] | Failure:
        raise AssertionError("the poller only looks for payments")

    async def refund(self, refund_id: str) -> RefundAtPsp | Failure:
        raise AssertionError("the poller only looks for payments")

    async def disputes(self, since: datetime, until: datetime) -> list[DisputeAtPsp] | Failure:
        raise AssertionError("the poller only looks for payments")

    async def create_payment(
        self, idempotency_key: str, body: PaymentBody
    ) -> PaymentAtPsp | Failure:
        raise AssertionError("the poller only looks")

    async def create_refund(
        self, idempotency_key: str, body: RefundBody, currency: str
    ) -> RefundAtPsp | Failure:
        raise AssertionError("the poller only looks")


class OneUnpaidOrder:
    """Unpaid orders, and the inbox: one order, registered at this instant; nothing has arrived."""

    def __init__(self, registered_at: datetime) -> None:
        self.registered_at = registered_at

    async def unpaid(self, since: datetime, until: datetime, nth: int, limit: int) -> Sequence[str]:
        return [PAID.payment_id] if since <= self.registered_at < until else []

    async def still_unpaid(self, payment_ids: Sequence[str]) -> Collection[str]:
        return payment_ids

    async def unknown(self, provider: str, ids: Sequence[str]) -> Collection[str]:
        return ids

    async def waiting(
        self, provider: str, about: Sequence[tuple[str, str]]
    ) -> Collection[tuple[str, str]]:
        return ()

    async def put(
        self,
        provider: str,
        event_id: str,
        event_type: str,
        body: bytes,
        received_at: datetime,
        source: str = "webhook",
    ) -> bool:
        raise AssertionError("the poller stores the events")


class NoLimits:
    """A rate limiter that never waits."""

    async def reserve(self, endpoint: str, count: int) -> list[float]:
        return [0.0] * count

    async def slow_down(self, endpoint: str) -> None:
        raise AssertionError("the PSP never refuses")


@pytest.mark.parametrize("behind", [timedelta(minutes=-3), timedelta(0), timedelta(minutes=30)])
async def test_payment_is_found_although_a_clock_was_behind(behind: timedelta) -> None:
    """The order is registered a minute after the ledger's begin, by a clock that is `behind`."""
    orders = OneUnpaidOrder(BEGUN + timedelta(minutes=1) - behind)
    payments = MissedPayments("hyperswitch", PspReader(FakePsp(), NoLimits()), orders, orders)
    found, asked_until = 0, BEGUN
    while asked_until < BEGUN + AGES[3]:
        until = asked_until + ROUND
        span = Span(asked_until, until, BEGUN, asked_until=asked_until, horizon=until)
        async for page in payments.events(span):
            found += len(page)
        asked_until = until
    assert found >= 1
