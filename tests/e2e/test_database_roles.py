"""The roles of docs/deployment.md: its statements are executed as they stand there, by roles without
superuser. Then `serve` and `worker` run as `ledger_app`, and the reading commands as `ledger_read`."""

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from textwrap import dedent

import psycopg
import pytest

from infrastructure.postgres.embedded.client import _binaries
from infrastructure.simulators.stripe import SimulatorControl
from tests.e2e.conftest import Processes
from tests.scripts.test_command_line import run
from tests.support.ledger_process import environment
from tests.support.ledger_view import LedgerView
from tests.support.postgres_server import PostgresServer, servers

pytestmark = pytest.mark.usefixtures("kindness")

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "deployment.md").read_text()
SECURITY = (ROOT / "docs" / "security.md").read_text()
OWNER, APP, READ = "ledger_owner", "ledger_app", "ledger_read"
READING: tuple[tuple[str, ...], ...] = (
    ("transfers",), ("history", "o1"), ("alarms",), ("inbox", "list"), ("statement", "anna", "--from", "2026-01-01T00:00:00Z", "--to", "2099-01-01T00:00:00Z"),
    ("verify",), ("seal",), ("rebuild", "--dry-run"), ("reconcile",), ("doctor",),
    ("migrate", "status"),
)  # fmt: skip
DECIDING: tuple[tuple[str, ...], ...] = (
    ("pause", "--actor", "mia", "--reason", "a test"),
    ("resume", "--actor", "mia", "--reason", "a test"),
    ("inbox", "replay", "1"),
)


def statements(of: str) -> str:
    """Return the SQL block of the guide whose first line is `-- {of}, …`."""
    blocks = re.findall(r"^ *```sql\n(.*?)^ *```", GUIDE, re.DOTALL | re.MULTILINE)
    (block,) = [dedent(block) for block in blocks if dedent(block).startswith(f"-- {of}, ")]
    return block


