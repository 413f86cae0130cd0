"""The shipped migrations: up, down, and a constraint that is added while rows exist."""

from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import uuid4

import psycopg
import pytest
from psycopg.rows import TupleRow

from infrastructure.postgres import migrate, migration_files
from infrastructure.postgres.named_queries import DIRECTORY, queries
from infrastructure.postgres.reconciliation import SEEN

RULE = "chk_reversal_pending_has_next_retry_at"
OBJECTS = """
    select 'table ' || tablename from pg_tables where schemaname = 'public'
    union all select 'index ' || indexname || indexdef from pg_indexes where schemaname = 'public'
    union all select 'function ' || proname || prosrc from pg_proc where pronamespace = 'public'::regnamespace
    union all select 'constraint ' || conname || pg_get_constraintdef(oid) from pg_constraint
     where connamespace = 'public'::regnamespace
    union all select 'trigger ' || pg_get_triggerdef(oid) from pg_trigger where not tgisinternal
    order by 1
"""

Plain = psycopg.Connection[TupleRow]


@pytest.fixture
def connection(empty_database_url: str) -> Iterator[Plain]:
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        yield connection


def add_transfer(
    connection: Plain, status: str, stripe_transfer_id: str | None, next_retry_at: datetime | None
) -> None:
    connection.execute(
        "insert into seller_transfers (transfer_id, order_id, seller_id, destination, cause, "
        "amount, currency, status, "
        "amount_reversed, retry_count, transfer_group, version, created_at, updated_at, "
        "stripe_transfer_id, next_retry_at) "
        "values (%s, 'o', 's', 'd', 'sale', 1, 'EUR', %s, 0, 0, 'g', 1, now(), now(), %s, %s)",
        (uuid4(), status, stripe_transfer_id, next_retry_at),
    )


def test_migrations_down_and_up_restore_schema(empty_database_url: str, connection: Plain) -> None:
    empty = connection.execute(OBJECTS).fetchall()
    migrate.up(empty_database_url)
    full = connection.execute(OBJECTS).fetchall()
    migrate.down(empty_database_url, 0)
    left = connection.execute(OBJECTS).fetchall()
    assert [name for (name,) in left if "ledger_migrations" not in name] == [
        name for (name,) in empty
    ]
    migrate.up(empty_database_url)
    assert connection.execute(OBJECTS).fetchall() == full


def test_migration_step_down_undoes_its_step_up(empty_database_url: str, connection: Plain) -> None:
    steps = len(migration_files.read_migrations())
    before = {}
    for step in range(1, steps + 1):
        before[step] = connection.execute(OBJECTS).fetchall()
        migrate.up(empty_database_url, step)
    for step in range(steps, 1, -1):
        migrate.down(empty_database_url, step - 1)
        assert connection.execute(OBJECTS).fetchall() == before[step], f"migration {step}"


def test_pending_reversal_check_spares_old_rows(empty_database_url: str, connection: Plain) -> None:
    notices: list[str] = []
    migrate.up(empty_database_url, 2)
    add_transfer(connection, "reversal_pending", "tr_1", None)
    for name in (None, "", "tr_2"):
        add_transfer(connection, "completed", name, None)

    migrate.up(empty_database_url, 3, on_notice=notices.append)
    assert [notice for notice in notices if "Stripe" in notice] == [
        "2 completed transfers have no Stripe transfer id"
    ]
    with pytest.raises(psycopg.errors.CheckViolation) as caught:
        add_transfer(connection, "reversal_pending", "tr_3", None)
    assert caught.value.diag.constraint_name == RULE
    add_transfer(connection, "reversal_pending", "tr_3", datetime.now(UTC))

    with pytest.raises(migration_files.MigrationFailed, match=RULE):
        migrate.up(empty_database_url, 4)
    connection.execute(
        "update seller_transfers set next_retry_at = now() where status = 'reversal_pending'"
    )
    migrate.up(empty_database_url, 4)
    validated = "select convalidated from pg_constraint where conname = %s"
    assert connection.execute(validated, (RULE,)).fetchall() == [(True,)]


def test_pending_reversal_check_can_be_added_again(
    empty_database_url: str, connection: Plain
) -> None:
    migrate.up(empty_database_url)
    before = connection.execute(OBJECTS).fetchall()
    third, fourth = migration_files.read_migrations()[2:4]
    connection.execute(third.up)
    connection.execute(fourth.up)
    assert connection.execute(OBJECTS).fetchall() == before


def test_queries_of_all_topics_are_valid_sql(database_url: str) -> None:
    """PREPARE parses and resolves every name, so a renamed column is found even in a query that no
    test runs."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(SEEN)  # some speak of what a session has made for itself
        for file in sorted(DIRECTORY.glob("*.sql")):
            for name, text in queries(file.stem).items():
                cursor = psycopg.ClientCursor(connection)
                parameters = _nulls(text)
                query = cursor.mogrify(text, parameters)
                try:
                    connection.execute(f"prepare q as {query}".encode())
                except psycopg.Error as error:
                    pytest.fail(f"{file.name}, {name}: {error}")
                connection.execute("deallocate q")


def _nulls(query: bytes) -> dict[str, None] | list[None]:
    if b"%(" in query:
        return {part.split(b")")[0].decode(): None for part in query.split(b"%(")[1:]}
    return [None] * query.count(b"%s")
