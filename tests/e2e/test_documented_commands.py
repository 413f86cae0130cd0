"""Commands of the documentation: the curl blocks run as they stand there, and each command line names
commands and options that exist."""

import asyncio
import json
import os
import re
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import typer

from infrastructure.simulators.stripe import SimulatorControl
from scripts.cli import app
from tests.scripts.test_command_line import run
from tests.support.ledger_process import FOREIGN, free_port

ROOT = Path(__file__).parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", ".env.template")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted(path for path in (ROOT / "deploy").rglob("*") if path.is_file()),
]
LINE = re.compile(r"transfer-ledger ((?!\.)[a-z][a-z-]+\b[^`\n|]*)")
GROUPS = ("inbox",)
STRICT = "fail-with-body\nsilent\nshow-error\n"
"""Settings of curl: a refused call ends the block."""

needs_curl = pytest.mark.skipif(
    not (shutil.which("curl") and shutil.which("bash")), reason="curl or bash is not installed"
)


def block(page: str, first: str) -> str:
    """The one shell block of a page whose first line begins so."""
    (found,) = re.findall(
        rf"^```sh\n({re.escape(first)}.*?)^```", (ROOT / page).read_text(), re.DOTALL | re.MULTILINE
    )
    return str(found)


@asynccontextmanager
async def serving(directory: Path, **settings: str) -> AsyncIterator[dict[str, str]]:
    """Run `serve` in a directory of its own; yield its log line `serving`."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    environment = {**clean, "PYTHONPATH": str(ROOT), "LEDGER_PORT": str(free_port()), **settings}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "scripts", "serve",
        cwd=directory, env=environment, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr is not None
    said: list[str] = []
    try:
        async with asyncio.timeout(60):
            async for line in process.stderr:
                said.append(line.decode())
                if '"serving"' in said[-1]:
                    break
            else:
                pytest.fail("".join(said))
        reading = asyncio.create_task(process.stderr.read())
        yield json.loads(said[-1])
    finally:
        process.terminate()
        await process.wait()
    await reading


async def executed(script: str, directory: Path) -> str:
    """Run a block as bash does; return its output. Raises AssertionError when a line fails."""
    (directory / ".curlrc").write_text(STRICT)
    process = await asyncio.create_subprocess_exec(
        "bash", "-euo", "pipefail", "-c", script,
        env={**os.environ, "CURL_HOME": str(directory)},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    async with asyncio.timeout(60):
        out, _ = await process.communicate()
    assert process.returncode == 0, out.decode()
    return out.decode()


@needs_curl
async def test_first_steps_of_the_readme_work(database_url: str, tmp_path: Path) -> None:
    script = block("README.md", "api=")
    async with serving(tmp_path, DATABASE_URL=database_url) as said:
        script = script.replace("http://127.0.0.1:8000", said["url"])
        script = script.replace("http://127.0.0.1:…", said["psp"])
        out = await executed(script, tmp_path)
    assert '"fact":"Paid"' in out.replace(" ", "")


@needs_curl
async def test_first_transfer_with_a_test_key_works(
    database_url: str, stripe: SimulatorControl, tmp_path: Path
) -> None:
    await stripe.change_account("acct_1anna")
    await stripe.fund("usd", 10_000)
    script = block("docs/quickstart-real-keys.md", "api=").replace("acct_…", "acct_1anna")
    settings = {"DATABASE_URL": database_url, "STRIPE_API_BASE": stripe.url}
    settings["STRIPE_API_KEY"] = "sk_test_0123456789abcdef"
    checks = ("doctor", "--seller-account", "acct_1anna")
    async with serving(tmp_path, **settings) as said:
        checked = await asyncio.to_thread(lambda: run(*checks, **settings))
        out = await executed(script.replace("http://127.0.0.1:8000", said["url"]), tmp_path)
    for part in ("stripe key", "stripe connect", "stripe balance", "seller's account acct_1anna"):
        assert f"ok    {part}: " in checked.stdout
    assert '"fact":"RefundAllocated"' in out.replace(" ", "")
    (transfer,) = (await stripe.ledger())["transfers"]
    assert (transfer["amount"], transfer["amount_reversed"]) == (900, 360)


@needs_curl
async def test_simulators_say_a_command_that_starts_their_webhooks(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "scripts", "simulate", "--stripe-port", "0",
        "--hyperswitch-port", "0", cwd=ROOT, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        async with asyncio.timeout(60):
            said = [(await process.stdout.readline()).decode() for _ in range(3)]
        command = said[2].partition("with: ")[2].replace("…", "a-secret")
        assert command.startswith("curl ")
        await executed(command, tmp_path)
    finally:
        process.terminate()
        await process.wait()


def command_lines() -> dict[tuple[str, ...], set[str]]:
    """The options that the documentation uses, by command; a group's command has two words."""
    used: dict[tuple[str, ...], set[str]] = {}
    for page in PAGES:
        for line in LINE.findall(page.read_text()):
            words = re.split(r"\s#|[;&>]|\s{4,}", line)[0].replace('"', " ").split()
            size = 2 if words[0] in GROUPS and words[1:] and words[1].isalpha() else 1
            name = tuple(word.rstrip(".,:;)'") for word in words[:size])
            options = {
                re.sub(r"[=.,:;)'\]].*$", "", word) for word in words if word.startswith("--")
            }
            used.setdefault(name, set()).update(options)
    return used


def options_of(name: tuple[str, ...]) -> set[str] | None:
    """The options of a command, as typer knows them; None for an unknown command."""
    found: Any = typer.main.get_command(app)
    for word in name:
        found = found.get_command(None, word)
        if found is None:
            return None
    return {option for parameter in found.params for option in parameter.opts} | {"--help"}


def test_documented_commands_and_options_exist() -> None:
    used, unknown = command_lines(), []
    for name, options in used.items():
        known = options_of(name)
        missing = options - known if known is not None else {"(unknown command)"}
        unknown += [f"{' '.join(name)} {option}" for option in missing]
    assert unknown == []
    assert {("serve",), ("inbox", "erase"), ("migrate",), ("simulate-faults",)} <= set(used)


def test_documented_tasks_of_dev_exist() -> None:
    text = (ROOT / "scripts" / "dev.py").read_text()
    known = set(re.findall(r'^        "([a-z]+)": "', text, re.MULTILINE))
    used = {name for page in PAGES for name in re.findall(r"dev\.py ([a-z]+)", page.read_text())}
    assert used <= known
    assert "demo" in used
