"""Progress bar of long work on a terminal; nothing elsewhere."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

INTERVAL = 0.2
"""Seconds between two readings of the progress."""


@asynccontextmanager
async def progress(
    text: Callable[[], str], part: Callable[[], float | None], console: Console | None = None
) -> AsyncIterator[None]:
    """Show a bar on standard error while the work lasts. `part`: the part that is done, from 0 to
    1; None if that is not known."""
    console = console or Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn())
    bar = Progress(
        *columns,
        TimeElapsedColumn(),
        console=console,
        transient=True,
        redirect_stdout=sys.stdout.isatty(),  # lines in a file or a pipe stay there
        redirect_stderr=False,
    )
    with bar:
        showing = asyncio.create_task(_show(bar, text, part))
        try:
            yield
        finally:
            showing.cancel()
            with suppress(asyncio.CancelledError):
                await showing


async def _show(bar: Progress, text: Callable[[], str], part: Callable[[], float | None]) -> None:
    task = bar.add_task(text(), total=None)
    while True:
        done = part()
        known = None if done is None else 1.0
        bar.update(task, description=text(), total=known, completed=done or 0.0)
        await asyncio.sleep(INTERVAL)
