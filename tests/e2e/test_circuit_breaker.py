"""Circuit breaker and pauses of one running ledger: outages, refused keys, paused sellers and
work."""

from dataclasses import replace

import pytest

from domain.pause import EVERYTHING, scope_of_seller, scope_of_work
from domain.seller_transfer import facts
from infrastructure.bootstrap import running
from infrastructure.postgres.circuit_breaker import PostgresCircuitBreaker
from infrastructure.settings import WorkSettings
from tests.support.ledger_view import eventually
from tests.support.service import CREATE, QUICK, REVERSE, SLOW, LedgerCaller, SystemUnderTest

PROBE = "account.retrieve"
SILENT = 8
"""Different transfers in a row without an answer below 500 are an outage."""


SELLERS = ("anna", "bert", "carl")


async def pay_all(caller: LedgerCaller, orders: list[str], *sellers: str) -> None:
    """Pay one seller per order; by default all orders are of anna."""
    for n, order_id in enumerate(orders):
        seller = sellers[n % len(sellers)] if sellers else "anna"
        await caller.order(order_id, 1_000, **{seller: 900})
        await caller.pay(order_id)


async def outage(system: SystemUnderTest) -> bool:
    return (await PostgresCircuitBreaker(system.view.pool).state()).outage


async def test_outage_opens_breaker_costs_no_attempt_and_ends(system: SystemUnderTest) -> None:
    many = [f"o{n}" for n in range(SILENT)]
    async with system.at_work(transfers=SLOW) as caller:
        fault = await system.stripe.fault("status", "*", status=503)
        await pay_all(caller, many)
        await eventually(lambda: outage(system), "the breaker is open")

        async def given_back() -> bool:
            rows = await system.view.select("select retry_count from seller_transfers")
            return len(rows) == SILENT and not any(row["retry_count"] for row in rows)

        await system.view.until(given_back, "all attempts are given back")
        assert "stripe_outage" in await system.view.alarms()

        await caller.order("late", 1_000, bert=900)
        await caller.pay("late")
        probes = len(await system.posts(PROBE))
        await eventually(
            lambda: _more(system, PROBE, probes), "somebody asks whether Stripe answers"
        )
        assert await system.view.story((await system.view.transfer("late")).transfer_id) == [
            "Created"
        ], "nothing is claimed"

        await system.stripe.clear_faults(fault)
        (late,) = await system.view.reached("late", "completed")
        assert late.retry_count == 0
        assert "stripe_outage" not in await system.view.alarms()
        for order_id in many:
            (row,) = await system.view.transfers(order_id)
            await caller.retry(row.transfer_id)
            await system.view.reached(order_id, "completed")
    assert len({call["key"] for call in await system.posts(CREATE)}) == SILENT + 1


async def _more(system: SystemUnderTest, operation: str, than: int) -> bool:
    return len(await system.posts(operation)) > than


async def test_failing_transfer_exhausts_only_its_own_attempts(system: SystemUnderTest) -> None:
    impatient = WorkSettings(
        max_retries=1, backoff_base=QUICK.backoff_base, backoff_max=QUICK.backoff_max
    )
    await system.stripe.fault("status", CREATE, status=503, destination="acct_1bert")
    async with system.at_work(transfers=impatient, stripe_timeout=QUICK.backoff_max) as caller:
        await caller.order("bad", 1_000, bert=900)
        await caller.pay("bad")
        await pay_all(caller, [f"o{n}" for n in range(SILENT)])
        await system.view.reached("bad", "permanently_failed")
        for n in range(SILENT):
            await system.view.reached(f"o{n}", "completed")
    assert not await outage(system)


@pytest.mark.parametrize(("status", "several"), [(401, 3), (403, 3)])
async def test_refused_api_key_pauses_sending_until_resume(
    system: SystemUnderTest, status: int, several: int
) -> None:
    async with running(replace(system.settings, transfers=SLOW)) as service:
        caller = LedgerCaller(service)
        fault = await system.stripe.fault("status", CREATE, status=status)
        await pay_all(caller, [f"o{n}" for n in range(several)], *SELLERS)
        await system.view.until(lambda: _paused(system), "sending is stopped")
        assert "sending_stopped" in await system.view.alarms()
        await caller.order("late", 1_000, bert=900)
        await caller.pay("late")

        await system.stripe.clear_faults(fault)
        assert await service.commands.operator.resume(EVERYTHING, "mia", "the key is mended")
        await system.view.reached("late", "completed")
        for n in range(several):
            (row,) = await system.view.transfers(f"o{n}")
            assert row.retry_count == 0, "no attempt is consumed"
            await caller.retry(row.transfer_id)
            await system.view.reached(f"o{n}", "completed")
    assert len(await system.posts(CREATE)) == 2 * several + 1
    assert "sending_stopped" not in await system.view.alarms()


