"""Alarms, and the account and mode that a database is bound to."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from infrastructure.postgres.alarms import PostgresAlarms, StoredAlarm
from infrastructure.postgres.bound_account import bind, binding
from infrastructure.postgres.connections import Pool
from infrastructure.postgres.errors import WrongBinding
from infrastructure.postgres.event_store import EventStore

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)


async def test_alarm_raised_repeatedly_is_one_row(pool: Pool) -> None:
    alarms = PostgresAlarms(pool)
    await asyncio.gather(
        *(alarms.raise_alarm("drift", "transfer-1", f"the {n}. time") for n in range(5))
    )
    await alarms.raise_alarm("drift", "transfer-1", "3 EUR missing")
    assert [(a.kind, a.subject, a.detail) for a in await alarms.raised()] == [
        ("drift", "transfer-1", "3 EUR missing")
    ]


async def test_cleared_alarm_is_kept_and_can_be_raised_again(pool: Pool) -> None:
    alarms = PostgresAlarms(pool)
    await alarms.raise_alarm("drift", "transfer-1", "3 EUR missing")
    await alarms.raise_alarm("outage", "stripe", "no answer")
    assert await alarms.clear("drift", "transfer-1")
    assert not await alarms.clear("drift", "transfer-1")
    assert not await alarms.clear("drift", "transfer-2")
    assert [a.kind for a in await alarms.raised()] == ["outage"]
    assert [(a.kind, a.cleared_at is None) for a in await alarms.latest()] == [
        ("outage", True),
        ("drift", False),
    ]
    await alarms.raise_alarm("drift", "transfer-1", "again")
    assert [a.kind for a in await alarms.raised()] == ["outage", "drift"]


async def test_first_start_binds_database(pool: Pool) -> None:
    assert await binding(pool) is None
    first = await bind(pool, "test", "acct_1")
    assert (
        first
        == await bind(pool, "test", "acct_1")
        == await bind(pool, "test")
        == await binding(pool)
    )
    assert (first.mode, first.account) == ("test", "acct_1")


@pytest.mark.parametrize("account", [None, "acct_1"])
async def test_start_in_other_mode_is_refused(pool: Pool, account: str | None) -> None:
    await bind(pool, "test", account)
    with pytest.raises(
        WrongBinding, match="holds data of mode 'test', but STRIPE_API_KEY is of mode 'live'"
    ):
        await bind(pool, "live", account)


async def test_start_with_other_account_is_refused(pool: Pool) -> None:
    await bind(pool, "live", "acct_1")
    with pytest.raises(WrongBinding, match=r"'acct_1'.*'acct_2'"):
        await bind(pool, "live", "acct_2")


async def test_account_unknown_at_first_start_is_added_once(pool: Pool) -> None:
    await bind(pool, "live")
    assert (await bind(pool, "live", "acct_1")).account == "acct_1"
    with pytest.raises(WrongBinding):
        await bind(pool, "live", "acct_2")


async def test_concurrent_first_starts_bind_once(pool: Pool) -> None:
    answers = await asyncio.gather(
        *(bind(pool, mode) for mode in ("test", "live") * 3), return_exceptions=True
    )
    bound = await binding(pool)
    assert bound
    assert [a.mode for a in answers if not isinstance(a, BaseException)] == [bound.mode] * 3
    assert sum(isinstance(a, WrongBinding) for a in answers) == 3


def raised(detail: str = "3 EUR missing", at: datetime = NOW) -> dict[str, object]:
    return {
        "kind": "drift",
        "subject": "transfer-1",
        "detail": detail,
        "raised_at": at,
        "cleared_at": None,
    }


def cleared(at: datetime = LATER) -> dict[str, object]:
    return raised("reopened", at) | {"cleared_at": at}


async def test_facts_clearing_unraised_alarm_leave_none(pool: Pool, store: EventStore) -> None:
    await store.append([], {"alarms": [cleared()]})
    assert await PostgresAlarms(pool).latest() == []


async def test_facts_clear_alarm_and_keep_its_detail(pool: Pool, store: EventStore) -> None:
    await store.append([], {"alarms": [raised()]})
    await store.append([], {"alarms": [cleared(LATER)]})
    expected = StoredAlarm("drift", "transfer-1", "3 EUR missing", NOW, NOW, 1, LATER)
    assert await PostgresAlarms(pool).latest() == [expected]
    await store.append([], {"alarms": [cleared(LATER + timedelta(hours=1))]})
    assert await PostgresAlarms(pool).latest() == [expected], "what is cleared is not cleared again"


@pytest.mark.parametrize(
    ("rows", "open_", "on_record"),
    [
        ([raised(), cleared()], 0, 1),
        ([cleared(), raised()], 1, 1),
        ([raised("first"), cleared(), raised()], 1, 1),
        ([raised("first"), raised(), cleared()], 0, 1),
    ],
    ids=["raised, cleared", "cleared, raised", "raised again", "raised twice, cleared"],
)
async def test_last_change_of_alarm_in_append_counts(
    pool: Pool, store: EventStore, rows: list[dict[str, object]], open_: int, on_record: int
) -> None:
    await store.append([], {"alarms": rows})
    alarms = PostgresAlarms(pool)
    assert (len(await alarms.raised()), len(await alarms.latest())) == (open_, on_record)
    assert [alarm.detail for alarm in await alarms.latest()] == ["3 EUR missing"]


async def test_alarm_that_is_raised_again_keeps_its_beginning(
    pool: Pool, store: EventStore
) -> None:
    alarms, day = PostgresAlarms(pool), timedelta(days=1)
    for days in (0, 20, 40):
        await store.append([], {"alarms": [raised(f"day {days}", NOW + days * day)]})
    (seen,) = await alarms.latest()
    assert seen == StoredAlarm("drift", "transfer-1", "day 40", NOW, NOW + 40 * day, 3, None)
    again = [raised("a", NOW + 41 * day), cleared(NOW + 42 * day), raised("b", NOW + 43 * day)]
    await store.append([], {"alarms": again})
    (anew,) = await alarms.latest()
    began = NOW + 43 * day
    assert anew == StoredAlarm("drift", "transfer-1", "b", began, began, 1, None)


async def test_alarm_raised_outside_of_facts_keeps_its_beginning(pool: Pool) -> None:
    alarms = PostgresAlarms(pool)
    await alarms.raise_alarm("webhook_dead", "42", "first")
    (first,) = await alarms.raised()
    await alarms.raise_alarm("webhook_dead", "42", "second")
    (second,) = await alarms.raised()
    assert (second.raised_at, second.detail, second.times) == (first.raised_at, "second", 2)
    assert second.last_seen_at > first.last_seen_at
