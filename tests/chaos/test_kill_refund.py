"""kill -9 of a serving ledger during one refund: one refund at the PSP, one reversal per seller."""

from collections.abc import AsyncIterator

import pytest

from domain.identity import refund_stream
from domain.refund.facts import CallStarted
from infrastructure.simulators.hyperswitch import (
    Behaviour,
    HyperswitchConfig,
    HyperswitchControl,
    running_hyperswitch,
)
from infrastructure.simulators.stripe import SimulatorControl
from tests.chaos.conftest import DatabaseLocks
from tests.e2e.conftest import Processes
from tests.support.ledger_process import SECRET, LedgerClient, LedgerProcess
from tests.support.ledger_view import LedgerView
from tests.support.refund_view import CREATE_REFUND, RefundView

APPEND = "select ledger_append"


@pytest.fixture
async def psp() -> AsyncIterator[HyperswitchControl]:
    """Run a PSP at which refunds succeed at once and never exceed the payments."""
    async with running_hyperswitch(HyperswitchConfig(refunds=Behaviour("succeeded"))) as (
        _,
        control,
    ):
        yield control
        assert (await control.ledger())["violations"] == []


class RefundUnderTest:
    """A paid order of two sellers and a refund of it, with ledgers that are killed and replaced."""

    def __init__(
        self,
        processes: Processes,
        refund_view: RefundView,
        stripe: SimulatorControl,
        locks: DatabaseLocks,
    ) -> None:
        self.processes, self.refund_view, self.stripe, self.locks = (
            processes,
            refund_view,
            stripe,
            locks,
        )
        self.process: LedgerProcess

    async def open(self) -> None:
        await self.refund_view.paid()
        web = await self.start()
        await web.order("o1", 1_000, anna=500, bert=300)
        await web.pay("o1", 1_000)
        await self.refund_view.view.reached("o1", "completed", "completed")
        self.web = web

    async def start(self) -> LedgerClient:
        self.process = await self.processes.start(HYPERSWITCH_BASE_URL=self.refund_view.psp.url)
        await self.refund_view.psp.webhook(
            url=f"{self.process.url}/webhooks/hyperswitch", secret=SECRET
        )
        return await self.processes.talk(self.process)

    async def ask(self) -> None:
        body = {"refund_id": "r1", "order_id": "o1", "amount": 1_000}
        (await self.web.http.post("/v1/refunds", json=body)).raise_for_status()

    async def assert_done_once(self) -> None:
        """Check for one refund at the PSP, one reversal per seller at Stripe, and one key and body
        in all calls."""
        await self.refund_view.reached("succeeded")
        await self.refund_view.view.reached("o1", "reversed", "reversed")
        assert await self.refund_view.amounts() == [("r1", 1_000, "succeeded")]
        theirs = (await self.stripe.ledger())["transfers"]
        assert [[one["amount"] for one in transfer["reversals"]] for transfer in theirs] in (
            [[500], [300]],
            [[300], [500]],
        )
        assert len({(call["key"], call["body"]) for call in await self.refund_view.calls()}) == 1

    async def intents(self) -> int:
        facts = await self.refund_view.view.facts(refund_stream("r1"))
        return sum(isinstance(fact, CallStarted) for fact in facts)


@pytest.fixture
async def refund(
    processes: Processes,
    psp: HyperswitchControl,
    view: LedgerView,
    stripe: SimulatorControl,
    locks: DatabaseLocks,
) -> RefundUnderTest:
    refund = RefundUnderTest(processes, RefundView(psp, view), stripe, locks)
    await refund.open()
    return refund


@pytest.mark.parametrize("webhook", ["arrives", "is lost"])
async def test_kill_between_acknowledgement_and_commit(
    refund: RefundUnderTest, webhook: str
) -> None:
    if webhook == "is lost":
        await refund.refund_view.psp.webhook(knobs={"drop": ["refund_*"]})
    else:
        await refund.refund_view.psp.webhook(knobs={"retry_schedule": [0.2] * 100})
    await refund.refund_view.psp.hold(CREATE_REFUND, "after_commit", on_disconnect="execute")
    await refund.ask()
    await refund.refund_view.psp.wait_until_held(CREATE_REFUND)
    await refund.process.kill()
    await refund.refund_view.psp.release()
    await refund.start()
    await refund.assert_done_once()


async def test_kill_after_intent_before_the_provider_acts(refund: RefundUnderTest) -> None:
    await refund.refund_view.psp.hold(CREATE_REFUND, "before_commit")
    await refund.ask()
    await refund.refund_view.psp.wait_until_held(CREATE_REFUND)
    await refund.process.kill()
    assert await refund.intents() == 1
    assert await refund.refund_view.made() == []
    await refund.start()
    await refund.assert_done_once()
    assert len(await refund.refund_view.calls()) == 2


async def test_kill_while_the_outcome_is_being_stored(refund: RefundUnderTest) -> None:
    await refund.refund_view.psp.webhook(knobs={"drop": ["refund_*"]})
    await refund.refund_view.psp.hold(CREATE_REFUND, "after_commit")
    await refund.ask()
    await refund.refund_view.psp.wait_until_held(CREATE_REFUND)
    async with refund.locks.on_appends():
        await refund.refund_view.psp.release()
        waiting = await refund.locks.until_waiting(APPEND)
        await refund.process.kill()
        await refund.locks.end(waiting)
    await refund.start()
    await refund.assert_done_once()
