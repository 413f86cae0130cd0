"""PostgreSQL servers that a test may stop, promote and reconfigure: one of its own, with a standby
if it asks for one.

The databases belong to an ordinary role; `admin` is a connection of the superuser, who alone may
change the server's settings.
"""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg.rows import TupleRow
from psycopg.sql import SQL, Identifier

from infrastructure.postgres.embedded.client import _binaries, _server_account
from tests.support.ordinary_role import ROLE

SETTINGS = ("max_wal_senders=4", "listen_addresses=127.0.0.1", "max_connections=100")


class PostgresServer:
    """One server on a TCP port of this machine."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.port = directory, _free_port()
        self._data = directory / "data"

    def url(self, database: str = "ledger", role: str = ROLE) -> str:
        return f"postgresql://{role}@127.0.0.1:{self.port}/{database}"

    def create(self) -> None:
        """Make the cluster, and in it the database `ledger` of the ordinary role."""
        _run("initdb", "-D", self._data, "-A", "trust", "-U", "postgres", "--no-sync", "-E", "UTF8")
        self.start()
        self.admin(
            SQL("create role {} login createdb").format(Identifier(ROLE)),
            SQL("create database ledger owner {} template template0").format(Identifier(ROLE)),
        )

    def follow(self, primary: "PostgresServer") -> None:
        """Become a hot standby of this primary."""
        source = ("-h", "127.0.0.1", "-p", str(primary.port), "-U", "postgres")
        _run("pg_basebackup", *source, "-D", self._data, "-R", "-X", "stream", "-c", "fast")
        self.start()

    def rejoin(self, primary: "PostgresServer") -> None:
        """Become a standby of the server that has taken over, without the data of before."""
        shutil.rmtree(self._data)
        self.follow(primary)

    def start(self, **settings: str) -> None:
        options = [f"port={self.port}", f"unix_socket_directories={self.directory}", *SETTINGS]
        options += [f"{name}={value}" for name, value in settings.items()]
        given = " ".join(f"-c {option}" for option in options)
        log = self.directory / "log"
        _run("pg_ctl", "-w", "-D", self._data, "-l", log, "-o", given, "start")

    def start_again(self, tries: int = 50) -> None:
        """Start after a kill: the processes of before take a moment to notice it."""
        for last in [*[False] * (tries - 1), True]:
            try:
                self.start()
                break
            except AssertionError:
                if last:
                    raise
                time.sleep(0.1)

    def stop(self) -> None:
        """End the server at once, as a power failure would."""
        _run("pg_ctl", "-w", "-D", self._data, "-m", "immediate", "stop", check=False)

    def promote(self) -> None:
        _run("pg_ctl", "-w", "-D", self._data, "promote")

    def set(self, name: str, value: str) -> None:
        """Change a server parameter; only a superuser may."""
        self.admin(
            SQL("alter system set {} = {}").format(Identifier(name), value),
            "select pg_reload_conf()",
        )

    def require_standby(self) -> None:
        """Let each commit wait until a standby has it."""
        self.set("synchronous_commit", "on")
        self.set("synchronous_standby_names", "*")

    def is_synchronous(self) -> bool:
        """Return whether a standby has all that this server has acknowledged."""
        states = self.ask("select sync_state from pg_stat_replication")
        return ("sync",) in states

    def kill(self) -> None:
        """Send SIGKILL to the postmaster, as the out-of-memory killer would."""
        pid = int((self._data / "postmaster.pid").read_text().splitlines()[0])
        os.kill(pid, signal.SIGKILL)

    def ask(self, query: str, database: str = "postgres") -> list[TupleRow]:
        """Return the rows of a query of the superuser."""
        with psycopg.connect(self.url(database, "postgres"), autocommit=True) as connection:
            return connection.execute(query.encode()).fetchall()

    def admin(self, *statements: object, database: str = "postgres") -> None:
        with psycopg.connect(self.url(database, "postgres"), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)  # type: ignore[call-overload]


@contextmanager
def servers(count: int = 1, disk: Path | None = None) -> Iterator[Sequence[PostgresServer]]:
    """Run a primary and `count - 1` standbys, with their data on `disk` if it is given; all are
    gone afterwards."""
    base = Path(tempfile.mkdtemp(prefix="ledger-pg-", dir=disk))
    made = [PostgresServer(base / str(number)) for number in range(count)]
    try:
        for path in (base, *(server.directory for server in made)):
            path.mkdir(exist_ok=True)
            path.chmod(0o755 if path == base else 0o700)
            if account := _server_account():
                os.chown(path, *account)
        made[0].create()
        for standby in made[1:]:
            standby.follow(made[0])
        yield made
    finally:
        for server in made:
            server.stop()
        shutil.rmtree(base, ignore_errors=True)


def _run(program: str, *arguments: str | Path, check: bool = True) -> None:
    account = _server_account()
    done = subprocess.run(
        [_binaries() / program, *arguments], cwd="/", capture_output=True, text=True, check=False,
        user=account and account.uid, group=account and account.gid,
        extra_groups=[] if account else None, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert not check or done.returncode == 0, f"{program}: {done.stderr}{done.stdout}"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
