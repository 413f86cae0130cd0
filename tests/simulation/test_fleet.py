"""The virtual fleet itself: killed processes do nothing more, frozen ones act late, and arrived
calls are done."""

import asyncio
from datetime import timedelta

from domain.seller_transfer.facts import CallStarted
from infrastructure.simulation.fleet import Fleet
from infrastructure.simulation.stripe_in_process import VirtualStripe
from infrastructure.simulation.virtual_time import now, run
from tests.support.book_comparison import books_agree
from tests.support.marketplace import Marketplace

HOUR = timedelta(hours=1)


async def until_at_stripe(stripe: VirtualStripe) -> None:
    async with asyncio.timeout(60):
        while not stripe.transfers:  # noqa: ASYNC110 - Stripe announces nothing, and virtual time costs nothing
            await asyncio.sleep(0.05)


def test_killed_process_leaves_no_trace() -> None:
    async def kill() -> None:
        stripe = VirtualStripe(seed=1)
        async with Fleet(stripe.gateway, processes=1) as fleet:
            market, (process,) = Marketplace(fleet), fleet.processes
            await market.order("o1", 1_000, anna=900)
            await market.pay("o1")
            await until_at_stripe(stripe)
            said = len(fleet.database.recorded)
            await process.kill()
            assert process.tasks == {}
            await asyncio.sleep(HOUR.total_seconds())
            assert len(fleet.database.recorded) == said, "the outcome was never recorded"
            assert fleet.database.due.next("transferring", now(), lambda _: True) is not None
            process.start()
            await fleet.until(fleet.quiet, HOUR)
            assert [call["replayed"] for call in stripe.posts("transfers.create")] == [False, True]
        books_agree(stripe, fleet.database)

    run(kill())


def test_killed_process_keeps_its_leases_until_they_end() -> None:
    async def kill() -> None:
        stripe = VirtualStripe(seed=1)
        async with Fleet(stripe.gateway, processes=2) as fleet:
            market = Marketplace(fleet)
            await market.order("o1", 1_000, anna=900)
            await market.pay("o1")
            began = now()
            await until_at_stripe(stripe)
            owner = max(
                fleet.processes, key=lambda process: len(process.tasks)
            )  # one of its tasks sees to the transfer
            await owner.kill()
            await fleet.until(fleet.quiet, HOUR)
            assert now() - began >= fleet.settings.lease
            owner.start()
        books_agree(stripe, fleet.database)

    run(kill())


def test_frozen_process_answers_late_without_harm() -> None:
    async def freeze() -> None:
        stripe = VirtualStripe(seed=1)
        async with Fleet(stripe.gateway, processes=2) as fleet:
            market = Marketplace(fleet)
            await market.order("o1", 1_000, anna=900)
            await market.pay("o1")
            await until_at_stripe(stripe)
            frozen = [asyncio.create_task(process.freeze(60)) for process in fleet.processes[:1]]
            await fleet.until(fleet.quiet, HOUR)
            await asyncio.gather(*frozen)
            await asyncio.sleep(60)
            assert market.statuses("o1") == ["completed"]
            assert len(stripe.transfers) == 1
        books_agree(stripe, fleet.database)

    run(freeze())


def test_stopped_process_records_its_calls_in_flight() -> None:
    async def stop() -> None:
        stripe = VirtualStripe(seed=1)
        async with Fleet(stripe.gateway, processes=1) as fleet:
            market, (process,) = Marketplace(fleet), fleet.processes
            await market.order("o1", 1_000, anna=900)
            await market.pay("o1")
            await fleet.until(
                lambda: any(isinstance(fact, CallStarted) for fact in market.facts("o1")), HOUR
            )
            await process.stop()
            assert market.statuses("o1") == ["completed"]
            assert process.tasks == {}
            process.start()
        books_agree(stripe, fleet.database)

    run(stop())
