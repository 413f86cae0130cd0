"""A seller without balance: nothing is lost, no attempt is consumed, and a person is called at the
deadline."""

import asyncio
from dataclasses import replace
from datetime import timedelta

from infrastructure.settings import WorkSettings
from infrastructure.simulation.fleet import LONG_LEASE, Fleet
from infrastructure.simulation.stripe_in_process import VirtualStripe
from infrastructure.simulation.virtual_time import now, run
from infrastructure.simulators.stripe.accounts import fund, pay_out
from tests.support.book_comparison import books_agree
from tests.support.marketplace import Marketplace, account

RARELY = WorkSettings(check_interval=timedelta(hours=1))
SETTINGS = replace(LONG_LEASE, transfers=RARELY, reversals=RARELY)
WEEK, HOUR = timedelta(days=7), timedelta(hours=1)


async def refunded_without_balance(
    fleet: Fleet, market: Marketplace, stripe: VirtualStripe
) -> None:
    """anna has had her 900 paid out, when half of it is wanted back, and then a little more."""
    await market.order("o1", 1_000, anna=900)
    await market.pay("o1")
    await fleet.until(fleet.quiet, HOUR)
    pay_out(stripe.world.books, account("anna"), "eur")
    await market.refund("half", "o1", 500)
    await fleet.until(lambda: market.transfer("o1").waiting_for == "funds", HOUR)
    await market.refund("a little", "o1", 100)


def test_missing_funds_are_retried_for_a_week_and_paid() -> None:
    async def week() -> None:
        stripe = VirtualStripe(seed=1)
        async with Fleet(stripe.gateway, processes=2, settings=SETTINGS, bare=True) as fleet:
            market = Marketplace(fleet)
            await refunded_without_balance(fleet, market, stripe)
            await asyncio.sleep(WEEK.total_seconds())

            row = market.transfer("o1")
            assert (row.status, row.waiting_for, row.retry_count) == (
                "reversal_pending",
                "funds",
                0,
            ), "no attempt is consumed"
            assert "awaiting_funds" in market.alarms()
            asked = WEEK / SETTINGS.funds_retry_interval
            keys = [call["key"] for call in stripe.posts("reversals.create")]
            assert asked - 2 <= len(keys) <= asked + 2, "once in each interval"
            assert len(set(keys)) == len(keys), (
                "Stripe stores its refusal, so each time under a new key"
            )
            running, queued = market.reversals("o1")
            assert (running.amount, running.status) == (450, "requested")
            assert (queued.amount, queued.status, queued.waiting_for) == (
                90,
                "queued",
                "reversal",
            ), "and it says why"

            fund(stripe.world.books, account("anna"), "eur", 540)
            funded_at = now()
            await fleet.until(fleet.quiet, SETTINGS.funds_retry_interval + HOUR)
            assert now() - funded_at <= SETTINGS.funds_retry_interval + timedelta(minutes=1)
            assert market.transfer("o1").amount_reversed == 540
            assert [row.status for row in market.reversals("o1")] == ["reversed", "reversed"]
        books_agree(stripe, fleet.database)

    run(week())


def test_missing_funds_past_the_deadline_need_a_person() -> None:
    async def months() -> None:
        stripe = VirtualStripe(seed=1)
        async with Fleet(stripe.gateway, processes=1, settings=SETTINGS, bare=True) as fleet:
            market = Marketplace(fleet)
            await refunded_without_balance(fleet, market, stripe)
            began = now()
            await fleet.until(
                lambda: market.statuses("o1") == ["permanently_failed"],
                SETTINGS.funds_deadline + WEEK,
            )

            row = market.transfer("o1")
            late = now() - began - SETTINGS.funds_deadline
            assert -HOUR <= late <= SETTINGS.funds_retry_interval + HOUR
            assert (row.last_error or "").startswith("funds_deadline")
            assert market.alarms()["permanently_failed"] == str(row.transfer_id)
            failed, stuck = market.reversals("o1")
            assert (failed.status, stuck.status, stuck.waiting_for) == (
                "failed",
                "queued",
                "operator",
            )
            calls = len(stripe.posts("reversals.create"))
            await asyncio.sleep(WEEK.total_seconds())
            assert len(stripe.posts("reversals.create")) == calls, "nothing more is sent"

            fund(stripe.world.books, account("anna"), "eur", 540)
            await fleet.commands.operator.retry(row.transfer_id, "olga", "the seller has paid in")
            await fleet.until(fleet.quiet, HOUR)
            assert market.transfer("o1").amount_reversed == 540
        books_agree(stripe, fleet.database)

    run(months())
