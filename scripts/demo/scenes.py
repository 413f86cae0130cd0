"""The scenes. Each ends with what it promised, or raises DemoFailed."""

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
from scripts.demo.stage import DemoFailed, Json, Stage


class Scene(NamedTuple):
    """One scene: what the audience is told, and what happens. It answers the transfers whose history is worth reading."""

    title: str
    perform: Callable[[Stage], Awaitable[list[Json]]]


async def whole_way(stage: Stage) -> list[Json]:
    """Nothing is said twice to anybody: the ledger asks the payment provider, whose own webhooks do the rest."""
    await stage.order("whole", 6_000, payment_id=None, olga=5_000, paul=400)
    payment = await stage.post("/v1/orders/whole/payment", {})
    await stage.buyer_pays(payment["payment_id"])
    await stage.reached("whole", "completed", "completed")
    await stage.post("/v1/refunds", {"refund_id": "ref_whole", "order_id": "whole", "reason": "it was broken"})
    rows = await stage.reached("whole", "reversed", "reversed")
    books = await stage.psp.ledger()
    made = [(refund["refund_id"], refund["amount"], refund["status"]) for refund in books["refunds"]]
    if made != [("ref_whole", 6_000, "succeeded")] or books["violations"]:
        raise DemoFailed(f"The payment provider was to make one refund of 6000, and has {made}, {books['violations']}.")
    return rows[:1]


async def happy(stage: Stage) -> list[Json]:
    await stage.order("happy", 10_000, anna=9_000)
    await stage.pay("happy", 10_000)
    await stage.reached("happy", "completed")
    await stage.refund("ref_happy", "happy", 10_000)
    return await stage.reached("happy", "reversed")


async def three_sellers(stage: Stage) -> list[Json]:
    await stage.order("basket", 9_999, berta=3_333, carl=3_334, dora=1_000)
    await stage.pay("basket", 9_999)
    await stage.reached("basket", "completed", "completed", "completed")
    for refund_id, amount in (("ref_basket_1", 1_000), ("ref_basket_2", 3_333)):
        await stage.refund(refund_id, "basket", amount)
        await stage.reached("basket", *["partially_reversed"] * 3)
    await stage.refund("ref_basket_3", "basket", 9_999 - 1_000 - 3_333)
    rows = await stage.reached("basket", "reversed", "reversed", "reversed")
    if any(row["amount_reversed"] != row["amount"] for row in rows):
        raise DemoFailed("The full refund of the basket is not exact.")
    return rows[:1]


async def overtaking(stage: Stage) -> list[Json]:
    await stage.order("late", 5_000, emil=4_000, frida=500)
    await stage.refund("ref_late", "late", 5_000)
    await stage.pay("late", 5_000)
    return (await stage.reached("late", "cancelled", "cancelled"))[:1]


async def out_of_band(stage: Stage) -> list[Json]:
    await stage.order("dashboard", 2_500, gustav=2_000)
    await stage.pay("dashboard", 2_500)
    paid = await stage.reached("dashboard", "completed")
    await stage.control.external_reversal(paid[0]["stripe_transfer_id"])
    await stage.refund("ref_dashboard", "dashboard", 2_500)
    return await stage.reached("dashboard", "reversed")


async def unknown_transfer(stage: Stage) -> list[Json]:
    """A row taken over from an older system names a transfer that Stripe does not know."""
    await _import_order(stage, "typo", "hanna", 1_500, "tr_1Typo")
    await stage.refund("ref_typo", "typo", 1_500)
    rows = await stage.reached("typo", "permanently_failed")
    calls = [c for c in await stage.control.requests("reversals.create") if "tr_1Typo" in str(c)]
    if len(calls) != 1:
        raise DemoFailed(f"Stripe was asked {len(calls)} times for a transfer that it does not know; expected once.")
    return rows


async def _import_order(stage: Stage, order_id: str, seller_id: str, amount: int, stripe_transfer_id: str) -> None:
    now = datetime.now(UTC)
    share = Share(seller_id=seller_id, destination=f"acct_1{seller_id}", amount=amount)
    order = Order.register(order_id=order_id, currency="EUR", amount=amount, shares=[share], now=now)
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
    async with stage.storage() as storage:
        ledger = PostgresEventLog(storage.store)
        uow = await ledger.load([])
        uow.add([order, opened(SellerTransfer, imported)])
        await ledger.append(uow)


async def outage(stage: Stage) -> list[Json]:
    await stage.order("outage", 3_000, ida=2_700)
    await stage.pay("outage", 3_000)
    await stage.reached("outage", "completed")
    fault = await stage.control.fault("status", "reversals.create", status=503)
    await stage.refund("ref_outage", "outage", 3_000)

    async def tried_twice() -> bool:
        return bool((await stage.transfers("outage"))[0]["retry_count"] >= 2)

    await stage.until(tried_twice, "two attempts during the outage")
    await stage.control.clear_faults(fault)
    await stage.retry((await stage.transfers("outage"))[0]["transfer_id"])
    return await stage.reached("outage", "reversed")


async def kill_in_the_middle(stage: Stage) -> list[Json]:
    """Stripe has done it, nobody has heard the answer, and the ledger is killed."""
    await stage.order("killed", 8_000, jana=7_200)
    await stage.pay("killed", 8_000)
    await stage.reached("killed", "completed")
    await stage.control.hold("reversals.create", "after_commit", on_disconnect="execute")
    await stage.refund("ref_killed", "killed", 8_000)
    await stage.control.wait_until_held("reversals.create")
    await stage.kill()
    await stage.control.release("reversals.create")
    await stage.start()
    return []


async def what_became_of_the_killed_call(stage: Stage) -> list[Json]:
    rows = await stage.reached("killed", "reversed")
    books = await stage.control.ledger()
    reversals = [t["reversals"] for t in books["transfers"] if t["id"] == rows[0]["stripe_transfer_id"]]
    if [len(found) for found in reversals] != [1]:
        raise DemoFailed(f"Expected exactly one reversal after the kill, Stripe has {reversals}.")
    return rows


SCENES = (
    Scene("The ledger is killed (kill -9) in the middle of a reversal", kill_in_the_middle),
    Scene("The whole way: payment, transfers, a refund asked of the payment provider, reversals", whole_way),
    Scene("An order is paid, then refunded", happy),
    Scene("Three sellers, two partial refunds, and a final one: exact to the cent", three_sellers),
    Scene("A refund overtakes the payment: nothing is sent", overtaking),
    Scene("Somebody reversed the transfer in Stripe's dashboard before us", out_of_band),
    Scene("Stripe does not know the transfer: one call, then a person is needed", unknown_transfer),
    Scene("Stripe is down for a while", outage),
    Scene("What became of the call that was killed", what_became_of_the_killed_call),
)
