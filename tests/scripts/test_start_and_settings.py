"""The start of the command line: version, help, completion; and the settings in force."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from infrastructure.release import release
from scripts.cli import GROUPS, summary
from tests.scripts.test_command_line import run
from tests.test_public_names import settings_names

SLOW = {"psycopg", "structlog", "aiohttp", "stripe", "pydantic", "starlette", "eventsourcing"}
"""Packages whose imports would double the time of a start."""
SECRET = "sk_test_a-secret-of-the-tests"


def test_version_is_that_of_the_package() -> None:
    shown = run("--version")
    assert (shown.returncode, shown.stdout) == (0, f"transfer-ledger {release()}\n")


def test_help_imports_no_slow_package() -> None:
    program = (
        "import sys\nfrom scripts.__main__ import main\n"
        "try: main(['--help'])\n"
        "finally: print(sorted(set(sys.modules) & set(sys.argv[1:])), file=sys.stderr)"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", program, *SLOW], capture_output=True, text=True, cwd=root, check=True
    )
    assert (done.stderr.strip(), "simulate-week" in done.stdout) == ("[]", True)


def test_summaries_of_commands_are_whole_lines() -> None:
    names = [name for group in GROUPS.values() for name in group]
    assert [name for name in names if "\n" in summary(name) or not summary(name)] == []


def test_shell_completes_the_names_of_commands() -> None:
    asked = {"_TRANSFER_LEDGER_COMPLETE": "complete_bash", "COMP_WORDS": "transfer-ledger re"}
    completed = run(**asked, COMP_CWORD="1").stdout.split()
    commands = {name for names in GROUPS.values() for name in names if name.startswith("re")}
    assert set(completed) == commands


def test_settings_tell_their_source_and_no_secret() -> None:
    given = {"STRIPE_API_KEY": SECRET, "LEDGER_LEASE": "90s", "STRIPE_WEBHOOK_SECRETS": "whsec_old"}
    done = run("settings", "--json", **given)
    shown = {one["setting"]: (one["value"], one["source"]) for one in json.loads(done.stdout)}
    assert shown["LEDGER_LEASE"] == ("1m30s", "environment")
    assert shown["STRIPE_MAX_RPS"] == ("20", "default")
    assert shown["STRIPE_API_KEY"][1] == shown["STRIPE_WEBHOOK_SECRETS"][1] == "environment"
    assert shown["DATABASE_URL"] == (None, "default")
    table = run("settings", **given).stdout
    for text in (done.stdout, table):
        assert SECRET not in text
        assert "whsec_old" not in text


def test_settings_show_each_variable_of_the_template() -> None:
    shown = {one["setting"] for one in json.loads(run("settings", "--json").stdout)}
    assert shown == set(settings_names())


@pytest.mark.parametrize(("level", "shown"), [("warning", False), ("info", True)])
def test_log_level_chooses_the_lines(database_url: str, level: str, shown: bool) -> None:
    done = run("backfill", DATABASE_URL=database_url, LEDGER_LOG_LEVEL=level)
    assert done.returncode == 0
    assert ("historical completed transfers" in done.stderr) is shown
