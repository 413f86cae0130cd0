"""Events about objects of strangers, and signed bodies that are no JSON."""

import json
from collections.abc import AsyncIterator, Mapping

import pytest

from application.webhooks.handler import UNREADABLE_TYPE
from tests.support.told_ledger import ToldLedger, told_ledger

DISPUTE = "charge.dispute.funds_reinstated"
STRANGERS: Mapping[str, tuple[str, Mapping[str, object], Mapping[str, object], str]] = {
    "dispute that comes back in part": (
        DISPUTE,
        {
            "id": "dp_9", "amount": 1_000, "currency": "usd", "status": "won", "charge": "ch_9",
            "balance_transactions": [{"amount": -1_000, "currency": "usd"}],
        },
        {},
        "parked",
    ),
    "dispute without an amount": (DISPUTE, {"id": "dp_9", "charge": "ch_9"}, {}, "parked"),
    "refund of nothing": (
        "refund.created",
        {"id": "re_9", "amount": 0, "status": "succeeded", "currency": None, "charge": "ch_9"},
        {},
        "parked",
    ),
    "transfer without destination": (
        "transfer.created",
        {"id": "tr_9", "amount": 5, "amount_reversed": 0, "currency": "usd", "destination": None},
        {},
        "ignored",
    ),
    "transfer of another shape": ("transfer.created", {"id": 7, "metadata": None}, {}, "ignored"),
    "transfer with another id of ours": (
        "transfer.updated", {"id": "tr_9", "metadata": {"transfer_id": "not-a-uuid"}}, {}, "ignored",
    ),
    "transfer of an order that a restored backup has lost": (
        "transfer.reversed",
        {"id": "tr_9", "metadata": {"transfer_id": "5b8c1f6e-0d4e-5c59-9a0e-3f5d3c1b7a10", "order_id": "o9"}},
        {},
        "parked",
    ),
    "account": (
        "account.updated", {"id": "acct_9", "capabilities": None}, {"account": "acct_9"}, "ignored",
    ),
    "payout": ("payout.paid", {"id": "po_9"}, {"account": "acct_9"}, "ignored"),
}  # fmt: skip
"""Type, object, envelope, and the status: a parked one is ignored at the deadline, since an order
with its payment may still be registered."""


@pytest.fixture
async def ledger() -> AsyncIterator[ToldLedger]:
    async with told_ledger() as ledger:
        yield ledger


@pytest.mark.parametrize("stranger", STRANGERS)
async def test_object_of_a_stranger_raises_no_alarm(ledger: ToldLedger, stranger: str) -> None:
    await ledger.sells(charge="ch_1")
    event_type, object_, envelope, status = STRANGERS[stranger]
    assert await ledger.stripe_tells(event_type, object_, **envelope) == status
    assert await ledger.alarms() == []


@pytest.mark.parametrize("paid_by", ["pay_1", "pi_2", "pi_1"])
async def test_partly_reinstated_dispute_alarms_for_its_own_order_only(
    ledger: ToldLedger, paid_by: str
) -> None:
    """An order of the PSP, or one that another payment paid, has no seller to decide about."""
    await ledger.sells(payment_id=paid_by)
    told = {
        "id": "dp_1", "amount": 400, "currency": "eur", "status": "won", "payment_intent": "pi_1",
        "balance_transactions": [{"amount": -400, "currency": "eur"}],
        "metadata": {"order_id": "o1"},
    }  # fmt: skip
    ours = paid_by == "pi_1"
    assert await ledger.stripe_tells(DISPUTE, told) == ("parked" if ours else "ignored")
    expected = ["dispute_reinstated_in_part"] if ours else []
    assert sorted(await ledger.alarms()) == expected


async def test_unreadable_refund_of_an_order_of_ours_raises_an_alarm(ledger: ToldLedger) -> None:
    await ledger.sells(charge="ch_1")
    told = {"id": "re_1", "amount": 0, "status": "succeeded", "currency": "eur", "charge": "ch_1"}
    assert await ledger.stripe_tells("refund.created", told) == "parked"
    assert await ledger.alarms() == ["webhook_unreadable"]


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b"\xff\xfe", b'{"id": "evt_1"'])
@pytest.mark.parametrize("provider", ["stripe", "hyperswitch"])
async def test_signed_body_that_is_no_json_is_dead_with_an_alarm(
    ledger: ToldLedger, provider: str, body: bytes
) -> None:
    await ledger.hears_bytes(provider, "sha256:1", UNREADABLE_TYPE, body)
    assert ledger.row("sha256:1")[0] == "dead"
    (alarm,) = await ledger.storage.alarms.raised()
    assert (alarm.kind, alarm.subject) == ("webhook_unreadable", f"{provider}:sha256:1")
    assert "inbox discard" in alarm.detail


async def test_event_whose_body_is_no_object_raises_an_alarm(ledger: ToldLedger) -> None:
    body = json.dumps([1]).encode()
    await ledger.hears_bytes("stripe", "evt_1", "refund.created", body)
    assert (ledger.row("evt_1")[0], await ledger.alarms()) == ("parked", ["webhook_unreadable"])
