"""The rebuild of read models from facts, while the ledger runs."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.rows import TupleRow

from domain.order.state import Share
from infrastructure.bootstrap import stored
from infrastructure.postgres.event_store import EventStore
from infrastructure.postgres.integrity.decoder import Undecodable, decoded
from infrastructure.postgres.integrity.rebuild import RebuildRunning, Rebuilt, rebuild, rehearse
from infrastructure.postgres.integrity.replay import chunks
from infrastructure.postgres.integrity.snapshot import snapshot
from infrastructure.postgres.ledger import FactCodec
from infrastructure.service import Storage
from infrastructure.settings import settings_from
from projections.registry import DERIVED, Derived
from tests.support.database_edits import (
    COLUMNS,
    FACTS,
    content,
    edit,
    named,
    quiet,
    triggers_off,
    without_checks,
)
from tests.support.seeded_ledger import load_ledger

ROOT = Path(__file__).parents[3]
REBUILT_FACTS = int(os.environ.get("REBUILD_FACTS", "20000"))
"""Of the ledger that is rebuilt while commands go on: `REBUILD_FACTS=1000000` for a large one, with
`-s` to see the figures."""
CATALOG = """
    select 'index', i.indexrelid::text, pg_get_indexdef(i.indexrelid) || i.indisvalid from pg_index i
     where i.indrelid = any(%(tables)s::regclass[])
    union all select 'constraint', c.oid::text, conname || pg_get_constraintdef(c.oid) || convalidated from pg_constraint c
     where conrelid = any(%(tables)s::regclass[])
    union all select 'table', oid::text, concat_ws(' ', relname, relowner, relacl, reloptions, relpersistence, relreplident,
                                                   obj_description(oid, 'pg_class'))
      from pg_class where oid = any(%(tables)s::regclass[])
    union all select 'column', attrelid || '.' || attnum, concat_ws(' ', attname, atttypid, attnotnull, attstorage, attacl,
                                                                    col_description(attrelid, attnum))
      from pg_attribute where attrelid = any(%(tables)s::regclass[]) and attnum > 0
    union all select 'view', oid::text, pg_get_viewdef(oid) from pg_class where relname = 'what_the_bank_sees'
     order by 1, 2
