"""Payments that collect another amount than was ordered, from the PSP's webhooks to Stripe's
books."""

import pytest

from infrastructure.postgres.integrity.verify import IntegrityFinding, verify
from tests.e2e.conftest import Processes
from tests.support.json_types import Json
from tests.support.ledger_process import LedgerClient, payment
from tests.support.ledger_view import LedgerView


async def test_surcharge_pays_and_full_refund_takes_every_share(
    processes: Processes, view: LedgerView, database_url: str
) -> None:
    web = await processes.talk(await processes.start())
    await web.order("o1", 10_000, anna=9_000)
    await web.webhook("payment_succeeded", "payment_details", received("o1", 10_300))
    await view.reached("o1", "completed")
    assert (await web.get("/v1/orders/o1"))["collected"] == 10_300
    await web.refund("r1", "o1", 5_150)
    (row,) = await view.reached("o1", "partially_reversed")
    assert row.amount_reversed == 4_500, "half of the collected amount is half of the share"
    await web.refund("r2", "o1", 5_150)
    (row,) = await view.reached("o1", "reversed")
    assert (row.amount_reversed, await view.alarms()) == (9_000, set())
    assert findings(database_url) == []


@pytest.mark.parametrize("paid_by_api", [False, True])
async def test_refund_before_the_payment_is_divided_again(
    processes: Processes, view: LedgerView, database_url: str, paid_by_api: bool
) -> None:
    web = await processes.talk(await processes.start())
    await web.order("o1", 10_000, anna=9_000)
    if paid_by_api:
        (await web.http.post("/v1/orders/o1/paid", json={})).raise_for_status()
        await view.reached("o1", "completed")
    await web.refund("r1", "o1", 5_150)
    await view.until(lambda: refunded(web, 5_150), "the refund is recorded")
    await web.webhook("payment_succeeded", "payment_details", received("o1", 10_300))

    async def half_is_left() -> bool:
        return await net(view) == 4_500

    await view.until(half_is_left, "half of the share is left")
    await web.refund("r2", "o1", 5_150)

    async def nothing_is_left() -> bool:
        rows = await view.select("select next_retry_at from seller_transfers")
        return all(row["next_retry_at"] is None for row in rows) and await net(view) == 0

    await view.until(nothing_is_left, "nothing of the share is left")
    assert findings(database_url) == []


async def test_partial_capture_alarms_until_the_rest_is_captured(
    processes: Processes, view: LedgerView, database_url: str
) -> None:
    web = await processes.talk(await processes.start())
    await web.order("o1", 10_000, anna=9_000)
    part = received("o1", 6_000) | {"status": "partially_captured_and_capturable"}
    await web.webhook("payment_captured", "payment_details", part)

    async def alarmed() -> bool:
        return await view.alarms() == {"payment_disagrees"}

    await view.until(alarmed, "an alarm names the amounts")
    assert await view.select("select from seller_transfers") == []
    await web.webhook("payment_captured", "payment_details", received("o1", 10_000))
    await view.reached("o1", "completed")

    async def quiet() -> bool:
        return await view.alarms() == set()

    await view.until(quiet, "the part is old")
    told = (await web.get("/v1/orders/o1/history"))["data"]
    assert "PaymentNotCounted" in {entry["fact"] for entry in told}
    assert findings(database_url) == []


def received(order_id: str, amount: int) -> Json:
    return payment(order_id, 10_000) | {"amount_received": amount}


async def refunded(web: LedgerClient, amount: int) -> bool:
    return bool((await web.get("/v1/orders/o1"))["refunded"] == amount)


async def net(view: LedgerView) -> int:
    """Return the amount that the settled transfers leave to the seller."""
    (row,) = await view.select(
        "select coalesce(sum(amount - amount_reversed) filter (where stripe_transfer_id <> ''), 0)"
        " as net from seller_transfers"
    )
    return int(row["net"])


def findings(database_url: str) -> list[IntegrityFinding]:
    return verify(database_url, [], None, lambda done, total: None).findings
