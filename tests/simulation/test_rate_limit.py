"""Pause and rate limit of a fleet: a paused fleet stops, and a refused fleet slows down."""

import asyncio
from datetime import timedelta

from domain.pause import EVERYTHING
from infrastructure.simulation.fleet import Fleet
from infrastructure.simulation.network import NetworkConditions
from infrastructure.simulation.stripe_in_process import VirtualStripe
from infrastructure.simulation.virtual_time import now, run
from tests.support.book_comparison import books_agree
from tests.support.due_reversals import reversals_due
from tests.support.in_memory.stripe import MemoryStripe
from tests.support.marketplace import Marketplace

HOUR = timedelta(hours=1)


def test_claimed_work_is_not_begun_after_a_pause() -> None:
    """Each process holds more transfers than it may send at once, and waits for its turns."""

    async def paused() -> None:
        stripe = MemoryStripe(network=NetworkConditions(), clock=now)
        async with Fleet(lambda: stripe, processes=2) as fleet:
            await reversals_due(fleet, stripe, 400)
            await asyncio.sleep(2)
            assert await fleet.commands.operator.pause(EVERYTHING, "mia", "enough")
            begun = stripe.calls
            assert 0 < begun < 100
            await asyncio.sleep(HOUR.total_seconds())
            assert stripe.calls == begun, "calls that had begun are finished, none begins"
            await fleet.commands.operator.resume(EVERYTHING, "mia", "go on")
            await fleet.until(fleet.quiet, HOUR)
        books_agree(stripe, fleet.database)

    run(paused())


def test_fleet_above_stripes_limit_slows_down() -> None:
    """The fleet is configured for 20 calls a second, and Stripe allows 10."""

    async def slower() -> None:
        stripe = VirtualStripe(seed=1, endpoint_rate=10.0)
        async with Fleet(stripe.gateway, processes=2) as fleet:
            market = Marketplace(fleet)
            for number in range(400):
                await market.order(f"o{number}", 1_000, **{f"s{number % 20}": 900})
                await market.pay(f"o{number}")
            await fleet.until(fleet.quiet, HOUR)
            posts = stripe.posts("transfers.create")
            later = [call for call in posts if call["at"] - posts[0]["at"] > 15]
            refused = [call for call in later if call["status"] == 429]
            assert len(later) > 100
            assert len(refused) < 0.06 * len(later), "without slowing down it would be half of them"
            assert all(
                row.retry_count == 0 for row in fleet.database.tables["seller_transfers"].values()
            )
        books_agree(stripe, fleet.database)

    run(slower())
