"""What Stripe's answers say together: an outage, or a wrong key. And what people pause. Real parts, one ledger."""

from dataclasses import replace

import pytest

from domain.pause import EVERYTHING, scope_of_seller, scope_of_work
from domain.seller_transfer import facts
from infrastructure.bootstrap import running
from infrastructure.postgres.circuit_breaker import CircuitBreaker
from infrastructure.settings import WorkSettings
from tests.support.ledger_view import eventually
from tests.support.service import CREATE, QUICK, REVERSE, SLOW, Desk, Stage

PROBE = "account.retrieve"
SILENT = 8
"""Different transfers in a row without an answer below 500 are an outage."""


async def pay_all(desk: Desk, orders: list[str]) -> None:
    for order_id in orders:
        await desk.order(order_id, 1_000, anna=900)
        await desk.pay(order_id)


async def outage(stage: Stage) -> bool:
    return (await CircuitBreaker(stage.view.pool).state()).outage


async def test_outage_opens_breaker_costs_no_attempt_and_ends(stage: Stage) -> None:
    many = [f"o{n}" for n in range(SILENT)]
    async with stage.at_work(transfers=SLOW) as desk:
        fault = await stage.stripe.fault("status", "*", status=503)
        await pay_all(desk, many)
        await eventually(lambda: outage(stage), "the breaker is open")

        async def given_back() -> bool:
            rows = await stage.view.select("select retry_count from seller_transfers")
            return len(rows) == SILENT and not any(row["retry_count"] for row in rows)

        await stage.view.until(given_back, "all attempts are given back")
        assert "stripe_outage" in await stage.view.alarms()

        await desk.order("late", 1_000, bert=900)
        await desk.pay("late")
        probes = len(await stage.posts(PROBE))
        await eventually(lambda: _more(stage, PROBE, probes), "somebody asks whether Stripe answers")
        assert await stage.view.story((await stage.view.transfer("late")).transfer_id) == ["Created"], "nothing is claimed"

        await stage.stripe.clear_faults(fault)
        (late,) = await stage.view.reached("late", "completed")
        assert late.retry_count == 0
        assert "stripe_outage" not in await stage.view.alarms()
        for order_id in many:
            (row,) = await stage.view.transfers(order_id)
            await desk.retry(row.transfer_id)
            await stage.view.reached(order_id, "completed")
    assert len({call["key"] for call in await stage.posts(CREATE)}) == SILENT + 1


async def _more(stage: Stage, operation: str, than: int) -> bool:
    return len(await stage.posts(operation)) > than


async def test_failing_transfer_exhausts_only_its_own_attempts(stage: Stage) -> None:
    impatient = WorkSettings(max_retries=1, backoff_base=QUICK.backoff_base, backoff_max=QUICK.backoff_max)
    await stage.stripe.fault("status", CREATE, status=503, destination="acct_1bert")
    async with stage.at_work(transfers=impatient, stripe_timeout=QUICK.backoff_max) as desk:
        await desk.order("bad", 1_000, bert=900)
        await desk.pay("bad")
        await pay_all(desk, [f"o{n}" for n in range(SILENT)])
        await stage.view.reached("bad", "permanently_failed")
        for n in range(SILENT):
            await stage.view.reached(f"o{n}", "completed")
    assert not await outage(stage)


@pytest.mark.parametrize(("status", "several"), [(401, 3), (403, 3)])
async def test_refused_api_key_pauses_sending_until_resume(stage: Stage, status: int, several: int) -> None:
    async with running(replace(stage.settings, transfers=SLOW)) as service:
        desk = Desk(service)
        fault = await stage.stripe.fault("status", CREATE, status=status)
        await pay_all(desk, [f"o{n}" for n in range(several)])
        await stage.view.until(lambda: _paused(stage), "sending is stopped")
        assert "sending_stopped" in await stage.view.alarms()
        await desk.order("late", 1_000, bert=900)
        await desk.pay("late")

        await stage.stripe.clear_faults(fault)
        assert await service.ledger.resume(EVERYTHING, "mia", "the key is mended")
        await stage.view.reached("late", "completed")
        for n in range(several):
            (row,) = await stage.view.transfers(f"o{n}")
            assert row.retry_count == 0, "no attempt is consumed"
            await desk.retry(row.transfer_id)
            await stage.view.reached(f"o{n}", "completed")
    assert len(await stage.posts(CREATE)) == 2 * several + 1
    assert "sending_stopped" not in await stage.view.alarms()


async def _paused(stage: Stage) -> bool:
    return EVERYTHING in (await CircuitBreaker(stage.view.pool).state()).paused


async def test_repeated_unknown_transfers_pause_all_sending(stage: Stage) -> None:
    async with stage.at_work() as desk:
        for n in range(5):
            await stage.take_over(f"old{n}", with_order=True, stripe_transfer_id=f"tr_1Typo{n}")
            await desk.refund(f"r{n}", f"old{n}", 900)
            await stage.view.reached(f"old{n}", "permanently_failed")
        await stage.view.until(lambda: _paused(stage), "sending is stopped")
    assert len(await stage.posts(REVERSE)) == 5


async def test_paused_seller_waits_while_others_are_paid(stage: Stage) -> None:
    async with running(stage.settings) as service:
        desk = Desk(service)
        assert await service.ledger.pause(scope_of_seller("bert"), "mia", "account under review")
        await desk.order("o1", 1_000, anna=500, bert=400)
        await desk.pay("o1")
        await stage.view.reached("o1", "completed", "pending")
        await stage.paid(desk, "o2")  # the loop has looked again, and passed bert over
        assert [row.status for row in await stage.view.transfers("o1")] == ["completed", "pending"]
        assert "paused" in await stage.view.alarms()
        await service.ledger.resume(scope_of_seller("bert"), "mia", "all is well")
        await stage.view.reached("o1", "completed", "completed")
    assert "paused" not in await stage.view.alarms()


async def test_paused_reversals_let_transfers_and_refunds_through(stage: Stage) -> None:
    async with running(stage.settings) as service:
        desk = Desk(service)
        await stage.paid(desk, "o1")
        await service.ledger.pause(scope_of_work("reversing"), "mia", "Stripe told us to")
        await desk.refund("r1", "o1", 1_000)
        await stage.paid(desk, "o2")
        assert (await stage.view.transfer("o1")).status == "reversal_pending"
        assert await stage.posts(REVERSE) == []
        await service.ledger.resume(scope_of_work("reversing"), "mia", "over")
        await stage.view.reached("o1", "reversed")


async def test_seller_funds_alarm_ends_with_the_reversal(stage: Stage) -> None:
    """An alarm that is about something passing ends with it."""
    async with stage.at_work() as desk:
        (transfer_id,) = await stage.paid(desk)
        await stage.stripe.drain("eur", account="acct_1anna")
        await desk.refund("r1", "o1", 1_000)
        deferred = await stage.view.happened(transfer_id, facts.AttemptDeferred)
        row = await stage.view.transfer("o1")
        assert (deferred.why, row.waiting_for, row.retry_count) == ("awaiting_funds", "funds", 0)
        assert "awaiting_funds" in await stage.view.alarms()
        await stage.stripe.fund("eur", 900, account="acct_1anna")
        await desk.retry(transfer_id)
        await stage.view.reached("o1", "reversed")
    assert "awaiting_funds" not in await stage.view.alarms()
