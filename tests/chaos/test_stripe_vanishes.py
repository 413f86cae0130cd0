"""Restart of Stripe with calls under way: its earlier work is not repeated."""

from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from infrastructure.settings import Settings, WorkSettings
from infrastructure.simulators.stripe import SimulatorControl, simulator_process
from tests.support.ledger_view import LedgerView, eventually
from tests.support.postgres_books import books_agree
from tests.support.service import CREATE, QUICK, REVERSE, LedgerCaller, SystemUnderTest

ENDLESS = WorkSettings(
    max_retries=1_000, backoff_base=QUICK.backoff_base, backoff_max=QUICK.backoff_max
)
ORDERS = ["o1", "o2", "o3"]


async def lead_to(operation: str, system: SystemUnderTest, caller: LedgerCaller) -> None:
    """Lead three orders to a call of this operation."""
    for order_id in ORDERS:
        if operation == REVERSE:
            await system.paid(caller, order_id)
        else:
            await caller.order(order_id, 1_000, anna=900)
    await system.stripe.hold(operation, point="after_commit", times=len(ORDERS))
    for order_id in ORDERS:
        await (
            caller.refund(f"r_{order_id}", order_id, 1_000)
            if operation == REVERSE
            else caller.pay(order_id)
        )
    await system.stripe.wait_until_held(operation, len(ORDERS))


@pytest.mark.parametrize("operation", [CREATE, REVERSE])
async def test_stripes_earlier_work_is_not_repeated(
    settings: Settings, view: LedgerView, tmp_path: Path, operation: str
) -> None:
    books = tmp_path / "books.sqlite3"
    async with (
        simulator_process(state_file=books, manners="kind") as first,
        SimulatorControl(first.url) as stripe,
    ):
        settings = replace(
            settings, stripe_api_base=first.url, transfers=ENDLESS, reversals=ENDLESS
        )
        system = SystemUnderTest(settings, view, stripe)
        async with system.at_work() as caller:
            await lead_to(operation, system, caller)
            await first.kill()
            await eventually(lambda: given_up(view), "the breaker is open")
            async with simulator_process(
                port=urlsplit(first.url).port or 0, state_file=books, manners="kind"
            ):
                status = "reversed" if operation == REVERSE else "completed"
                for order_id in ORDERS:
                    await view.reached(order_id, status)
                await books_agree(stripe, view.pool)
                held = (await stripe.ledger())["transfers"]
                assert [len(theirs["reversals"]) for theirs in held] == [
                    int(operation == REVERSE)
                ] * len(ORDERS)
                assert all(call["replayed"] for call in await stripe.requests(operation))


async def given_up(view: LedgerView) -> bool:
    """Return whether the breaker is open: after three refused attempts, and a refused probe."""
    return "stripe_outage" in await view.alarms()
