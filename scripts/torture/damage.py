"""Damage during the torture: ended sessions and restarts of the server, as the log grows."""

import asyncio
import os
import random
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import psycopg

from infrastructure.postgres.connections import Connection, connect
from infrastructure.postgres.embedded.supervisor import command_line, first_line

SESSIONS = """
    select pid from pg_stat_activity
     where datname = current_database() and pid <> pg_backend_pid()
       and backend_type = 'client backend'
"""
RESTARTS = (signal.SIGQUIT, signal.SIGKILL, signal.SIGINT)
"""Immediate shutdown, kill -9 and fast shutdown of the server, in turns. Its supervisor starts it
again."""
PAUSE = 0.02


@dataclass(slots=True)
class Damage:
    """Ends a random session, among them those of the readers, and restarts the server, each after a
    number of facts."""

    database_url: str
    random: random.Random
    facts_per_termination: int
    restarts_wanted: int
    facts_per_restart: int
    cluster: Path | None
    """The data directory of a server that may be restarted."""
    terminations: int = 0
    restarts: int = 0

    async def run(self, head: Callable[[], int], done: asyncio.Event) -> None:
        """Do damage as `head`, the position of the newest fact, grows; until `done`, with the
        server up."""
        while not done.is_set():
            with suppress(psycopg.Error):
                async with await connect(self.database_url) as connection:
                    while not done.is_set():
                        await self._some(head(), connection)
                        await asyncio.sleep(PAUSE)
            await asyncio.sleep(PAUSE)

    @property
    def _next_restart(self) -> int:
        return (self.restarts + 1) * self.facts_per_restart

    async def _some(self, head: int, connection: Connection) -> None:
        if self.restarts_wanted > self.restarts and head > self._next_restart:
            await self._restart()
        if head > (self.terminations + 1) * self.facts_per_termination:
            await self._terminate(connection)

    async def _terminate(self, connection: Connection) -> None:
        rows = await (await connection.execute(SESSIONS)).fetchall()
        if rows:
            pid = self.random.choice(rows)[0]
            ended = await connection.execute("select pg_terminate_backend(%s)", (pid,))
            self.terminations += await ended.fetchone() == (True,)

    async def _restart(self) -> None:
        """Signal the server, and wait until it has ended and another one answers."""
        assert self.cluster is not None
        pid = int(first_line(self.cluster / "postmaster.pid"))
        if str(self.cluster) not in command_line(str(pid)):
            return  # the number is that of a server that has ended
        os.kill(pid, RESTARTS[self.restarts % len(RESTARTS)])
        while str(self.cluster) in command_line(str(pid)):  # noqa: ASYNC110 - another's process
            await asyncio.sleep(PAUSE)
        for _ in count():
            try:
                await (await connect(self.database_url)).close()
                break
            except psycopg.Error:
                await asyncio.sleep(PAUSE)
        self.restarts += 1
