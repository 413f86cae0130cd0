"""The checks of a server before its use: encoding, formats, poolers, and the wait for it."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from tempfile import mkdtemp
from time import monotonic
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from infrastructure.postgres.connections import new_pool
from infrastructure.postgres.embedded.client import _server_account
from infrastructure.postgres.server_checks import (
    NotNow,
    UnusableServer,
    await_server,
    open_pool,
)
from tests.infrastructure.postgres.conftest import ConnectionProxy
from tests.scripts.test_command_line import paid_order, run
from tests.support.postgres_server import PostgresServer, _free_port, servers

AT_ONCE = timedelta(0)
FORMATS = {
    "datestyle": "German, DMY",
    "intervalstyle": "sql_standard",
    "timezone": "Asia/Tokyo",
    "standard_conforming_strings": "off",
    "client_encoding": "LATIN1",
}


async def test_foreign_formats_of_a_database_do_not_matter(database_url: str) -> None:
    name = Identifier(urlsplit(database_url).path.removeprefix("/"))
    with psycopg.connect(database_url, autocommit=True) as owner:
        for setting, value in FORMATS.items():
            change = SQL("alter database {} set {} = {}").format(name, Identifier(setting), value)
            owner.execute(change)
    order_id = await paid_order(database_url)
    for command in (["transfers", "--order", order_id], ["verify"], ["alarms"]):
        done = run(*command, DATABASE_URL=database_url)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_other_encoding_is_refused_with_one_sentence(postgres_server: str, encoding: str) -> None:
    name = f"ledger_encoding_{encoding.lower()}_{os.getpid()}"
    with psycopg.connect(postgres_server, autocommit=True) as owner:
        owner.execute(
            f"create database {name} encoding '{encoding}' locale_provider libc locale 'C' "
            "template template0".encode()
        )
        url = urlsplit(postgres_server)._replace(path=f"/{name}").geturl()
        try:
            for command in ("migrate", "serve", "transfers", "doctor"):
                done = run(command, DATABASE_URL=url, LEDGER_PORT="18997")
                assert done.returncode == 2
                (line,) = (done.stderr + done.stdout).strip().splitlines()
                assert f"has the encoding {encoding}, expected UTF8; create it with" in line
        finally:
            owner.execute(f"drop database {name} with (force)".encode())


async def test_pool_that_cannot_open_names_the_cause_in_time(database_url: str) -> None:
    name = Identifier(urlsplit(database_url).path.removeprefix("/"))
    with psycopg.connect(database_url, autocommit=True) as owner:
        owner.execute(SQL("alter database {} connection limit 0").format(name))
    pool = new_pool(database_url)
    began = monotonic()
    with pytest.raises(NotNow, match=r"within 1 s .*too many connections for database"):
        await open_pool(pool, database_url, AT_ONCE)
    assert monotonic() - began < 15  # the pool's own time limit is 30 s
    await pool.close()


async def test_server_that_comes_later_is_awaited(proxy: ConnectionProxy) -> None:
    await proxy.aclose()
    with pytest.raises(NotNow, match="start it, or try again later"):
        await await_server(proxy.url, AT_ONCE, writable=True)
    waiting = asyncio.create_task(await_server(proxy.url, timedelta(seconds=20), writable=True))
    await asyncio.sleep(0.1)
    await proxy.start()
    await waiting


@contextmanager
def pgbouncer(server: PostgresServer, mode: str) -> Iterator[str]:
    """Run Debian's PgBouncer before a server, and yield the URL through it."""
    directory, port = Path(mkdtemp(prefix="pgbouncer-")), _free_port()
    account = _server_account()
    directory.chmod(0o755)
    if account:
        os.chown(directory, *account)
    (directory / "ini").write_text(
        f"[databases]\nledger = host=127.0.0.1 port={server.port} user=ledger_test\n[pgbouncer]\n"
        f"listen_addr=127.0.0.1\nlisten_port={port}\nauth_type=any\npool_mode={mode}\n"
        f"unix_socket_dir=\nlogfile={directory}/log\npidfile={directory}/pid\n"
        "ignore_startup_parameters=extra_float_digits\n"
    )
    process = subprocess.Popen(
        [str(shutil.which("pgbouncer", path="/usr/sbin:/usr/bin:" + os.environ["PATH"])),
         str(directory / "ini")],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        user=account and account.uid, group=account and account.gid,
    )  # fmt: skip
    try:
        yield f"postgresql://ledger_test@127.0.0.1:{port}/ledger"
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(directory, ignore_errors=True)


@pytest.mark.skipif(not Path("/usr/sbin/pgbouncer").exists(), reason="PgBouncer is not installed")
@pytest.mark.parametrize("mode", ["transaction", "statement"])
async def test_pooler_without_sessions_is_refused_with_one_sentence(mode: str) -> None:
    with servers() as (server,), pgbouncer(server, mode) as url:
        await asyncio.sleep(0.5)
        with pytest.raises(UnusableServer, match="connection pooler in transaction mode"):
            await await_server(url, timedelta(seconds=5), writable=True)
        assert run("migrate", DATABASE_URL=server.url()).returncode == 0
        for command in ("serve", "worker", "doctor", "transfers"):
            done = run(command, DATABASE_URL=url, LEDGER_PORT="18996")
            assert done.returncode == 2
            (line,) = (done.stderr + done.stdout).strip().splitlines()
            assert "use session mode, or the port of PostgreSQL itself" in line


@pytest.mark.skipif(not Path("/usr/sbin/pgbouncer").exists(), reason="PgBouncer is not installed")
async def test_pooler_that_keeps_sessions_is_accepted() -> None:
    with servers() as (server,), pgbouncer(server, "session") as url:
        await await_server(url, timedelta(seconds=5), writable=True)
