"""Expiry of idempotency keys after a day: a call with unknown outcome is looked up by then, never
sent again."""

import asyncio
from collections.abc import Callable
from datetime import timedelta

from domain.provider_call.retry_policy import Policy
from domain.seller_transfer.facts import CallStarted
from infrastructure.simulation.fleet import Fleet
from infrastructure.simulation.stripe_in_process import VirtualStripe
from infrastructure.simulation.virtual_time import now, run
from tests.support.book_comparison import books_agree
from tests.support.marketplace import Marketplace

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
KEY_LIFETIME = Policy().key_lifetime


async def dead_for_a_day(fleet: Fleet, condition: Callable[[], object]) -> None:
    """Kill the only process as soon as the condition holds, and start it again when its key has
    expired."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - Stripe announces nothing, and virtual time costs nothing
            await asyncio.sleep(0.05)
    (process,) = fleet.processes
    await process.kill()
    await asyncio.sleep((KEY_LIFETIME + MINUTE).total_seconds())
    process.start()


def test_lost_transfer_is_found_a_day_later() -> None:
    async def day() -> None:
        stripe = VirtualStripe(seed=1)
        async with Fleet(stripe.gateway, processes=1) as fleet:
            market = Marketplace(fleet)
            await market.order("o1", 1_000, anna=900)
            await market.pay("o1")
            await dead_for_a_day(fleet, lambda: stripe.transfers)
            assert market.statuses("o1") == ["pending"], "nobody has recorded what came of it"
            await fleet.until(fleet.quiet, HOUR)

            assert market.statuses("o1") == ["completed"]
            assert len(stripe.posts("transfers.create")) == 1
            assert stripe.posts("transfers.list"), "it was looked up"
        books_agree(stripe, fleet.database)

    run(day())


def test_absent_transfer_is_sent_under_a_new_key_a_day_later() -> None:
    async def day() -> None:
        stripe = VirtualStripe(seed=1)
        async with Fleet(stripe.gateway, processes=1) as fleet:
            market = Marketplace(fleet)
            await market.order("o1", 1_000, anna=900)
            async with stripe.degraded(silent=True):
                await market.pay("o1")
                await dead_for_a_day(
                    fleet, lambda: any(isinstance(fact, CallStarted) for fact in market.facts("o1"))
                )
            restarted_at = now()
            await fleet.until(fleet.quiet, HOUR)

            first, second = [fact for fact in market.facts("o1") if isinstance(fact, CallStarted)]
            (posted,) = stripe.posts("transfers.create")
            (listed,) = stripe.posts("transfers.list")
            assert (first.epoch, second.epoch) == (1, 2)
            assert posted["key"] == second.key != first.key
            assert restarted_at.timestamp() <= listed["at"] <= posted["at"]
        books_agree(stripe, fleet.database)

    run(day())


def test_lost_reversal_is_found_a_day_later() -> None:
    async def day() -> None:
        stripe = VirtualStripe(seed=1)
        async with Fleet(stripe.gateway, processes=1) as fleet:
            market = Marketplace(fleet)
            await market.order("o1", 1_000, anna=900)
            await market.pay("o1")
            await fleet.until(fleet.quiet, HOUR)
            await market.refund("r1", "o1", 400)
            await dead_for_a_day(fleet, lambda: stripe.transfers[0]["amount_reversed"])
            assert market.transfer("o1").amount_reversed == 0, "nobody has recorded what came of it"
            await fleet.until(fleet.quiet, HOUR)

            assert market.transfer("o1").amount_reversed == 360
            assert len(stripe.posts("reversals.create")) == 1
            assert stripe.posts("transfers.retrieve"), "it was looked up"
        books_agree(stripe, fleet.database)

    run(day())


def test_lost_answer_within_a_day_is_repeated_by_key() -> None:
    async def hours() -> None:
        stripe = VirtualStripe(seed=1)
        async with Fleet(stripe.gateway, processes=1) as fleet:
            market = Marketplace(fleet)
            await market.order("o1", 1_000, anna=900)
            async with stripe.degraded(lost_answers=1.0):
                await market.pay("o1")
                await fleet.until(lambda: market.transfer("o1").retry_count == 2, HOUR)
            await fleet.until(fleet.quiet, HOUR)
            assert len({call["key"] for call in stripe.posts("transfers.create")}) == 1
            assert stripe.posts("transfers.list") == []
        books_agree(stripe, fleet.database)

    run(hours())
