"""Scenarios of the demo. Each raises DemoFailed when it does not end as expected."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import NamedTuple

from domain.fact import opened
from domain.identity import transfer_stream
from domain.order.aggregate import Order
from domain.order.state import Share
from domain.seller_transfer.aggregate import TOPIC, SellerTransfer
from domain.seller_transfer.opening_facts import Imported
from infrastructure.postgres.ledger import PostgresEventLog
from scripts.demo.service_under_test import DemoFailed, Json, ServiceUnderTest


class Scenario(NamedTuple):
    """One scenario."""

    title: str
    execute: Callable[[ServiceUnderTest], Awaitable[list[Json]]]
    """Returns the transfers whose history the demo prints."""


async def payment_and_refund_at_psp(service: ServiceUnderTest) -> list[Json]:
    """Let the ledger create the payment and the refund at the payment provider, which reports both
    by webhook."""
    await service.order("whole", 6_000, payment_id=None, olga=5_000, paul=400)
    payment = await service.post("/v1/orders/whole/payment", {})
    await service.buyer_pays(payment["payment_id"])
    await service.reached("whole", "completed", "completed")
    await service.post(
        "/v1/refunds", {"refund_id": "ref_whole", "order_id": "whole", "reason": "it was broken"}
    )
    rows = await service.reached("whole", "reversed", "reversed")
    records = await service.psp.ledger()
    made = [
        (refund["refund_id"], refund["amount"], refund["status"]) for refund in records["refunds"]
    ]
    if made != [("ref_whole", 6_000, "succeeded")] or records["violations"]:
        raise DemoFailed(
            f"The payment provider has {made}, {records['violations']}; expected one refund of "
            "6000."
        )
    return rows[:1]


async def payment_then_refund(service: ServiceUnderTest) -> list[Json]:
    await service.order("happy", 10_000, anna=9_000)
    await service.pay("happy", 10_000)
    await service.reached("happy", "completed")
    await service.refund("ref_happy", "happy", 10_000)
    return await service.reached("happy", "reversed")


async def three_sellers(service: ServiceUnderTest) -> list[Json]:
    await service.order("basket", 9_999, berta=3_333, carl=3_334, dora=1_000)
    await service.pay("basket", 9_999)
    await service.reached("basket", "completed", "completed", "completed")
    for refund_id, amount in (("ref_basket_1", 1_000), ("ref_basket_2", 3_333)):
        await service.refund(refund_id, "basket", amount)
        await service.reached("basket", *["partially_reversed"] * 3)
    await service.refund("ref_basket_3", "basket", 9_999 - 1_000 - 3_333)
    rows = await service.reached("basket", "reversed", "reversed", "reversed")
    if any(row["amount_reversed"] != row["amount"] for row in rows):
        raise DemoFailed("The transfers of the basket are not reversed completely.")
    return rows[:1]


async def refund_before_payment(service: ServiceUnderTest) -> list[Json]:
    await service.order("late", 5_000, emil=4_000, frida=500)
    await service.refund("ref_late", "late", 5_000)
    await service.pay("late", 5_000)
    return (await service.reached("late", "cancelled", "cancelled"))[:1]


async def external_reversal(service: ServiceUnderTest) -> list[Json]:
    await service.order("dashboard", 2_500, gustav=2_000)
    await service.pay("dashboard", 2_500)
    paid = await service.reached("dashboard", "completed")
    await service.control.external_reversal(paid[0]["stripe_transfer_id"])
    await service.refund("ref_dashboard", "dashboard", 2_500)
    return await service.reached("dashboard", "reversed")


async def money_paid_out(service: ServiceUnderTest) -> list[Json]:
    """Refund an order whose money the seller has had paid out; his next sale brings it back."""
    await service.order("swept", 4_000, lena=3_600)
    await service.pay("swept", 4_000)
    await service.reached("swept", "completed")
    await service.pass_days(3)
    await service.refund("ref_swept", "swept", 4_000)

    async def waits() -> bool:
        return bool((await service.transfers("swept"))[0]["waiting_for"] == "funds")

    await service.until(waits, "the reversal waits for the seller's money")
    await service.order("next_sale", 5_000, lena=4_500)
    await service.pay("next_sale", 5_000)
    await service.reached("next_sale", "completed")
    await service.pass_days(2)
    return await service.reached("swept", "reversed")


async def unknown_transfer(service: ServiceUnderTest) -> list[Json]:
    """Refund an imported order whose transfer does not exist at Stripe."""
    await _import_order(service, "typo", "hanna", 1_500, "tr_1Typo")
    await service.refund("ref_typo", "typo", 1_500)
    rows = await service.reached("typo", "permanently_failed")
    calls = [c for c in await service.control.requests("reversals.create") if "tr_1Typo" in str(c)]
    if len(calls) != 1:
        raise DemoFailed(
            f"Stripe got {len(calls)} requests about a transfer that it does not know; expected "
            "one."
        )
    return rows


async def _import_order(
    service: ServiceUnderTest, order_id: str, seller_id: str, amount: int, stripe_transfer_id: str
) -> None:
    now = datetime.now(UTC)
    share = Share(seller_id=seller_id, destination=f"acct_1{seller_id}", amount=amount)
    order = Order.register(
        order_id=order_id, currency="EUR", amount=amount, shares=[share], now=now
    )
    order.pay(f"pay_{order_id}", None, "import", now)
    imported = Imported(
        originator_id=transfer_stream(order_id, seller_id),
        originator_version=1,
        originator_topic=TOPIC,
        timestamp=now,
        order_id=order_id,
        seller_id=seller_id,
        destination=f"acct_1{seller_id}",
        amount=amount,
        currency="EUR",
        transfer_group=order_id,
        status="completed",
        amount_reversed=0,
        stripe_transfer_id=stripe_transfer_id,
        evidence="a table of an older system",
    )
    async with service.storage() as storage:
        ledger = PostgresEventLog(storage.store)
        uow = await ledger.load([])
        uow.add([order, opened(SellerTransfer, imported)])
        await ledger.append(uow)


async def stripe_outage(service: ServiceUnderTest) -> list[Json]:
    await service.order("outage", 3_000, ida=2_700)
    await service.pay("outage", 3_000)
    await service.reached("outage", "completed")
    fault = await service.control.fault("status", "reversals.create", status=503)
    await service.refund("ref_outage", "outage", 3_000)

    async def tried_twice() -> bool:
        return bool((await service.transfers("outage"))[0]["retry_count"] >= 2)

    await service.until(tried_twice, "two attempts during the outage")
    await service.control.clear_faults(fault)
    await service.retry((await service.transfers("outage"))[0]["transfer_id"])
    return await service.reached("outage", "reversed")


async def kill_during_reversal(service: ServiceUnderTest) -> list[Json]:
    """Kill the ledger after Stripe has made a reversal and before its answer arrives."""
    await service.order("killed", 8_000, jana=7_200)
    await service.pay("killed", 8_000)
    await service.reached("killed", "completed")
    await service.control.hold("reversals.create", "after_commit", on_disconnect="execute")
    await service.refund("ref_killed", "killed", 8_000)
    await service.control.wait_until_held("reversals.create")
    await service.kill()
    await service.control.release("reversals.create")
    await service.start()
    return []


async def reversal_after_kill(service: ServiceUnderTest) -> list[Json]:
    rows = await service.reached("killed", "reversed")
    records = await service.control.ledger()
    reversals = [
        t["reversals"] for t in records["transfers"] if t["id"] == rows[0]["stripe_transfer_id"]
    ]
    if [len(found) for found in reversals] != [1]:
        raise DemoFailed(f"Expected exactly one reversal after the kill, Stripe has {reversals}.")
    return rows


SCENARIOS = (
    Scenario("The ledger is killed (kill -9) in the middle of a reversal", kill_during_reversal),
    Scenario(
        "Payment and refund at the payment provider, transfers and reversals at Stripe",
        payment_and_refund_at_psp,
    ),
    Scenario("An order is paid, then refunded", payment_then_refund),
    Scenario(
        "Three sellers, two partial refunds, and a final one: exact to the cent", three_sellers
    ),
    Scenario("A refund arrives before the payment: nothing is sent", refund_before_payment),
    Scenario(
        "The transfer was reversed in Stripe's dashboard before our reversal", external_reversal
    ),
    Scenario("The seller's money was paid out: the next sale brings it back", money_paid_out),
    Scenario(
        "Stripe does not know the transfer: one call, then a person is needed", unknown_transfer
    ),
    Scenario("Stripe is down for a while", stripe_outage),
    Scenario("The reversal that was under way during the kill", reversal_after_kill),
)
