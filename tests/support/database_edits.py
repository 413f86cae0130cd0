"""A ledger with every kind of row, and manual edits of its rows, for the tests of rebuild and
verify."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.sql import SQL, Identifier

from projections.registry import DERIVED, Derived

FACTS = 240
"""Some fourteen orders: every branch of the synthetic story twice."""
COLUMNS = [(derived, column) for derived in DERIVED for column in derived.columns]
BY_TYPE = {
    "uuid": "gen_random_uuid()",
    "text": "coalesce({}, '') || 'x'",
    "bigint": "coalesce({}, 0) + 1",
    "integer": "coalesce({}, 0) + 1",
    "boolean": "not {}",
    "ARRAY": "{} || 'x'::text",
    "jsonb": "{} || '[1.0]'",
    "timestamp with time zone": "coalesce({}, now()) + '1 microsecond'",
}
"""By column type, a value that the column does not have."""


def named(value: object) -> str:
    return value.table if isinstance(value, Derived) else str(value)


def quiet(done: int, total: int) -> None:
    """Discard the progress."""


@contextmanager
def triggers_off(url: str) -> Iterator[psycopg.Connection]:
    """Connect as the owner, who can switch the trigger of the facts off, as an attacker would."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("alter table ledger_events disable trigger user")
        yield connection
        connection.execute("alter table ledger_events enable trigger user")


def without_checks(connection: psycopg.Connection, table: str) -> None:
    checks = "select conname from pg_constraint where conrelid = %s::regclass and contype = 'c'"
    for (name,) in connection.execute(checks, [table]).fetchall():
        connection.execute(
            SQL("alter table {} drop constraint {}").format(Identifier(table), Identifier(name))
        )


def edit(connection: psycopg.Connection, derived: Derived, column: str) -> tuple[str, ...]:
    """Change one column of one row by hand; return the key of the row as it was."""
    find = (
        "select data_type from information_schema.columns where table_name = %s and column_name "
        "= %s"
    )
    row = connection.execute(find, [derived.table, column]).fetchone()
    assert row is not None
    keys = SQL(", ").join(SQL("{}::text").format(Identifier(name)) for name in derived.key)
    # one that came from facts, in every table
    scope = SQL("kind = 'permanently_failed'") if derived.kinds else SQL("true")
    pick = SQL("select ctid::text, {} from {} where {} limit 1").format(
        keys, Identifier(derived.table), scope
    )
    found = connection.execute(pick).fetchone()
    assert found is not None, f"the ledger has no row in {derived.table}"
    value = SQL(BY_TYPE[row[0]]).format(Identifier(column))
    change = SQL("update {} set {} = {} where ctid = %s::tid").format(
        Identifier(derived.table), Identifier(column), value
    )
    assert connection.execute(change, [found[0]]).rowcount == 1
    return tuple(found[1:])


def content(url: str) -> dict[str, Sequence[Any]]:
    """Return every row of every derived table as text."""
    with psycopg.connect(url, autocommit=True) as connection:
        tables = [derived.table for derived in DERIVED]
        return {
            table: connection.execute(
                SQL("select t::text from {} t order by 1").format(Identifier(table))
            ).fetchall()
            for table in tables
        }
