"""Checks of a database server before the ledger uses it: reachable, writable, UTF8, and a session
that survives its transactions."""

import asyncio
from datetime import timedelta
from time import monotonic

import psycopg
import structlog
from psycopg_pool import PoolTimeout

from domain.errors import LedgerError
from infrastructure.postgres.connections import Connection, Pool, connect

SHORTEST_OPENING = 1.0
"""Seconds that a pool has for its first connection, however short LEDGER_START_TIMEOUT is."""
PAUSE = 0.5
"""Seconds between two attempts to connect."""
POOLER_ANSWERS = 5.0
"""Seconds after which a pooler that gives no second server connection counts as one that lends its
connections for single transactions."""
STATEMENT_POOLING = "not allowed in statement pooling mode"
"""In PgBouncer's refusal of a transaction, whose SQLSTATE says only that its protocol is broken."""
WRONG_SETTING = (
    "does not exist",
    "authentication failed",
    "no pg_hba.conf entry",
    "no password supplied",
    "permission denied",
)
"""Parts of connection errors that waiting does not cure. libpq gives no SQLSTATE for them."""

log = structlog.get_logger()


class NotNow(LedgerError):
    """The command could not run at this time. The settings may be right."""

    code = "not_now"


class UnusableServer(LedgerError):
    """The server, or the way to it, cannot hold a ledger."""

    code = "unusable_server"


async def await_server(
    url: str, patience: timedelta, *, writable: bool, pooled: bool = False
) -> None:
    """Return when the server can be used; wait for it at most `patience`, and say so once.

    `pooled`: a pooler in transaction mode is no obstacle, as for migrations. Raises NotNow,
    UnusableServer, and psycopg.OperationalError for a wrong setting.
    """
    deadline, said = monotonic() + patience.total_seconds(), False
    while True:
        try:
            await _check(url, writable, pooled)
            return
        except psycopg.OperationalError as error:
            if is_wrong_setting(error):
                raise
            why = " ".join(str(error).split())
        if monotonic() + PAUSE > deadline:
            raise NotNow(f"The database cannot be used now ({why}); start it, or try again later.")
        if not said:
            log.warning("waiting for the database", seconds=patience.total_seconds(), error=why)
            said = True
        await asyncio.sleep(PAUSE)


async def open_pool(pool: Pool, url: str, patience: timedelta) -> None:
    """Open a pool within `patience`, or a second. Raises NotNow with the reason, which the pool
    does not tell."""
    seconds = max(patience.total_seconds(), SHORTEST_OPENING)
    try:
        await pool.open(wait=True, timeout=seconds)
    except PoolTimeout as late:
        try:
            await (await connect(url)).close()
            why = "the server answers slowly"
        except psycopg.OperationalError as error:
            why = " ".join(str(error).split())
        raise NotNow(
            f"No connection for the pool within {seconds:g} s ({why}); check the limits of "
            "connections of server, database and role, or try again later."
        ) from late


def is_wrong_setting(error: psycopg.OperationalError) -> bool:
    """Return True if the connection failed for a reason that waiting does not cure."""
    return any(part in str(error) for part in WRONG_SETTING)


async def _check(url: str, writable: bool, pooled: bool) -> None:
    connection = await connect(url)
    try:
        encoding = connection.info.parameter_status("server_encoding")
        if encoding != "UTF8":
            raise UnusableServer(
                f"The database {connection.info.dbname!r} has the encoding {encoding}, expected "
                "UTF8; create it with `create database NAME encoding 'UTF8' template template0`."
            )
        if not pooled and await _is_pooled_by_transaction(url, connection):
            raise UnusableServer(
                "The database is reached through a connection pooler in transaction mode "
                "(PgBouncer: pool_mode = transaction), which keeps no session; use session mode, "
                "or the port of PostgreSQL itself."
            )
        if writable and await is_read_only(connection):
            raise psycopg.OperationalError("the server is read only")
    finally:
        await connection.close()


async def is_read_only(connection: Connection) -> bool:
    """Return True on a standby, and on a server that was made read only."""
    row = await (await connection.execute("show transaction_read_only")).fetchone()
    return row != ("off",)


async def _is_pooled_by_transaction(url: str, connection: Connection) -> bool:
    """Find out whether another client's transaction takes our server connection away.

    Without a pooler, the server's process is the one that the start of the session named.
    """
    if await _server_process(connection) == connection.info.backend_pid:
        return False
    other = await connect(url)
    try:
        async with asyncio.timeout(POOLER_ANSWERS):
            for _ in range(3):
                before = await _server_process(connection)
                async with other.transaction():
                    await other.execute("select 1")
                    if await _server_process(connection) != before:
                        return True
    except TimeoutError:
        return True
    except psycopg.DatabaseError as error:
        if STATEMENT_POOLING not in str(error):
            raise
        return True
    finally:
        await other.close()
    return False


async def _server_process(connection: Connection) -> int:
    row = await (await connection.execute("select pg_backend_pid()")).fetchone()
    assert row is not None
    return int(row[0])
