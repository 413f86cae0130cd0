"""Frozen process: it comes back after another process has taken over its lease, and does no
harm."""

import signal

import pytest

from infrastructure.simulators.stripe import SimulatorControl
from tests.e2e.conftest import Processes
from tests.support.ledger_view import LedgerView
from tests.support.service import CREATE, REVERSE


@pytest.mark.parametrize("point", ["before_commit", "after_commit"])
async def test_frozen_ledger_finds_its_call_settled(
    processes: Processes, stripe: SimulatorControl, view: LedgerView, point: str
) -> None:
    frozen = await processes.start()
    web = await processes.talk(frozen)
    await web.order("o1", 1_000, anna=900)
    await web.pay("o1", 1_000)
    await view.reached("o1", "completed")
    await stripe.hold(REVERSE, point=point, on_disconnect="wait")
    await web.refund("r1", "o1", 1_000)
    await stripe.wait_until_held(REVERSE)
    frozen.send(signal.SIGSTOP)

    await processes.start("worker")

    async def key_in_use() -> bool:
        return any(call["status"] == 409 for call in await stripe.requests(REVERSE))

    await view.until(key_in_use, "the second ledger was told that the key is in use")
    await stripe.release(REVERSE)
    (row,) = await view.reached("o1", "reversed")
    frozen.send(signal.SIGCONT)

    await web.order("o2", 1_000, bert=900)
    await web.pay("o2", 1_000)
    await view.reached("o2", "completed")
    frozen.send(signal.SIGTERM)
    assert await frozen.ended() == 0  # it has recorded, or found recorded, what it was about
    assert (await view.transfer("o1")) == row
    assert len({call["key"] for call in await stripe.requests(REVERSE)}) == 1
    assert len(await stripe.requests(CREATE)) == 2
