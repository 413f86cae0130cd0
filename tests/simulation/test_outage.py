"""Bursts of refunds and outages on a fleet: no call twice, none faster than Stripe allows, also
when processes die."""

import asyncio
import os
from collections import Counter
from datetime import timedelta

import pytest

from domain.seller_transfer.facts import CallStarted
from infrastructure.postgres.ledger import FactCodec
from infrastructure.simulation.fleet import DEFAULT_SETTINGS, Fleet
from infrastructure.simulation.network import NetworkConditions
from infrastructure.simulation.virtual_time import now, run
from tests.support.book_comparison import books_agree
from tests.support.due_reversals import reversals_due
from tests.support.in_memory.stripe import MemoryStripe

STORM = int(os.environ.get("LEDGER_STORM", "1000"))
"""Refunds of the burst; LEDGER_STORM=10000 takes ten times as long."""


def begun(fleet: Fleet) -> Counter[int]:
    """Count the calls that began in each second."""
    codec = FactCodec()
    facts = (codec.fact(one) for one in fleet.database.recorded if one.topic == CallStarted.TOPIC)
    return Counter(int(fact.timestamp.timestamp()) for fact in facts)


def test_refund_burst_runs_at_full_rate_despite_crashes() -> None:
    async def storm() -> None:
        stripe = MemoryStripe(network=NetworkConditions(), clock=now)
        async with Fleet(lambda: stripe, processes=3) as fleet:
            began = now()
            ids = await reversals_due(fleet, stripe, STORM)
            one, other, _ = fleet.processes
            await asyncio.sleep(10)
            await one.kill()
            await other.freeze(15)
            one.start()
            await fleet.until(fleet.quiet, timedelta(hours=1))

            rows = fleet.database.tables["seller_transfers"]
            assert Counter(rows[each].status for each in ids) == {"reversed": STORM}
            rate = DEFAULT_SETTINGS.stripe_max_rps
            assert max(begun(fleet).values()) <= rate + 1, "all processes together"
            assert now() - began < timedelta(seconds=1.5 * STORM / rate + 60), (
                "and hardly slower than that"
            )
        books_agree(stripe, fleet.database)

    run(storm())


def test_ten_minute_outage_loses_and_doubles_nothing() -> None:
    async def outage() -> None:
        stripe = MemoryStripe(network=NetworkConditions(), clock=now)
        async with Fleet(lambda: stripe, processes=3) as fleet:
            ids = await reversals_due(fleet, stripe, 100)
            stripe.network.unavailable = True
            await asyncio.sleep(600)
            stripe.network.unavailable = False
            await fleet.until(fleet.quiet, timedelta(hours=2))
            rows = fleet.database.tables["seller_transfers"]
            assert Counter(rows[each].status for each in ids) == {"reversed": 100}
        books_agree(stripe, fleet.database)

    run(outage())


DUE = 10_000
HANDFUL = 10
"""Most facts per stream over its whole life, with its opening, its payment and its reversal."""


@pytest.mark.timeout(400)
def test_day_long_outage_costs_no_attempt() -> None:
    async def day() -> None:
        stripe = MemoryStripe(network=NetworkConditions(unavailable=True), clock=now)
        async with Fleet(lambda: stripe, processes=3) as fleet:
            ids = await reversals_due(fleet, stripe, DUE)
            before = len(fleet.database.recorded)
            await asyncio.sleep(24 * 3_600)
            assert len(fleet.database.recorded) - before < DUE // 10, (
                "nothing is claimed, so nothing is told"
            )
            assert [alarm.kind for alarm in fleet.database.alarms.raised()] == ["stripe_outage"]

            stripe.network.unavailable = False
            healed = now()
            await fleet.until(fleet.quiet, timedelta(hours=2))
            rows = fleet.database.tables["seller_transfers"]
            assert Counter((rows[each].status, rows[each].retry_count) for each in ids) == {
                ("reversed", 0): DUE
            }
            rate = DEFAULT_SETTINGS.stripe_max_rps
            assert max(begun(fleet).values()) <= rate + 1, "all processes together"
            assert now() - healed < timedelta(seconds=1.1 * DUE / rate + 60)
            assert (
                max(Counter(one.originator_id for one in fleet.database.recorded).values())
                <= HANDFUL
            )
            assert fleet.database.alarms.raised() == []
        books_agree(stripe, fleet.database)

    run(day())
