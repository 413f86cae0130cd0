"""kill -9 of a serving ledger at every point of one call, for payments and for reversals.

Each time a second ledger takes over when the lease of the killed one has run out. Then Stripe holds
exactly one object, and the row says so. No point is reached by luck: Stripe or PostgreSQL stops the
ledger there, and the test checks it.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from time import monotonic

import pytest

from domain.identity import reversal_name, transfer_stream
from domain.seller_transfer.facts import CallStarted
from infrastructure.simulators.stripe import SimulatorControl
from tests.chaos.conftest import DatabaseLocks
from tests.e2e.conftest import Processes
from tests.support.json_types import Json
from tests.support.ledger_process import LedgerClient, LedgerProcess
from tests.support.ledger_view import LedgerView
from tests.support.service import CREATE, REVERSE

APPEND, RESERVE = "select ledger_append", "insert into pace"
DEFAULT_LEASE = 10.0
"""Seconds."""


class CallUnderTest:
    """One call that is about to be made: the payment of an order, or the reversal of a paid one."""

    def __init__(
        self,
        operation: str,
        processes: Processes,
        stripe: SimulatorControl,
        view: LedgerView,
        locks: DatabaseLocks,
    ) -> None:
        self.operation, self.processes, self.stripe, self.view, self.locks = (
            operation,
            processes,
            stripe,
            view,
            locks,
        )
        self.process: LedgerProcess
        self.web: LedgerClient

    async def open(self, **changes: str) -> None:
        """Start a ledger and prepare the order, up to the cause of the call."""
        self.process = await self.processes.start(**changes)
        self.web = await self.processes.talk(self.process)
        await self.web.order("o1", 1_000, anna=900)
        if self.operation == REVERSE:
            await self.web.pay("o1", 1_000)
            await self.view.reached("o1", "completed")

    async def cause(self) -> None:
        """Send the webhook that causes the call."""
        if self.operation == REVERSE:
            await self.web.refund("r1", "o1", 1_000)
        else:
            await self.web.pay("o1", 1_000)

    async def kill(self) -> None:
        await self.process.kill()

    async def restart(self, **changes: str) -> None:
        """Start another ledger, which finishes the work of the killed one."""
        self.process = await self.processes.begin(**changes)
        await self.view.reached("o1", "reversed" if self.operation == REVERSE else "completed")

    async def intents(self) -> int:
        """Count the stored intents of this operation."""
        facts = await self.view.facts((await self.view.transfer("o1")).transfer_id)
        started = [fact for fact in facts if isinstance(fact, CallStarted)]
        return len(started) - (self.operation == REVERSE)

    async def calls(self) -> list[Json]:
        """Return the calls that arrived at Stripe."""
        transfer_id = transfer_stream("o1", "anna")
        name = (
            f"reversal:{reversal_name(transfer_id, 'r1')}:"
            if self.operation == REVERSE
            else f"transfer:{transfer_id}:"
        )
        return [
            post
            for post in await self.stripe.requests(self.operation)
            if post["key"].startswith(name)
        ]

    async def objects(self) -> int:
        """Count the objects of this operation in Stripe's books."""
        held = [t for t in (await self.stripe.ledger())["transfers"] if t["transfer_group"] == "o1"]
        return (
            len(held)
            if self.operation == CREATE
            else sum(len(theirs["reversals"]) for theirs in held)
        )

    async def assert_done_once(self) -> None:
        """Check that Stripe holds one object and that all calls had one idempotency key."""
        assert await self.objects() == 1
        assert len({post["key"] for post in await self.calls()}) == 1

    async def assert_the_next_ledger_works(self) -> None:
        """Check that the next ledger claims both kinds of work, so that any call it would repeat
        has been made."""
        await self.process.said("serving")
        self.web = await self.processes.talk(self.process)
        await self.web.order("o2", 1_000, bert=900)
        await self.web.pay("o2", 1_000)
        await self.view.reached("o2", "completed")
        await self.web.refund("r2", "o2", 1_000)
        await self.view.reached("o2", "reversed")

    @asynccontextmanager
    async def intent_on_its_way(self) -> AsyncIterator[list[int]]:
        """Hold the append of `CallStarted` in PostgreSQL, after it has arrived there."""
        async with AsyncExitStack() as stack:
            async with self.locks.on_rate_limiter(self.operation):
                await self.cause()
                await self.locks.until_waiting(RESERVE)
                await stack.enter_async_context(self.locks.on_appends())
            yield await self.locks.until_waiting(APPEND)


@pytest.fixture(params=[REVERSE, CREATE])
async def call(
    request: pytest.FixtureRequest,
    processes: Processes,
    stripe: SimulatorControl,
    view: LedgerView,
    locks: DatabaseLocks,
) -> CallUnderTest:
    return CallUnderTest(request.param, processes, stripe, view, locks)


