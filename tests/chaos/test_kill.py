"""kill -9 of a serving ledger at every point on the way of one call, for payments and for reversals.

Each time a second ledger takes over when the lease of the dead one has run out. Then Stripe holds exactly one object, and the
row says so. No point is hit by luck: the ledger is stopped there, by Stripe or by PostgreSQL, and seen to be there.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from time import monotonic
from typing import Any

import pytest

from domain.identity import reversal_name, transfer_stream
from domain.seller_transfer.facts import CallStarted
from infrastructure.simulators.stripe import SimulatorControl
from tests.support.ledger_process import LedgerClient, LedgerProcess
from tests.support.ledger_view import LedgerView
from tests.support.service import CREATE, REVERSE

APPEND, RESERVE = "select ledger_append", "insert into pace"
DEFAULT_LEASE = 10.0
"""Seconds."""


class Scene:
    """One call that is about to be made: the payment of an order, or the reversal of one that is paid."""

    def __init__(self, operation: str, processes: Any, stripe: SimulatorControl, view: LedgerView, hands: Any) -> None:
        self.operation, self.processes, self.stripe, self.view, self.hands = operation, processes, stripe, view, hands
        self.process: LedgerProcess
        self.web: LedgerClient

    async def open(self, **changes: str) -> None:
        """A ledger serves; nothing has happened yet that leads to the call."""
        self.process = await self.processes.start(**changes)
        self.web = await self.processes.talk(self.process)
        await self.web.order("o1", 1_000, anna=900)
        if self.operation == REVERSE:
            await self.web.pay("o1", 1_000)
            await self.view.reached("o1", "completed")

    async def cause(self) -> None:
        """The webhook that leads to the call."""
        if self.operation == REVERSE:
            await self.web.refund("r1", "o1", 1_000)
        else:
            await self.web.pay("o1", 1_000)

    async def kill(self) -> None:
        await self.process.kill()

    async def restart(self, **changes: str) -> None:
        """Another ledger, which finishes what the dead one had begun."""
        self.process = await self.processes.begin(**changes)
        await self.view.reached("o1", "reversed" if self.operation == REVERSE else "completed")

    async def intents(self) -> int:
        """How many calls of this operation were announced."""
        facts = await self.view.facts((await self.view.transfer("o1")).transfer_id)
        started = [fact for fact in facts if isinstance(fact, CallStarted)]
        return len(started) - (self.operation == REVERSE)

    async def calls(self) -> list[dict[str, Any]]:
        """What Stripe has heard of it."""
        transfer_id = transfer_stream("o1", "anna")
        name = f"reversal:{reversal_name(transfer_id, 'r1')}:" if self.operation == REVERSE else f"transfer:{transfer_id}:"
        return [call for call in await self.stripe.requests(self.operation) if call["key"].startswith(name)]

    async def objects(self) -> int:
        """How often Stripe has done it, by its own books."""
        held = [t for t in (await self.stripe.ledger())["transfers"] if t["transfer_group"] == "o1"]
        return len(held) if self.operation == CREATE else sum(len(theirs["reversals"]) for theirs in held)

    async def assert_done_once(self) -> None:
        """One object, and one idempotency key for however many calls."""
        assert await self.objects() == 1
        assert len({call["key"] for call in await self.calls()}) == 1

    async def assert_the_next_ledger_works(self) -> None:
        """It has claimed both kinds of work since it started, so whatever it wanted to do, it has done."""
        await self.process.said("serving")
        self.web = await self.processes.talk(self.process)
        await self.web.order("o2", 1_000, bert=900)
        await self.web.pay("o2", 1_000)
        await self.view.reached("o2", "completed")
        await self.web.refund("r2", "o2", 1_000)
        await self.view.reached("o2", "reversed")

    @asynccontextmanager
    async def intent_on_its_way(self) -> AsyncIterator[list[int]]:
        """The append of `CallStarted` has reached PostgreSQL and waits there."""
        async with AsyncExitStack() as stack:
            async with self.hands.on_pace(self.operation):
                await self.cause()
                await self.hands.until_held_up(RESERVE)
                await stack.enter_async_context(self.hands.on_appends())
            yield await self.hands.until_held_up(APPEND)


@pytest.fixture(params=[REVERSE, CREATE])
async def scene(request: Any, processes: Any, stripe: SimulatorControl, view: LedgerView, hands: Any) -> Scene:
    return Scene(request.param, processes, stripe, view, hands)


async def test_kill_after_claim_before_intent(scene: Scene) -> None:
    await scene.open()
    async with scene.hands.on_pace(scene.operation):
        await scene.cause()
        held_up = await scene.hands.until_held_up(RESERVE)
        (leased,) = await scene.view.select("select leased_by from seller_transfers")
        assert leased["leased_by"] is not None
        await scene.kill()
        await scene.hands.end(held_up)
    assert (await scene.intents(), len(await scene.calls())) == (0, 0)
    await scene.restart()
    await scene.assert_done_once()
    assert len(await scene.calls()) == 1


async def test_kill_with_an_unstored_intent(scene: Scene) -> None:
    await scene.open()
    async with scene.intent_on_its_way() as held_up:
        await scene.kill()
        await scene.hands.end(held_up)
    assert (await scene.intents(), len(await scene.calls())) == (0, 0)
    await scene.restart()
    await scene.assert_done_once()


async def test_kill_after_intent_before_call(scene: Scene) -> None:
    """PostgreSQL stores the intent of a process that is dead by then: nobody makes the call."""
    await scene.open()
    async with scene.intent_on_its_way() as held_up:
        await scene.kill()
    await scene.hands.until_done(held_up)
    assert (await scene.intents(), len(await scene.calls())) == (1, 0)
    await scene.restart()
    await scene.assert_done_once()
    assert await scene.intents() == 2


@pytest.mark.parametrize("stripes_way", ["abandon", "execute"])
async def test_kill_during_the_call(scene: Scene, stripes_way: str) -> None:
    await scene.open()
    await scene.stripe.hold(scene.operation, on_disconnect=stripes_way)
    await scene.cause()
    await scene.stripe.wait_until_held(scene.operation)
    assert await scene.objects() == 0
    await scene.kill()
    await scene.restart()
    await scene.assert_done_once()


async def test_kill_while_stripe_still_works_on_the_call(scene: Scene) -> None:
    await scene.open()
    await scene.stripe.hold(scene.operation, on_disconnect="wait")
    await scene.cause()
    await scene.stripe.wait_until_held(scene.operation)
    await scene.kill()
    finished = asyncio.create_task(scene.restart())

    async def key_in_use() -> bool:
        return any(call["status"] == 409 for call in await scene.calls())

    await scene.view.until(key_in_use, "409")
    assert await scene.objects() == 0
    await scene.stripe.release(scene.operation)
    await finished
    await scene.assert_done_once()


async def test_kill_after_stripes_commit_before_answer(scene: Scene) -> None:
    await scene.open()
    await scene.stripe.hold(scene.operation, point="after_commit", on_disconnect="execute")
    await scene.cause()
    await scene.stripe.wait_until_held(scene.operation)
    assert await scene.objects() == 1
    await scene.kill()
    await scene.restart()
    await scene.assert_done_once()


@pytest.mark.parametrize("outcome", ["is lost", "is stored after the death"])
async def test_kill_after_answer_before_stored_outcome(scene: Scene, outcome: str) -> None:
    await scene.open()
    await scene.stripe.hold(scene.operation, point="after_commit")
    await scene.cause()
    await scene.stripe.wait_until_held(scene.operation)
    async with scene.hands.on_appends():
        await scene.stripe.release(scene.operation)
        held_up = await scene.hands.until_held_up(APPEND)
        assert [call["status"] for call in await scene.calls()] == [200]
        await scene.kill()
        if outcome == "is lost":
            await scene.hands.end(held_up)
    await scene.hands.until_done(held_up)
    before = (await scene.view.transfer("o1")).status
    assert before == _status_after(scene.operation, outcome)
    await scene.restart()
    await scene.assert_the_next_ledger_works()
    await scene.assert_done_once()
    assert len(await scene.calls()) == (2 if outcome == "is lost" else 1)


def _status_after(operation: str, outcome: str) -> str:
    if outcome == "is lost":
        return "reversal_pending" if operation == REVERSE else "pending"
    return "reversed" if operation == REVERSE else "completed"


async def test_usual_lease_is_taken_over_within_ten_seconds(
    processes: Any, stripe: SimulatorControl, view: LedgerView, hands: Any
) -> None:
    scene = Scene(REVERSE, processes, stripe, view, hands)
    await scene.open(LEDGER_LEASE="10s")
    await stripe.hold(REVERSE, point="after_commit", on_disconnect="execute")
    await scene.cause()
    await stripe.wait_until_held(REVERSE)
    await scene.kill()
    killed = monotonic()
    await scene.restart(LEDGER_LEASE="10s")
    assert monotonic() - killed < DEFAULT_LEASE + 6  # what one call takes, on a machine that does other things as well
    await scene.assert_done_once()