"""


@pytest.fixture
def ledger(database_url: str) -> str:
    load_ledger(database_url, FACTS)
    return database_url


def catalog(url: str) -> list[TupleRow]:
    with psycopg.connect(url) as connection:
        return connection.execute(
            CATALOG, {"tables": [derived.table for derived in DERIVED]}
        ).fetchall()


def rebuilt(url: str, *tables: str) -> Rebuilt:
    return rebuild(
        url, [derived for derived in DERIVED if not tables or derived.table in tables], quiet
    )


# --- the same bytes -------------------------------------------------------------------------------


def test_rebuild_of_correct_rows_changes_nothing(ledger: str) -> None:
    before = content(ledger)
    assert rebuilt(ledger).count == 0
    assert content(ledger) == before


@pytest.mark.parametrize(("derived", "column"), COLUMNS, ids=named)
def test_edited_column_is_reported_and_repaired(ledger: str, derived: Derived, column: str) -> None:
    before = content(ledger)
    with triggers_off(ledger) as connection:
        without_checks(connection, derived.table)
        edit(connection, derived, column)
    edited = content(ledger)
    told = rehearse(ledger, DERIVED, quiet)
    assert told.counts.keys() == {derived.table}
    assert content(ledger) == edited
    assert rebuilt(ledger).differences.keys() <= told.differences.keys()
    after = content(ledger)
    if (derived.table, column) == ("alarms", "kind"):
        after["alarms"] = [
            row for row in after["alarms"] if "(permanently_failedx," not in row[0]
        ]  # now somebody else's kind
    assert after == before


def test_lost_or_invented_rows_are_repaired(ledger: str) -> None:
    before = content(ledger)
    with triggers_off(ledger) as connection:
        connection.execute(
            "truncate orders, transfer_reversals, pauses, disputes, payouts, findings"
        )
        connection.execute("delete from alarms where ctid = (select min(ctid) from alarms)")
        connection.execute("insert into alarms values ('drift', 'nobody', 'x', now(), now(), 1)")
        for table, key in (("seller_transfers", "transfer_id"), ("refunds", "stream_id")):
            columns = connection.execute(
                "select string_agg(column_name, ', ') from information_schema.columns where "
                "table_name = %s "
                "and column_name <> %s and column_name not like '%%refund_id' and column_name "
                "not like 'stripe%%'", [table, key]
            ).fetchone()  # fmt: skip
            assert columns
            extra = ", 'invented'" if table == "refunds" else ""
            names = f"{key}, {columns[0]}" + (", refund_id" if extra else "")
            invent = (
                f"insert into {table} ({names}) select gen_random_uuid(), {columns[0]}{extra} "
                f"from {table} limit 1"
            )
            connection.execute(invent.encode())
    assert rebuilt(ledger).counts.keys() == {derived.table for derived in DERIVED}
    assert content(ledger) == before


def test_swapped_values_are_restored(ledger: str) -> None:
    """Neither row can be written first: a unique index refuses it."""
    before = content(ledger)
    with triggers_off(ledger) as connection:
        connection.execute("update seller_transfers set leased_by = 'w', leased_until = 'infinity'")
        (a, x), (b, y) = connection.execute(
            "select transfer_id, stripe_transfer_id from seller_transfers order by 1 limit 2"
        ).fetchall()
        for row, name in ((a, "none"), (b, x), (a, y)):
            connection.execute(
                "update seller_transfers set stripe_transfer_id = %s where transfer_id = %s",
                [name, row],
            )
    assert rebuilt(ledger).counts == {"seller_transfers": 2}
    with triggers_off(ledger) as connection:
        held = (
            "update seller_transfers set leased_by = null, leased_until = null where leased_by = "
            "'w'"
        )
        rows = connection.execute("select count(*) from seller_transfers").fetchone()
        assert (connection.execute(held).rowcount,) == rows, "leases are nobody's to lose"
    assert content(ledger) == before


def test_row_moved_to_other_stream_is_restored(ledger: str) -> None:
    before = content(ledger)
    with triggers_off(ledger) as connection:
        home, away = (
            row[0]
            for row in connection.execute(
                "select transfer_id from seller_transfers order by 1 limit 2"
            )
        )
        for old, new in ((home, away), (away, home)):
            move = "update transfer_reversals set transfer_id = %s where transfer_id = %s"
            assert connection.execute(move, [new, old]).rowcount
    rebuilt(ledger)
    assert content(ledger) == before


def test_rebuild_repairs_only_named_tables(ledger: str) -> None:
    with triggers_off(ledger) as connection:
        connection.execute("update orders set payment_id = 'x'")
        connection.execute("update refunds set reason = 'x'")
    assert rebuilt(ledger, "refunds").counts.keys() == {"refunds"}
    assert rehearse(ledger, DERIVED, quiet).counts.keys() == {"orders"}


def test_stream_with_falsified_facts_keeps_its_rows(ledger: str) -> None:
    """Even when a row of another stream, which has to be repaired, says that it belongs there."""
    with triggers_off(ledger) as connection:
        pick = (
            "select originator_id, notification_id from ledger_events where topic like "
            "'%.partially_reversed' limit 1"
        )
        stream, position = connection.execute(pick).fetchone() or ()
        connection.execute(
            "update ledger_events set topic = 'os:system' where notification_id = %s", [position]
        )
        connection.execute("update seller_transfers set last_error = 'x'")
        other = "(select reversal_id from transfer_reversals where transfer_id <> %s limit 1)"
        connection.execute(
            f"update transfer_reversals set transfer_id = %s where reversal_id = {other}".encode(),
            [stream, stream],
        )
    result = rebuilt(ledger)
    assert [(one.stream, one.position) for one in result.unreadable] == [(stream, position)]
    with triggers_off(ledger) as connection:
        kept = (
            "select last_error, (select count(*) from transfer_reversals r where r.transfer_id = "
            "t.transfer_id) "
        )
        row = connection.execute(
            kept.encode() + b"from seller_transfers t where transfer_id = %s", [stream]
        ).fetchone()
        assert row == ("x", 1)
        assert connection.execute(
            "select count(*) from seller_transfers where last_error = 'x'"
        ).fetchone() == (1,)


def test_rehearsal_reads_one_snapshot(ledger: str) -> None:
    def meddle(done: int, total: int) -> None:
        with triggers_off(ledger) as connection:
            connection.execute(
                "insert into alarms values ('drift', 'nobody', 'x', now(), now(), 1) on conflict do nothing"
            )

    assert rehearse(ledger, DERIVED, meddle).count == 0
    assert rehearse(ledger, DERIVED, quiet).count == 1


def test_equal_facts_have_equal_digests(ledger: str, empty_database_url: str) -> None:
    first, second = rebuilt(ledger).tables, rehearse(ledger, DERIVED, quiet).tables
    assert first == second
    assert len({found.digest for found in first.values()}) == len(DERIVED)


async def test_fast_decoder_equals_library_decoder(ledger: str, store: EventStore) -> None:
    codec, facts = FactCodec(), await store.feed(0, 1_000)
    assert len({fact.topic for fact in facts}) > 8
    for one in facts:
        assert vars(decoded(*one[:4])) == vars(codec.fact(one)), one.topic
        assert type(decoded(*one[:4])) is type(codec.fact(one))


def test_invalid_fact_is_not_decoded() -> None:
    for topic, state in (
        ("ledger.order.paid", b"[]"),
        ("ledger.order.paid", b"{"),
        ("os:system", b"{}"),
        ("", b"{}"),
    ):
        with pytest.raises(Undecodable):
            decoded(uuid4(), 1, topic, state)


@pytest.mark.parametrize("size", [1, 2, 7, 10_000])
def test_chunks_hold_whole_streams_of_any_size(ledger: str, size: int) -> None:
    with snapshot(ledger) as seen:
        read = list(chunks(seen.connection, seen.position, size))
    streams = [{row[0] for row in chunk} for chunk in read]
    assert sum(map(len, streams)) == len(set().union(*streams))
    assert sum(map(len, read)) == seen.position


# --- the table keeps its form ---------------------------------------------------------------------


def test_rebuild_keeps_grants_constraints_indexes_and_views(ledger: str) -> None:
    with triggers_off(ledger) as connection:
        connection.execute("grant select (order_id), select on orders to public")
        connection.execute("alter table refunds set (fillfactor = 77)")
        connection.execute("alter table refunds alter column reason set storage external")
        connection.execute("comment on table orders is 'what was sold'")
        connection.execute("comment on column orders.amount is 'cents'")
        connection.execute(
            "create view what_the_bank_sees as select transfer_id, amount from seller_transfers"
        )
        before = catalog(ledger)
        connection.execute("update seller_transfers set last_error = 'x'")
        connection.execute("truncate orders, refunds")
    assert rebuilt(ledger).count > 0
    assert catalog(ledger) == before
    assert {"constraint", "index", "view"} <= {kind for kind, *_ in before}


# --- while commands go on -------------------------------------------------------------------------


class SteadyCommands:
    """Commands at a steady pace, each with the reads and the claim that go with it; every failure
    is kept."""

    def __init__(self, storage: Storage, per_second: float) -> None:
        self._storage, self._pause = storage, 1 / per_second
        self.done, self.failed = 0, list[BaseException]()
        self.stopping = asyncio.Event()
        self._running = set[asyncio.Task[None]]()

    async def run(self) -> None:
        while not self.stopping.is_set():
            task = asyncio.create_task(self._one())
            self._running.add(task)
            task.add_done_callback(self._running.discard)
            await asyncio.sleep(self._pause)
        await asyncio.gather(*self._running)

    async def _one(self) -> None:
        order_id = f"live-{uuid4().hex[:12]}"
        shares = [Share(seller_id="s1", destination="acct_1s1", amount=700)]
        try:
            await self._storage.commands.orders.register(
                order_id=order_id, currency="EUR", amount=900, shares=shares
            )
            await self._storage.commands.orders.record_payment(order_id, None, None, "api")
            async with self._storage.pool.connection() as connection:
                for query in (
                    "select * from orders where order_id = %s",
                    "select * from seller_transfers where order_id = %s",
                ):
                    assert await (await connection.execute(query, [order_id])).fetchall()
                claim = (
                    "update seller_transfers set leased_by = 'w', leased_until = now() + '1h' "
                    "where order_id = %s"
                )
                await connection.execute(claim, [order_id])
        except BaseException as error:
            self.failed.append(error)
            raise
        self.done += 1


async def begun(url: str, *arguments: str) -> asyncio.subprocess.Process:
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("STRIPE_", "LEDGER_"))
    }
    command = [
        sys.executable,
        str(ROOT / "scripts" / "rebuild_projection.py"),
        "--json",
        *arguments,
    ]
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(
        *command, env={**clean, "DATABASE_URL": url}, stdout=pipe, stderr=pipe
    )


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(60 + REBUILT_FACTS / 5_000):
        while not holds():  # noqa: ASYNC110  # another process does it, or PostgreSQL: nobody here could set an event
            await asyncio.sleep(0.02)


@pytest.mark.timeout(120 + REBUILT_FACTS / 1_000)
async def test_rebuild_killed_halfway_resumes_to_equal_bytes(database_url: str) -> None:
    facts = await asyncio.to_thread(load_ledger, database_url, REBUILT_FACTS)
    right = content(database_url)
    with triggers_off(database_url) as connection:
        connection.execute("update seller_transfers set last_error = 'x', version = version + 1")
        connection.execute("update orders set refunded = 0")
        connection.execute("delete from transfer_reversals")

        def repaired(share: float) -> bool:
            row = connection.execute(
                "select count(*) filter (where last_error = 'x'), count(*) from seller_transfers"
            ).fetchone()
            assert row is not None
            return bool(row[0] <= row[1] * (1 - share))

        async with stored(settings_from({"DATABASE_URL": database_url})) as storage:
            breaker = SteadyCommands(storage, per_second=50)
            running = asyncio.create_task(breaker.run())
            began = monotonic()
            killed = await begun(database_url)
            await until(lambda: repaired(0.2))
            killed.send_signal(signal.SIGKILL)
            await killed.wait()
            assert not repaired(1), "it was to be killed halfway"
            second = await begun(database_url)
            out, err = await second.communicate()
            took = monotonic() - began
            breaker.stopping.set()
            await running
        sys.stdout.write(
            f"{facts} facts in {took:.1f} s, with one killed; {breaker.done} commands, "
            f"{len(breaker.failed)} failed\n"
        )
        assert (second.returncode, err) == (0, b"")
        assert breaker.failed == []
        assert breaker.done > 0
        assert json.loads(out)["tables"]["seller_transfers"]["differing"] > 0
        left = (
            "select count(*) from pg_class where relnamespace = 'public'::regnamespace and "
            "relname like '%rebuild%'"
        )
        assert connection.execute(left).fetchone() == (0,)
    assert rehearse(database_url, DERIVED, quiet).differences == {}
    now = content(database_url)
    assert all(set(right[table]) <= set(now[table]) for table in right)


async def test_concurrent_second_rebuild_is_refused(ledger: str) -> None:
    with psycopg.connect(ledger, autocommit=True) as first:
        first.execute("select pg_advisory_lock(hashtextextended('ledger_rebuild', 0))")
        with pytest.raises(RebuildRunning):
            await asyncio.to_thread(rebuilt, ledger)
        second = await begun(ledger)
        out, err = await second.communicate()
    assert (second.returncode, out) == (2, b"")
    assert err.decode().splitlines() == [
        "Another rebuild is running on this database; wait until it has ended."
    ]


async def test_locked_row_delays_only_its_own_repair(ledger: str) -> None:
    with triggers_off(ledger) as connection:
        first = "(select transfer_id from seller_transfers limit 1)"
        connection.execute(
            f"update seller_transfers set last_error = 'x' where transfer_id = {first}".encode()
        )
    with psycopg.connect(ledger) as person:
        person.execute("select from seller_transfers where last_error = 'x' for update")
        async with stored(settings_from({"DATABASE_URL": ledger})) as storage:
            repairing = asyncio.create_task(asyncio.to_thread(rebuilt, ledger))
            waiting = (
                "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and "
                "datname = current_database()"
            )
            with psycopg.connect(ledger, autocommit=True) as watcher:
                await until(lambda: watcher.execute(waiting).fetchone() != (0,))
            shares = [Share(seller_id="s1", destination="acct_1s1", amount=700)]
            assert await storage.commands.orders.register(
                order_id="meanwhile", currency="EUR", amount=900, shares=shares
            )
        person.rollback()
    assert (await repairing).counts == {"seller_transfers": 1}


async def test_stream_changed_during_repair_gets_its_new_state(ledger: str) -> None:
    """The order is paid while the rebuild, which has folded its rows already, waits for the append
    lock."""
    async with stored(settings_from({"DATABASE_URL": ledger})) as storage:
        shares = [Share(seller_id="s1", destination="acct_1s1", amount=700)]
        await storage.commands.orders.register(
            order_id="moving", currency="EUR", amount=900, shares=shares
        )
        with triggers_off(ledger) as connection:
            connection.execute("update orders set payment_id = 'wrong' where order_id = 'moving'")
            with psycopg.connect(ledger) as holder:
                holder.execute("select pg_advisory_xact_lock(x'6c6564676572'::bigint)")
                # appends wait in the order of their coming: the payment is before the repair
                paying = asyncio.create_task(
                    storage.commands.orders.record_payment("moving", "pay_1", None, "api")
                )
                await until(lambda: _waiting(connection) == 1)
                repairing = asyncio.create_task(asyncio.to_thread(rebuilt, ledger))
                await until(lambda: _waiting(connection) == 2)
                holder.rollback()
            await paying
            result = await repairing
            row = connection.execute(
                "select status, payment_id from orders where order_id = 'moving'"
            ).fetchone()
    assert row == ("paid", "pay_1")
    assert result.count == 0, "the payment had already written the row anew"


def _waiting(connection: psycopg.Connection) -> int:
    row = connection.execute("select count(*) from pg_locks where locktype = 'advisory' and not granted and database = "
                             "(select oid from pg_database where datname = current_database())").fetchone()  # fmt: skip
    assert row is not None
    return int(row[0])


# --- the command ----------------------------------------------------------------------------------


async def test_rehearsal_exits_1_and_names_rows_and_columns(ledger: str) -> None:
    with triggers_off(ledger) as connection:
        (order_id,) = (
            connection.execute(
                "update orders set refunded = 7 where order_id = 'o-3' returning order_id"
            ).fetchone()
            or ()
        )
    told = await begun(ledger, "--dry-run")
    out, _ = await told.communicate()
    assert told.returncode == 1
    (difference,) = json.loads(out)["differences"]
    assert (difference["table"], difference["id"]) == ("orders", order_id)
    assert difference["columns"] == {"refunded": {"is": "7", "should_be": "2500"}}
    done = await begun(ledger, "orders")
    out, _ = await done.communicate()
    assert done.returncode == 0
    assert [row["id"] for row in json.loads(out)["differences"]] == [order_id]
    assert (await (await begun(ledger, "--dry-run")).wait()) == 0


async def test_rows_refused_by_database_are_reported_in_one_line(ledger: str) -> None:
    with triggers_off(ledger) as connection:
        connection.execute("update orders set refunded = 0")
        connection.execute(
            "alter table orders add constraint nothing_is_refunded check (refunded = 0)"
        )
    ended = await begun(ledger)
    _, err = await ended.communicate()
    assert ended.returncode == 2
    assert b"nothing_is_refunded" in err
    assert len(err.splitlines()) == 1


async def test_rebuild_of_unknown_table_is_bad_usage(ledger: str) -> None:
    ended = await begun(ledger, "ledger_events")
    _, err = await ended.communicate()
    assert ended.returncode == 2
    assert b"seller_transfers" in err
    assert len(err.splitlines()) == 1


async def test_rebuild_of_unmigrated_database_fails_in_one_line(empty_database_url: str) -> None:
    ended = await begun(empty_database_url)
    _, err = await ended.communicate()
    assert ended.returncode == 2
    assert b"migrate" in err
    assert len(err.splitlines()) == 1


def test_derived_stream_is_named_by_uuid(ledger: str) -> None:
    """The columns that `Derived.stream` names must lead to the facts, in every table."""
    with psycopg.connect(ledger) as connection:
        for derived in DERIVED:
            scope = "kind = 'permanently_failed'" if derived.kinds else "true"
            found = connection.execute(
                f"select {derived.stream}::text from {derived.table} where {scope}".encode()
            ).fetchall()
            streams = [UUID(name) for (name,) in found]
            assert streams
            known = (
                "select count(distinct originator_id) from ledger_events where originator_id = "
                "any(%s)"
            )
            assert connection.execute(known, [streams]).fetchone() == (len(set(streams)),)
