"""Listener (LISTEN) that wakes tasks on news in the database. A wake-up is a hint to look, never a
message.

A lost connection may have lost notifications, so each reconnect wakes all tasks once.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable
from datetime import timedelta

import psycopg
from psycopg.sql import SQL, Identifier

from infrastructure.postgres.connections import Connection, connect
from infrastructure.postgres.server_checks import is_read_only

Wake = Callable[[], object]

PROBE_INTERVAL = timedelta(seconds=5)
LONGEST_PROBE = 10.0
"""Seconds after which a connection without an answer counts as lost."""
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 2.0

log = logging.getLogger(__name__)


class Listener:
    """One connection that listens to all channels. Register with `on`, then `start`; `aclose`
    after."""

    def __init__(self, database_url: str, probe_interval: timedelta = PROBE_INTERVAL) -> None:
        """Set `probe_interval`, the time without notifications after which the connection is
        tested."""
        self._url, self._probe = database_url, probe_interval.total_seconds()
        self._wakes: defaultdict[str, list[Wake]] = defaultdict(list)
        self._connection: Connection | None = None
        self._task: asyncio.Task[None] | None = None

    def on(self, channel: str, wake: Wake) -> None:
        """Call `wake` (quick, such as `asyncio.Event.set`) for each notification. Only before
        `start`."""
        self._wakes[channel].append(wake)

    async def start(self) -> None:
        """Listen from the return of this call on. Raises psycopg.OperationalError if the database
        cannot be reached."""
        self._connection = await self._listening()
        self._task = asyncio.create_task(self._run(), name="listener")

    async def aclose(self) -> None:
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._disconnect()

    async def _run(self) -> None:
        pause = FIRST_PAUSE
        while True:
            try:
                if self._connection is None:
                    self._connection = await self._listening()
                    self._wake_all()
                await self._follow(self._connection)
                pause = FIRST_PAUSE
            except Exception as error:
                log.warning("the listener lost its connection: %s", " ".join(str(error).split()))
                await self._disconnect()
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)

    async def _follow(self, connection: Connection) -> None:
        """Pass on the notifications of one probe interval. Raises when the connection is lost."""
        async for notification in connection.notifies(timeout=self._probe):
            self._wake(notification.channel)
        async with asyncio.timeout(LONGEST_PROBE):
            await _require_writable(connection)

    async def _listening(self) -> Connection:
        connection = await connect(self._url)
        try:
            await _require_writable(connection)
            for channel in self._wakes:
                await connection.execute(SQL("listen {}").format(Identifier(channel)))
        except BaseException:
            await connection.close()
            raise
        return connection

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection:
            await connection.close()

    def _wake_all(self) -> None:
        for channel in self._wakes:
            self._wake(channel)

    def _wake(self, channel: str) -> None:
        for wake in self._wakes[channel]:
            try:
                wake()
            except Exception:
                log.exception("a listener of %s failed", channel)


class ReadOnlyServer(psycopg.OperationalError):
    """The server takes no writes, so it sends no notifications: after a fail-over, the news are at
    another server."""

    def __init__(self) -> None:
        super().__init__("the server is read only")


async def _require_writable(connection: Connection) -> None:
    if await is_read_only(connection):
        raise ReadOnlyServer
