"""Checks that the overview shows: `verify` and `seal` record their newest end."""

import asyncio

import psycopg

from infrastructure.bootstrap import stored
from infrastructure.postgres.check_runs import CheckRuns, record_check
from infrastructure.settings import settings_from
from tests.scripts.test_command_line import run
from tests.support.service import LedgerCaller


async def test_verify_and_seal_record_their_end(database_url: str) -> None:
    async with stored(settings_from({"DATABASE_URL": database_url})) as storage:
        await LedgerCaller(storage).order("o1", 1_000, ada=1_000)
        for command in ("verify", "seal"):
            ended = await asyncio.to_thread(run, command, DATABASE_URL=database_url)
            assert ended.returncode == 0, ended.stderr
        runs = await CheckRuns(storage.pool).newest()
        assert {kind: (one.findings, one.position) for kind, one in runs.items()} == {
            "verify": (0, 1),
            "seal": (0, 1),
        }


def test_check_on_a_server_that_only_reads_is_not_recorded(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("set default_transaction_read_only = on")
        assert record_check(connection, "verify", 0, "No findings.") is False
        connection.execute("set default_transaction_read_only = off")
        assert record_check(connection, "verify", 0, "No findings.") is True
