"""A backup is restored behind a Stripe that has moved on: nothing is paid twice, nothing is taken back twice."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from infrastructure.bootstrap import running, stored
from infrastructure.postgres.traffic import Traffic
from infrastructure.settings import Settings
from infrastructure.stripe.simulator import SimulatorControl
from tests.e2e.stage import CREATE, REVERSE, Desk, Stage
from tests.e2e.view import View

DAY = 25 * 3_600.0
"""Seconds after which Stripe has forgotten its idempotency keys."""


@pytest.fixture
async def lost(databases: Any, settings: Settings, stripe: SimulatorControl) -> AsyncIterator[Stage]:
    """The database that is lost; the other one is its backup, from before everything but the order."""
    url = databases.create(migrated=True)
    async with View.of(url) as view:
        for database_url in (url, settings.database_url):
            async with stored(replace(settings, database_url=database_url)) as storage:
                await Desk(storage).order("o1", 1_000, anna=900)
        yield Stage(replace(settings, database_url=url), view, stripe)
    databases.drop(url)


async def the_lost_hour(lost: Stage) -> str:
    """The order is paid and refunded in part, by the ledger that is lost afterwards; Stripe's id of the transfer."""
    async with lost.at_work() as desk:
        await desk.pay("o1")
        await lost.view.reached("o1", "completed")
        await desk.refund("r1", "o1", 500)
        (row,) = await lost.view.reached("o1", "partially_reversed")
    await lost.stripe.advance_clock(DAY)
    return str(row.stripe_transfer_id)


async def test_what_stripe_did_in_the_lost_hour_is_found_and_not_done_again(stage: Stage, lost: Stage) -> None:
    known = await the_lost_hour(lost)
    async with running(stage.settings, look_up_first=True) as service:
        desk = Desk(service)
        await desk.pay("o1")
        (row,) = await stage.view.reached("o1", "completed")
        assert row.stripe_transfer_id == known
        await desk.refund("r1", "o1", 500)
        (row,) = await stage.view.reached("o1", "partially_reversed")
        assert row.amount_reversed == 450
        # what comes new is looked up, not found, and sent
        await desk.refund("r2", "o1", 500)
        await stage.view.reached("o1", "reversed")
    assert len(await stage.posts(CREATE)) == 1
    assert len(await stage.posts(REVERSE)) == 2


async def test_every_process_of_the_database_looks_first_until_a_person_ends_it(stage: Stage, lost: Stage) -> None:
    known = await the_lost_hour(lost)
    async with running(stage.settings, loops=False, look_up_first=True):
        pass
    async with running(stage.settings) as service:  # one that was started without being told
        desk = Desk(service)
        await desk.pay("o1")
        (row,) = await stage.view.reached("o1", "completed")
        assert row.stripe_transfer_id == known
        await desk.refund("r1", "o1", 500)
        await stage.view.reached("o1", "partially_reversed")
        await service.ledger.resume("unseen", "mia", "reconciled")
        assert (await Traffic(stage.view.pool).state()).look_first is None
    assert len(await stage.posts(CREATE)) == 1
