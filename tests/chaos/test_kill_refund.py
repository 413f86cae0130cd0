"""kill -9 of a serving ledger on the way of one refund: one refund at the payment provider, one reversal per seller."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from domain.identity import refund_stream
from domain.refund.facts import CallStarted
from infrastructure.simulators.hyperswitch import Behaviour, HyperswitchConfig, HyperswitchControl, running_hyperswitch
from infrastructure.simulators.stripe import SimulatorControl
from tests.support.ledger_process import SECRET
from tests.support.ledger_view import LedgerView
from tests.support.refund_view import CREATE_REFUND, RefundView

APPEND = "select ledger_append"


@pytest.fixture
async def psp() -> AsyncIterator[HyperswitchControl]:
    """Refunds succeed at once; never may more be refunded than was received."""
    async with running_hyperswitch(HyperswitchConfig(refunds=Behaviour("succeeded"))) as (_, control):
        yield control
        assert (await control.ledger())["violations"] == []


class Scene:
    """An order of two sellers that is paid, and a refund of it; ledgers come and go."""

    def __init__(self, processes: Any, refund_view: RefundView, stripe: SimulatorControl, hands: Any) -> None:
        self.processes, self.refund_view, self.stripe, self.hands = processes, refund_view, stripe, hands
        self.process: Any

    async def open(self) -> None:
        await self.refund_view.paid()
        web = await self.start()
        await web.order("o1", 1_000, anna=500, bert=300)
        await web.pay("o1", 1_000)
        await self.refund_view.view.reached("o1", "completed", "completed")
        self.web = web

    async def start(self) -> Any:
        self.process = await self.processes.start(HYPERSWITCH_BASE_URL=self.refund_view.psp.url)
        await self.refund_view.psp.webhook(url=f"{self.process.url}/webhooks/hyperswitch", secret=SECRET)
        return await self.processes.talk(self.process)

    async def ask(self) -> None:
        body = {"refund_id": "r1", "order_id": "o1", "amount": 1_000}
        (await self.web.http.post("/v1/refunds", json=body)).raise_for_status()

    async def assert_done_once(self) -> None:
        """One refund in the provider's books, one reversal for each seller in Stripe's, one key and body in all calls."""
        await self.refund_view.reached("succeeded")
        await self.refund_view.view.reached("o1", "reversed", "reversed")
        assert await self.refund_view.amounts() == [("r1", 1_000, "succeeded")]
        theirs = (await self.stripe.ledger())["transfers"]
        assert [[one["amount"] for one in transfer["reversals"]] for transfer in theirs] in ([[500], [300]], [[300], [500]])
        assert len({(call["key"], call["body"]) for call in await self.refund_view.calls()}) == 1

    async def intents(self) -> int:
        facts = await self.refund_view.view.facts(refund_stream("r1"))
        return sum(isinstance(fact, CallStarted) for fact in facts)


@pytest.fixture
async def scene(processes: Any, psp: HyperswitchControl, view: LedgerView, stripe: SimulatorControl, hands: Any) -> Scene:
    scene = Scene(processes, RefundView(psp, view), stripe, hands)
    await scene.open()
    return scene


@pytest.mark.parametrize("webhook", ["arrives", "is lost"])
async def test_kill_between_acknowledgement_and_commit(scene: Scene, webhook: str) -> None:
    if webhook == "is lost":
        await scene.refund_view.psp.webhook(knobs={"drop": ["refund_*"]})
    else:
        await scene.refund_view.psp.webhook(knobs={"retry_schedule": [0.2] * 100})
    await scene.refund_view.psp.hold(CREATE_REFUND, "after_commit", on_disconnect="execute")
    await scene.ask()
    await scene.refund_view.psp.wait_until_held(CREATE_REFUND)
    await scene.process.kill()
    await scene.refund_view.psp.release()
    await scene.start()
    await scene.assert_done_once()


async def test_kill_after_intent_before_the_provider_acts(scene: Scene) -> None:
    await scene.refund_view.psp.hold(CREATE_REFUND, "before_commit")
    await scene.ask()
    await scene.refund_view.psp.wait_until_held(CREATE_REFUND)
    await scene.process.kill()
    assert await scene.intents() == 1
    assert await scene.refund_view.made() == []
    await scene.start()
    await scene.assert_done_once()
    assert len(await scene.refund_view.calls()) == 2


async def test_kill_while_the_outcome_is_being_stored(scene: Scene) -> None:
    await scene.refund_view.psp.webhook(knobs={"drop": ["refund_*"]})
    await scene.refund_view.psp.hold(CREATE_REFUND, "after_commit")
    await scene.ask()
    await scene.refund_view.psp.wait_until_held(CREATE_REFUND)
    async with scene.hands.on_appends():
        await scene.refund_view.psp.release()
        held_up = await scene.hands.until_held_up(APPEND)
        await scene.process.kill()
        await scene.hands.end(held_up)
    await scene.start()
    await scene.assert_done_once()
