#!/usr/bin/env python3
"""Sets the project up and runs it: `python3 scripts/dev.py demo | test | check | serve | bench | setup`.

Standard library only, so that it runs where nothing is installed but Python 3.11+ with pip. Everything goes into `.venv`
beside pyproject.toml; a stamp of what it was made from makes the next run start at once.
"""

from __future__ import annotations  # an older Python has to get as far as being told that it is too old

import argparse
import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import venv
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


def main(arguments: Sequence[str] | None = None) -> int:
    if sys.version_info < (3, 11):  # noqa: UP036 - this script is what an older Python would be given
        fail(f"Python {sys.version.split()[0]} is too old; run this with Python 3.11 or newer.")
    command, rest = parsed(arguments)
    os.chdir(ROOT)
    set_up("embedded,test" if command in ("setup", "test", "check") else "embedded")
    if command == "setup":
        print(f"Ready: {PYTHON.relative_to(ROOT)}")
        return 0
    if command == "check":
        return check()
    return become(*(("pytest", *workers(rest)) if command == "test" else ("scripts", command)), *rest)


def parsed(arguments: Sequence[str] | None) -> tuple[str, list[str]]:
    parser = argparse.ArgumentParser(prog="dev.py", description="Set the project up and run it.")
    commands = {
        "setup": "install into .venv, nothing else",
        "demo": "play the main job; exit 0 only if Stripe's books equal ours",
        "test": "run the test suite; further arguments go to pytest",
        "check": "format, lint, types, import rules, pins",
        "serve": "run the service on the embedded database and the simulator",
        "bench": "measure speed as ratios in one run",
    }
    listed = "\n".join(f"  {name:7} {meaning}" for name, meaning in commands.items())
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = f"commands:\n{listed}\n\nexample: python3 scripts/dev.py test -k lifecycle"
    parser.add_argument("command", choices=list(commands), metavar="command")
    parser.add_argument("rest", nargs=argparse.REMAINDER, help="passed on")
    chosen = parser.parse_args(arguments)
    return chosen.command, chosen.rest


# --- set-up -----------------------------------------------------------------------------------------------------------


def set_up(extras: str) -> None:
    """Make `.venv` what constraints.txt and pyproject.toml say, unless it is that already. The demo needs no test tools."""
    with (ROOT / ".setup.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two set-ups at once would spoil each other
        where, pins, present = stamped()
        sound = where == place() and PYTHON.exists()
        if sound and pins == fingerprint() and present.startswith(extras):
            return
        print(f"Setting up .venv with [{extras}], once …", file=sys.stderr)
        pip = pip_at_hand()
        bundled = find_spec("ensurepip") is not None  # Debian's Python has none; any pip will do
        if not pip and not bundled:  # said before anything is removed
            fail("This Python has no pip of 22.3 or newer; install one (Debian: apt-get install python3-pip), then try again.")
        STAMP.unlink(missing_ok=True)
        if not sound:  # what was moved here, made by another Python or interrupted is not mended, but made anew
            shutil.rmtree(VENV, ignore_errors=True)
            venv.create(VENV, with_pip=not pip, symlinks=True)
        install(pip or [str(PYTHON), "-m", "pip"], extras)
        write_stamp(extras)


def stamped() -> tuple[str, str, str]:
    """Place, pins and extras of the last complete set-up; empty if there was none."""
    lines = STAMP.read_text().split("\n") if STAMP.exists() else []
    return (lines[0], lines[1], lines[2]) if len(lines) == 3 else ("", "", "")


def write_stamp(extras: str) -> None:
    complete = STAMP.with_name(f"{STAMP.name}.new")
    complete.write_text("\n".join((place(), fingerprint(), extras)))
    complete.replace(STAMP)


def place() -> str:
    """For which Python and directory `.venv` is good; it can be used by no other."""
    version = ".".join(map(str, sys.version_info[:2]))
    return f"{platform.python_implementation()} {version} {sys.platform} {platform.machine()} {VENV}"


def fingerprint() -> str:
    """What an installation was made from."""
    return hashlib.sha256(b"\0".join((ROOT / name).read_bytes() for name in ("constraints.txt", "pyproject.toml"))).hexdigest()


def install(pip: Sequence[str], extras: str) -> None:
    quiet = [*pip, "--python", str(PYTHON), "--disable-pip-version-check", "install", "-qq"]
    options = ["--no-warn-script-location", "-c", str(ROOT / "constraints.txt")]
    editable = ["--no-build-isolation", "-e", f"{ROOT}[{extras}]"]
    if any(subprocess.run([*quiet, *options, *what]).returncode for what in (["setuptools>=77"], editable)):
        fail("pip could not install what is needed; its own words are above.")


def pip_at_hand() -> list[str]:
    """A pip that can install into another environment: this Python's, or (this may be `.venv`'s own) the one beneath it."""
    beneath = str(getattr(sys, "_base_executable", sys.executable))
    for python in dict.fromkeys((sys.executable, beneath)):
        asked = subprocess.run([python, "-m", "pip", "--version"], capture_output=True, text=True)
        version = re.match(r"pip (\d+)\.(\d+)", asked.stdout)
        if version and (int(version[1]), int(version[2])) >= OLDEST_PIP:
            return [python, "-m", "pip"]
    return []


# --- check ------------------------------------------------------------------------------------------------------------


def check() -> int:
    """Every check, even after one has failed; 1 when any has."""
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
    """Pins name versions, never places: what is installed from where is for the machine to say."""
    lines = enumerate(constraints.splitlines(), 1)
    found = [
        f"constraints.txt:{n}: {line.strip()!r} names a place; expected name==version."
        for n, line in lines
        if ADDRESS.search(line)
    ]
    return found + (["uv.lock is committed; it records where files came from, so remove it."] if "uv.lock" in tracked else [])


def tracked_files() -> list[str]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    return listed.stdout.splitlines()


# --- running ----------------------------------------------------------------------------------------------------------


def workers(rest: Sequence[str]) -> list[str]:
    """As many test processes as processors, unless the caller says otherwise."""
    chosen = any(argument.startswith(("-n", "--numprocesses", "--pdb")) for argument in rest)
    ours = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return [] if chosen else ["-n", str(min(ours, 8))]


def run(*arguments: str) -> int:
    return subprocess.run([str(PYTHON), *arguments], cwd=ROOT).returncode


def become(*arguments: str) -> NoReturn:
    """Replace this process, so that exit code and signals are the program's own: SIGTERM has to reach `serve`."""
    os.execv(PYTHON, [str(PYTHON), "-m", *arguments])


def fail(sentence: str) -> NoReturn:
    print(sentence, file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except PermissionError as error:
        fail(f"{error.filename} is not writable for this account; use a clone of your own.")
    except KeyboardInterrupt:
        sys.exit(130)
