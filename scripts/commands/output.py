"""Output that several commands share: JSON arrays, tables, and lines of text. Text from outside is
never markup, and never obeyed by the terminal."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from decimal import Decimal

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from domain.currency import HUNDREDTHS, LEDGER
from infrastructure.visible_text import visible

WIDEST = 100_000
"""Columns of a table, more than any has."""


def print_json(rows: Iterable[object]) -> None:
    """Print rows as one JSON array."""
    typer.echo(json.dumps(list(rows), indent=2, default=str))


def print_result(as_json: bool, row: Mapping[str, object], sentence: str) -> None:
    """Print the result of a command that changes one thing: a sentence, or an array of one row."""
    if as_json:
        print_json([row])
    else:
        print_line(sentence)


def print_line(text: str, *, err: bool = False) -> None:
    """Print one line, on standard error with `err`."""
    typer.echo(visible(text), err=err)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table whose cells are whole: on a terminal that is too narrow for it, each row
    becomes lines of its own."""
    cells = [[visible(cell) for cell in row] for row in rows]
    table = Table(*columns)
    for row in cells:
        table.add_row(*(Text(cell) for cell in row))
    console = Console()
    natural = console.measure(table, options=console.options.update(max_width=WIDEST)).maximum
    if console.is_terminal and natural > console.width:
        _print_records(columns, cells)
    else:
        Console(width=natural).print(table)


def _print_records(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print each row as lines of a column and its cell; the terminal wraps long lines, and copies
    them as one."""
    width = max(map(len, columns))
    for row in rows:
        for column, cell in zip(columns, row, strict=True):
            if cell:
                typer.echo(f"{column:<{width}}  {cell}")
        typer.echo("")


def money(amount: int, currency: str) -> str:
    """Format an amount in minor units as people read it, such as `12.50 EUR`."""
    decimals = LEDGER.get(currency, HUNDREDTHS).decimals
    return f"{Decimal(amount).scaleb(-decimals):,.{decimals}f} {currency}"


def age(span: timedelta) -> str:
    """Format a duration by its largest unit, such as `3 h`."""
    seconds = max(0, int(span.total_seconds()))
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
