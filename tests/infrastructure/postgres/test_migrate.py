"""The migration runner, on directories of its own; the real migrations are tested with the event
store."""

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from infrastructure.postgres import migrate, migration_files

RUN = """
import sys
from pathlib import Path
from infrastructure.postgres import migrate, migration_files
migrate.up(sys.argv[1], directory=Path(sys.argv[2]), on_notice=lambda text: print(text, flush=True))
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    write(tmp_path, "0001_shops", "CREATE TABLE shops (id int);", "DROP TABLE shops;")
    write(
        tmp_path,
        "0002_sales",
        "CREATE TABLE sales (id int); CREATE TABLE refunds ();",
        "DROP TABLE sales, refunds;",
    )
    return tmp_path


def write(directory: Path, label: str, up: str, down: str = "") -> None:
    (directory / f"{label}.up.sql").write_text(up)
    (directory / f"{label}.down.sql").write_text(down)


def tables(url: str) -> set[str]:
    with psycopg.connect(url) as connection:
        return {
            name
            for (name,) in connection.execute(
                "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
            )
        }


def versions(changed: list[migration_files.Migration]) -> list[int]:
    return [migration.version for migration in changed]


def test_up_applies_pending_migrations_once_in_order(
    empty_database_url: str, directory: Path
) -> None:
    assert versions(migrate.up(empty_database_url, directory=directory)) == [1, 2]
    assert tables(empty_database_url) == {"ledger_migrations", "shops", "sales", "refunds"}
    assert migrate.up(empty_database_url, directory=directory) == []


def test_up_and_down_stop_at_requested_version(empty_database_url: str, directory: Path) -> None:
    assert versions(migrate.up(empty_database_url, 1, directory=directory)) == [1]
    assert versions(migrate.up(empty_database_url, directory=directory)) == [2]
    assert versions(migrate.down(empty_database_url, 1, directory=directory)) == [2]
    assert tables(empty_database_url) == {"ledger_migrations", "shops"}


def test_down_to_zero_leaves_only_the_record(empty_database_url: str, directory: Path) -> None:
    migrate.up(empty_database_url, directory=directory)
    assert versions(migrate.down(empty_database_url, 0, directory=directory)) == [2, 1]
    assert tables(empty_database_url) == {"ledger_migrations"}
    assert versions(migrate.up(empty_database_url, directory=directory)) == [1, 2]


def test_status_lists_applied_and_changes_nothing(empty_database_url: str, directory: Path) -> None:
    assert [one.applied_at for one in migrate.status(empty_database_url, directory=directory)] == [
        None,
        None,
    ]
    assert tables(empty_database_url) == set()
    migrate.up(empty_database_url, 1, directory=directory)
    first, second = migrate.status(empty_database_url, directory=directory)
    assert (first.version, first.name, first.remark, second.applied_at) == (1, "shops", "", None)
    assert first.applied_at is not None
    assert first.applied_at.utcoffset() is not None


def test_edited_applied_file_is_refused(empty_database_url: str, directory: Path) -> None:
    migrate.up(empty_database_url, 1, directory=directory)
    (directory / "0001_shops.up.sql").write_text("CREATE TABLE shops (id bigint);")
    with pytest.raises(
        migration_files.EditedMigration,
        match=r"^Migration 0001_shops was edited after it was applied: [^.]*\.$",
    ):
        migrate.up(empty_database_url, directory=directory)
    assert "sales" not in tables(empty_database_url)
    assert (
        migrate.status(empty_database_url, directory=directory)[0].remark
        == "edited after it was applied"
    )


def test_database_of_newer_release_is_refused(
    empty_database_url: str, directory: Path, tmp_path: Path
) -> None:
    migrate.up(empty_database_url, directory=directory)
    for file in directory.glob("0002_*"):
        file.unlink()
    with pytest.raises(
        migration_files.UnknownVersion,
        match="is at version 2, this release knows 1: run the newer release",
    ):
        migrate.up(empty_database_url, directory=directory)
    assert (
        migrate.status(empty_database_url, directory=directory)[1].remark
        == "this release has no such file"
    )


def test_database_of_a_development_version_is_refused(empty_database_url: str) -> None:
    with psycopg.connect(empty_database_url) as connection:
        connection.execute(migrate.RECORD.read_bytes())
        add = "INSERT INTO ledger_migrations (version, name, sha256) VALUES (%s, %s, %s)"
        connection.execute(add, (1, "events", migrate.DEVELOPMENT_SHA256))
        connection.execute(add, (14, "unpaid_orders", "0" * 64))
    named = r"^This database was made by an unreleased development version \(.* are 0001_events, 0014_unpaid_orders\): "
    with pytest.raises(migration_files.DevelopmentDatabase, match=named + "create a new database"):
        migrate.up(empty_database_url)
    with pytest.raises(migration_files.DevelopmentDatabase, match=named):
        migrate.down(empty_database_url, 0)
    assert tables(empty_database_url) == {"ledger_migrations"}
    assert [one.version for one in migrate.status(empty_database_url) if one.applied_at] == [1, 14]


def test_failing_migration_is_undone_and_earlier_ones_kept(
    empty_database_url: str, directory: Path
) -> None:
    write(directory, "0003_wrong", "CREATE TABLE half ();\nSELECT nonsense;")
    with pytest.raises(
        migration_files.MigrationFailed,
        match=r"0003_wrong\.up\.sql failed: .*nonsense.* \(line 2\)",
    ):
        migrate.up(empty_database_url, directory=directory)
    assert tables(empty_database_url) == {"ledger_migrations", "shops", "sales", "refunds"}
    write(directory, "0003_wrong", "CREATE TABLE whole ();")
    assert versions(migrate.up(empty_database_url, directory=directory)) == [3]


def test_file_ending_its_transaction_is_refused(empty_database_url: str, directory: Path) -> None:
    write(directory, "0003_commits", "SELECT 1; COMMIT;")
    with pytest.raises(migration_files.MigrationFailed, match="ends the transaction"):
        migrate.up(empty_database_url, directory=directory)


def test_killed_run_is_finished_by_next(empty_database_url: str, directory: Path) -> None:
    write(
        directory,
        "0003_slow",
        "CREATE TABLE half (); DO $$ BEGIN RAISE NOTICE 'midway'; END $$; SELECT pg_sleep(60);",
    )
    with subprocess.Popen(
        [sys.executable, "-c", RUN, empty_database_url, str(directory)],
        stdout=subprocess.PIPE,
        text=True,
    ) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "midway\n"
        run.send_signal(signal.SIGKILL)
    end_abandoned_statements(empty_database_url)
    assert tables(empty_database_url) == {"ledger_migrations", "shops", "sales", "refunds"}
    write(directory, "0003_slow", "CREATE TABLE half ();")
    assert versions(migrate.up(empty_database_url, directory=directory)) == [3]


def end_abandoned_statements(url: str) -> None:
    """PostgreSQL notices that a client is gone when it next writes to it; the test does not wait a
    minute for that."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def test_concurrent_runs_apply_once(empty_database_url: str, directory: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        runs = list(
            pool.map(lambda _: migrate.up(empty_database_url, directory=directory), range(8))
        )
    assert sorted(version for run in runs for version in versions(run)) == [1, 2]


