"""Command `import`: each row of an older system is imported once; one unreadable row keeps all
others out."""

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from domain.identity import transfer_stream
from tests.scripts.test_command_line import ROOT, run
from tests.support.json_types import Json

STATUSES = {
    "pending": 0,
    "completed": 0,
    "failed": 0,
    "reversal_pending": 100,
    "reversed": 900,
    "permanently_failed": 0,
}
MOVED = ("--map", "destination=account")


def row(status: str, **cells: str) -> dict[str, str]:
    paid = status not in ("pending", "failed")
    return {
        "order_id": f"o_{status}", "seller_id": "anna", "account": "acct_1anna", "amount": "900",
        "currency": "eur",
        "status": status, "amount_reversed": str(STATUSES[status]),
        "stripe_transfer_id": f"tr_{status}" if paid else "",
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


def imports(url: str, source: str, *more: str) -> tuple[int, Json]:
    ended = run("import", source, *MOVED, "--json", *more, DATABASE_URL=url)
    assert "Traceback" not in ended.stderr
    assert ended.stdout, ended.stderr
    return ended.returncode, json.loads(ended.stdout)


def counts(told: Json) -> tuple[int, int, int, int]:
    return told["imported"], told["already_there"], told["differ"], told["bad"]


def selected(url: str, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(query.encode()).fetchall()


def clean(url: str) -> None:
    assert run("rebuild", "--dry-run", DATABASE_URL=url).returncode == 0
    verified = run("verify", DATABASE_URL=url)
    assert verified.returncode == 0, verified.stdout


def test_every_status_is_imported_once(database_url: str, tmp_path: Path) -> None:
    file = given(tmp_path, *map(row, STATUSES))
    code, told = imports(database_url, file, "--dry-run")
    assert (code, counts(told), told["dry_run"]) == (0, (6, 0, 0, 0), True)
    assert selected(database_url, "select count(*) from ledger_events") == [(0,)]
    code, told = imports(database_url, file)
    assert (code, counts(told), told["unclear"]) == (0, (6, 0, 0, 0), 2)
    rows = selected(
        database_url,
        """select status, amount_reversed, amount, currency, retry_count, created_at = '2026-01-02T02:04:05Z',
                  coalesce(stripe_transfer_id, '') = case when status in ('pending', 'failed') then '' else 'tr_' || status end
             from seller_transfers""",
    )
    assert sorted(rows) == sorted(
        (status, back, 900, "EUR", 2, True, True) for status, back in STATUSES.items()
    )
    code, told = imports(database_url, file)
    assert (code, counts(told)) == (0, (0, 6, 0, 0))
    assert selected(database_url, "select count(*) from ledger_events") == [(6,)]
    clean(database_url)


def test_output_ends_with_one_line_of_counts(database_url: str, tmp_path: Path) -> None:
    file = given(tmp_path, row("completed"), row("pending"))
    said = run("import", file, *MOVED, DATABASE_URL=database_url)
    assert said.stdout.splitlines()[0] == "2 rows imported, 0 already there, 0 differ, 0 bad."
    assert "1 of them may have been paid" in said.stdout


def test_rows_that_need_a_person_are_shown_everywhere(database_url: str, tmp_path: Path) -> None:
    imports(database_url, given(tmp_path, row("pending"), row("failed"), row("completed")))
    alarms = json.loads(run("alarms", "--json", DATABASE_URL=database_url).stdout)
    open_ones = {str(transfer_stream(f"o_{status}", "anna")) for status in ("pending", "failed")}
    assert {(one["kind"], one["subject"]) for one in alarms} == {
        ("imported_unclear", subject) for subject in open_ones
    }
    (listed,) = json.loads(
        run("transfers", "--status", "pending", "--json", DATABASE_URL=database_url).stdout
    )
    assert (listed["waiting_for"], listed["next_retry_at"]) == ("operator", None)
    (told,) = json.loads(
        run("history", listed["transfer_id"], "--json", DATABASE_URL=database_url).stdout
    )
    assert (
        "nothing is sent until an operator clears the transfer: `retry` looks for it at Stripe "
        "first" in told["sentence"]
    )
    said = ("--actor", "mia", "--reason", "the old system is off")
    assert run("retry", listed["transfer_id"], *said, DATABASE_URL=database_url).returncode == 0
    (left,) = json.loads(run("alarms", "--json", DATABASE_URL=database_url).stdout)
    assert left["subject"] == str(transfer_stream("o_failed", "anna"))


def test_owed_reversal_without_time_is_due_now(database_url: str, tmp_path: Path) -> None:
    later = row(
        "reversal_pending",
        order_id="later",
        stripe_transfer_id="tr_2",
        next_retry_at="2030-01-01T00:00:00Z",
    )
    imports(
        database_url,
        given(tmp_path, row("reversal_pending"), later, row("completed", next_retry_at="")),
    )
    due = selected(
        database_url,
        "select order_id, next_retry_at <= now() from seller_transfers where status = "
        "'reversal_pending'",
    )
    assert sorted(due) == [("later", False), ("o_reversal_pending", True)]


def test_differing_row_is_named_and_others_imported(database_url: str, tmp_path: Path) -> None:
    imports(database_url, given(tmp_path, row("completed"), row("reversed")))
    code, told = imports(
        database_url,
        given(tmp_path, row("completed", amount="901"), row("reversed"), row("pending")),
    )
    assert (code, counts(told)) == (1, (1, 1, 1, 0))
    assert told["sentences"] == [
        f"row 1: transfer {transfer_stream('o_completed', 'anna')} is here already and differs "
        "in amount."
    ]


def test_differing_read_model_is_found(database_url: str, tmp_path: Path) -> None:
    file = given(tmp_path, row("completed"))
    imports(database_url, file)
    with psycopg.connect(database_url) as connection:
        connection.execute("update seller_transfers set amount_reversed = 5")
    code, told = imports(database_url, file)
    assert (code, counts(told)) == (1, (0, 0, 1, 0))
    assert "differs in amount_reversed" in told["sentences"][0]


@pytest.fixture
def old_table(empty_database_url: str) -> str:
    """Create a table of proper types, some of whose columns have other names and some are
    missing."""
    with psycopg.connect(empty_database_url) as connection:
        connection.execute(
            """create schema shop; create table shop.old (order_id text, seller_id text, account text, amount bigint,
               currency char(3), status text, amount_reversed numeric, tr text, created timestamp, next_retry_at timestamptz)"""
        )
        connection.execute(
            """insert into shop.old values
               ('o1', 'anna', 'acct_1anna', 900, 'eur', 'completed', 100, 'tr_1', '2026-01-02 03:04:05', null),
               ('o2', 'anna', 'acct_1anna', 900, 'EUR', 'pending', 0, null, '2026-01-02 03:04:05', now()),
               ('o3', 'anna', 'acct_1anna', 900, 'EUR', 'reversal_pending', null, 'tr_3', '2026-01-02 03:04:05', now())"""
        )
    return empty_database_url


def test_table_is_accepted_as_a_source(database_url: str, old_table: str) -> None:
    renamed = (
        "--table",
        "shop.old",
        "--map",
        "stripe_transfer_id=tr",
        "--map",
        "created_at=created",
    )
    assert imports(database_url, old_table, *renamed)[0] == 0
    code, told = imports(database_url, old_table, *renamed)
    assert (code, counts(told)) == (0, (0, 3, 0, 0))
    rows = selected(
        database_url,
        "select order_id, status, amount_reversed, stripe_transfer_id from seller_transfers "
        "order by 1",
    )
    assert rows == [
        ("o1", "completed", 100, "tr_1"),
        ("o2", "pending", 0, None),
        ("o3", "reversal_pending", 0, "tr_3"),
    ]
    clean(database_url)


BAD = [
    ("amount", "9.00"), ("amount", "0"), ("currency", "XXQ"), ("status", "paid"), ("status", "cancelled"),
    ("amount_reversed", "901"), ("amount_reversed", "-1"), ("created_at", "soon"), ("created_at", "2999-01-01T00:00:00Z"),
    ("next_retry_at", "20261120"), ("order_id", ""), ("seller_id", "a b"), ("retry_count", "x"),
]  # fmt: skip


def test_bad_cell_is_one_sentence_and_stores_nothing(database_url: str, tmp_path: Path) -> None:
    rows = [
        row("completed") | {"order_id": f"o{n}", column: value}
        for n, (column, value) in enumerate(BAD)
    ]
    code, told = imports(database_url, given(tmp_path, row("reversed"), *rows))
    assert (code, told["bad"]) == (2, len(BAD))
    for number, ((column, value), sentence) in enumerate(
        zip(BAD, told["sentences"], strict=True), start=2
    ):
        assert sentence.startswith(f"row {number}: column {column} is {value!r}; expected ")
    assert selected(database_url, "select count(*) from ledger_events") == [(0,)]


@pytest.mark.parametrize(
    ("status", "cells", "named"),
    [
        ("pending", {"stripe_transfer_id": "tr_1"}, "stripe_transfer_id"),
        ("pending", {"amount_reversed": "1"}, "amount_reversed"),
        ("reversed", {"amount_reversed": "899"}, "amount_reversed"),
        ("reversal_pending", {"amount_reversed": "900"}, "amount_reversed"),
        ("completed", {"next_retry_at": "2026-01-02T03:04:05Z"}, "next_retry_at"),
        ("completed", {"reversal_amount": "5"}, "reversal_amount"),
        ("reversal_pending", {"reversal_amount": "801"}, "reversal_amount"),
    ],
)
def test_row_that_contradicts_its_status_is_refused(
    database_url: str, tmp_path: Path, status: str, cells: dict[str, str], named: str
) -> None:
    code, told = imports(database_url, given(tmp_path, row(status, **cells)))
    assert (code, told["bad"]) == (2, 1)
    assert f"column {named} is" in told["sentences"][0]


def test_two_rows_of_one_stripe_transfer_become_one(database_url: str, tmp_path: Path) -> None:
    twice = [row("completed"), row("completed", order_id="another"), row("reversed")]
    code, told = imports(database_url, given(tmp_path, *twice))
    assert (code, counts(told)) == (2, (2, 0, 0, 1))
    assert told["sentences"][0].startswith("row 2: ")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([], "no column destination"),
        (["--map", "destination"], "--map is 'destination'"),
        (["--map", "colour=account"], "--map is 'colour=account'"),
        ([*MOVED, "--map", "refund_id=nowhere"], "no column nowhere"),
    ],
)
def test_bad_mapping_is_one_line_and_exit_code_2(
    database_url: str, tmp_path: Path, arguments: list[str], named: str
) -> None:
    ended = run("import", given(tmp_path, row("completed")), *arguments, DATABASE_URL=database_url)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert named in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("source", ["nowhere.csv", "postgresql://u:geheim@127.0.0.1:9/x"])
