"""Drain after SIGTERM: no new call begins, calls under way are recorded, and the process exits with
0."""

import signal

import pytest

from infrastructure.bootstrap import stored
from infrastructure.simulators.stripe import SimulatorControl
from tests.e2e.conftest import Processes
from tests.support.ledger_process import LedgerProcess
from tests.support.ledger_view import LedgerView
from tests.support.service import REVERSE, LedgerCaller, SystemUnderTest


async def two_paid_orders(system: SystemUnderTest) -> None:
    """Pay two orders with a ledger that is stopped afterwards."""
    async with system.at_work() as caller:
        for order_id in ("o1", "o2"):
            await system.paid(caller, order_id)


async def refund(system: SystemUnderTest, name: str, order_id: str) -> None:
    """Record a refund as another process would, since the process under test may be draining."""
    async with stored(system.settings) as storage:
        await LedgerCaller(storage).refund(name, order_id, 1_000)


async def with_a_call_on_its_way(
    processes: Processes, system: SystemUnderTest, command: str, **changes: str
) -> LedgerProcess:
    """Start a process whose reversal of o1 is at Stripe and unanswered."""
    process: LedgerProcess = await processes.start(command, **changes)
    await system.stripe.hold(REVERSE, on_disconnect="execute")
    await refund(system, "r1", "o1")
    await system.stripe.wait_until_held(REVERSE)
    return process


async def row_version(view: LedgerView, order_id: str) -> object:
    """Changes with every update of the row, a lease included."""
    (row,) = await view.select(
        "select xmin::text from seller_transfers where order_id = %s", order_id
    )
    return row["xmin"]


@pytest.mark.parametrize("command", ["serve", "worker"])
async def test_sigterm_records_the_call_in_flight(
    processes: Processes,
    system: SystemUnderTest,
    stripe: SimulatorControl,
    view: LedgerView,
    command: str,
) -> None:
    await two_paid_orders(system)
    process = await with_a_call_on_its_way(processes, system, command)
    process.send(signal.SIGTERM)
    await process.said("draining")
    await refund(system, "r2", "o2")
    untouched = await row_version(view, "o2")
    await stripe.release(REVERSE)

    assert await process.ended() == 0
    await process.said("drained")
    (done,), (left,) = await view.transfers("o1"), await view.transfers("o2")
    assert (done.status, left.status) == ("reversed", "reversal_pending")
    assert await view.story(left.transfer_id) == [
        "Created",
        "CallStarted",
        "Completed",
        "ReversalRequested",
    ]
    assert len(await stripe.requests(REVERSE)) == 1
    assert await row_version(view, "o2") == untouched  # not even leased
    assert await view.select("select from seller_transfers where leased_by is not null") == []

    await processes.begin(command)
    await view.reached("o2", "reversed")


async def test_unanswered_call_does_not_delay_the_exit(
    processes: Processes, system: SystemUnderTest, view: LedgerView
) -> None:
    await two_paid_orders(system)
    process = await with_a_call_on_its_way(processes, system, "serve", STRIPE_TIMEOUT="2s")
    process.send(signal.SIGTERM)
    assert await process.ended(within=10) == 0
    (row,) = await view.transfers("o1")
    assert (row.status, row.retry_count) == ("reversal_pending", 1)

    await processes.begin()
    await view.reached("o1", "reversed")
    assert len(await system.posts(REVERSE)) == 2
