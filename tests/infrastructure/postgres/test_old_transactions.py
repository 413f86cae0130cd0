"""Old transactions of any program are told to the operator; those of ours end by themselves."""

from datetime import timedelta

import psycopg
import pytest

from infrastructure.postgres import connections
from infrastructure.postgres.alarms import PostgresAlarms
from infrastructure.postgres.connections import Pool, connect
from infrastructure.postgres.old_transactions import (
    OLD_TRANSACTION,
    OldTransactionWatch,
    OpenTransaction,
    old_ones,
)
from tests.infrastructure.postgres.conftest import Person

AT_ONCE = timedelta(0)


async def test_idle_transaction_is_alarmed_with_its_pid_until_it_ends(
    pool: Pool, person: Person
) -> None:
    alarms = PostgresAlarms(pool)
    watch = OldTransactionWatch(pool, alarms, AT_ONCE)
    await person.execute("begin")
    await watch.turn()
    [alarm] = await alarms.raised()
    assert alarm.kind == OLD_TRANSACTION
    assert f"session {person.info.backend_pid} of role " in alarm.detail
    assert "(idle in transaction)" in alarm.detail
    await person.execute("commit")
    await watch.turn()
    assert await alarms.raised() == []


async def test_young_transaction_raises_no_alarm(pool: Pool, person: Person) -> None:
    alarms = PostgresAlarms(pool)
    async with person.transaction():
        await OldTransactionWatch(pool, alarms).turn()
    assert await alarms.raised() == []


def test_hidden_age_counts_from_the_first_sight() -> None:
    hidden = OpenTransaction("4/17", 99, "report", "state unknown", None)
    assert old_ones([hidden], {"4/17": 200.0}, timedelta(minutes=5)) == []
    assert old_ones([hidden], {"4/17": 600.0}, timedelta(minutes=5)) == [
        "session 99 of role report (state unknown) for 10 min"
    ]


async def test_our_own_idle_transaction_is_ended(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with await connect(database_url) as ours:
        row = await (await ours.execute("show idle_in_transaction_session_timeout")).fetchone()
        assert row == ("1min",)
        monkeypatch.setattr(connections, "IDLE_IN_TRANSACTION", short := timedelta(seconds=0.2))
        await ours.execute(connections.session_settings(short))
        await ours.execute("begin")
        with pytest.raises(psycopg.OperationalError):
            async for _ in ours.notifies(timeout=30):
                pass
        assert ours.closed