def test_unreadable_source_is_one_line_and_exit_code_2(database_url: str, source: str) -> None:
    ended = run("import", source, DATABASE_URL=database_url)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "cannot be read" in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1
    assert "geheim" not in ended.stderr


def test_row_with_too_many_cells_is_reported(database_url: str, tmp_path: Path) -> None:
    file = Path(given(tmp_path, row("completed")))
    file.write_text(file.read_text().rstrip() + ",more\n")
    ended = run("import", str(file), *MOVED, DATABASE_URL=database_url)
    assert ended.returncode == 2
    assert "Row 1 of old.csv has more cells than there are columns" in ended.stderr


def test_killed_import_continues_where_it_stopped(database_url: str, tmp_path: Path) -> None:
    file = given(
        tmp_path,
        *(row("completed", order_id=f"o{n}", stripe_transfer_id=f"tr_{n}") for n in range(4_000)),
    )
    command = [sys.executable, "-m", "scripts", "import", file, *MOVED]
    with (
        psycopg.connect(database_url, autocommit=True) as listening,
        subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, "DATABASE_URL": database_url}
        ) as halfway,
    ):
        listening.execute("listen ledger_events")
        assert list(listening.notifies(timeout=60, stop_after=1)), "it has begun to store"
        halfway.send_signal(signal.SIGKILL)
    code, told = imports(database_url, file)
    assert (code, told["differ"], told["bad"], told["imported"] + told["already_there"]) == (
        0,
        0,
        0,
        4_000,
    )
    assert told["already_there"] > 0
    assert selected(
        database_url, "select count(*), count(distinct originator_id) from ledger_events"
    ) == [(4_000, 4_000)]
    clean(database_url)


def test_concurrent_imports_take_each_row_once(database_url: str, tmp_path: Path) -> None:
    file = given(
        tmp_path,
        *(row("completed", order_id=f"o{n}", stripe_transfer_id=f"tr_{n}") for n in range(2_000)),
    )
    command = [sys.executable, "-m", "scripts", "import", file, *MOVED, "--json"]
    environment = {**os.environ, "DATABASE_URL": database_url}
    both = [
        subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    told = [json.loads(one.communicate(timeout=60)[0]) for one in both]
    assert [one.returncode for one in both] == [0, 0]
    assert [one["imported"] + one["already_there"] for one in told] == [2_000, 2_000]
    assert selected(
        database_url, "select count(*), count(distinct originator_id) from ledger_events"
    ) == [(2_000, 2_000)]
