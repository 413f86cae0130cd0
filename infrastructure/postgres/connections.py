"""Connections to PostgreSQL: autocommit, UTC, and a limit on the time until a dead peer is
noticed."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TypeVar

import psycopg
from psycopg import AsyncConnection
from psycopg.conninfo import make_conninfo
from psycopg.rows import TupleRow, class_row
from psycopg_pool import AsyncConnectionPool

Connection = AsyncConnection[TupleRow]
Pool = AsyncConnectionPool[Connection]
Values = Mapping[str, object] | Sequence[object]

Row = TypeVar("Row")

CONNECT_TIMEOUT = timedelta(seconds=5)
STATEMENT_TIMEOUT = timedelta(seconds=30)

# With these, a vanished peer is noticed after about ten seconds instead of the system's two hours.
_LIVENESS = {
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}


async def connect(database_url: str) -> Connection:
    """Open one connection, for a writer or a listener. Raises psycopg.OperationalError."""
    connection = await AsyncConnection.connect(_with_liveness(database_url), autocommit=True)
    try:
        await prepare(connection)
    except BaseException:
        await connection.close()
        raise
    return connection


def new_pool(database_url: str, max_size: int = 10) -> Pool:
    """Make a pool, not yet open, of prepared connections in autocommit."""
    return AsyncConnectionPool(
        _with_liveness(database_url),
        min_size=1,
        max_size=max_size,
        kwargs={"autocommit": True},
        configure=prepare,
        open=False,
        timeout=10,
    )


def connect_blocking(
    database_url: str, statement_timeout: timedelta = STATEMENT_TIMEOUT
) -> psycopg.Connection[TupleRow]:
    """Open one blocking connection, for a program without concurrency. Raises
    psycopg.OperationalError."""
    connection = psycopg.connect(_with_liveness(database_url), autocommit=True)
    connection.execute("set timezone to 'UTC'")
    connection.execute(
        f"set statement_timeout to {int(statement_timeout.total_seconds() * 1000)}".encode()
    )
    return connection


def _with_liveness(database_url: str) -> str:
    return make_conninfo(
        database_url, connect_timeout=int(CONNECT_TIMEOUT.total_seconds()), **_LIVENESS
    )


async def prepare(connection: Connection) -> None:
    """Set up a session: times come back in UTC, and every statement has a time limit."""
    await connection.execute("set timezone to 'UTC'")
    await connection.execute(
        f"set statement_timeout to {int(STATEMENT_TIMEOUT.total_seconds() * 1000)}".encode()
    )


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


async def fetch_rows(pool: Pool, kind: type[Row], query: bytes, values: Values = ()) -> list[Row]:
    """Run one query and return its rows as objects of a class whose fields are named like the
    columns."""
    async with (
        pool.connection() as connection,
        connection.cursor(row_factory=class_row(kind)) as cursor,
    ):
        await cursor.execute(query, values)
        return await cursor.fetchall()
