"""Commands on one order take turns, and do not delay commands on other orders."""

import asyncio

import pytest

from application.order_turns import OrderTurns
from domain.errors import OrderBusy


async def test_commands_on_one_order_run_one_after_the_other() -> None:
    turns, running, seen = OrderTurns(), 0, list[int]()

    async def command(number: int) -> None:
        nonlocal running
        async with turns.of("o1", 5):
            running += 1
            assert running == 1
            await asyncio.sleep(0)
            seen.append(number)
            running -= 1

    await asyncio.gather(*map(command, range(50)))
    assert seen == list(range(50))


async def test_other_orders_do_not_wait() -> None:
    turns = OrderTurns()
    async with turns.of("o1", 5), turns.of("o2", 0.01):
        with pytest.raises(OrderBusy, match="'o1'"):
            async with turns.of("o1", 0.01):
                pytest.fail("the order had a running command")
    async with turns.of("o1", 0.01):
        pass


async def test_failed_and_cancelled_commands_pass_their_turn_on() -> None:
    turns, began = OrderTurns(), asyncio.Event()

    async def hangs() -> None:
        async with turns.of("o1", 5):
            began.set()
            await asyncio.Event().wait()

    with pytest.raises(ZeroDivisionError):
        async with turns.of("o1", 5):
            raise ZeroDivisionError
    hanging = asyncio.create_task(hangs())
    await began.wait()
    waiting = asyncio.create_task(hangs())
    await asyncio.sleep(0)
    for task in (waiting, hanging):
        task.cancel()
    await asyncio.gather(waiting, hanging, return_exceptions=True)
    async with turns.of("o1", 0.01):
        pass