async def test_kill_after_claim_before_intent(call: CallUnderTest) -> None:
    await call.open()
    async with call.locks.on_rate_limiter(call.operation):
        await call.cause()
        waiting = await call.locks.until_waiting(RESERVE)
        (leased,) = await call.view.select("select leased_by from seller_transfers")
        assert leased["leased_by"] is not None
        await call.kill()
        await call.locks.end(waiting)
    assert (await call.intents(), len(await call.calls())) == (0, 0)
    await call.restart()
    await call.assert_done_once()
    assert len(await call.calls()) == 1


async def test_kill_with_an_unstored_intent(call: CallUnderTest) -> None:
    await call.open()
    async with call.intent_on_its_way() as waiting:
        await call.kill()
        await call.locks.end(waiting)
    assert (await call.intents(), len(await call.calls())) == (0, 0)
    await call.restart()
    await call.assert_done_once()


async def test_kill_after_intent_before_call(call: CallUnderTest) -> None:
    """PostgreSQL stores the intent of a process that is dead by then: the call is not made."""
    await call.open()
    async with call.intent_on_its_way() as waiting:
        await call.kill()
    await call.locks.until_done(waiting)
    assert (await call.intents(), len(await call.calls())) == (1, 0)
    await call.restart()
    await call.assert_done_once()
    assert await call.intents() == 2


@pytest.mark.parametrize("stripes_way", ["abandon", "execute"])
async def test_kill_during_the_call(call: CallUnderTest, stripes_way: str) -> None:
    await call.open()
    await call.stripe.hold(call.operation, on_disconnect=stripes_way)
    await call.cause()
    await call.stripe.wait_until_held(call.operation)
    assert await call.objects() == 0
    await call.kill()
    await call.restart()
    await call.assert_done_once()


async def test_kill_while_stripe_still_works_on_the_call(call: CallUnderTest) -> None:
    await call.open()
    await call.stripe.hold(call.operation, on_disconnect="wait")
    await call.cause()
    await call.stripe.wait_until_held(call.operation)
    await call.kill()
    finished = asyncio.create_task(call.restart())

    async def key_in_use() -> bool:
        return any(post["status"] == 409 for post in await call.calls())

    await call.view.until(key_in_use, "409")
    assert await call.objects() == 0
    await call.stripe.release(call.operation)
    await finished
    await call.assert_done_once()


async def test_kill_after_stripes_commit_before_answer(call: CallUnderTest) -> None:
    await call.open()
    await call.stripe.hold(call.operation, point="after_commit", on_disconnect="execute")
    await call.cause()
    await call.stripe.wait_until_held(call.operation)
    assert await call.objects() == 1
    await call.kill()
    await call.restart()
    await call.assert_done_once()


@pytest.mark.parametrize("outcome", ["is lost", "is stored after the death"])
async def test_kill_after_answer_before_stored_outcome(call: CallUnderTest, outcome: str) -> None:
    await call.open()
    await call.stripe.hold(call.operation, point="after_commit")
    await call.cause()
    await call.stripe.wait_until_held(call.operation)
    async with call.locks.on_appends():
        await call.stripe.release(call.operation)
        waiting = await call.locks.until_waiting(APPEND)
        assert [post["status"] for post in await call.calls()] == [200]
        await call.kill()
        if outcome == "is lost":
            await call.locks.end(waiting)
    await call.locks.until_done(waiting)
    before = (await call.view.transfer("o1")).status
    assert before == _status_after(call.operation, outcome)
    await call.restart()
    await call.assert_the_next_ledger_works()
    await call.assert_done_once()
    assert len(await call.calls()) == (2 if outcome == "is lost" else 1)


def _status_after(operation: str, outcome: str) -> str:
    if outcome == "is lost":
        return "reversal_pending" if operation == REVERSE else "pending"
    return "reversed" if operation == REVERSE else "completed"


async def test_usual_lease_is_taken_over_within_ten_seconds(
    processes: Processes, stripe: SimulatorControl, view: LedgerView, locks: DatabaseLocks
) -> None:
    call = CallUnderTest(REVERSE, processes, stripe, view, locks)
    await call.open(LEDGER_LEASE="10s")
    await stripe.hold(REVERSE, point="after_commit", on_disconnect="execute")
    await call.cause()
    await stripe.wait_until_held(REVERSE)
    await call.kill()
    killed = monotonic()
    await call.restart(LEDGER_LEASE="10s")
    assert (
        monotonic() - killed < DEFAULT_LEASE + 6
    )  # what one call takes, on a machine that does other things as well
    await call.assert_done_once()
