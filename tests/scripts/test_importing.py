"""`import`: an older system's rows come over as they stood, or not at all; nothing that may have been paid is sent."""

import asyncio
import csv
import json
from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest

from domain.identity import transfer_stream
from domain.transfer_facts import Imported
from infrastructure.stripe.simulator import running_simulator
from tests.e2e.stage import CREATE, Stage, quick
from tests.e2e.view import View
from tests.scripts.test_command_line import run

STATUSES = {"pending": 0, "completed": 0, "failed": 0, "reversal_pending": 100, "reversed": 900, "permanently_failed": 0}


def row(status: str, **cells: str) -> dict[str, str]:
    paid = status not in ("pending", "failed")
    return {
        "order_id": f"o_{status}", "seller_id": "anna", "account": "acct_1anna", "amount": "900", "currency": "eur",
        "status": status, "amount_reversed": str(STATUSES[status]), "stripe_transfer_id": f"tr_{status}" if paid else "",
        "stripe_reversal_id": "", "retry_count": "2", "next_retry_at": "", "refund_id": "",
        "created_at": "2026-01-02T03:04:05+01:00",
    } | cells  # fmt: skip


def given(tmp_path: Path, *rows: dict[str, str]) -> str:
    file = tmp_path / "old.csv"
    with file.open("w", newline="") as opened:
        writer = csv.DictWriter(opened, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return str(file)


def imports(url: str, file: str, *more: str) -> tuple[int, dict]:
    ended = run("import", file, "--map", "destination=account", "--json", *more, DATABASE_URL=url)
    assert ended.returncode in (0, 1), ended.stderr
    return ended.returncode, json.loads(ended.stdout)


def test_every_status_comes_over_as_it_stood_and_only_once(database_url: str, tmp_path: Path) -> None:
    file = given(tmp_path, *map(row, STATUSES))
    assert imports(database_url, file)[1] | {"sentences": []} == {
        "stored": False,
        "new": 6,
        "known": 0,
        "bad": 0,
        "sentences": [],
    }
    code, told = imports(database_url, file, "--execute")
    assert (code, told["stored"], told["new"]) == (0, True, 6)
    with psycopg.connect(database_url) as connection:
        rows = connection.execute(
            "select status, amount_reversed, amount, currency, retry_count from seller_transfers"
        ).fetchall()
    assert sorted(rows) == sorted((status, back, 900, "EUR", 2) for status, back in STATUSES.items())
    assert imports(database_url, file, "--execute") == (0, told | {"new": 0, "known": 6})
    code, told = imports(database_url, given(tmp_path, row("completed", amount="901")), "--execute")
    assert (code, told["new"]) == (1, 0)
    assert "differs in amount" in told["sentences"][0]


def test_a_table_is_a_source_too(database_url: str, empty_database_url: str) -> None:
    with psycopg.connect(empty_database_url) as connection:
        names = list(row("completed"))
        connection.execute(f"create table old ({', '.join(f'{name} text' for name in names)})")
        connection.execute(f"insert into old values ({', '.join(['%s'] * len(names))})", list(row("completed").values()))
    code, told = imports(database_url, empty_database_url, "--table", "old", "--execute")
    assert (code, told["new"]) == (0, 1)


BAD = [
    ("amount", "9.00"), ("amount", "0"), ("currency", "XXQ"), ("status", "paid"), ("amount_reversed", "901"),
    ("amount_reversed", "-1"), ("created_at", "2026-01-02T03:04:05"), ("created_at", ""), ("next_retry_at", "soon"),
    ("order_id", ""), ("seller_id", "a b"), ("retry_count", "x"),
]  # fmt: skip


def test_each_bad_cell_is_one_sentence_and_nothing_is_stored(database_url: str, tmp_path: Path) -> None:
    rows = [row("completed") | {"order_id": f"o{n}", column: value} for n, (column, value) in enumerate(BAD)]
    code, told = imports(database_url, given(tmp_path, row("reversed"), *rows), "--execute")
    assert (code, told["stored"], told["bad"]) == (1, False, len(BAD))
    for number, ((column, value), sentence) in enumerate(zip(BAD, told["sentences"], strict=True), start=2):
        assert sentence.startswith(f"row {number}: column {column} is {value!r}; expected ")
    with psycopg.connect(database_url) as connection:
        assert connection.execute("select count(*) from ledger_events").fetchone() == (0,)


def test_two_rows_for_one_transfer_at_stripe_are_one_transfer_and_a_sentence(database_url: str, tmp_path: Path) -> None:
    twice = [row("completed"), row("completed", order_id="another")]
    code, told = imports(database_url, given(tmp_path, *twice), "--execute")
    assert (code, told["new"], told["bad"]) == (1, 1, 1)
    assert told["sentences"][0].startswith("row 2: ")


def test_a_missing_column_is_one_line_and_2(database_url: str, tmp_path: Path) -> None:
    ended = run("import", given(tmp_path, row("completed")), DATABASE_URL=database_url)
    assert ended.returncode == 2
    assert "destination" in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1


@pytest.fixture
async def stage(database_url: str) -> AsyncIterator[Stage]:
    async with running_simulator() as (simulator, _), simulator.control() as stripe, View.of(database_url) as view:
        yield Stage(quick(database_url, stripe.url), view, stripe)


async def test_what_may_have_been_paid_waits_for_an_operator_and_what_is_owed_is_taken_back(stage: Stage, tmp_path: Path) -> None:
    theirs = await stage.at_stripe("o_reversal_pending")
    owed = row("reversal_pending", amount_reversed="0", stripe_transfer_id=theirs)
    file = given(tmp_path, row("pending"), row("failed", next_retry_at="2026-01-01T00:00:00Z"), owed)
    code, _ = await asyncio.to_thread(imports, stage.settings.database_url or "", file, "--execute")
    assert code == 0
    pending = transfer_stream("o_pending", "anna")
    async with stage.at_work() as desk:
        await stage.view.reached("o_reversal_pending", "reversed")
        assert await stage.view.story(pending) == ["Imported"]
        assert await stage.posts(CREATE) == []
        await desk.retry(pending)
        await stage.view.reached("o_pending", "completed")
    assert await stage.view.story(transfer_stream("o_failed", "anna")) == ["Imported"]
    story = await stage.view.story(pending)
    assert story[:3] == ["Imported", "RetryRequested", "AttemptDeferred"], "Stripe's books are read before anything is sent"
    (first, *_) = await stage.view.facts(pending)
    assert isinstance(first, Imported)
    (look,) = await stage.posts("transfers.list")
    assert first.created_at is not None
    assert look["at"] > first.created_at.timestamp()
