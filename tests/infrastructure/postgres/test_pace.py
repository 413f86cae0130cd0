"""All processes together stay under the rate of an endpoint."""

import asyncio
import time
from itertools import pairwise
from typing import Any

import psycopg
import pytest

from infrastructure.postgres.connections import Pool
from infrastructure.postgres.pace import Pace

Person = psycopg.AsyncConnection[Any]

CLOSE = 0.05  # seconds between a reply and our reading of the clock; measured against seconds


async def test_instants_are_spaced_by_the_rate(pool: Pool) -> None:
    waits = await Pace(pool, rate=20).reserve("transfers", 5)
    assert waits == pytest.approx([0, 0.05, 0.1, 0.15, 0.2], abs=CLOSE)
    assert waits[0] >= 0
    assert [round(b - a, 9) for a, b in pairwise(waits)] == [0.05] * 4


async def test_the_next_reservation_starts_where_the_last_one_ended(pool: Pool) -> None:
    one, other = Pace(pool, rate=2), Pace(pool, rate=2)
    started = time.monotonic()
    await one.reserve("transfers", 10)
    waits = await other.reserve("transfers", 2)
    assert waits == pytest.approx([5, 5.5], abs=CLOSE + time.monotonic() - started)


async def test_concurrent_reservations_never_share_an_instant(pool: Pool) -> None:
    pace = Pace(pool, rate=10)
    started = time.monotonic()

    async def reserve() -> list[float]:
        waits = await pace.reserve("transfers", 5)
        now = time.monotonic() - started
        return [now + wait for wait in waits]

    instants = sorted(instant for several in await asyncio.gather(*(reserve() for _ in range(8))) for instant in several)
    assert len(instants) == 40
    assert instants[-1] - instants[0] == pytest.approx(3.9, abs=4 * CLOSE)


async def test_what_was_not_used_is_not_saved_up(pool: Pool, person: Person) -> None:
    pace = Pace(pool, rate=10)
    await pace.reserve("transfers", 1)
    await person.execute("update pace set next_at = now() - interval '1 hour'")
    assert await pace.reserve("transfers", 10) == pytest.approx([n / 10 for n in range(10)], abs=CLOSE)
    assert await pace.reserve("transfers", 1) == pytest.approx([1], abs=2 * CLOSE)


async def test_endpoints_do_not_slow_each_other_down(pool: Pool) -> None:
    pace = Pace(pool, rate=1)
    await pace.reserve("transfers", 100)
    assert await pace.reserve("reversals", 1) == pytest.approx([0], abs=CLOSE)


async def test_nothing_is_reserved_for_nothing(pool: Pool, person: Person) -> None:
    assert await Pace(pool, rate=1).reserve("transfers", 0) == []
    assert await (await person.execute("select from pace")).fetchall() == []
