"""Connections to PostgreSQL: autocommit, known formats, and a limit on the time until a dead peer
is noticed."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import TypeVar

import psycopg
from psycopg import AsyncConnection
from psycopg.abc import PQGen
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import TupleRow, class_row
from psycopg_pool import AsyncConnectionPool

Connection = AsyncConnection[TupleRow]
Values = Mapping[str, object] | Sequence[object]

Row = TypeVar("Row")

CONNECT_TIMEOUT = timedelta(seconds=5)
STATEMENT_TIMEOUT = timedelta(seconds=30)
LONGEST_ANSWER = STATEMENT_TIMEOUT + timedelta(seconds=5)
"""Time after which a statement without an answer has failed, as its session is lost."""
IDLE_IN_TRANSACTION = timedelta(minutes=1)
"""The longest pause between two statements of a transaction of ours, unless its statements may take
longer. A frozen process must not keep locks and dead rows for ever."""
RECONNECT_TIMEOUT = 3.0
"""Seconds of one series of attempts of the pool. Its pauses double, so a longer series would leave
a service away for about as long again as the outage was."""
BY_INDEX = (
    b"set local enable_seqscan = off; set local enable_hashjoin = off; "
    b"set local enable_mergejoin = off; set local jit = off; "
    b"set local max_parallel_workers_per_gather = 0"
)
DEMOTED = "25006"
"""The SQLSTATE of a write on a server that is read only, such as the former primary."""

# With these, a vanished peer is noticed after about ten seconds instead of the system's two hours.
_LIVENESS = {
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "10000",
}


class BoundedConnection(AsyncConnection[TupleRow]):
    """A connection whose silent peer counts as lost: each statement is answered in time, or fails.

    The limit of the server (`statement_timeout`) is of no use when its answer does not arrive, and
    the kernel notices only a peer that acknowledges no packet. A device between the two, or a
    frozen pooler, may acknowledge all of them for ever.
    """

    async def wait(
        self, gen: PQGen[Row], interval: float = 0.1, timeout: float | None = None
    ) -> Row:
        """Wait for the answer of the server, at most `LONGEST_ANSWER`."""
        loop = asyncio.get_running_loop()
        giving_up = loop.call_later(LONGEST_ANSWER.total_seconds(), hang_up, self)
        try:
            return await super().wait(gen, interval, timeout)
        finally:
            giving_up.cancel()


def hang_up(connection: Connection) -> None:
    """End the waiting for an answer, without a cancel: the statement fails as if the connection
    were lost."""
    with (
        suppress(OSError, psycopg.Error),
        socket.socket(fileno=os.dup(connection.pgconn.socket)) as ours,
    ):
        ours.shutdown(socket.SHUT_RDWR)


class Pool(AsyncConnectionPool[Connection]):
    """A pool that replaces all its connections when one shows that the server is gone or read
    only."""

    @asynccontextmanager
    async def connection(self, timeout: float | None = None) -> AsyncIterator[Connection]:
        """Lend a connection. Errors of the caller's statements pass through."""
        lent: Connection | None = None
        try:
            async with super().connection(timeout) as lent:
                yield lent
        except psycopg.Error as error:
            if error.sqlstate == DEMOTED or (lent is not None and lent.closed):
                await self.drain()  # the others read from the same server
            raise


async def connect(database_url: str) -> Connection:
    """Open one connection, for a writer or a listener. Raises psycopg.OperationalError."""
    connection = await BoundedConnection.connect(conninfo(database_url), autocommit=True)
    try:
        await prepare(connection)
    except BaseException:
        await connection.close()
        raise
    return connection


def new_pool(database_url: str, max_size: int = 10) -> Pool:
    """Make a pool, not yet open, of prepared connections in autocommit."""
    return Pool(
        conninfo(database_url),
        connection_class=BoundedConnection,
        min_size=1,
        max_size=max_size,
        kwargs={"autocommit": True},
        configure=prepare,
        open=False,
        timeout=10,
        reconnect_timeout=RECONNECT_TIMEOUT,
    )


def connect_blocking(
    database_url: str, statement_timeout: timedelta = STATEMENT_TIMEOUT
) -> psycopg.Connection[TupleRow]:
    """Open one blocking connection, for a program without concurrency. Raises
    psycopg.OperationalError."""
    connection = psycopg.connect(conninfo(database_url), autocommit=True)
    connection.execute(session_settings(statement_timeout))
    return connection


def conninfo(database_url: str) -> str:
    """Return the parameters of a connection; of several hosts, the one that takes writes."""
    given = conninfo_to_dict(database_url)
    several = "," in str(given.get("host") or given.get("hostaddr") or "")
    writable = {"target_session_attrs": "read-write"} if several else {}
    ours = {"connect_timeout": str(int(CONNECT_TIMEOUT.total_seconds())), **_LIVENESS, **writable}
    theirs = {name: str(given[name]) for name in ours if name in given}
    return make_conninfo(database_url, client_encoding="UTF8", **{**ours, **theirs})


def session_settings(statement_timeout: timedelta = STATEMENT_TIMEOUT) -> bytes:
    """Return the statements that set up a session, whatever the defaults of database and role are:
    values have the formats that psycopg reads, and every statement has a time limit."""
    longest = max(IDLE_IN_TRANSACTION, statement_timeout)
    return (
        "set timezone to 'UTC'; set datestyle to 'ISO, MDY'; set intervalstyle to 'postgres'; "
        "set standard_conforming_strings to on; "
        f"set statement_timeout to {int(statement_timeout.total_seconds() * 1000)}; "
        "set idle_in_transaction_session_timeout to "
        f"{int(longest.total_seconds() * 1000)}"
    ).encode()


async def prepare(connection: Connection) -> None:
    """Set up a session."""
    await connection.execute(session_settings())


async def execute(pool: Pool, query: bytes, values: Values = ()) -> int:
    """Run one statement and return the number of its rows."""
    async with pool.connection() as connection:
        return (await connection.execute(query, values)).rowcount


async def fetch_one(pool: Pool, query: bytes, values: Values = ()) -> TupleRow | None:
    """Run one query and return its first row."""
    async with pool.connection() as connection:
        return await (await connection.execute(query, values)).fetchone()


async def fetch_all(pool: Pool, query: bytes, values: Values = ()) -> list[TupleRow]:
    """Run one query and return its rows."""
    async with pool.connection() as connection:
        return await (await connection.execute(query, values)).fetchall()


async def fetch_by_index(
    pool: Pool, kind: type[Row], query: bytes, values: Values = ()
) -> list[Row]:
    """Run one query that begins at few rows of large tables, planned for exactly these values.

    Without its settings the planner would scan a table as soon as some percent of its rows are
    open, and the time would grow with the settled ones.
    """
    async with (
        pool.connection() as connection,
        connection.transaction(),
        connection.cursor(row_factory=class_row(kind)) as cursor,
    ):
        await connection.execute(BY_INDEX)
        await cursor.execute(query, values, prepare=False)
        return await cursor.fetchall()


async def fetch_rows(pool: Pool, kind: type[Row], query: bytes, values: Values = ()) -> list[Row]:
    """Run one query and return its rows as objects of a class whose fields are named like the
    columns."""
    async with (
        pool.connection() as connection,
        connection.cursor(row_factory=class_row(kind)) as cursor,
    ):
        await cursor.execute(query, values)
        return await cursor.fetchall()
