"""Processes of `python -m scripts`, forked from a parent that has imported the program: they start
in milliseconds.

A forked process is a process of its own: it has its own pid, its own connections and log, and it
dies by signals. Only the second and a half of imports is shared. The program under test reads its
environment, like any process, when it starts.
"""

import asyncio
import atexit
import json
import os
import random
import selectors
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).parents[2]
NUMBER = struct.Struct("i")
LONGEST_REQUEST = 1 << 17
"""Bytes of arguments and environment."""


class ForkedProcess:
    """A running process, with the part of the interface of `asyncio.subprocess.Process` that tests
    use."""

    def __init__(self, status: socket.socket) -> None:
        self._status = status
        self.returncode: int | None = None
        self.pid: int = NUMBER.unpack(_exactly(status))[0]

    def send_signal(self, name: int) -> None:
        """Send a signal. Raises ProcessLookupError when the process has ended."""
        os.kill(self.pid, name)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def wait_until(self, seconds: float) -> int:
        """Wait for the end and return the exit code. Raises TimeoutError."""
        self._status.settimeout(seconds)
        return self._ended(_exactly(self._status))

    async def wait(self) -> int:
        """Wait for the end and return the exit code, below 0 the signal."""
        if self.returncode is None:
            self._status.setblocking(False)
            self._ended(await asyncio.get_running_loop().sock_recv(self._status, NUMBER.size))
        assert self.returncode is not None
        return self.returncode

    def _ended(self, message: bytes) -> int:
        (code,) = NUMBER.unpack(message)
        self.returncode = code
        self._status.close()
        return int(code)


def run(
    arguments: Sequence[str], environment: Mapping[str, str], timeout: float
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, like `subprocess.run`. Raises TimeoutExpired."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = start(arguments, environment, out.fileno(), err.fileno())
        try:
            code = process.wait_until(timeout)
        except TimeoutError:
            process.kill()
            raise subprocess.TimeoutExpired(list(arguments), timeout) from None
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode())
    return subprocess.CompletedProcess(list(arguments), code, *texts)


def start(
    arguments: Sequence[str], environment: Mapping[str, str], stdout: int, stderr: int
) -> ForkedProcess:
    """Start `python -m scripts` with these arguments and exactly this environment."""
    ours, theirs = socket.socketpair()
    request = json.dumps([list(arguments), dict(environment)]).encode()
    assert len(request) <= LONGEST_REQUEST, "the environment is too large for one message"
    with theirs:
        socket.send_fds(_parent(), [request], [stdout, stderr, theirs.fileno()])
    return ForkedProcess(ours)


def _exactly(status: socket.socket) -> bytes:
    message = status.recv(NUMBER.size, socket.MSG_WAITALL)
    assert len(message) == NUMBER.size, "the parent of all preforked processes has ended"
    return message


@cache
def _parent() -> socket.socket:
    """Start the process that forks the others, once for each process that runs tests."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("DATABASE_", "STRIPE_", "LEDGER_"))
    }
    command = [sys.executable, "-m", "tests.support.preforked", str(theirs.fileno())]
    with theirs:
        parent = subprocess.Popen(
            command, cwd=ROOT, env=clean, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()]
        )
    atexit.register(_end, parent, ours)
    return ours


def _end(parent: subprocess.Popen[bytes], requests: socket.socket) -> None:
    requests.send(b"")  # a closed datagram socket would not wake it
    requests.close()
    parent.wait()


# --- the parent of all preforked processes --------------------------------------------------------


def _serve(requests: socket.socket) -> None:
    """Fork a process for each request, and report each end, until the tests close the socket."""
    _import_program()
    running: dict[int, socket.socket] = {}
    wakeup, notified = socket.socketpair()
    notified.setblocking(False)
    signal.set_wakeup_fd(notified.fileno())
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    selector = selectors.DefaultSelector()
    for source in (requests, wakeup):
        selector.register(source, selectors.EVENT_READ)
    tests = os.getppid()
    while os.getppid() == tests:
        for key, _ in selector.select(timeout=1.0):
            if key.fileobj is wakeup:
                wakeup.recv(4096)
                continue
            message, descriptors, *_ = socket.recv_fds(requests, LONGEST_REQUEST, 3)
            if not message:
                return
            stdout, stderr, status = descriptors
            if (pid := os.fork()) == 0:
                signal.set_wakeup_fd(-1)
                _become(json.loads(message), stdout, stderr)
            os.close(stdout)
            os.close(stderr)
            running[pid] = socket.socket(fileno=status)
            running[pid].send(NUMBER.pack(pid))
        _report_ended(running)


def _report_ended(running: dict[int, socket.socket]) -> None:
    while running:
        pid, result = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        with running.pop(pid) as status:
            try:
                status.send(NUMBER.pack(os.waitstatus_to_exitcode(result)))
            except BrokenPipeError:
                continue  # the test did not wait for it


def _import_program() -> None:
    """Import the modules of all commands, which import the rest."""
    import scripts.__main__
    import scripts.cli
    from scripts.cli import app

    del scripts, app
    import importlib
    import pkgutil

    import scripts.commands as commands

    for module in pkgutil.iter_modules(commands.__path__, "scripts.commands."):
        importlib.import_module(module.name)
    importlib.import_module("infrastructure.web.app")
    importlib.import_module("tests.support.crash_points")


def _become(request: tuple[list[str], dict[str, str]], stdout: int, stderr: int) -> NoReturn:
    arguments, environment = request
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.dup2(stdout, 1)
    os.dup2(stderr, 2)
    os.closerange(3, 256)
    os.environ.clear()
    os.environ.update(environment)
    random.seed()
    sys.argv = ["transfer-ledger", *arguments]
    code: object = 0
    try:
        from scripts.__main__ import main
        from tests.support import crash_points

        crash_points.install(environment)
        main()
    except SystemExit as end:
        code = end.code if end.code is not None else 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    from infrastructure.log_config import STANDARD_ERROR

    STANDARD_ERROR.flush_within(5.0)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 1)


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
