#!/usr/bin/env python3
"""Set-up and tasks of the project: `python3 scripts/dev.py demo | test | check | wheel | docs |
audit | serve | bench | setup`.

Standard library only, so that Python 3.11+ with pip is the only prerequisite. Everything is
installed into `.venv` next to pyproject.toml. A stamp with the pins, Python and directory of the
last set-up saves the next run from repeating the set-up.
"""

from __future__ import (
    annotations,
)  # an older Python must be able to read this file, to print that it is too old

import argparse
import fcntl
import hashlib
import json
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import urllib.request
import venv
import zipfile
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "made-from"
OLDEST_PIP = (22, 3)  # the first with --python
ADDRESS = re.compile(r"://|--(?:extra-)?index-url|--find-links")
FAST = (
    "tests/domain",
    "tests/application",
    "tests/projections",
    "tests/contracts",
    "tests/e2e/test_payment_to_reversal.py",
    "-k",
    "not postgres and (not payment_to_reversal or without_manual_reports)",
)
"""Arguments of `test --fast`: unit tests, contract tests of the in-memory ports, and one end-to-end
path."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Set the project up as the command needs it, then run the command."""
    if sys.version_info < (3, 11):  # noqa: UP036 - an older Python may run this script
        fail(f"Python {sys.version.split()[0]} is too old; run this with Python 3.11 or newer.")
    command, rest = parsed(arguments)
    os.chdir(ROOT)
    set_up("embedded,test" if command in ("setup", "test", "check") else "embedded")
    if command == "setup":
        print(f"Ready: {PYTHON.relative_to(ROOT)}")
        return 0
    if command == "check":
        return check()
    if command == "wheel":
        return check_wheel()
    if command == "docs":
        return run("-m", "scripts.documentation")
    if command == "audit":  # pip-audit gets an environment of its own
        return subprocess.run([(pip_at_hand() or [str(PYTHON)])[0], "scripts/audit.py"]).returncode
    return replace_process(
        *(("pytest", *pytest_arguments(rest)) if command == "test" else ("scripts", command, *rest))
    )


def parsed(arguments: Sequence[str] | None) -> tuple[str, list[str]]:
    """Parse the command and the arguments that are passed on."""
    parser = argparse.ArgumentParser(
        prog="dev.py", description="Set the project up and run one of its tasks."
    )
    commands = {
        "setup": "install into .venv, nothing else",
        "demo": "run the demo; exit 0 only if Stripe's records equal ours",
        "test": "run the tests; --fast runs a subset of a minute; other arguments go to pytest",
        "check": "format, lint, types, import rules, pins",
        "wheel": "build the wheel, install it into an empty environment, run demo and service",
        "audit": "show known advisories about the pinned packages; informs only",
        "docs": "write the generated parts of the documentation",
        "serve": "run the service on the embedded database and the simulators",
        "bench": "measure speed as ratios in one run",
    }
    listed = "\n".join(f"  {name:7} {meaning}" for name, meaning in commands.items())
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = f"commands:\n{listed}\n\nexample: python3 scripts/dev.py test -k lifecycle"
    parser.add_argument("command", choices=list(commands), metavar="command")
    parser.add_argument("rest", nargs=argparse.REMAINDER, help="passed on")
    chosen = parser.parse_args(arguments)
    return chosen.command, chosen.rest


# --- set-up ---------------------------------------------------------------------------------------


