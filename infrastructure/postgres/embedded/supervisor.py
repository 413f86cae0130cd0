"""Supervisor of an embedded postgres: creates the cluster, restarts the server, and ends with its
last user.

client.py runs this file as a program: supervisor.py BINARIES BASE SOCKETS [NAME=VALUE ...].
Standard library only. The supervisor inherits the locked `<base>/keeper.lock` as an open file; its
end releases the lock.
"""

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, NamedTuple

LEASE_CHECK_SECONDS = 0.1
SHUTDOWN_SECONDS = 20.0
SHORT_LIFE_SECONDS = 1.0
# of servers with a short life; about three seconds, enough for the backends of a killed server to
# end
CRASHES_IN_A_ROW = 8
LOG_LIMIT_BYTES = 10_000_000
INITDB_OPTIONS = (
    "--username=postgres",
    "--auth=trust",
    "--encoding=UTF8",
    "--locale=C",
    "--locale-provider=builtin",  # the same order of texts on every system, whatever locales it has
    "--builtin-locale=C.UTF-8",
    "--no-instructions",
)
PR_SET_PDEATHSIG = 1


class ServerFiles(NamedTuple):
    """Paths and settings of one server. Everything in `base` belongs to the account that postgres
    runs as."""

    binaries: Path
    base: Path
    sockets: Path
    settings: Sequence[str]

    @property
    def cluster(self) -> Path:
        return self.base / "data"


def supervise(server: ServerFiles) -> int:
    """Run the server until no process holds the lease. Returns the exit code: 0, or 1 if the server
    keeps crashing."""
    server = server._replace(binaries=accessible_binaries(server))
    create_cluster(server)
    stop_orphan(server)
    forget_reused_pids(server)
    with (server.base / "lease").open("r+") as lease, open_log(server) as log:
        return serve(server, lease, log)


def serve(server: ServerFiles, lease: IO[str], log: IO[bytes]) -> int:
    crashes = 0
    while crashes < CRASHES_IN_A_ROW:
        started = time.monotonic()
        if ended_without_users(start(server, log), lease):
            return 0
        crashes = crashes + 1 if time.monotonic() - started < SHORT_LIFE_SECONDS else 1
        time.sleep(0.25)
    return 1


def ended_without_users(postgres: subprocess.Popen[bytes], lease: IO[str]) -> bool:
    """Return True when the last user is gone and the server shut down; False when the server ended
    by itself."""
    try:
        while postgres.poll() is None:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(lease, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            time.sleep(LEASE_CHECK_SECONDS)
        return False
    finally:
        shut_down(postgres)


def start(server: ServerFiles, log: IO[bytes]) -> subprocess.Popen[bytes]:
    command: list[str | Path] = [
        server.binaries / "postgres",
        "-D",
        server.cluster,
        "-k",
        server.sockets,
    ]
    command += [part for setting in server.settings for part in ("-c", setting)]
    return run_as_owner(server.base, command, log)


def shut_down(postgres: subprocess.Popen[bytes]) -> None:
    for how in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):  # fast, immediate, none at all
        if postgres.poll() is not None:
            return
        postgres.send_signal(how)
        with contextlib.suppress(subprocess.TimeoutExpired):
            postgres.wait(SHUTDOWN_SECONDS)


def run_as_owner(
    base: Path, command: Sequence[str | Path], log: IO[bytes] | None = None
) -> subprocess.Popen[bytes]:
    """Start `command` as the account that owns `base`: postgres refuses to run as root."""
    owner = base.stat() if os.geteuid() == 0 else None
    return subprocess.Popen(
        command, cwd="/", stdin=subprocess.DEVNULL, stdout=log or subprocess.DEVNULL, stderr=log,
        user=owner and owner.st_uid, group=owner and owner.st_gid,
        extra_groups=[] if owner else None,
        preexec_fn=end_with_parent,
    )  # fmt: skip


def end_with_parent() -> None:
    """Tie postgres to its supervisor. Linux only; elsewhere the next supervisor finds the orphan
    and stops it."""
    with contextlib.suppress(ImportError, OSError, AttributeError):
        import ctypes  # some builds of Python have no ctypes

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGINT)


