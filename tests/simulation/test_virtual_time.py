"""Virtual time: it jumps, keeps the order of timers, and reaches no socket or thread."""

import asyncio
import time
from datetime import timedelta
from itertools import count

import pytest

from infrastructure.simulation.virtual_time import (
    BEGINNING,
    Deadlock,
    Livelock,
    epoch_seconds,
    now,
    run,
)


def test_virtual_year_takes_no_time() -> None:
    async def sleep_for_a_year() -> timedelta:
        await asyncio.sleep(365 * 86_400)
        return now() - BEGINNING

    began = time.monotonic()
    assert run(sleep_for_a_year()) == timedelta(days=365)
    assert time.monotonic() - began < 60


def test_timers_fire_in_order_at_their_instant() -> None:
    async def race() -> list[tuple[str, float]]:
        seen: list[tuple[str, float]] = []

        async def after(name: str, seconds: float) -> None:
            await asyncio.sleep(seconds)
            seen.append((name, asyncio.get_running_loop().time()))

        await asyncio.gather(after("late", 3_600.5), after("early", 0.25), after("middle", 60))
        return seen

    assert run(race()) == [("early", 0.25), ("middle", 60), ("late", 3_600.5)]


def test_ready_work_runs_before_any_timer() -> None:
    async def spin() -> float:
        timer = asyncio.create_task(asyncio.sleep(1))
        for _ in range(1_000):
            await asyncio.sleep(0)
        assert not timer.done()
        await timer
        return asyncio.get_running_loop().time()

    assert run(spin()) == 1


def test_time_limit_is_virtual() -> None:
    async def wait_in_vain() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(86_400):
                await asyncio.Event().wait()
        return asyncio.get_running_loop().time()

    assert run(wait_in_vain()) == 86_400


def test_deadlock_raises_instead_of_waiting() -> None:
    async def wait_for_nobody() -> None:
        await asyncio.Event().wait()

    with pytest.raises(Deadlock):
        run(wait_for_nobody())


def test_livelock_raises_instead_of_running_forever() -> None:
    async def yield_forever() -> None:
        for _ in count():
            await asyncio.sleep(0)

    with pytest.raises(Livelock):
        run(yield_forever())


def test_short_wait_for_an_instant_in_epoch_seconds_ends() -> None:
    """Epoch seconds are coarse: less than a microsecond can be left before a due instant."""

    async def wait_until_due() -> None:
        due = epoch_seconds() + 2e-6
        while (left := due - epoch_seconds()) > 0:
            sleep = asyncio.create_task(asyncio.sleep(60))
            await asyncio.wait((sleep,), timeout=min(left, 5e-7))

    run(wait_until_due())


def test_sockets_and_threads_are_unavailable() -> None:
    async def leave() -> None:
        with pytest.raises(RuntimeError, match="its time would be real"):
            await asyncio.to_thread(time.time)
        with pytest.raises((RuntimeError, NotImplementedError)):
            await asyncio.open_connection("127.0.0.1", 9)

    run(leave())