def set_up(extras: str) -> None:
    """Install the pins of constraints.txt and the extras into `.venv`, unless its stamp matches.
    The demo needs no test tools."""
    with (ROOT / ".setup.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two set-ups at once would damage each other
        where, pins, present = stamped()
        sound = where == place() and PYTHON.exists()
        if sound and pins == fingerprint() and present.startswith(extras):
            return
        print(f"Setting up .venv with [{extras}], once …", file=sys.stderr)
        pip = pip_at_hand()
        bundled = find_spec("ensurepip") is not None  # Debian's Python has none; any pip will do
        if not pip and not bundled:  # checked before anything is removed
            fail(
                "This Python has no pip of 22.3 or newer; install one (Debian: apt-get install "
                "python3-pip), then try again."
            )
        STAMP.unlink(missing_ok=True)
        if (
            not sound
        ):  # moved, made by another Python, or interrupted: it is made anew, not repaired
            shutil.rmtree(VENV, ignore_errors=True)
            venv.create(VENV, with_pip=not pip, symlinks=True)
        install(pip or [str(PYTHON), "-m", "pip"], extras)
        write_stamp(extras)


def stamped() -> tuple[str, str, str]:
    """Read place, pins and extras of the last complete set-up; empty if there was none."""
    lines = STAMP.read_text().split("\n") if STAMP.exists() else []
    return (lines[0], lines[1], lines[2]) if len(lines) == 3 else ("", "", "")


def write_stamp(extras: str) -> None:
    """Record a complete set-up."""
    complete = STAMP.with_name(f"{STAMP.name}.new")
    complete.write_text("\n".join((place(), fingerprint(), extras)))
    complete.replace(STAMP)


def place() -> str:
    """Name the Python and the directory that `.venv` belongs to; it cannot be used with others."""
    version = ".".join(map(str, sys.version_info[:2]))
    return (
        f"{platform.python_implementation()} {version} {sys.platform} {platform.machine()} {VENV}"
    )


def fingerprint() -> str:
    """Hash the files that define an installation."""
    return hashlib.sha256(
        b"\0".join((ROOT / name).read_bytes() for name in ("constraints.txt", "pyproject.toml"))
    ).hexdigest()


def install(pip: Sequence[str], extras: str) -> None:
    """Install the project with its extras into `.venv`, editable."""
    quiet = [*pip, "--python", str(PYTHON), "--disable-pip-version-check", "install", "-qq"]
    options = ["--no-warn-script-location", "-c", str(ROOT / "constraints.txt")]
    editable = ["--no-build-isolation", "-e", f"{ROOT}[{extras}]"]
    if any(
        subprocess.run([*quiet, *options, *what]).returncode
        for what in (["setuptools>=77"], editable)
    ):
        fail("pip could not install what is needed; its messages are above.")


def pip_at_hand() -> list[str]:
    """Find a pip that can install into another environment: this Python's, or that of the Python
    that made this environment."""
    beneath = str(getattr(sys, "_base_executable", sys.executable))
    for python in dict.fromkeys((sys.executable, beneath)):
        asked = subprocess.run([python, "-m", "pip", "--version"], capture_output=True, text=True)
        version = re.match(r"pip (\d+)\.(\d+)", asked.stdout)
        if version and (int(version[1]), int(version[2])) >= OLDEST_PIP:
            return [python, "-m", "pip"]
    return []


# --- check ----------------------------------------------------------------------------------------


def check() -> int:
    """Run every check, even after one has failed; return 1 when one has."""
    steps = (
        ("-m", "ruff", "format", "--check", "."),
        ("-m", "ruff", "check", "."),
        ("-m", "mypy"),
        ("-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"),
    )
    failed = [step[1] for step in steps if run(*step)]
    problems = pin_problems((ROOT / "constraints.txt").read_text(), tracked_files())
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if failed or problems else 0


def pin_problems(constraints: str, tracked: Sequence[str]) -> list[str]:
    """Find pins that name a place. Each machine configures its own package index."""
    lines = enumerate(constraints.splitlines(), 1)
    found = [
        f"constraints.txt:{n}: {line.strip()!r} names a place; expected name==version."
        for n, line in lines
        if ADDRESS.search(line)
    ]
    return found + (
        ["uv.lock is committed; it records where files came from, so remove it."]
        if "uv.lock" in tracked
        else []
    )


def tracked_files() -> list[str]:
    """List the files under version control."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    return listed.stdout.splitlines()


# --- wheel ----------------------------------------------------------------------------------------


def check_wheel() -> int:
    """Install the wheel into an empty environment, together with another project's package
    `domain`; run the demo and the service there."""
    pip = pip_at_hand() or [str(PYTHON), "-m", "pip"]
    with tempfile.TemporaryDirectory(prefix="ledger-wheel-") as directory:
        source, empty, elsewhere = (
            Path(directory, name) for name in ("source", "environment", "elsewhere")
        )
        ignored = shutil.ignore_patterns(
            ".venv", ".data", ".git", ".*_cache", "build", "*.egg-info", "__pycache__", "tests"
        )
        shutil.copytree(
            ROOT, source, ignore=ignored
        )  # setuptools would add stale files of a directory `build`
        build = [
            *pip,
            "--python",
            str(PYTHON),
            "wheel",
            "-q",
            "--no-build-isolation",
            "--no-deps",
            "-w",
            directory,
            str(source),
        ]
        if subprocess.run(build).returncode:
            return 1
        (wheel,) = Path(directory).glob("*.whl")
        with zipfile.ZipFile(wheel) as content:
            strays = [name for name in content.namelist() if not name.startswith("transfer_ledger")]
        if strays:
            print(
                f"The wheel puts {', '.join(strays[:3])} into site-packages; expected only "
                "transfer_ledger.",
                file=sys.stderr,
            )
            return 1
        venv.create(empty, symlinks=True)
        target = [
            *pip,
            "--python",
            str(empty / "bin" / "python"),
            "--disable-pip-version-check",
            "install",
            "-qq",
        ]
        wanted = [f"{wheel}[embedded]", str(colliding_wheel(Path(directory)))]
        if subprocess.run([*target, "-c", str(ROOT / "constraints.txt"), *wanted]).returncode:
            return 1
        elsewhere.mkdir()
        steps = (
            ["python", "-c", "import domain; assert domain.OWNER"],
            ["transfer-ledger", "demo"],
            ["transfer-ledger", "migrate", "up"],
        )
        codes = [
            subprocess.run([empty / "bin" / step[0], *step[1:]], cwd=elsewhere).returncode
            for step in steps
        ]
        return max(*codes, serves(empty / "bin" / "transfer-ledger", elsewhere))


BY_CLIENT = """
import sys
from transfer_ledger.client import LedgerClient
with LedgerClient(sys.argv[1]) as ledger:
    ledger.facts()
"""
"""Program that asks an installed ledger by its Python client."""


def serves(program: Path, directory: Path) -> int:
    """Start `serve` of an installed wheel and read its pages; return 1 if one cannot be read."""
    environment = {**os.environ, "LEDGER_PORT": str(free_port())}
    process = subprocess.Popen(
        [program, "serve"], cwd=directory, env=environment, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    try:
        said: list[str] = []
        for line in process.stderr:
            said.append(line)
            if '"serving"' in line:
                break
        else:
            print("".join(said) + "The installed wheel does not serve.", file=sys.stderr)
            return 1
        # a full pipe would stop the process
        threading.Thread(target=process.stderr.read, daemon=True).start()
        for page in pages_of_wheel():
            url = json.loads(said[-1])["url"] + page
            try:
                with urllib.request.urlopen(url, timeout=30) as answer:
                    print(f"GET {page}: {answer.status}, {len(answer.read())} bytes")
            except OSError as error:
                print(f"GET {url}: {error}", file=sys.stderr)
                return 1
        asked = [program.with_name("python"), "-c", BY_CLIENT, json.loads(said[-1])["url"]]
        if subprocess.run(asked, cwd=directory).returncode:
            return 1
        process.terminate()
        return process.wait(60)
    finally:
        process.kill()


def pages_of_wheel() -> list[str]:
    """List the pages that an installed wheel has to answer."""
    console = ["/console"] if (ROOT / "infrastructure" / "web" / "console").exists() else []
    return ["/readyz", "/metrics", "/openapi.json", *console]


def free_port() -> int:
    """Find a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def colliding_wheel(directory: Path) -> Path:
    """Write a wheel of another project with a package `domain`."""
    wheel = directory / "another_project-1-py3-none-any.whl"
    metadata = "another_project-1.dist-info"
    with zipfile.ZipFile(wheel, "w") as content:
        content.writestr("domain/__init__.py", "OWNER = 'another project'\n")
        content.writestr(
            f"{metadata}/METADATA", "Metadata-Version: 2.1\nName: another-project\nVersion: 1\n"
        )
        content.writestr(
            f"{metadata}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        content.writestr(f"{metadata}/RECORD", "")
    return wheel


# --- processes ------------------------------------------------------------------------------------


def pytest_arguments(rest: Sequence[str]) -> list[str]:
    """Replace `--fast` by its tests, and add one test process per processor, unless the caller
    chooses the number."""
    given = [part for argument in rest for part in (FAST if argument == "--fast" else (argument,))]
    return [*workers(given), *given]


def workers(rest: Sequence[str]) -> list[str]:
    """Choose as many test processes as processors, at most 8, unless the caller chooses the
    number."""
    chosen = any(argument.startswith(("-n", "--numprocesses", "--pdb")) for argument in rest)
    ours = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return [] if chosen else ["-n", str(min(ours, 8))]


def run(*arguments: str) -> int:
    """Run the Python of `.venv`, and return its exit code."""
    return subprocess.run([str(PYTHON), *arguments], cwd=ROOT).returncode


def replace_process(*arguments: str) -> NoReturn:
    """Replace this process, so that exit code and signals are the program's own: SIGTERM has to
    reach `serve`."""
    os.execv(PYTHON, [str(PYTHON), "-m", *arguments])


def fail(sentence: str) -> NoReturn:
    """Print one line on standard error, and exit with 2."""
    print(sentence, file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except PermissionError as error:
        fail(f"{error.filename} is not writable for this account; use your own clone.")
    except KeyboardInterrupt:
        sys.exit(130)
