"""Commands that only read: they neither migrate nor bind, and say in one sentence what to run."""

from uuid import uuid4

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from infrastructure.postgres import migrate
from tests.scripts.test_command_line import NOWHERE, paid_order, run

COMMANDS = [
    ["transfers"], ["alarms"], ["history", "o1"], ["inbox", "list"], ["verify"], ["seal"],
    ["status"], ["find", "o1"], ["why", "o1"], ["rebuild", "--dry-run"], ["reconcile"], ["doctor"],
    ["statement", "s1", "--from", "2026-01-01T00:00:00Z", "--to", "2027-01-01T00:00:00Z"],
    ["retry", str(uuid4()), "--actor", "mia", "--reason", "a test"],
    ["pause", "--actor", "mia", "--reason", "a test"],
]  # fmt: skip
MIGRATION = "create index another_idx on orders (amount)"


def name_of(url: str) -> str:
    return str(conninfo_to_dict(url)["dbname"])


def tables(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "select count(*) from pg_class where relnamespace = 'public'::regnamespace"
        ).fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.parametrize("version", [0, 5])
@pytest.mark.parametrize("command", COMMANDS)
def test_command_leaves_an_older_schema_as_it_is(
    empty_database_url: str, command: list[str], version: int
) -> None:
    if version:
        migrate.up(empty_database_url, version)
    before = tables(empty_database_url)
    done = run(*command, DATABASE_URL=empty_database_url)
    (line,) = (done.stderr + done.stdout).strip().splitlines()
    assert done.returncode == 2
    assert f"schema is at version {version}, this release needs version 6; run" in line
    assert tables(empty_database_url) == before


async def test_commands_bind_no_database(database_url: str) -> None:
    await paid_order(database_url)
    for command in COMMANDS:
        run(
            *command, DATABASE_URL=database_url, STRIPE_API_BASE=NOWHERE, STRIPE_API_KEY="sk_live_x"
        )
    with psycopg.connect(database_url) as connection:
        assert connection.execute("select * from ledger_binding").fetchall() == []


async def test_down_destroys_rows_only_by_name(database_url: str) -> None:
    await paid_order(database_url)
    name = name_of(database_url)
    for given in ([], ["--destroy", "another"]):
        done = run("migrate", "down", "--to", "0", *given, DATABASE_URL=database_url)
        assert (done.returncode, len(done.stderr.strip().splitlines())) == (2, 1)
        assert "would drop tables that have rows (ledger_events, orders" in done.stderr
        assert f"--destroy {name}" in done.stderr
    assert run("verify", DATABASE_URL=database_url).returncode == 0
    # a step that drops no table with rows needs no name
    assert run("migrate", "down", "--to", "5", DATABASE_URL=database_url).returncode == 0
    gone = run("migrate", "down", "--to", "0", "--destroy", name, DATABASE_URL=database_url)
    assert gone.returncode == 0, gone.stderr


async def test_down_never_destroys_live_rows(database_url: str) -> None:
    await paid_order(database_url)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("insert into ledger_binding (mode) values ('live')")
        name = name_of(database_url)
        refused = run("migrate", "down", "--to", "0", "--destroy", name, DATABASE_URL=database_url)
        assert refused.returncode == 2
        assert "bound to live mode, so its tables are never dropped" in refused.stderr
        assert connection.execute("select count(*) from orders").fetchone() == (1,)
