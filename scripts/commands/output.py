"""Output that several commands share: JSON arrays and tables."""

import json
from collections.abc import Iterable

import typer
from rich.console import Console
from rich.table import Table

WIDTH = 240
"""Columns of a table that is not printed on a terminal."""


def print_json(rows: Iterable[object]) -> None:
    """Print rows as one JSON array."""
    typer.echo(json.dumps(list(rows), indent=2, default=str))


def print_table(table: Table) -> None:
    """Print a table in the width of the terminal."""
    Console(width=None if Console().is_terminal else WIDTH).print(table)
