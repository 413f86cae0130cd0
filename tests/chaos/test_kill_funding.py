"""Sales on a platform without money: the charge of each payment funds its transfers, and a ledger
that is killed between two steps is replaced by the next one.

The bigger run of the last test: `FUNDED_ORDERS=1000 python -m pytest -n0 -s --timeout=1500
tests/chaos/test_kill_funding.py -k fleet`.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from time import monotonic

import pytest

from infrastructure.simulators.stripe import SimulatorControl
from tests.chaos.conftest import DatabaseLocks
from tests.e2e.conftest import Processes
from tests.support.json_types import Json
from tests.support.ledger_process import LedgerClient, LedgerProcess, payment
from tests.support.ledger_view import LedgerView, eventually
from tests.support.service import CREATE

READ_INTENT = "payment_intents.retrieve"
APPEND, RESERVE = "select ledger_append", "insert into pace"
FUNDED_ORDERS = int(os.environ.get("FUNDED_ORDERS", "30"))
SELLERS = ("anna", "bert", "cleo")
SHARES = {"anna": 500, "bert": 300, "cleo": 100}
A_WEEK = 7 * 86_400


class SaleUnderTest:
    """An order of two sellers that the PSP reports as paid, while the platform has no money."""

    def __init__(
        self,
        processes: Processes,
        stripe: SimulatorControl,
        view: LedgerView,
        locks: DatabaseLocks,
    ) -> None:
        self.processes, self.stripe, self.view, self.locks = processes, stripe, view, locks
        self.intent: Json = {}
        self.process: LedgerProcess
        self.web: LedgerClient

    async def open(self) -> None:
        """Start a ledger, register the order, and take the buyer's money at Stripe."""
        await self.stripe.drain("eur")
        self.intent = await self.stripe.add_payment("eur", 1_000, available_in=A_WEEK)
        self.process = await self.processes.start()
        self.web = await self.processes.talk(self.process)
        await self.web.order("o1", 1_000, anna=600, bert=300)

    async def pay(self, times: int = 1) -> None:
        for _ in range(times):
            await pay(self.web, "o1", self.intent["id"])

    async def restart(self) -> None:
        """Start another ledger, which finishes the work of the killed one."""
        self.process = await self.processes.begin()
        await self.view.reached("o1", "completed", "completed")

    async def assert_funded_once(self) -> None:
        """Check that each seller is paid once, from the charge, and that no call was refused."""
        await assert_funded(self.stripe, {self.intent["id"]: self.intent["latest_charge"]}, 2)
        facts = await self.view.select(
            "select count(*) as n from ledger_events where topic = 'ledger.order.charge_found'"
        )
        assert facts[0]["n"] == 1

    @asynccontextmanager
    async def answer_on_its_way(self) -> AsyncIterator[list[int]]:
        """Hold the append of the charge in PostgreSQL, after it has arrived there."""
        await self.stripe.hold(READ_INTENT)
        await self.pay()
        await self.stripe.wait_until_held(READ_INTENT)
        async with self.locks.on_appends():
            await self.stripe.release(READ_INTENT)
            yield await self.locks.until_waiting(APPEND)


async def pay(web: LedgerClient, order_id: str, intent: str) -> None:
    connector = {"connector": "stripe", "connector_transaction_id": intent}
    await web.webhook("payment_succeeded", "payment_details", payment(order_id, 1_000) | connector)


async def assert_funded(stripe: SimulatorControl, charges: dict[str, str], sellers: int) -> None:
    held = (await stripe.ledger())["transfers"]
    sources = [transfer["source_transaction"] for transfer in held]
    assert sorted(sources) == sorted(charge for charge in charges.values() for _ in range(sellers))
    assert {transfer["transfer_group"] for transfer in held} == {f"group_{pi}" for pi in charges}
    refused = [post for post in await stripe.requests(CREATE) if post["status"] == 400]
    assert refused == [], "a transfer was refused, such as with balance_insufficient"
    assert await stripe.violations() == []


@pytest.fixture
async def sale(
    processes: Processes, stripe: SimulatorControl, view: LedgerView, locks: DatabaseLocks
) -> SaleUnderTest:
    sale = SaleUnderTest(processes, stripe, view, locks)
    await sale.open()
    return sale


