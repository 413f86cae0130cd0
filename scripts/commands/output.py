"""Output that several commands share: JSON arrays, tables, and lines of text. Text from outside is
never markup, and never obeyed by the terminal."""

import json
from collections.abc import Iterable, Sequence

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from infrastructure.visible_text import visible

WIDTH = 240
"""Columns of a table that is not printed on a terminal."""


def print_json(rows: Iterable[object]) -> None:
    """Print rows as one JSON array."""
    typer.echo(json.dumps(list(rows), indent=2, default=str))


def print_line(text: str, *, err: bool = False) -> None:
    """Print one line, on standard error with `err`."""
    typer.echo(visible(text), err=err)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table in the width of the terminal."""
    table = Table(*columns)
    for row in rows:
        table.add_row(*(Text(visible(cell)) for cell in row))
    Console(width=None if Console().is_terminal else WIDTH).print(table)
