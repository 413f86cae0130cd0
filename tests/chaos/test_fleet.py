"""Many processes on one database: killed in turn, restarted in turn, and held to Stripe's rate
limit."""

import asyncio
import contextlib
import logging
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import count

import pytest

from infrastructure.bootstrap import stored
from infrastructure.settings import Settings
from infrastructure.simulators.stripe import SimulatorControl
from tests.e2e.conftest import Processes
from tests.support.ledger_process import LedgerProcess
from tests.support.ledger_view import LedgerView
from tests.support.service import CREATE, REVERSE, LedgerCaller

SELLERS = ("anna", "bert", "carl", "dora")
AT_ONCE = 50
PATIENCE = 150.0

log = logging.getLogger(__name__)


async def paid_orders(caller: LedgerCaller, many: Sequence[str]) -> None:
    """Register and pay orders, so that their transfers are due."""
    for start in range(0, len(many), AT_ONCE):
        some = many[start : start + AT_ONCE]
        await asyncio.gather(*(caller.order(o, 1_000, **{SELLERS[len(o) % 4]: 900}) for o in some))
        await asyncio.gather(*(caller.pay(o) for o in some))


async def refund_all(caller: LedgerCaller, many: Sequence[str]) -> None:
    for start in range(0, len(many), AT_ONCE):
        await asyncio.gather(
            *(caller.refund(f"r_{o}", o, 1_000) for o in many[start : start + AT_ONCE])
        )


async def count_of(view: LedgerView, status: str) -> int:
    (row,) = await view.select(
        "select count(*) as n from seller_transfers where status = %s", status
    )
    return int(row["n"])


async def all_are(view: LedgerView, status: str, number: int) -> None:
    async def there() -> bool:
        return await count_of(view, status) == number

    await view.until(there, f"{number} transfers are {status}", PATIENCE)


@asynccontextmanager
async def killed_each_second(
    processes: Processes, fleet: list[LedgerProcess]
) -> AsyncIterator[None]:
    """Kill the processes in turn, one a second, and replace each."""

    async def kill() -> None:
        for turn in count():
            await asyncio.sleep(1)
            await fleet[turn % len(fleet)].kill()
            fleet[turn % len(fleet)] = await processes.begin("worker")

    killing = asyncio.create_task(kill())
    try:
        yield
    finally:
        killing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await killing


@pytest.mark.timeout(300)
async def test_killed_workers_execute_each_call_once(
    processes: Processes, stripe: SimulatorControl, view: LedgerView, settings: Settings
) -> None:
    many = [f"o{n}" for n in range(1_000)]
    async with stored(settings) as storage:
        await paid_orders(LedgerCaller(storage), many)
        fleet = [await processes.begin("worker") for _ in range(8)]
        async with killed_each_second(processes, fleet):
            await all_are(view, "completed", len(many))
            await refund_all(LedgerCaller(storage), many)
            await all_are(view, "reversed", len(many))
    for operation in (CREATE, REVERSE):
        executed = [
            call
            for call in await stripe.requests(operation)
            if call["status"] == 200 and not call["replayed"]
        ]
        assert len({call["key"] for call in executed}) == len(executed) == len(many)
    held = (await stripe.ledger())["transfers"]
    assert [len(transfer["reversals"]) for transfer in held] == [1] * len(many)
    for process in fleet:  # the books are compared when no process is at work
        await process.kill()


async def test_rolling_restart_leaves_no_call_unknown(
    processes: Processes, stripe: SimulatorControl, view: LedgerView, settings: Settings
) -> None:
    """SIGTERM drains: calls under way are recorded, so no process has to call Stripe again."""
    many = [f"o{n}" for n in range(300)]
    await stripe.fault("latency", "*", ms=50)
    async with stored(settings) as storage:
        await paid_orders(LedgerCaller(storage), many)
        fleet = [await processes.start("worker") for _ in range(3)]
        await all_are(view, "completed", len(many))
        refunds = asyncio.create_task(refund_all(LedgerCaller(storage), many))
        for turn in range(len(fleet)):
            await view.until(lambda turn=turn: _reversed(view, 30 * turn), "some are reversed")  # type: ignore[misc]
            fleet[turn].send(signal.SIGTERM)
            assert await fleet[turn].ended() == 0
            fleet[turn] = await processes.start("worker")
        await refunds
        await all_are(view, "reversed", len(many))
    calls = await stripe.requests(REVERSE)
    assert len({call["key"] for call in calls}) == len(calls) == len(many), (
        "each call was made once"
    )
    (unknown,) = await view.select(
        "select count(*) as n from seller_transfers where retry_count > 0"
    )
    assert unknown["n"] == 0


async def _reversed(view: LedgerView, more_than: int) -> bool:
    return await count_of(view, "reversed") >= more_than


LIMIT = 25.0
"""Requests per second and endpoint that Stripe allows."""
CALLS = 700
"""Some 28 seconds at that rate."""


@pytest.mark.timeout(300)
async def test_three_processes_use_stripes_limit_fully(
    processes: Processes, stripe: SimulatorControl, view: LedgerView, settings: Settings
) -> None:
    """Stripe answers with recorded latencies: median 1.2 s, maximum 7 s."""
    many = [f"o{n}" for n in range(CALLS)]
    payer = await processes.start("worker", STRIPE_MAX_RPS="1000")
    async with stored(settings) as storage:
        await paid_orders(LedgerCaller(storage), many)
        await all_are(view, "completed", CALLS)
        await payer.kill()
        await refund_all(LedgerCaller(storage), many)
    await stripe.tune(endpoint_rate=LIMIT, latency="recorded")
    fleet = [await processes.begin("worker", STRIPE_MAX_RPS=str(LIMIT)) for _ in range(3)]
    await all_are(view, "reversed", CALLS)
    calls = await stripe.requests(REVERSE)
    refused = [call for call in calls if call["status"] == 429]
    used = len(calls) / (calls[-1]["at"] - calls[0]["at"]) / LIMIT
    log.info(
        "%.1f %% of the limit used, %s of %s calls refused", 100 * used, len(refused), len(calls)
    )
    assert used >= 0.95
    assert len(refused) < 0.01 * len(calls)
    for process in fleet:
        await process.kill()
