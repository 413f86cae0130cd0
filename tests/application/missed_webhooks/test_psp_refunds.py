"""Polling of the PSP for missed refund webhooks; one unreadable refund does not block the
others."""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from application.missed_webhooks.ports import KnownRefund, Span
from application.missed_webhooks.psp_reader import PspReader
from application.missed_webhooks.psp_refunds import MissedRefunds
from domain.provider_call.outcome import Failure, LookUpFailed, Unknown
from domain.provider_call.psp_objects import DisputeAtPsp, PaymentAtPsp, RefundAtPsp
from domain.provider_call.request_body import PaymentBody, RefundBody

NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
BEGUN = NOW - timedelta(minutes=10)
SPAN = Span(BEGUN, NOW, BEGUN, asked_until=BEGUN, horizon=NOW)
AWAY = Unknown("http_503", "The connector does not answer.", 503)


class FakePsp:
    """A PSP whose refunds have succeeded; look-ups of the refunds in `away` fail."""

    def __init__(self, *refunds: RefundAtPsp | str, away: Collection[str] = ()) -> None:
        shown = [_refund(one) if isinstance(one, str) else one for one in refunds]
        self.shown, self.away, self.asked = {one.refund_id: one for one in shown}, away, 0

    async def refunds(
        self, since: datetime, until: datetime, payment_id: str | None = None
    ) -> list[RefundAtPsp] | Failure:
        return list(self.shown.values())

    async def refund(self, refund_id: str) -> RefundAtPsp | Failure:
        self.asked += 1
        if "/" in refund_id:
            raise ValueError(f"{refund_id!r} cannot be a refund_id at the PSP")
        return AWAY if refund_id in self.away else self.shown[refund_id]

    async def disputes(self, since: datetime, until: datetime) -> list[DisputeAtPsp] | Failure:
        raise AssertionError("the poller only looks for refunds")

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
    """A ledger that knows these refunds (by default none), an inbox without webhooks, and a rate
    limiter without limit."""

    def __init__(self, **refunds: KnownRefund) -> None:
        self.refunds = refunds

    async def refund_statuses(self, names: Collection[str]) -> Mapping[str, KnownRefund]:
        return self.refunds

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


async def ids_of_ends(ledger: EmptyLedger, *refunds: RefundAtPsp) -> list[str]:
    """Return the ids of the events that the poller makes of these refunds."""
    missed = MissedRefunds("hyperswitch", PspReader(FakePsp(*refunds), ledger), ledger, ledger)
    return [event.event_id async for page in missed.events(SPAN) for event in page]


async def test_event_without_time_of_change_is_named_by_version_here() -> None:
    """The third turn has another id than the first, and the same turn always the same."""
    (first,) = await ids_of_ends(EmptyLedger(), _refund("r1"))
    (third,) = await ids_of_ends(EmptyLedger(r1=KnownRefund("failed", 4)), _refund("r1"))
    (again,) = await ids_of_ends(EmptyLedger(r1=KnownRefund("failed", 4)), _refund("r1"))
    assert first != third == again


async def told(psp: FakePsp) -> tuple[list[str], bool]:
    """Return the refunds whose end was reported, and whether the round was completed."""
    nothing, found = EmptyLedger(), list[str]()
    try:
        async for page in MissedRefunds(
            "hyperswitch", PspReader(psp, nothing), nothing, nothing
        ).events(SPAN):
            found += [event.event_id.split(":")[2] for event in page]
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
