"""Two ledgers on one platform account with equal ids of orders: the second one must not take the
first one's transfer for its own."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from infrastructure.postgres import migrate
from infrastructure.simulators.stripe import SimulatorControl
from tests.support.idempotency_keys import without_ledger
from tests.support.ledger_view import LedgerView
from tests.support.service import CREATE, REVERSE, SystemUnderTest, quick

pytestmark = pytest.mark.usefixtures("kindness")


@pytest.fixture
async def first(database_url: str, stripe: SimulatorControl) -> AsyncIterator[SystemUnderTest]:
    async with LedgerView.of(database_url) as view:
        yield SystemUnderTest(quick(database_url, stripe.url), view, stripe)


@pytest.fixture
async def second(
    empty_database_url: str, stripe: SimulatorControl
) -> AsyncIterator[SystemUnderTest]:
    settings = quick(empty_database_url, stripe.url)
    await asyncio.to_thread(migrate.up, empty_database_url)
    async with LedgerView.of(empty_database_url) as view:
        yield SystemUnderTest(settings, view, stripe)


async def paid_and_refunded(system: SystemUnderTest) -> None:
    async with system.at_work() as caller:
        await system.paid(caller)
        await caller.refund("r1", "o1", 500)
        await system.view.reached("o1", "partially_reversed")


async def test_equal_ids_in_two_ledgers_pay_and_reverse_twice(
    first: SystemUnderTest, second: SystemUnderTest
) -> None:
    for system in (first, second):
        await paid_and_refunded(system)
    transfers = (await first.stripe.ledger())["transfers"]
    assert [one["amount_reversed"] for one in transfers] == [450, 450]
    ours = {
        str((await system.view.transfer("o1")).stripe_transfer_id) for system in (first, second)
    }
    assert ours == {one["id"] for one in transfers}
    assert len({one["metadata"]["ledger_id"] for one in transfers}) == 2
    for operation in (CREATE, REVERSE):
        keys = [str(post["key"]) for post in await first.posts(operation)]
        assert len(set(keys)) == 2
        assert len({without_ledger(key) for key in keys}) == 1


async def test_lost_call_is_not_found_in_the_other_ledgers_transfer(
    first: SystemUnderTest, second: SystemUnderTest
) -> None:
    async with first.at_work() as caller:
        await first.paid(caller)
    fault = await second.stripe.fault("reset_before_commit", CREATE)
    async with second.at_work(stripe_timeout=timedelta(seconds=1)) as caller:
        await caller.order("o1", 1_000, anna=900)
        await caller.pay("o1")
        (lost,) = await second.view.reached("o1", "permanently_failed")
        await second.stripe.clear_faults(fault)
        await caller.retry(lost.transfer_id)  # which looks first
        (row,) = await second.view.reached("o1", "completed")
    assert row.stripe_transfer_id != (await first.view.transfer("o1")).stripe_transfer_id