def create_cluster(server: ServerFiles) -> None:
    """Create the cluster, in a temporary directory, so that an interrupted initdb never looks
    complete."""
    if (server.cluster / "PG_VERSION").exists():
        return
    for remains in server.base.glob("initdb-*"):
        shutil.rmtree(remains, ignore_errors=True)
    fresh = Path(tempfile.mkdtemp(prefix="initdb-", dir=server.base)) / "data"
    give_to_owner(server.base, fresh.parent)
    command: list[str | Path] = [server.binaries / "initdb", "-D", fresh, *INITDB_OPTIONS]
    if code := run_as_owner(
        server.base, command + ["--no-sync"] * ("fsync=off" in server.settings)
    ).wait():
        sys.exit(f"initdb ended with code {code}")
    fresh.rename(server.cluster)
    fresh.parent.rmdir()


def give_to_owner(base: Path, path: Path) -> None:
    if os.geteuid() == 0:
        os.chown(path, base.stat().st_uid, base.stat().st_gid)


def stop_orphan(server: ServerFiles) -> None:
    """Stop a server whose supervisor was killed: it may still be shutting down, or, on some
    systems, be running."""
    end = time.monotonic() + SHUTDOWN_SECONDS
    pid = first_line(server.cluster / "postmaster.pid")
    while str(server.cluster) in command_line(pid):
        how = signal.SIGINT if time.monotonic() < end else signal.SIGKILL
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), how)
        time.sleep(LEASE_CHECK_SECONDS)


def forget_reused_pids(server: ServerFiles) -> None:
    """Replace the recorded pids by our own: after a crash they may belong to a zombie or another
    program.

    postgres would wait for such a process for ever, but treats the pid of its own parent as stale.
    Deleting postmaster.pid instead would delete the key of the shared memory by which postgres
    notices backends that outlived their server.
    """
    for note in (*server.cluster.glob("postmaster.pid"), *server.sockets.glob(".s.PGSQL.*.lock")):
        _, *rest = note.read_text().split("\n")
        note.write_text("\n".join([str(os.getpid()), *rest]))


def first_line(path: Path) -> str:
    return path.read_text().split("\n", 1)[0] if path.exists() else ""


def command_line(pid: str) -> str:
    """Return the command line of a live process; empty for no process, and for a zombie."""
    if not pid.isdigit():
        return ""
    if Path("/proc/self/cmdline").exists():
        with contextlib.suppress(OSError):
            return Path("/proc", pid, "cmdline").read_text(errors="replace")
        return ""
    return subprocess.run(
        ["ps", "-p", pid, "-o", "args="], capture_output=True, text=True, check=False
    ).stdout


def accessible_binaries(server: ServerFiles) -> Path:
    """Return the binaries, or a copy of them in `base` where the owner of `base` cannot reach the
    installed ones."""
    installed = server.binaries
    if os.geteuid() != 0 or all(
        parent.stat().st_mode & 0o001 for parent in (installed / "postgres").parents
    ):
        return installed
    package = installed.parent.parent
    copy = server.base / f"binaries-{(installed / 'postgres').stat().st_mtime_ns}"
    if not copy.exists():
        copy_binaries(package, copy)
    return copy / installed.relative_to(package.parent)


def copy_binaries(package: Path, copy: Path) -> None:
    """Copy the package and its shared libraries, which are in <package>.libs next to it."""
    fresh = Path(tempfile.mkdtemp(prefix="binaries-new-", dir=copy.parent))
    for part in (package, package.with_name(f"{package.name}.libs")):
        if part.exists():
            shutil.copytree(part, fresh / part.name, symlinks=True)
    give_to_owner(copy.parent, fresh)
    fresh.rename(copy)


def open_log(server: ServerFiles) -> IO[bytes]:
    path = server.base / "postgres.log"
    grown = path.exists() and path.stat().st_size > LOG_LIMIT_BYTES
    return path.open("wb" if grown else "ab")


def main(binaries: str, base: str, sockets: str, *settings: str) -> int:
    if os.fork():  # the caller goes on at once; no process has to wait for the supervisor's end
        os._exit(0)
    for request in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(request, lambda *_: sys.exit(0))
    return supervise(ServerFiles(Path(binaries), Path(base), Path(sockets), settings))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
