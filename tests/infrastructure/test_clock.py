"""Clock of the process: a step of any clock changes nothing but the next measurement."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from infrastructure import bootstrap
from infrastructure import clock as module
from infrastructure.clock import DatabaseClock, steady
from infrastructure.postgres.connections import fetch_one
from infrastructure.settings import Settings

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
TWO_HOURS = timedelta(hours=2)


class Wall:
    """A clock that a person can step."""

    def __init__(self) -> None:
        self.instant = NOON

    def __call__(self) -> datetime:
        return self.instant


@pytest.mark.parametrize("step", [TWO_HOURS, -TWO_HOURS])
def test_newest_measurement_counts_after_a_step(step: timedelta) -> None:
    wall = Wall()
    clock = DatabaseClock(wall)
    clock.observe(clock.now(), NOON - step)
    assert clock.now() == NOON - step
    wall.instant += step  # the process's clock is stepped
    clock.observe(clock.now(), NOON)
    assert clock.now() == NOON


def test_late_answer_does_not_turn_the_clock_back() -> None:
    """A loaded process reads the answer long after the database has shown its clock."""
    wall = Wall()
    clock = DatabaseClock(wall)
    asked = clock.now()
    wall.instant += timedelta(seconds=3)
    clock.observe(asked, NOON + timedelta(seconds=1))
    assert clock.now() == wall.instant
    clock.observe(asked, NOON - timedelta(seconds=1))  # the clock is ahead by one second at least
    assert clock.now() == wall.instant - timedelta(seconds=1)


def test_step_of_the_wall_clock_does_not_reach_the_ledger(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Stepped(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            return NOON

    monkeypatch.setattr(module, "datetime", Stepped)
    clock = DatabaseClock(steady())
    clock.observe(clock.now(), NOON + TWO_HOURS)
    monkeypatch.undo()  # years later, by the wall clock
    assert abs(clock.now() - (NOON + TWO_HOURS)) < timedelta(minutes=1)


async def test_opened_ledger_has_the_database_clock_on_a_wrong_host(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command of the command line claims no work, and must not stamp its facts with a host's
    time."""

    def ahead() -> DatabaseClock:
        return DatabaseClock(lambda: datetime.now(UTC) + timedelta(hours=3))

    monkeypatch.setattr(bootstrap, "DatabaseClock", ahead)
    async with bootstrap.stored(replace(Settings(), database_url=database_url)) as storage:
        row = await fetch_one(storage.pool, b"select clock_timestamp()")
        assert row
        assert abs(storage.clock.now() - row[0]) < timedelta(minutes=1)
