"""Loop that reports the progress of this process's loops, and keeps the samples of open money."""

import asyncio
import json
import os
import socket
from collections.abc import Sequence
from contextlib import suppress
from uuid import uuid4

import psycopg

from application.loop import Loop
from infrastructure.postgres.connections import Pool, execute
from infrastructure.postgres.named_queries import queries
from infrastructure.postgres.read_side.overview import Overview

SQL = queries("machine_state")
INTERVAL = 10.0
FAREWELL = 2.0
"""Seconds for the removal of the rows at the end; rows that stay show that the process is gone."""


class ProcessReports(Loop):
    """Loop that writes one row for each loop of this process. At the end it removes them."""

    def __init__(self, pool: Pool, loops: Sequence[Loop]) -> None:
        super().__init__()
        self._pool = pool
        self._loops: Sequence[Loop] = (*loops, self)
        self._process, self._host = uuid4(), socket.gethostname()
        self._started: float | None = None

    async def turn(self) -> float:
        """Report the loops, and sample the money once in a quarter of an hour."""
        now = asyncio.get_running_loop().time()
        self._started = self._started or now
        reports = [
            {
                "loop": name,
                "age": now - self._started,
                "idle": loop.idle_seconds(),
                "trouble": loop.trouble(),
            }
            for name, loop in _named(self._loops)
        ]
        values = {
            "process": self._process,
            "host": self._host,
            "pid": os.getpid(),
            "loops": json.dumps(reports),
        }
        await execute(self._pool, SQL["report_loops"], values)
        await Overview(self._pool).sample()
        return INTERVAL

    async def run(self) -> None:
        """Report until `stop`; then this process has no loops."""
        try:
            await super().run()
        finally:
            with suppress(psycopg.Error, TimeoutError):
                async with asyncio.timeout(FAREWELL):
                    await execute(self._pool, SQL["end_loops"], {"process": self._process})


def _named(loops: Sequence[Loop]) -> list[tuple[str, Loop]]:
    """Return the loops with their names; several of one name are numbered."""
    names = [loop.name for loop in loops]
    return [
        (name if names.count(name) == 1 else f"{name} {names[: index + 1].count(name)}", loop)
        for index, (name, loop) in enumerate(zip(names, loops, strict=True))
    ]
