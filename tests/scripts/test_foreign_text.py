"""Commands show text from outside as it is: no markup, no terminal escapes, no formulas."""

import csv
import io

from domain.order.state import Share
from infrastructure.bootstrap import stored
from infrastructure.settings import settings_from
from tests.scripts.test_command_line import run

FOREIGN = "No such account [/x] [bold] \x1b]0;owned\x07 \u202e"
SHOWN = "No such account [/x] [bold] \\x1b]0;owned\\x07 \\u202e"


async def test_alarm_with_markup_and_escapes_is_shown_as_it_is(database_url: str) -> None:
    async with stored(settings_from({"DATABASE_URL": database_url})) as storage:
        await storage.alarms.raise_alarm("webhook_dead", "[/red]", FOREIGN)
    listed = run("alarms", DATABASE_URL=database_url)
    assert listed.returncode == 0, listed.stderr
    assert SHOWN in listed.stdout
    assert "[/red]" in listed.stdout
    assert "\x1b" not in listed.stdout


async def test_ids_that_look_like_markup_or_formulas_are_text(database_url: str) -> None:
    async with stored(settings_from({"DATABASE_URL": database_url})) as storage:
        share = Share(seller_id="=ada", destination="acct_ada", amount=900)
        await storage.commands.orders.register(
            order_id="[/x]=1+1", currency="EUR", amount=900, shares=[share]
        )
        await storage.commands.orders.record_payment("[/x]=1+1", None, None, "api")
    listed = run("transfers", DATABASE_URL=database_url)
    assert listed.returncode == 0, listed.stderr
    assert "[/x]=1+1" in listed.stdout
    period = ("--from", "2001-01-01T00:00:00Z", "--to", "2999-01-01T00:00:00Z")
    stated = run("statement", "=ada", *period, "--csv", DATABASE_URL=database_url)
    lines = list(csv.DictReader(io.StringIO(stated.stdout)))
    assert {line["seller_id"] for line in lines} <= {"'=ada"}


def test_error_message_repeats_no_terminal_escape(database_url: str) -> None:
    failed = run("history", "\x1b]0;owned\x07", DATABASE_URL=database_url)
    assert failed.returncode == 2
    assert "\\x1b]0;owned\\x07" in failed.stderr
    assert "\x1b" not in failed.stderr
