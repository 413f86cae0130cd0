"""Events of unknown types, statuses and shapes: stored, classified with a reason, and in the way of
no other event."""

import json
import time
from datetime import UTC, datetime

import pytest

from infrastructure.stripe import signature as stripe_signature
from tests.e2e.conftest import Processes
from tests.support.json_types import Json
from tests.support.ledger_process import SECRET, LedgerClient, signed
from tests.support.ledger_view import LedgerView
from tests.support.service import account
from tests.support.stripe_events import a_dispute, a_refund

HUGE = 10**30
ORDER: Json = {"metadata": {"order_id": "o1"}}
REFUND = {
    "refund_id": "ref_1",
    "payment_id": "pay_o1",
    "amount": 400,
    "currency": "EUR",
    "status": "succeeded",
    **ORDER,
}
DISPUTE = {"dispute_id": "dp_1", "payment_id": "pay_o1", "amount": "400", "currency": "EUR"}

STRIPES: dict[str, tuple[str, object, str]] = {
    "a type nobody knows": ("invoice.sung", {"id": "in_1"}, "ignored"),
    "a refund of a status nobody knows": (
        "refund.updated",
        a_refund("re_1", 400, "transmuted", **ORDER),
        "ignored",
    ),
    "a dispute of a status nobody knows": (
        "charge.dispute.updated",
        a_dispute("dp_1", 400, "under_water", **ORDER),
        "ignored",
    ),
    "a payout of a status nobody knows": (
        "payout.updated",
        {"id": "po_1", "object": "payout", "amount": 1, "currency": "eur", "status": "lost_at_sea"},
        "ignored",
    ),
    "an account that says nothing of transfers": (
        "account.updated",
        {"id": account("nobody"), "object": "account"},
        "ignored",
    ),
    "an amount beyond all numbers": ("refund.updated", a_refund("re_2", HUGE, **ORDER), "parked"),
    "an amount that is a word": (
        "refund.updated",
        {**a_refund("re_3", 1, **ORDER), "amount": "much"},
        "parked",
    ),
    "no object at all": ("refund.updated", None, "parked"),
    "a list instead of an object": ("transfer.updated", [1, 2], "parked"),
}
HYPERSWITCHS: dict[str, tuple[str, Json, str]] = {
    "a type nobody knows": ("refund_sung", REFUND, "ignored"),
    "a refund without an amount": ("refund_succeeded", {**REFUND, "amount": None}, "parked"),
    "a refund beyond all numbers": (
        "refund_succeeded",
        {**REFUND, "refund_id": "ref_2", "amount": HUGE},
        "parked",
    ),
    "a refund below nothing": (
        "refund_succeeded",
        {**REFUND, "refund_id": "ref_3", "amount": -5},
        "parked",
    ),
    "a currency that is none": (
        "refund_succeeded",
        {**REFUND, "refund_id": "ref_4", "currency": "€"},
        "parked",
    ),
    "a dispute over a word": ("dispute_lost", {**DISPUTE, "amount": "much"}, "parked"),
    "an empty object": ("payment_succeeded", {}, "parked"),
}


@pytest.fixture
async def web(processes: Processes, view: LedgerView) -> LedgerClient:
    web = await processes.talk(await processes.start(STRIPE_WEBHOOK_SECRETS=SECRET))
    await web.order("o1", 1_000, anna=900)
    await web.pay("o1", 1_000)
    await view.reached("o1", "completed")
    return web


async def test_unknown_events_are_stored_and_known_ones_handled(
    web: LedgerClient, view: LedgerView
) -> None:
    wanted = {}
    for number, (event_type, object_, ends) in enumerate(STRIPES.values()):
        event = {
            "id": f"evt_s{number}",
            "object": "event",
            "type": event_type,
            "livemode": False,
            "data": {"object": object_},
        }
        body = json.dumps(event).encode()
        headers = {
            stripe_signature.HEADER: stripe_signature.sign(
                body, SECRET, datetime.fromtimestamp(time.time(), UTC)
            )
        }
        assert (
            await web.http.post("/webhooks/stripe", content=body, headers=headers)
        ).status_code == 200
        wanted[event["id"]] = ends
    for number, (event_type, content, ends) in enumerate(HYPERSWITCHS.values()):
        assert (
            await web.post(signed(f"evt_h{number}", event_type, "details", content))
        ).status_code == 200
        wanted[f"evt_h{number}"] = ends
    await web.refund("ref_good", "o1", 400)
    (row,) = await view.reached("o1", "partially_reversed")
    assert row.amount_reversed == 360

    async def ended() -> dict[str, tuple[str, str]]:
        rows = await view.select(
            "select event_id, status, reason from webhook_inbox where event_id = any(%s)",
            list(wanted),
        )
        found = {row["event_id"]: (row["status"], row["reason"] or "") for row in rows}
        return {} if any(status == "stored" for status, _ in found.values()) else found

    found = await view.until(ended, "each has come to an end")
    assert {event_id: status for event_id, (status, _) in found.items()} == wanted
    assert all(reason for _, reason in found.values())
    parked = sum(status == "parked" for status, _ in found.values())
    (alarmed,) = await view.select(
        "select count(*) as raised from alarms where subject like '%%:evt_%%' and cleared_at is "
        "null"
    )
    assert alarmed["raised"] == parked, (
        "what was signed and cannot be understood, a person should know"
    )