def test_server_notices_are_shown(empty_database_url: str, directory: Path) -> None:
    write(directory, "0003_talks", "DO $$ BEGIN RAISE WARNING 'three rows are wrong'; END $$;")
    heard: list[str] = []
    migrate.up(empty_database_url, directory=directory, on_notice=heard.append)
    assert heard == ["three rows are wrong"]


def test_percent_signs_and_unicode_reach_server(empty_database_url: str, directory: Path) -> None:
    write(directory, "0003_text", "CREATE TABLE words AS SELECT '100 %s – naïve %'::text AS word;")
    migrate.up(empty_database_url, directory=directory)
    with psycopg.connect(empty_database_url) as connection:
        assert connection.execute("SELECT word FROM words").fetchone() == ("100 %s – naïve %",)


def test_unknown_version_is_refused(empty_database_url: str, directory: Path) -> None:
    for ask in (migrate.up, migrate.down):
        for version in (-1, 3):
            with pytest.raises(migration_files.UnknownVersion, match="the versions are 0"):
                ask(empty_database_url, version, directory=directory)


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (
            lambda directory: (directory / "0002_sales.down.sql").unlink(),
            "0002_sales.down.sql is missing",
        ),
        (lambda directory: write(directory, "0004_gap", ""), "without gaps or twins"),
        (lambda directory: write(directory, "0002_twin", ""), "without gaps or twins"),
        (
            lambda directory: (directory / "3_short.sql").touch(),
            "is not named like 0001_name.up.sql",
        ),
        (shutil.rmtree, "found none"),
    ],
)
def test_files_without_numbered_pairs_are_refused(
    directory: Path, spoil: Callable[[Path], object], complaint: str
) -> None:
    spoil(directory)
    with pytest.raises(migration_files.InvalidMigrations, match=complaint):
        migration_files.read_migrations(directory)
