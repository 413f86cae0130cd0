"""Commands `verify` and `seal`: findings decide the exit code."""

import json
from pathlib import Path

import psycopg
import pytest

from tests.scripts.test_command_line import run
from tests.support.database_edits import triggers_off
from tests.support.seeded_ledger import load_ledger


@pytest.fixture
def ledger(database_url: str) -> str:
    load_ledger(database_url, 120)
    return database_url


def test_seal_is_made_kept_and_verified(ledger: str, tmp_path: Path) -> None:
    key, file = tmp_path / "key", tmp_path / "seal.json"
    key.write_text("a key that is long enough\n")
    made = run("seal", "--out", str(file), "--key-file", str(key), DATABASE_URL=ledger)
    assert made.returncode == 0, made.stderr
    well = run("verify", "--seal", str(file), "--key-file", str(key), "--json", DATABASE_URL=ledger)
    assert (well.returncode, json.loads(well.stdout)["findings"]) == (0, [])

    again = run("seal", "--out", str(file), DATABASE_URL=ledger)
    assert again.returncode == 2, "a seal is evidence: it is not overwritten"
    assert len(again.stderr.splitlines()) == 1

    with triggers_off(ledger) as connection:
        connection.execute("delete from ledger_events where notification_id > 100")
    cut = run("verify", "--seal", str(file), "--key-file", str(key), DATABASE_URL=ledger)
    assert cut.returncode == 1
    assert "positions 101 to" in cut.stdout


def test_finding_is_one_line_and_exit_code_1(ledger: str) -> None:
    with psycopg.connect(ledger, autocommit=True) as connection:
        connection.execute("update orders set refunded = 1 where order_id = 'o-2'")
    found = run("verify", DATABASE_URL=ledger)
    assert found.returncode == 1
    assert "orders: o-2: refunded is '1', its facts say '2500'" in found.stdout.splitlines()


def test_empty_ledger_cannot_be_sealed(database_url: str) -> None:
    ended = run("seal", DATABASE_URL=database_url)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "nothing to seal" in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["verify", "--seal", "nowhere.json"], "nowhere.json"),
        (["verify", "--seal", "README.md"], "seal"),
        (["verify", "--key-file", "nowhere"], "nowhere"),
        (["verify", "--key-file", ".gitignore", "--seal", "pyproject.toml"], "seal"),
        (["seal", "--out", "nowhere/seal.json"], "nowhere/seal.json"),
        (["rebuild", "pace"], "seller_transfers"),
    ],
)
def test_unreadable_file_is_one_line_and_exit_code_2(
    ledger: str, arguments: list[str], named: str
) -> None:
    ended = run(*arguments, DATABASE_URL=ledger)
    assert ended.returncode == 2
    assert named in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1
