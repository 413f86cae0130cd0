"""Registration of a command: an example for its help, the log format, an event loop, its result as
the exit code."""

import asyncio
import inspect
import os
from collections.abc import Callable
from functools import wraps
from typing import TypeVar

import typer

from infrastructure.log_config import configure_logs, level_in

Function = TypeVar("Function", bound=Callable[..., object])


def new_app(summary: str | None = None) -> typer.Typer:
    """Make the list of a module's commands. `summary` makes a group of them, as `inbox` is."""
    return typer.Typer(
        help=summary,
        no_args_is_help=summary is not None,
        add_completion=False,
        pretty_exceptions_enable=False,
    )


def command(
    app: typer.Typer, example: str, name: str | None = None
) -> Callable[[Function], Function]:
    """Register a function or coroutine function; an `int` that it returns is the exit code."""

    def register(function: Function) -> Function:
        @wraps(function)
        def run(**arguments: object) -> None:
            configure_logs(level_in(os.environ))
            result = function(**arguments)
            code = asyncio.run(result) if inspect.iscoroutine(result) else result
            if isinstance(code, int):
                raise typer.Exit(code)

        app.command(name, epilog=f"Example: {example}")(run)
        return function

    return register
