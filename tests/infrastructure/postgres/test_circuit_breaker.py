"""State of the whole fleet in the database: circuit breaker, pauses, restore."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from application.ports import FleetState
from application.unit_of_work import UnitOfWork
from domain.pause import EVERYTHING, LOOK_UP_FIRST, Pause, scope_of_seller
from domain.provider_call.operation import LookFirst
from infrastructure.postgres.circuit_breaker import PostgresCircuitBreaker
from infrastructure.postgres.connections import Pool
from infrastructure.postgres.event_store import EventStore
from infrastructure.postgres.ledger import PostgresEventLog
from infrastructure.postgres.listener import Listener
from tests.infrastructure.postgres.conftest import Person

Flip = Callable[..., Awaitable[None]]

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
EARLIER = NOW - timedelta(hours=3)


@pytest.fixture
def breaker(pool: Pool) -> PostgresCircuitBreaker:
    return PostgresCircuitBreaker(pool)


@pytest.fixture
async def woken(database_url: str) -> AsyncIterator[asyncio.Event]:
    """Set by every wake-up of the workers."""
    event, listener = asyncio.Event(), Listener(database_url)
    listener.on("ledger_work", event.set)
    await listener.start()
    event.clear()
    yield event
    await listener.aclose()


@pytest.fixture
def flip(store: EventStore) -> Flip:
    """Pauses a scope for a reason, or resumes it without one, as an operator does: by facts."""
    ledger, uow, switches = PostgresEventLog(store), UnitOfWork({}, {}), dict[str, Pause]()

    async def flipped(
        scope: str,
        reason: str | None = None,
        at: datetime = NOW,
        lost_since: datetime | None = None,
    ) -> None:
        if scope not in switches:
            switches[scope] = Pause.install(scope, at)
            uow.add([switches[scope]])
        if reason is None:
            switches[scope].resume("ada", "over", at)
        else:
            switches[scope].pause("ada", reason, at, lost_since)
        await ledger.append(uow)

    return flipped


async def interval(person: Person) -> timedelta:
    """Between two probes, as it is now."""
    row = await (await person.execute("select probe_interval from breaker")).fetchone()
    assert row
    return row[0]  # type: ignore[no-any-return]


async def hears(event: asyncio.Event) -> bool:
    async with asyncio.timeout(10):
        await event.wait()
    event.clear()
    return True


async def test_new_ledger_has_no_pause_and_a_closed_breaker(
    breaker: PostgresCircuitBreaker,
) -> None:
    assert await breaker.state() == FleetState()
    assert await breaker.until_probe() is None
    assert not await breaker.take_probe()
    assert not await breaker.close_breaker()


async def test_breaker_opened_by_many_is_reported_once(pool: Pool) -> None:
    processes = [PostgresCircuitBreaker(pool) for _ in range(8)]
    assert sorted(await asyncio.gather(*(each.open_breaker() for each in processes))) == [
        False
    ] * 7 + [True]
    assert (await processes[0].state()).outage
    assert sorted(await asyncio.gather(*(each.close_breaker() for each in processes))) == [
        False
    ] * 7 + [True]
    assert not (await processes[0].state()).outage


async def test_breaker_probe_is_taken_by_one_process(pool: Pool, person: Person) -> None:
    processes = [PostgresCircuitBreaker(pool) for _ in range(8)]
    await processes[0].open_breaker()
    await person.execute("update breaker set probe_at = now() + interval '1 hour'")
    assert not any(await asyncio.gather(*(each.take_probe() for each in processes))), (
        "it is too early"
    )
    for _ in range(2):
        await person.execute("update breaker set probe_at = now() - interval '1 second'")
        assert await processes[0].until_probe() == 0
        assert sorted(await asyncio.gather(*(each.take_probe() for each in processes))) == [
            False
        ] * 7 + [True]
    until = await processes[0].until_probe()
    assert until is not None
    assert 0 <= until <= 5


async def test_breaker_reopened_soon_waits_twice_as_long(
    breaker: PostgresCircuitBreaker, person: Person
) -> None:
    seen = []
    for _ in range(9):
        await breaker.open_breaker()
        seen.append((await interval(person)).total_seconds())
        await breaker.close_breaker()
    assert seen == [5, 10, 20, 40, 80, 160, 300, 300, 300]


@pytest.mark.parametrize(("closed_for", "next_interval"), [(70, 80), (105, 5)])
async def test_breaker_reopening_window_is_minute_plus_interval(
    breaker: PostgresCircuitBreaker, person: Person, closed_for: int, next_interval: int
) -> None:
    await person.execute(
        "update breaker set probe_interval = '40 seconds', closed_at = now() - %s * interval '1 "
        "second'",
        (closed_for,),
    )
    await breaker.open_breaker()
    assert await interval(person) == timedelta(seconds=next_interval)
    until = await breaker.until_probe()
    assert until is not None
    assert until <= next_interval


async def test_breaker_changes_wake_every_worker(
    breaker: PostgresCircuitBreaker, woken: asyncio.Event
) -> None:
    await breaker.open_breaker()
    assert await hears(woken)
    await breaker.close_breaker()
    assert await hears(woken)


async def test_pause_is_obeyed_from_its_commit_until_resume(
    breaker: PostgresCircuitBreaker, flip: Flip
) -> None:
    await flip(EVERYTHING, "wrong prices")
    await flip(scope_of_seller("s:1"), "fraud?")
    assert (await breaker.state()).paused == {EVERYTHING, "seller:s:1"}
    await flip(EVERYTHING)
    state = await breaker.state()
    assert state == FleetState(paused=frozenset({"seller:s:1"}))
    assert [state.allows("reversing", seller) for seller in ("s:1", "s:2")] == [False, True]


async def test_pause_changes_wake_every_worker(flip: Flip, woken: asyncio.Event) -> None:
    await flip(EVERYTHING, "wrong prices")
    assert await hears(woken)
    await flip(EVERYTHING)
    assert await hears(woken)


async def test_restore_state_names_start_of_missing_facts(
    breaker: PostgresCircuitBreaker, flip: Flip
) -> None:
    await flip(LOOK_UP_FIRST, "restored", NOW, EARLIER)
    assert await breaker.state() == FleetState(
        look_first=LookFirst(begun_at=NOW, lost_since=EARLIER)
    )
    again = NOW + timedelta(hours=1)
    await flip(LOOK_UP_FIRST, "restored again", again, NOW)
    assert (await breaker.state()).look_first == LookFirst(again, EARLIER), (
        "what was lost first may still be missing"
    )
    await flip(LOOK_UP_FIRST, at=again)
    assert await breaker.state() == FleetState()


async def test_restore_without_start_looks_at_everything(
    breaker: PostgresCircuitBreaker, flip: Flip
) -> None:
    await flip(LOOK_UP_FIRST, "restored", NOW)
    assert (await breaker.state()).look_first == LookFirst(NOW, datetime(1970, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ((
            "insert into pauses values (gen_random_uuid(), 'x', true, 'ada', null, null, 1, "
            "now(), now())"
        ),
         "a_pause_names_its_actor_and_reason"),
        ((
            "insert into pauses values (gen_random_uuid(), 'x', true, null, 'why', null, 1, "
            "now(), now())"
        ),
         "a_pause_names_its_actor_and_reason"),
        ((
            "insert into pauses select gen_random_uuid(), 'x', false, null, null, null, 1, "
            "now(), now() from generate_series(1, 2)"
        ),
         "one_switch_per_scope"),
        ("insert into breaker (single) values (false)", "there_is_only_one_breaker"),
        ("update breaker set open = true", "an_open_breaker_is_probed"),
        ("update breaker set probe_at = now()", "a_closed_breaker_is_not_probed"),
        ("update breaker set probe_interval = '4 seconds'", "probes_are_5_seconds_to_5_minutes_apart"),
        ("update breaker set probe_interval = '6 minutes'", "probes_are_5_seconds_to_5_minutes_apart"),
        ("insert into pace (endpoint, next_at, share) values ('x', now(), 0)", "a_pace_never_stands_still"),
        ("insert into pace (endpoint, next_at, share) values ('x', now(), 0.5)", "a_slower_pace_says_since_when"),
    ],
)  # fmt: skip
async def test_invalid_fleet_state_is_refused_by_database(
    person: Person, change: str, rule: str
) -> None:
    with pytest.raises(psycopg.errors.IntegrityError) as caught:
        await person.execute(change.encode())
    assert caught.value.diag.constraint_name == rule
