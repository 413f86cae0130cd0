"""`--json` of every command that prints a result, and the author of a replayed webhook."""

import asyncio
import getpass
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from domain.identity import transfer_stream
from infrastructure.bootstrap import stored
from infrastructure.settings import settings_from
from scripts.cli import app
from tests.scripts.test_command_line import paid_order, run

WITHOUT_RESULT = {"serve", "worker", "simulate", "demo"}
"""Processes that run until they are stopped, and the demo, whose result is its exit code."""
MIA = ("--actor", "mia", "--reason", "a test")


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Yield each command of the tree, with its words."""
    for name in group.commands:
        one = group.get_command(None, name)
        if hasattr(one, "commands"):
            yield from commands(one, (*path, name))
        else:
            yield " ".join((*path, name)), one


def test_every_command_with_a_result_has_json() -> None:
    options = {
        name: {option for one in command.params for option in one.opts}
        for name, command in commands(typer.main.get_command(app))
    }
    without = {name for name, known in options.items() if "--json" not in known}
    assert without == WITHOUT_RESULT
    assert "inbox replay" in options


def rows(*arguments: str, **environment: str) -> Any:
    done = run(*arguments, "--json", **environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


async def test_acts_of_an_operator_print_json(database_url: str, tmp_path: Path) -> None:
    at = {"DATABASE_URL": database_url}
    transfer_id = str(transfer_stream(await paid_order(database_url), "s1"))
    seal = tmp_path / "seal.json"

    def acts() -> None:
        assert rows("retry", transfer_id, *MIA, **at) == [{"transfer_id": transfer_id, "due": True}]
        paused = {"scope": "everything", "paused": True, "changed": True}
        assert rows("pause", *MIA, **at) == [paused]
        assert rows("pause", *MIA, **at) == [paused | {"changed": False}]
        assert rows("resume", *MIA, **at) == [paused | {"paused": False}]
        (sealed,) = rows("seal", "--out", str(seal), **at)
        assert sealed == {"position": json.loads(seal.read_text())["position"], "file": str(seal)}

    await asyncio.to_thread(acts)


async def stored_webhook(database_url: str) -> int:
    async with stored(settings_from({"DATABASE_URL": database_url})) as storage:
        await storage.inbox.put("stripe", "evt_1", "transfer.updated", b"{}", storage.clock.now())
        (row,) = await storage.inbox.newest()
        return row.inbox_id


@pytest.mark.parametrize(
    ("said", "actor", "reason"),
    [
        (("--actor", "mia", "--reason", "the order is there"), "mia", "the order is there"),
        ((), f"user:{getpass.getuser()}", "replayed on the command line"),
    ],
)
async def test_replay_of_a_webhook_names_its_author(
    database_url: str, said: tuple[str, ...], actor: str, reason: str
) -> None:
    number = await stored_webhook(database_url)

    def acts() -> Any:
        at = {"DATABASE_URL": database_url}
        assert rows("inbox", "replay", str(number), *said, **at) == [
            {"inbox_id": number, "due": True}
        ]
        return rows("inbox", "show", str(number), **at)

    (shown,) = await asyncio.to_thread(acts)
    (decided,) = [one for one in shown["decisions"] if actor in one]
    assert reason in decided


async def test_erased_webhook_is_not_replayed(database_url: str) -> None:
    number, at = await stored_webhook(database_url), {"DATABASE_URL": database_url}

    def acts() -> None:
        rows("inbox", "discard", str(number), *MIA, **at)
        assert rows("inbox", "erase", str(number), **at) == [{"inbox_id": number, "erased": True}]
        refused = run("inbox", "replay", str(number), *MIA, **at)
        assert (refused.returncode, "was erased" in refused.stderr) == (2, True)
        (shown,) = rows("inbox", "show", str(number), **at)
        assert len(shown["decisions"]) == 2, "the refused replay is no fact"

    await asyncio.to_thread(acts)


@pytest.mark.parametrize("part", ["database", "simulators"])
def test_unusable_data_directory_is_one_line(database_url: str, tmp_path: Path, part: str) -> None:
    (tmp_path / "a-file").write_text("")
    given = {"DATABASE_URL": database_url} if part == "simulators" else {}
    refused = run("backfill", LEDGER_DATA_DIR=str(tmp_path / "a-file" / "data"), **given)
    (sentence,) = refused.stderr.strip().splitlines()
    assert (refused.returncode, "set LEDGER_DATA_DIR" in sentence) == (2, True)