def execute(url: str, sql: str) -> None:
    """Execute each statement by itself, as psql does: `create database` needs that."""
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in sql.split(";\n"):
            if statement.strip():
                connection.execute(statement.encode())


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A server with the roles and the database of the guide, migrated by the owner."""
    with servers() as (server,):
        server.admin("drop database ledger", "create role first_user login createrole createdb")
        execute(server.url("postgres", "first_user"), statements("administrator"))
        assert run("migrate", DATABASE_URL=server.url(role=OWNER)).returncode == 0
        execute(server.url(role=OWNER), statements("owner"))
        yield server


async def test_documented_roles_do_all_the_work(
    server: PostgresServer, stripe: SimulatorControl
) -> None:
    async with AsyncExitStack() as stack:
        processes = Processes(environment(server.url(role=APP), stripe.url), stack)
        web = await processes.talk(await processes.start())
        await processes.start("worker")
        view = await stack.enter_async_context(LedgerView.of(server.url(role=READ)))
        await web.order("o1", 1_000, anna=900)
        await web.pay("o1", 1_000)
        await view.reached("o1", "completed")
        await web.refund("r1", "o1", 400)
        await view.reached("o1", "partially_reversed")
        await web.refund("r2", "o1", 600)
        await view.reached("o1", "reversed")
        assert (await web.http.get("/readyz")).status_code == 200
        before = await content(view)
        for command in READING:
            done = await asyncio.to_thread(
                run, *command, DATABASE_URL=server.url(role=READ), STRIPE_API_BASE=stripe.url
            )
            assert done.returncode == 0, (command, done.stdout, done.stderr)
        assert await content(view) == before
    for command in DECIDING:
        done = run(*command, DATABASE_URL=server.url(role=APP), STRIPE_API_BASE=stripe.url)
        assert done.returncode == 0, (command, done.stderr)


async def test_second_role_takes_the_place_of_the_first(
    server: PostgresServer, stripe: SimulatorControl
) -> None:
    """The statements of docs/security.md, while both processes are at work."""
    create, end = re.findall(r"`((?:create|alter) role ledger_app2? .+)`$", SECURITY, re.MULTILINE)
    async with AsyncExitStack() as stack:
        processes = Processes(environment(server.url(role=APP), stripe.url), stack)
        first = await processes.start()
        execute(server.url("postgres", "first_user"), create)
        second = await processes.start(DATABASE_URL=server.url(role="ledger_app2"))
        execute(server.url("postgres", "first_user"), end)
        for process, order in ((first, "old"), (second, "new")):
            web = await processes.talk(process)
            await web.order(order, 1_000, anna=900)
        first.send(signal.SIGTERM)
        assert await first.ended() == 0
        await web.order("newer", 1_000, anna=900)
        assert (await web.http.get("/readyz")).status_code == 200
    refused = run("transfers", DATABASE_URL=server.url(role=APP))
    execute(server.url("postgres", "first_user"), f"alter role {APP} login")
    assert "is not permitted to log in" in refused.stderr


async def content(view: LedgerView) -> list[object]:
    """Count the changes of every table that PostgreSQL has stored, but for leases and inbox."""
    return [
        await view.select(f"select * from {table} order by 1")
        for table in ("ledger_migrations", "ledger_binding", "ledger_events", "alarms", "findings")
    ]


@pytest.mark.parametrize("command", DECIDING)
def test_reading_role_is_told_which_right_it_lacks(
    server: PostgresServer, command: tuple[str, ...]
) -> None:
    done = run(*command, DATABASE_URL=server.url(role=READ))
    assert done.returncode == 2
    assert done.stderr == (
        "The database role 'ledger_read' lacks EXECUTE on function ledger_append(json, json); run "
        "the statements of docs/deployment.md (Rights of the roles) as the owner of the database.\n"
    )


def test_each_right_of_the_app_is_named_when_it_is_missing(server: PostgresServer) -> None:
    owner = server.url(role=OWNER)
    for revoked, named in {
        "insert on webhook_inbox": "INSERT on table webhook_inbox",
        "update on breaker": "UPDATE on table breaker",
        "select on orders": "SELECT on table orders",
        "update (leased_by) on refunds": "UPDATE on table refunds (column leased_by)",
    }.items():
        execute(owner, f"revoke {revoked} from {APP}")
        done = run("serve", DATABASE_URL=server.url(role=APP), LEDGER_PORT="18765")
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
        assert f"The database role 'ledger_app' lacks {named};" in done.stderr
        execute(owner, statements("owner"))


def test_role_without_connect_is_told_in_one_line(server: PostgresServer) -> None:
    server.admin("create role stranger login")
    done = run("transfers", DATABASE_URL=server.url(role="stranger"))
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
    assert "permission denied for database" in done.stderr


def test_app_does_not_migrate(server: PostgresServer) -> None:
    execute(server.url("postgres", "first_user"), f"create database empty owner {OWNER}")
    execute(server.url("empty", OWNER), f"grant usage on schema public to {APP}")
    for command in ("serve", "migrate"):
        done = run(command, DATABASE_URL=server.url("empty", APP), LEDGER_PORT="18766")
        assert (done.returncode, done.stderr) == (
            2,
            "The database role 'ledger_app' lacks CREATE on the ledger's schema and tables; run "
            "`transfer-ledger migrate up` as the owner of the database.\n",
        )
    execute(server.url("postgres", "first_user"), "drop database empty")


@pytest.mark.parametrize(
    "door",
    [
        "set ledger.appending = 'yes'; insert into ledger_events select * from ledger_events",
        "insert into seller_transfers select * from seller_transfers",
        "update seller_transfers set status = 'reversed'",
        "delete from ledger_events",
        "truncate ledger_events",
        "select keep_findings('[]')",
        "create temporary table ledger_events (); select ledger_append('[{}]', '{}')",
    ],
)
def test_app_writes_facts_only_through_the_function(server: PostgresServer, door: str) -> None:
    with (
        psycopg.connect(server.url(role=APP)) as connection,
        pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.NotNullViolation)),
    ):
        connection.execute(door.encode())


@pytest.mark.parametrize("door", ["update ledger_events set topic = ''", "truncate ledger_events"])
def test_owner_is_refused_to_rewrite_history(server: PostgresServer, door: str) -> None:
    with psycopg.connect(server.url(role=OWNER)) as connection, pytest.raises(psycopg.Error) as why:
        connection.execute(door.encode())
    assert why.value.sqlstate == "LG003"


def test_drill_restores_and_verifies_as_an_ordinary_role(
    server: PostgresServer, tmp_path: Path
) -> None:
    execute(server.url("postgres", "first_user"), f"create database drill owner {OWNER}")
    program = tmp_path / "transfer-ledger"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m scripts "$@"\n')
    program.chmod(0o755)
    done = subprocess.run(
        [ROOT / "scripts" / "restore_drill.sh"],
        env={
            "PATH": f"{_binaries()}:{os.environ['PATH']}",
            "DATABASE_URL": server.url(role=READ),
            "DRILL_URL": server.url("drill", OWNER),
            "DRILL_DIR": str(tmp_path),
            "TRANSFER_LEDGER": str(program),
        },
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "The drill succeeded" in done.stdout
    execute(server.url("postgres", "first_user"), "drop database drill")