async def test_kill_after_claim_before_read(sale: SaleUnderTest) -> None:
    async with sale.locks.on_rate_limiter(READ_INTENT):
        await sale.pay()
        waiting = await sale.locks.until_waiting(RESERVE)
        (leased,) = await sale.view.select("select leased_by from orders")
        assert leased["leased_by"] is not None
        await sale.process.kill()
        await sale.locks.end(waiting)
    assert await sale.stripe.requests(READ_INTENT) == []
    await sale.restart()
    await sale.assert_funded_once()


async def test_kill_during_the_read(sale: SaleUnderTest) -> None:
    await sale.stripe.hold(READ_INTENT, on_disconnect="abandon")
    await sale.pay(times=2)
    await sale.stripe.wait_until_held(READ_INTENT)
    await sale.process.kill()
    assert {row.waiting_for for row in await sale.view.transfers("o1")} == {"charge"}
    await sale.restart()
    await sale.assert_funded_once()


@pytest.mark.parametrize("answer", ["is lost", "is stored after the death"])
async def test_kill_after_the_answer_before_its_facts(sale: SaleUnderTest, answer: str) -> None:
    async with sale.answer_on_its_way() as waiting:
        await sale.process.kill()
        if answer == "is lost":
            await sale.locks.end(waiting)
    await sale.locks.until_done(waiting)
    await sale.restart()
    await sale.assert_funded_once()
    reads = len(await sale.stripe.requests(READ_INTENT))
    assert reads == (2 if answer == "is lost" else 1)


async def test_kill_after_the_charge_is_known_before_the_transfers(sale: SaleUnderTest) -> None:
    async with sale.locks.on_rate_limiter(CREATE):
        await sale.pay()
        waiting = await sale.locks.until_waiting(RESERVE)
        await sale.process.kill()
        await sale.locks.end(waiting)
    rows = await sale.view.transfers("o1")
    assert {row.source_transaction for row in rows} == {sale.intent["latest_charge"]}
    await sale.restart()
    await sale.assert_funded_once()


async def test_kill_during_the_sourced_transfer_repeats_its_body(sale: SaleUnderTest) -> None:
    await sale.stripe.hold(CREATE, point="after_commit", on_disconnect="execute", times=2)
    await sale.pay()
    await sale.stripe.wait_until_held(CREATE, 2)
    await sale.process.kill()
    await sale.restart()
    await sale.assert_funded_once()
    posts = await sale.stripe.requests(CREATE)
    assert len({post["key"] for post in posts}) == 2


async def test_fleet_that_is_killed_pays_all_from_the_sales(
    processes: Processes, stripe: SimulatorControl, view: LedgerView
) -> None:
    """The platform's balance is 0, all money of the sales is pending, and one of two ledgers is
    killed every second."""
    await stripe.drain("eur")
    orders = [f"o{number}" for number in range(FUNDED_ORDERS)]
    intents = [await stripe.add_payment("eur", 1_000, available_in=A_WEEK) for _ in orders]
    random, began = Random(1), monotonic()
    fleet = [await processes.start(), await processes.start()]
    web = [await processes.talk(one) for one in fleet]
    for number, (order_id, intent) in enumerate(zip(orders, intents, strict=True)):
        await web[0].order(order_id, 1_000, **SHARES)
        await pay(web[0], order_id, intent["id"])
        if number % 10 == 9:  # in the midst of the work, not at its end
            await fleet[1].kill()
            fleet[1] = await processes.begin()

    async def all_paid() -> bool:
        (row,) = await view.select(
            "select count(*) as n from seller_transfers where status = 'completed'"
        )
        return bool(row["n"] == len(SHARES) * len(orders))

    kills = len(orders) // 10
    while not await all_paid():
        assert monotonic() - began < 60 + len(orders), "the sellers are not paid in time"
        await asyncio.sleep(1)
        await fleet[1].kill()
        fleet[1], kills = await processes.begin(), kills + 1
        await asyncio.sleep(random.random())
    await eventually(all_paid, "all sellers are paid")
    charges = {intent["id"]: intent["latest_charge"] for intent in intents}
    await assert_funded(stripe, charges, len(SHARES))
    sys.stdout.write(f"{len(orders)} orders, {kills} kills, {monotonic() - began:.1f} s\n")