async def _paused(system: SystemUnderTest) -> bool:
    return EVERYTHING in (await PostgresCircuitBreaker(system.view.pool).state()).paused


async def test_repeated_unknown_transfers_pause_all_sending(system: SystemUnderTest) -> None:
    async with system.at_work() as caller:
        for n in range(5):
            await system.take_over(
                f"old{n}",
                with_order=True,
                stripe_transfer_id=f"tr_1Typo{n}",
                seller_id=SELLERS[n % len(SELLERS)],
            )
            await caller.refund(f"r{n}", f"old{n}", 900)
            await system.view.reached(f"old{n}", "permanently_failed")
        await system.view.until(lambda: _paused(system), "sending is stopped")
    assert len(await system.posts(REVERSE)) == 5


async def test_refusals_about_one_destination_let_others_be_paid(system: SystemUnderTest) -> None:
    """A seller who ended the connection (403), and whose old transfers Stripe does not know (404),
    costs no other seller anything, and no person has to resume."""
    async with system.at_work(transfers=SLOW) as caller:
        fault = await system.stripe.fault("status", CREATE, status=403, destination="acct_1anna")
        orders = [f"o{n}" for n in range(4)]
        await pay_all(caller, orders)
        for order_id in orders:
            refused = await system.view.happened(
                (await system.view.transfer(order_id)).transfer_id, facts.AttemptDeferred
            )
            assert refused.why == "forbidden"
        for n in range(6):
            await system.take_over(f"old{n}", with_order=True, stripe_transfer_id=f"tr_1Typo{n}")
            await caller.refund(f"r{n}", f"old{n}", 900)
            await system.view.reached(f"old{n}", "permanently_failed")
        await system.paid(caller, "late", bert=900)
        assert not await _paused(system)
        await system.stripe.clear_faults(fault)


async def test_paused_seller_waits_while_others_are_paid(system: SystemUnderTest) -> None:
    async with running(system.settings) as service:
        caller = LedgerCaller(service)
        assert await service.commands.operator.pause(
            scope_of_seller("bert"), "mia", "account under review"
        )
        await caller.order("o1", 1_000, anna=500, bert=400)
        await caller.pay("o1")
        await system.view.reached("o1", "completed", "pending")
        await system.paid(caller, "o2")  # the loop has looked again, and passed bert over
        assert [row.status for row in await system.view.transfers("o1")] == ["completed", "pending"]
        assert "paused" in await system.view.alarms()
        await service.commands.operator.resume(scope_of_seller("bert"), "mia", "all is well")
        await system.view.reached("o1", "completed", "completed")
    assert "paused" not in await system.view.alarms()


async def test_paused_reversals_let_transfers_and_refunds_through(system: SystemUnderTest) -> None:
    async with running(system.settings) as service:
        caller = LedgerCaller(service)
        await system.paid(caller, "o1")
        await service.commands.operator.pause(
            scope_of_work("reversing"), "mia", "Stripe told us to"
        )
        await caller.refund("r1", "o1", 1_000)
        await system.paid(caller, "o2")
        assert (await system.view.transfer("o1")).status == "reversal_pending"
        assert await system.posts(REVERSE) == []
        await service.commands.operator.resume(scope_of_work("reversing"), "mia", "over")
        await system.view.reached("o1", "reversed")


async def test_seller_funds_alarm_ends_with_the_reversal(system: SystemUnderTest) -> None:
    """An alarm that is about something passing ends with it."""
    async with system.at_work() as caller:
        (transfer_id,) = await system.paid(caller)
        await system.stripe.drain("eur", account="acct_1anna")
        await caller.refund("r1", "o1", 1_000)
        deferred = await system.view.happened(transfer_id, facts.AttemptDeferred)
        row = await system.view.transfer("o1")
        assert (deferred.why, row.waiting_for, row.retry_count) == ("awaiting_funds", "funds", 0)
        assert "awaiting_funds" in await system.view.alarms()
        await system.stripe.fund("eur", 900, account="acct_1anna")
        await caller.retry(transfer_id)
        await system.view.reached("o1", "reversed")
    assert "awaiting_funds" not in await system.view.alarms()
