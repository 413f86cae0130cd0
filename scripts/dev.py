#!/usr/bin/env python3
"""Sets the project up and runs it: `python3 scripts/dev.py demo | test | check | serve | bench | setup`.

Standard library only, so that it runs where nothing is installed but Python 3.11+ with pip. Everything goes into `.venv`
beside pyproject.toml; a stamp of what it was made from makes the next run start at once.
"""

import argparse
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "made-from"
PACKAGES = ("domain", "application", "projections", "infrastructure", "scripts")
ADDRESS = re.compile(r"://|--(?:extra-)?index-url|--find-links")


def main(arguments: Sequence[str] | None = None) -> int:
    if sys.version_info < (3, 11):  # noqa: UP036 - this script is what an older Python would be given
        fail(f"Python {sys.version.split()[0]} is too old; run this with Python 3.11 or newer.")
    command, rest = parsed(arguments)
    os.chdir(ROOT)
    set_up("embedded,test" if command in ("setup", "test", "check") else "embedded")
    match command:
        case "setup":
            print(f"Ready: {PYTHON.relative_to(ROOT)}")
            return 0
        case "test":
            return run("-m", "pytest", *workers(rest), *rest)
        case "check":
            return check()
        case _:
            return run("-m", "scripts", command, *rest)


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
        made_from, _, present = (STAMP.read_text() if STAMP.exists() else "").partition(" ")
        current = made_from == fingerprint() and PYTHON.exists()
        if current and present.startswith(extras):
            return
        print(f"Setting up .venv with [{extras}], once …", file=sys.stderr)
        STAMP.unlink(missing_ok=True)
        if not current:
            shutil.rmtree(VENV, ignore_errors=True)  # what an interrupted set-up left is not mended, but made anew
            venv.create(VENV, with_pip=False, symlinks=True)  # Debian's Python has no ensurepip; any pip will do
        install(extras)
        STAMP.write_text(f"{fingerprint()} {extras}")


def fingerprint() -> str:
    """What an installation was made from."""
    made_from = hashlib.sha256(f"{sys.version} {sys.executable} {ROOT}".encode())
    for name in ("constraints.txt", "pyproject.toml"):
        made_from.update((ROOT / name).read_bytes())
    return made_from.hexdigest()


def install(extras: str) -> None:
    """Into `.venv`, with the pip of the Python at hand."""
    if subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True).returncode:
        fail("This Python has no pip; install it (Debian: apt-get install python3-pip), then try again.")
    pip = [sys.executable, "-m", "pip", "--python", str(PYTHON), "--disable-pip-version-check", "install", "-qq"]
    options = ["--no-warn-script-location", "-c", str(ROOT / "constraints.txt")]
    editable = ["--no-build-isolation", "-e", f"{ROOT}[{extras}]"]
    if any(subprocess.run([*pip, *options, *what]).returncode for what in (["setuptools>=77"], editable)):
        fail("pip could not install what is needed; its own words are above.")


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
    return [] if chosen else ["-n", str(min(os.cpu_count() or 1, 8))]


def run(*arguments: str) -> int:
    try:
        return subprocess.run([str(PYTHON), *arguments], cwd=ROOT).returncode
    except KeyboardInterrupt:
        return 130


def fail(sentence: str) -> NoReturn:
    print(sentence, file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    sys.exit(main())
