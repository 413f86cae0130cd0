"""How this program connects: autocommit, UTC, and a limit on how long a dead peer goes unnoticed."""

from datetime import timedelta

import psycopg
from psycopg import AsyncConnection
from psycopg.conninfo import make_conninfo
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool

Connection = AsyncConnection[TupleRow]
Pool = AsyncConnectionPool[Connection]

CONNECT_TIMEOUT = timedelta(seconds=5)
STATEMENT_TIMEOUT = timedelta(seconds=30)

# A peer that vanished without a word is noticed after about ten seconds, not after the system's two hours.
_LIVENESS = {"keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3, "tcp_user_timeout": 10_000}


async def connect(database_url: str) -> Connection:
    """One connection of its own, for a writer or a listener. Raises psycopg.OperationalError."""
    connection = await AsyncConnection.connect(_watched(database_url), autocommit=True)
    try:
        await prepare(connection)
    except BaseException:
        await connection.close()
        raise
    return connection


def new_pool(database_url: str, max_size: int = 10) -> Pool:
    """A pool, not yet open, whose connections are in autocommit and speak UTC."""
    return AsyncConnectionPool(
        _watched(database_url),
        min_size=1,
        max_size=max_size,
        kwargs={"autocommit": True},
        configure=prepare,
        open=False,
        timeout=10,
    )


def connect_blocking(database_url: str, statement_timeout: timedelta = STATEMENT_TIMEOUT) -> psycopg.Connection[TupleRow]:
    """One connection for a program that does one thing at a time. Raises psycopg.OperationalError."""
    connection = psycopg.connect(_watched(database_url), autocommit=True)
    connection.execute("set timezone to 'UTC'")
    connection.execute(f"set statement_timeout to {int(statement_timeout.total_seconds() * 1000)}".encode())
    return connection


def _watched(database_url: str) -> str:
    return make_conninfo(database_url, connect_timeout=int(CONNECT_TIMEOUT.total_seconds()), **_LIVENESS)


async def prepare(connection: Connection) -> None:
    """Session settings: times come back in UTC, and no statement runs for ever."""
    await connection.execute("set timezone to 'UTC'")
    await connection.execute(f"set statement_timeout to {int(STATEMENT_TIMEOUT.total_seconds() * 1000)}".encode())
