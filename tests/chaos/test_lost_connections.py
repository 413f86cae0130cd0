"""Hundreds of cut PostgreSQL connections while the ledger works: no refund is lost or doubled."""

import asyncio
import random
from collections.abc import Coroutine

import httpx

from infrastructure.simulators.stripe import SimulatorControl
from tests.e2e.conftest import Processes
from tests.support.ledger_process import LedgerClient, refund, signed
from tests.support.ledger_view import LedgerView

REFUNDS, KILLS, SEED = 200, 300, 20_261_120
AT_ONCE = 8
LEDGERS_AT_WORK = ("serve", "worker", "worker")
PAUSE = 0.02
"""Seconds between two kills: time to write, or no statement would be interrupted."""
LEDGERS = (
    "select pid from pg_stat_activity where datname = current_database() and application_name <> "
    "'view' order by pid"
)


async def paid_orders(web: LedgerClient, view: LedgerView) -> list[str]:
    orders = [f"o{n}" for n in range(REFUNDS)]
    await at_once([pay(web, order_id) for order_id in orders])

    async def all_completed() -> bool:
        (row,) = await view.select(
            "select count(*) from seller_transfers where status = 'completed'"
        )
        return bool(row["count"] == REFUNDS)

    await view.until(all_completed, "all orders are paid", patience=60)
    return orders


async def pay(web: LedgerClient, order_id: str) -> None:
    await web.order(order_id, 1_000, anna=600)
    await web.pay(order_id, 1_000)


async def at_once(calls: list[Coroutine[object, object, object]]) -> None:
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(call: Coroutine[object, object, object]) -> None:
        async with slots:
            await call

    await asyncio.gather(*map(one, calls))


async def insist(web: LedgerClient, order_id: str) -> int:
    """Deliver the webhook until the ledger answers 200; return the number of deliveries."""
    delivery = signed(
        f"evt_{order_id}",
        "refund_succeeded",
        "refund_details",
        refund(f"r_{order_id}", order_id, 1_000),
    )
    for attempt in range(1, 1_000):
        try:
            if (await web.post(delivery)).status_code == 200:
                return attempt
        except httpx.TransportError:
            pass
        await asyncio.sleep(PAUSE)
    raise AssertionError(f"the refund of {order_id} was never accepted")


async def cut(view: LedgerView) -> int:
    """Cut random connections of the ledger, one after the other."""
    chance, cut = random.Random(SEED), 0
    async with asyncio.timeout(60):
        while cut < KILLS:
            pids = [row["pid"] for row in await view.select(LEDGERS)]
            if pids:
                (row,) = await view.select(
                    "select pg_terminate_backend(%s) as cut", chance.choice(pids)
                )
                cut += row["cut"]
            await asyncio.sleep(PAUSE)
    return cut


async def reversed_rows(view: LedgerView) -> int:
    (row,) = await view.select("select count(*) from seller_transfers where status = 'reversed'")
    return int(row["count"])


async def test_cut_connections_lose_and_double_no_refund(
    processes: Processes, stripe: SimulatorControl, view: LedgerView
) -> None:
    serving, *_ = await asyncio.gather(
        *(processes.start(command, STRIPE_MAX_RPS="40") for command in LEDGERS_AT_WORK)
    )
    web = await processes.talk(serving)
    orders = await paid_orders(web, view)
    killing = asyncio.create_task(cut(view))
    await at_once([insist(web, order_id) for order_id in orders])
    assert await killing == KILLS
    assert await reversed_rows(view) > 0, "nothing was at work while the connections were cut"

    async def all_reversed() -> bool:
        return await reversed_rows(view) == REFUNDS

    await view.until(all_reversed, "all refunds are back", patience=60)
    held = (await stripe.ledger())["transfers"]
    assert sorted(theirs["transfer_group"] for theirs in held) == sorted(orders)
    assert [[reversal["amount"] for reversal in theirs["reversals"]] for theirs in held] == [
        [600]
    ] * REFUNDS
