"""Blocks of shell lines in the documentation: each line is executed here, or by a test that is named,
or is listed with the reason why no test can execute it."""

import asyncio
import json
import re
import shlex
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer

from scripts.cli import app
from tests.scripts.test_command_line import paid_order, run
from tests.scripts.test_json_output import commands

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^( *)```(\S*)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
NO_SHELL = {"mermaid", "sql", "text", "json", "python"}

WHOLE = {
    ("README.md", "api=http"): "test_first_steps_of_the_readme_work",
    ("docs/quickstart-real-keys.md", "api=http"): "test_first_transfer_with_a_test_key_works",
}
"""Blocks that a test of test_documented_commands.py executes as a whole, by their first line."""
SMALLER = {"--schedules 10000": "--schedules 1", "--schedules 300": "--schedules 1"}
SMALLER |= {"--schedules 100": "--schedules 1", "--require-coverage 1": "", "--processes 2": ""}
"""Options that let a simulation last for minutes; the rest of the line is executed as it stands."""
EXECUTED = (
    "transfer-ledger --install-completion bash",
    "transfer-ledger migrate up",
    "transfer-ledger seal --out",
    "transfer-ledger verify --seal",
    "transfer-ledger simulate-faults",
    "17 * * * * transfer-ledger seal --out",
)
"""Beginnings of the lines that this module executes."""
NOT_EXECUTED = {
    "python3 scripts/dev.py demo": "CI runs it after the tests",
    "python3 scripts/dev.py test": "this is the test run",
    "python3 scripts/dev.py serve": "test_documented_commands.py runs the block of curl against it",
    "python3 scripts/dev.py setup": "CI begins with it",
    "transfer-ledger simulate-week": "takes minutes; tests/simulation/test_week.py runs a smaller one",
    "transfer-ledger serve": "test_documented_commands.py runs the blocks of curl against it",
    "transfer-ledger doctor --seller-account": "test_documented_commands.py runs it at the simulator",
    "30 3 * * * transfer-ledger reconcile --json": "tests/scripts/test_reconcile.py runs it",
    "pip install -c constraints.txt .": "dev.py wheel installs the package in CI",
    "export ": "its names are compared with .env.template",
    "pg_restore": "tests/e2e/test_database_roles.py restores by scripts/restore_drill.sh",
    "curl https://api.stripe.com": "needs an account at Stripe",
    "stripe listen": "needs an account at Stripe",
    "cd model": "a directory for the next lines",
    "node explore.mjs": "needs Node.js; tests/model runs it where it is installed",
    "npm ci": "needs npm and a registry",
    "python -m tests.support.model_traces": "would write recorded traces anew",
    "python -m tests.support.planted_search": "takes minutes, and would write its record anew",
    "python -m tests.mutation": "takes minutes; tests/mutation runs a part",
    "HYPOTHESIS_PROFILE=": "takes hours",
    "API_EXAMPLES=": "takes minutes; the test runs with fewer examples",
    "WEBHOOK_EXAMPLES=": "takes minutes; the test runs with fewer examples",
    "PLANTED_BUGS=": "takes minutes; the test runs with fewer schedules",
}
"""Beginnings of the lines that no test executes as they stand, with the reason."""


class Line(NamedTuple):
    """One command of a block: continued lines are joined, comments and directories are removed."""

    page: str
    first: str
    """First line of its block."""
    text: str


def lines() -> Iterator[Line]:
    for path in PAGES:
        page = str(path.relative_to(ROOT))
        for _, language, block in FENCE.findall(path.read_text()):
            if language in NO_SHELL:
                continue
            assert language in ("sh", "crontab"), (
                f"a block of {page} needs a language: {block[:60]}"
            )
            joined = re.sub(r"\\\n *", "", block)
            first = joined.strip().partition("\n")[0]
            for line in joined.splitlines():
                text = re.sub(r"\s+#\s.*$", "", line)
                text = re.sub(r"(\S*/)?\.venv/bin/", "", " ".join(text.split()))
                if text:
                    yield Line(page, first, text)


LINES = list(lines())
RUN = [line for line in LINES if line.text.startswith(EXECUTED)]
SIMULATIONS = [line.text for line in RUN if "simulate-faults" in line.text]


def whole(line: Line) -> bool:
    return any(line.page == page and line.first.startswith(first) for page, first in WHOLE)


def test_each_line_is_executed_or_listed() -> None:
    unknown = [
        line
        for line in LINES
        if not whole(line) and not line.text.startswith((*EXECUTED, *NOT_EXECUTED))
    ]
    assert unknown == [], "execute it, or list it with the reason"


def test_lists_name_only_lines_that_exist() -> None:
    for beginning in (*EXECUTED, *NOT_EXECUTED):
        assert [line for line in LINES if line.text.startswith(beginning)], beginning
    tests = Path(__file__).with_name("test_documented_commands.py").read_text()
    for (page, first), test in WHOLE.items():
        assert f"def {test}(" in tests
        assert f'block("{page}", "{first[:4]}' in tests


def parsed(words: list[str]) -> None:
    """Parse the words of a command line, without its execution. Raises UsageError."""
    found: Any = typer.main.get_command(app)
    path: list[str] = []
    while hasattr(found, "commands") and words and not words[0].startswith("-"):
        path.append(words[0])
        found, words = found.get_command(None, words[0]), words[1:]
        assert found is not None, path
    found.make_context(" ".join(path), [word.replace("6f0b3f0e-…", UUID) for word in words])


UUID = "6f0b3f0e-0000-4000-8000-000000000000"


def words_of(text: str) -> list[str]:
    """Split the part of a line that belongs to `transfer-ledger`."""
    of_program = re.sub(r"\$\([^)]*\)", "2026-12-01", text.partition("transfer-ledger ")[2])
    return shlex.split(re.split(r" (?:>|\|\|) ", of_program)[0])


def test_listed_lines_are_understood_by_the_program() -> None:
    ours = [line.text for line in LINES if "transfer-ledger " in line.text and not whole(line)]
    for text in ours:
        words = words_of(text)
        if "--install-completion" not in words:
            parsed(words)
    assert len(ours) >= 12
    for module in re.findall(r"python -m (tests\S+)", "\n".join(line.text for line in LINES)):
        assert find_spec(module) is not None
    for path in re.findall(r"(tests/\S+\.py)", "\n".join(line.text for line in LINES)):
        assert (ROOT / path).exists()


def test_examples_in_the_help_are_understood_by_the_program() -> None:
    examples = {
        name: command.epilog.partition("Example: ")[2]
        for name, command in commands(typer.main.get_command(app))
    }
    for name, example in examples.items():
        assert f"transfer-ledger {name}" in example, name
        parsed(words_of(example))
    assert len(examples) > 30


def test_exported_names_are_settings() -> None:
    template = (ROOT / ".env.template").read_text()
    for line in LINES:
        for name in re.findall(r"([A-Z_]+)=", line.text) if line.text[:7] == "export " else ():
            assert f"\n{name}=" in template


@pytest.mark.parametrize("text", SIMULATIONS)
def test_documented_simulation_runs(text: str) -> None:
    for long, short in SMALLER.items():
        text = text.replace(long, short)
    done = run(*words_of(text))
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stdout[-500:]


def test_documented_installation_of_the_completion_works(tmp_path: Path) -> None:
    (line,) = [line.text for line in RUN if "--install-completion" in line.text]
    environment = {"HOME": str(tmp_path), "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    assert run(*words_of(line), **environment).returncode == 0
    (script,) = (tmp_path / ".bash_completions").iterdir()
    assert "complete" in script.read_text()
    assert str(script) in (tmp_path / ".bashrc").read_text()


def test_documented_migration_runs(empty_database_url: str) -> None:
    (line,) = {line.text for line in RUN if "migrate up" in line.text}
    assert run(*words_of(line), DATABASE_URL=empty_database_url).returncode == 0


async def test_documented_seals_are_made_and_verified(database_url: str, tmp_path: Path) -> None:
    await paid_order(database_url)
    key = tmp_path / "seal.key"
    key.write_bytes(b"k" * 32)
    (first,) = [line.text for line in RUN if line.text.startswith("17 ")]
    texts = [line.text for line in RUN if line.page == "docs/proof.md"]
    daily, check = ([word.replace("seal.key", str(key)) for word in words_of(one)] for one in texts)

    def acts() -> None:
        hourly = [re.sub(r"^/seals/.*", str(tmp_path / "hourly.json"), w) for w in words_of(first)]
        daily[daily.index("--out") + 1] = check[check.index("--seal") + 1] = str(tmp_path / "daily")
        for words in (hourly, daily, check):
            done = run(*words, DATABASE_URL=database_url)
            assert done.returncode == 0, done.stderr
        assert json.loads((tmp_path / "hourly.json").read_text())["position"] > 0

    await asyncio.to_thread(acts)
