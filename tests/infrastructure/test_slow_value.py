"""Values of the metrics whose queries read many rows."""

import asyncio
from collections.abc import Iterator

import psycopg
import pytest

from infrastructure import scrape
from infrastructure.scrape import SlowValue


class Query:
    """A query that ends when the test says so."""

    def __init__(self) -> None:
        self.begun, self.may_end = 0, asyncio.Event()

    async def read(self) -> int:
        self.begun += 1
        await self.may_end.wait()
        return self.begun


async def test_slow_query_does_not_delay_a_later_scrape(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scrape, "QUICK_SECONDS", -1.0)  # every query counts as slow
    monkeypatch.setattr(scrape, "LOAD_FACTOR", 0)
    query = Query()
    value = SlowValue(query.read)
    query.may_end.set()
    assert await value.now() == 1  # nothing is known yet, so the first scrape waits
    query.may_end.clear()
    async with asyncio.timeout(5):
        assert [await value.now(), await value.now()] == [1, 1]
    await asyncio.sleep(0)
    assert query.begun == 2  # one query at a time
    query.may_end.set()
    reading = [task for task in asyncio.all_tasks() if task.get_name() == "slow metrics"]
    await asyncio.gather(*reading)
    assert await value.now() == 2


async def test_slow_query_is_rare(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scrape, "LOAD_FACTOR", 1e9)
    query = Query()
    query.may_end.set()
    value = SlowValue(query.read)
    assert [await value.now() for _ in range(3)] == [1, 1, 1]


async def test_query_that_fails_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scrape, "LOAD_FACTOR", 0)
    answers: Iterator[int | Exception] = iter([psycopg.OperationalError("gone"), 7])

    async def read() -> int:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    value = SlowValue(read)
    assert [await value.now(), await value.now()] == [None, 7]
