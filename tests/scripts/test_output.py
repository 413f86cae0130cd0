"""Output for people: whole cells in tables, amounts and ages, the progress bar."""

import asyncio
import io
from datetime import timedelta
from uuid import uuid4

import pytest
from rich.console import Console

from scripts.commands import output
from scripts.commands.output import age, money, print_table
from scripts.commands.progress import INTERVAL, progress

COLUMNS = ("transfer", "order", "detail")


class Terminal(Console):
    """A console of 60 columns that counts as a terminal."""

    def __init__(self, width: int | None = None) -> None:
        super().__init__(force_terminal=True, width=width or 60, no_color=True)


def test_narrow_terminal_shows_each_id_on_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "Console", Terminal)
    row = (str(uuid4()), "order-" + "x" * 80, "")
    print_table(COLUMNS, [row])
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"transfer  {row[0]}", f"order     {row[1]}", ""]


def test_wide_table_in_a_file_is_whole(capsys: pytest.CaptureFixture[str]) -> None:
    row = (str(uuid4()), "order-" + "x" * 300, "a detail")
    print_table(COLUMNS, [row])
    shown = capsys.readouterr().out
    assert all(cell in shown for cell in row)


@pytest.mark.parametrize(
    ("amount", "currency", "shown"),
    [
        (1_250, "EUR", "12.50 EUR"),
        (123_456, "JPY", "123,456 JPY"),
        (1_001, "KWD", "1.001 KWD"),
        (2**60 + 1, "EUR", "11,529,215,046,068,469.77 EUR"),
    ],
)
def test_amount_is_shown_in_its_currency(amount: int, currency: str, shown: str) -> None:
    assert money(amount, currency) == shown


def test_age_has_the_largest_unit() -> None:
    spans = [timedelta(seconds=59), timedelta(minutes=61), timedelta(hours=47), timedelta(days=-1)]
    assert [age(span) for span in spans] == ["59 s", "1 h", "1 d", "0 s"]


@pytest.mark.parametrize("terminal", [True, False])
async def test_progress_is_shown_on_a_terminal_only(terminal: bool) -> None:
    file, seen = io.StringIO(), asyncio.Event()

    def part() -> float:
        seen.set()
        return 0.5

    console = Console(file=file, force_terminal=terminal, width=80)
    async with progress(lambda: "7 of [14] lists", part, console):
        if terminal:
            async with asyncio.timeout(10 + INTERVAL):
                await seen.wait()
    shown = file.getvalue()
    assert ("7 of [14] lists" in shown and "50%" in shown) is terminal
    assert terminal or shown == ""
