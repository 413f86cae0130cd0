"""Refunds requested from the simulated payment provider, on a real PostgreSQL: one refund, whatever
message is lost.

No webhook arrives here: the ledger learns everything by look-ups. For webhooks see
test_payment_to_reversal.py.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest

from application.ports import FleetState
from application.process_managers.refunds import RefundProcess
from application.unit_of_work import UnitOfWork
from domain.errors import ExceedsOrder, OrderNotPaid
from domain.identity import order_stream
from domain.order.facts import RefundReleased
from domain.pause import EVERYTHING, scope_of_work
from domain.refund.facts import AttemptDeferred, CallStarted, Failed, Submitted, Succeeded
from infrastructure.bootstrap import running
from infrastructure.settings import Settings
from infrastructure.simulators.hyperswitch import (
    HyperswitchConfig,
    HyperswitchControl,
    running_hyperswitch,
)
from infrastructure.simulators.stripe import SimulatorControl
from tests.support.json_types import Json
from tests.support.ledger_view import LedgerView
from tests.support.refund_view import ASK, CREATE_REFUND, RefundView
from tests.support.service import QUICK, SLOW, LedgerCaller, SystemUnderTest, quick


@pytest.fixture
async def psp(psp_config: HyperswitchConfig) -> AsyncIterator[HyperswitchControl]:
    """Never may more be refunded than was received."""
    async with running_hyperswitch(psp_config) as (_, control):
        yield control
        assert (await control.ledger())["violations"] == []


@pytest.fixture
def settings(database_url: str, stripe: SimulatorControl, psp: HyperswitchControl) -> Settings:
    return replace(quick(database_url, stripe.url), hyperswitch_base_url=psp.url)


@pytest.fixture
def refund_view(psp: HyperswitchControl, view: LedgerView) -> RefundView:
    return RefundView(psp, view)


async def test_refund_request_has_the_documented_form(
    system: SystemUnderTest, refund_view: RefundView
) -> None:
    await refund_view.paid()
    async with system.at_work(transfers=SLOW) as caller:
        await system.paid(caller)
        await caller.ask_refund("r1", amount=400, reason="it was broken")
        await refund_view.happened(Submitted)
    (call,) = await refund_view.calls()
    assert call["headers"]["idempotency-key"] == "r1"
    assert call["headers"]["api-key"] == "snd_simulator"
    assert call["sent"] == {
        "refund_id": "r1",
        "payment_id": "pay_o1",
        "amount": 400,
        "metadata": {"refund_id": "r1", "order_id": "o1", "reason": "it was broken"},
    }


async def test_refund_request_succeeds_by_look_up_and_reverses_once(
    system: SystemUnderTest, refund_view: RefundView
) -> None:
    await refund_view.paid()
    async with system.at_work() as caller:
        await system.paid(caller)
        await caller.ask_refund("r1", amount=500)
        await refund_view.happened(Submitted)
        await refund_view.psp.settle_refund("r1", "succeeded")
        row = await refund_view.reached("succeeded")
        await refund_view.view.reached("o1", "partially_reversed")
    assert (row["psp_refund_id"], row["next_retry_at"], row["last_error"]) == ("r1", None, None)
    word = await refund_view.happened(Succeeded)
    assert word.source == "hyperswitch:read"
    assert [part["amount"] for part in word.allocation] == [450]
    assert len(await refund_view.calls()) == 1


async def test_refund_that_the_psp_leaves_pending_raises_an_alarm_until_decided(
    system: SystemUnderTest, refund_view: RefundView
) -> None:
    system.settings = replace(system.settings, refund_undecided_after=timedelta(seconds=1))
    await refund_view.paid()
    async with system.at_work() as caller:
        await system.paid(caller)
        await caller.ask_refund("r1", amount=500)

        async def alarms() -> list[str]:
            query = (
                "select detail from alarms where kind = 'refund_undecided' and cleared_at is null"
            )
            return [row["detail"] for row in await refund_view.view.select(query)]

        (detail,) = await refund_view.view.until(alarms, "refund_undecided is raised")
        assert "order 'o1'" in detail
        assert "5.00 EUR of the order stay reserved" in detail
        await refund_view.psp.settle_refund("r1", "failed")
        await refund_view.reached("failed")
        assert await alarms() == []


async def test_equal_partial_refunds_stay_two(
    system: SystemUnderTest, refund_view: RefundView
) -> None:
    await refund_view.paid()
    await refund_view.psp.let("refunds", "succeeded")
    async with system.at_work() as caller:
        await system.paid(caller)
        await asyncio.gather(
            *(caller.ask_refund(name, amount=300) for name in ("r1", "r2", "r1", "r2"))
        )
        await refund_view.reached("succeeded", "r1")
        await refund_view.reached("succeeded", "r2")

        async def both_are_back() -> bool:
            return (await refund_view.view.transfer("o1")).amount_reversed == 540

        await refund_view.view.until(both_are_back, "both parts are back")
    assert await refund_view.amounts() == [("r1", 300, "succeeded"), ("r2", 300, "succeeded")]


async def test_old_answer_does_not_overwrite_later_reports(
    system: SystemUnderTest, refund_view: RefundView
) -> None:
    """The PSP says `succeeded`; while its answer is on the way, a failure is reported and
    recorded."""
    await refund_view.paid()
    async with system.at_work() as caller:
        await system.paid(caller)
        await caller.ask_refund("r1", amount=500)
        await refund_view.happened(Submitted)
        await refund_view.psp.settle_refund("r1", "succeeded")
        await refund_view.psp.hold(ASK, "after_commit")
        await refund_view.psp.wait_until_held(ASK)
        await caller.refund("r1", "o1", 500)
        await refund_view.view.reached("o1", "partially_reversed")
        await caller.refund_failed("r1", "o1", 500)
        await refund_view.reached("failed")
        await refund_view.psp.release()
        asked = len(await refund_view.psp.requests(ASK))
        await system.view.reached("o1", "partially_reversed", "completed")
    async with system.at_work():
        assert (await refund_view.reached("failed"))["status"] == "failed"
    assert asked == 1


LOST: dict[str, tuple[str, Json]] = {
    "cut before it is done": ("reset_before_commit", {}),
    "cut after it is done": ("reset_after_commit", {}),
    "no whole answer": ("truncate_body", {}),
    "500 before it is done": ("status", {"status": 500}),
    "502 from a proxy": ("status", {"status": 502, "html": True}),
    "429": ("status", {"status": 429}),
    "locked": ("status", {"status": 429, "lock": True}),
}


@pytest.mark.parametrize("lost", LOST)
async def test_refund_with_lost_messages_is_one_under_one_key(
    system: SystemUnderTest, refund_view: RefundView, lost: str
) -> None:
    kind, settings = LOST[lost]
    await refund_view.paid()
    await refund_view.psp.fault(kind, CREATE_REFUND, times=2, **settings)
    await refund_view.psp.let("refunds", "succeeded")
    async with system.at_work() as caller:
        await system.paid(caller)
        await caller.ask_refund("r1", amount=1_000)
        await refund_view.reached("succeeded")
        await refund_view.view.reached("o1", "reversed")
    calls = await refund_view.calls()
    assert len(calls) >= 3
    assert {(call["key"], call["body"]) for call in calls} == {("r1", calls[0]["body"])}
    assert await refund_view.amounts() == [("r1", 1_000, "succeeded")]


async def test_unanswered_refund_is_decided_by_provider_books(
    system: SystemUnderTest, refund_view: RefundView
) -> None:
    await refund_view.paid()
    await refund_view.psp.fault("status", CREATE_REFUND, status=500)
    async with system.at_work() as caller:
        await system.paid(caller)
    hasty = timedelta(milliseconds=500)
    async with system.at_work(
        transfers=replace(QUICK, max_retries=1), stripe_timeout=hasty
    ) as caller:
        await caller.ask_refund("r1", amount=1_000)
        row = await refund_view.reached("failed")
    started = await refund_view.happened(CallStarted, times=2)
    (asked, *_) = await refund_view.calls(ASK)
    assert asked["at"] - started.timestamp.timestamp() >= 2 * hasty.total_seconds(), (
        "while a call may be under way, absence proves nothing"
    )
    assert (len(await refund_view.calls()), await refund_view.made()) == (2, [])
    assert "has no such refund" in row["last_error"]
    assert await refund_view.happened(Failed)
    await refund_view.view.happened(order_stream("o1"), RefundReleased)


async def test_refused_refund_fails_and_frees_its_amount(
    system: SystemUnderTest, refund_view: RefundView
) -> None:
    async with system.at_work() as caller:
        await system.paid(caller)  # by a payment that the provider does not know
        await caller.ask_refund("r1", amount=1_000)
        row = await refund_view.reached("failed")
        await refund_view.view.happened(order_stream("o1"), RefundReleased)
        await caller.ask_refund("r2", amount=1_000)
        await refund_view.reached("failed", "r2")
    assert "HE_02" in row["last_error"]
    assert (await refund_view.view.transfer("o1")).amount_reversed == 0


async def test_refund_failed_by_provider_reverses_nothing(
    system: SystemUnderTest, refund_view: RefundView
) -> None:
    await refund_view.paid()
    await refund_view.psp.let("refunds", "failed")
    async with system.at_work() as caller:
        await system.paid(caller)
        await caller.ask_refund("r1", amount=1_000)
        await refund_view.reached("failed")
    assert (await refund_view.view.transfer("o1")).amount_reversed == 0


async def test_refund_under_review_reverses_nothing(
    system: SystemUnderTest, refund_view: RefundView
) -> None:
    await refund_view.paid()
    await refund_view.psp.let("refunds", "review")
    async with system.at_work() as caller:
        await system.paid(caller)
        await caller.ask_refund("r1", amount=1_000)
        row = await refund_view.reached("review")
    assert row["next_retry_at"] is None
    assert (await refund_view.view.transfer("o1")).status == "completed"


async def test_concurrent_refund_requests_never_exceed_the_rest(
    system: SystemUnderTest, refund_view: RefundView
) -> None:
    await refund_view.paid()
    async with system.at_work(transfers=SLOW) as caller:
        await system.paid(caller)
        asked = await asyncio.gather(
            *(caller.ask_refund(f"r{n}", amount=600) for n in range(4)), return_exceptions=True
        )
        refused = [answer for answer in asked if isinstance(answer, ExceedsOrder)]
        assert len(refused) == 3, asked
        assert "only 400 is left" in str(refused[0])
        rest = await caller.ask_refund("rest")
        assert rest.amount == 400
        with pytest.raises(ExceedsOrder):
            await caller.ask_refund("nothing left")


async def test_refund_of_order_without_known_payment_is_refused(
    system: SystemUnderTest, refund_view: RefundView
) -> None:
    async with system.at_work() as caller:
        await caller.order("o1", 1_000, anna=900)
        with pytest.raises(OrderNotPaid, match="has no confirmed payment yet"):
            await caller.ask_refund("r1")


async def test_refund_is_sent_during_stripe_outage(
    system: SystemUnderTest, refund_view: RefundView, stripe: SimulatorControl
) -> None:
    await refund_view.paid()
    await refund_view.psp.let("refunds", "succeeded")
    async with system.at_work() as caller:
        await system.paid(caller)
        await refund_view.view.select(
            "update breaker set open = true, opened_at = now(), probe_at = now() + interval '1 "
            "hour' returning 1"
        )
        await caller.ask_refund("r1", amount=1_000)
        await refund_view.reached("succeeded")
        assert (await refund_view.view.transfer("o1")).status == "reversal_pending"
        await refund_view.view.select(
            "update breaker set open = false, closed_at = now(), probe_at = null returning 1"
        )
        await refund_view.view.select("select pg_notify('ledger_work', '')")
        await refund_view.view.reached("o1", "reversed")


async def test_provider_trouble_does_not_open_stripe_breaker(
    system: SystemUnderTest, refund_view: RefundView
) -> None:
    await refund_view.paid(amount=10_000)
    fault = await refund_view.psp.fault("status", CREATE_REFUND, status=503)
    async with system.at_work() as caller:
        await system.paid(caller, amount=10_000)
        for n in range(10):
            await caller.ask_refund(f"r{n}", amount=100)
        for n in range(10):
            await refund_view.happened(AttemptDeferred, f"r{n}")
        (breaker,) = await refund_view.view.select("select open from breaker")
        assert breaker["open"] is False
        await refund_view.psp.clear_faults(fault)
        for n in range(10):
            await refund_view.happened(Submitted, f"r{n}")


async def test_paused_refunds_are_sent_after_resume(
    system: SystemUnderTest, refund_view: RefundView, settings: Settings
) -> None:
    await refund_view.paid()
    async with running(settings) as service:
        caller = LedgerCaller(service)
        await system.paid(caller)
        await service.commands.operator.pause(scope_of_work("refunding"), "ops", "wrong prices")
        await caller.ask_refund("r1", amount=1_000)
        await system.paid(caller, "o2", bert=900)
        assert await refund_view.story() == ["Opened"]
        await service.commands.operator.resume(scope_of_work("refunding"), "ops", "mended")
        await refund_view.happened(Submitted)


async def test_slow_refund_answer_is_unknown_then_found(
    system: SystemUnderTest, refund_view: RefundView
) -> None:
    await refund_view.paid()
    async with system.at_work() as caller:
        await system.paid(caller)
    await refund_view.psp.hold(CREATE_REFUND, "after_commit", on_disconnect="execute")
    async with system.at_work(stripe_timeout=timedelta(milliseconds=500)) as caller:
        await caller.ask_refund("r1", amount=1_000)
        await refund_view.psp.wait_until_held(CREATE_REFUND)
        await refund_view.happened(Submitted)
    assert await refund_view.amounts() == [("r1", 1_000, "pending")]
    assert (await refund_view.happened(CallStarted, times=2)).key == "r1"


async def test_accepted_refund_later_unknown_is_never_final(
    system: SystemUnderTest, refund_view: RefundView
) -> None:
    await refund_view.paid()
    async with system.at_work() as caller:
        await system.paid(caller)
        await caller.ask_refund("r1", amount=1_000)
        await refund_view.happened(Submitted)
        absent: Json = {
            "status": 404,
            "code": "HE_02",
            "message": "Refund does not exist in our records",
        }
        fault = await refund_view.psp.fault("error", ASK, **absent)

        async def alarmed() -> bool:
            return "refund_not_understood" in await refund_view.view.alarms()

        await refund_view.view.until(alarmed, "somebody is told")
        assert (await refund_view.row())["status"] == "submitted"
        await refund_view.psp.clear_faults(fault)
        await refund_view.psp.settle_refund("r1", "succeeded")
        await refund_view.reached("succeeded")
        assert "refund_not_understood" not in await refund_view.view.alarms()


async def test_refund_is_stopped_only_by_its_own_pause(
    system: SystemUnderTest, refund_view: RefundView, settings: Settings
) -> None:
    await refund_view.paid()
    async with running(settings) as service:
        assert service.psp is not None
        caller = LedgerCaller(service)
        await system.paid(caller)
        refund = await caller.ask_refund("r1", amount=1_000)
        errand = RefundProcess(service.psp, settings.policy(QUICK))
        assert errand.may_run(
            UnitOfWork({}, {}),
            refund.id,
            FleetState(outage=True, paused=frozenset({"seller:anna", "work:reversing"})),
        )
        assert not errand.may_run(
            UnitOfWork({}, {}), refund.id, FleetState(paused=frozenset({EVERYTHING}))
        )
        assert not errand.may_run(
            UnitOfWork({}, {}),
            refund.id,
            FleetState(paused=frozenset({scope_of_work("refunding")})),
        )
        await refund_view.happened(Submitted)
