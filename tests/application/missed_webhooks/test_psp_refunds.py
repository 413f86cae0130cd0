"""Polling of the PSP for missed refund webhooks; one unreadable refund does not block the
others."""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from application.missed_webhooks.ports import Span
from application.missed_webhooks.psp_reader import PspReader
from application.missed_webhooks.psp_refunds import MissedRefunds
from domain.provider_call.outcome import Failure, LookUpFailed, Unknown
from domain.provider_call.psp_objects import PaymentAtPsp, RefundAtPsp
from domain.provider_call.request_body import PaymentBody, RefundBody

NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
BEGUN = NOW - timedelta(minutes=10)
SPAN = Span(BEGUN, NOW, BEGUN, asked_until=BEGUN, horizon=NOW)
AWAY = Unknown("http_503", "The connector does not answer.", 503)


class FakePsp:
    """A PSP whose refunds have succeeded; look-ups of the refunds in `away` fail."""

    def __init__(self, *names: str, away: Collection[str] = ()) -> None:
        self.names, self.away, self.asked = names, away, 0

    async def refunds(
        self, since: datetime, until: datetime, payment_id: str | None = None
    ) -> list[RefundAtPsp] | Failure:
        return [_refund(name) for name in self.names]

    async def refund(self, refund_id: str) -> RefundAtPsp | Failure:
        self.asked += 1
        if "/" in refund_id:
            raise ValueError(f"{refund_id!r} cannot be a refund_id at the PSP")
        return AWAY if refund_id in self.away else _refund(refund_id)

    async def create_payment(
        self, idempotency_key: str, body: PaymentBody
    ) -> PaymentAtPsp | Failure:
        raise AssertionError("the poller only looks")

    async def create_refund(
        self, idempotency_key: str, body: RefundBody, currency: str
    ) -> RefundAtPsp | Failure:
        raise AssertionError("the poller only looks")

    async def payment(self, payment_id: str) -> PaymentAtPsp | Failure:
        raise AssertionError("the poller only looks for refunds")


def _refund(name: str) -> RefundAtPsp:
    return RefundAtPsp(name, "pay_1", 100, "EUR", "succeeded")


class EmptyLedger:
    """A ledger that knows no refund, an inbox without webhooks, and a rate limiter without
    limit."""

    async def refund_statuses(self, names: Collection[str]) -> Mapping[str, str]:
        return {}

    async def unknown(self, provider: str, ids: Sequence[str]) -> set[str]:
        return set(ids)

    async def waiting(
        self, provider: str, about: Sequence[tuple[str, str]]
    ) -> set[tuple[str, str]]:
        return set()

    async def put(
        self,
        provider: str,
        event_id: str,
        event_type: str,
        body: bytes,
        received_at: datetime,
        source: str = "webhook",
    ) -> bool:
        return True

    async def reserve(self, endpoint: str, count: int) -> Sequence[float]:
        return [0.0] * count

    async def slow_down(self, endpoint: str) -> None:
        """Do nothing: there is no limit."""


async def told(psp: FakePsp) -> tuple[list[str], bool]:
    """Return the refunds whose end was reported, and whether the round was completed."""
    nothing, found = EmptyLedger(), []
    try:
        async for page in MissedRefunds(
            "hyperswitch", PspReader(psp, nothing), nothing, nothing
        ).events(SPAN):
            found += [event.event_id.rpartition(":")[2] for event in page]
    except LookUpFailed:
        return found, False
    return found, True


async def test_invalid_name_does_not_block_other_refunds() -> None:
    assert await told(FakePsp("order/7", "ref_1")) == (["ref_1"], True)


@pytest.mark.parametrize("names", [("ref_1", "ref_2"), ("ref_2", "ref_1")])
async def test_refund_of_an_absent_connector_blocks_no_other(names: tuple[str, ...]) -> None:
    assert await told(FakePsp(*names, away={"ref_1"})) == (["ref_2"], False), (
        "the cursor stays, so it is asked for again"
    )


async def test_unreadable_provider_ends_the_round() -> None:
    psp = FakePsp(
        *(f"ref_{number}" for number in range(100)), away={f"ref_{number}" for number in range(100)}
    )
    assert await told(psp) == ([], False)
    assert psp.asked == 3
