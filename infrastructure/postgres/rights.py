"""Rights of the database roles, compared with the needs of a command before the command begins.

docs/deployment.md has the statements that grant them. The owner migrates, `serve`, `worker` and the
commands that decide need `OF_THE_APP`, and the reading commands need SELECT.
"""

from collections.abc import Sequence
from typing import NamedTuple

from domain.errors import LedgerError
from infrastructure.postgres.connections import Connection

REMEDY = (
    "run the statements of docs/deployment.md (Rights of the roles) as the owner of the database"
)


class MissingRight(LedgerError):
    """A database role lacks a right that the command needs."""

    code = "missing_right"

    def __init__(self, role: str, right: str, on: str, remedy: str = REMEDY) -> None:
        self.role, self.right, self.on = role, right, on
        super().__init__(f"The database role {role!r} lacks {right} on {on}; {remedy}.")


class Right(NamedTuple):
    """A privilege on a table, on one column of it, or on a function."""

    privilege: str
    on: str
    column: str | None = None


OF_THE_APP = (
    Right("EXECUTE", "ledger_append(json, json)"),
    Right("EXECUTE", "inbox_park(bigint, text, timestamptz, text)"),
    *(
        Right(privilege, table)
        for table in (
            "webhook_inbox",
            "webhook_polls",
            "alarms",
            "pace",
            "ledger_binding",
            "bulk_jobs",
        )
        for privilege in ("INSERT", "UPDATE")
    ),
    *(
        Right(privilege, table)
        for table in ("check_runs", "found_differences", "process_loops", "money_samples")
        for privilege in ("INSERT", "UPDATE", "DELETE")
    ),
    *(Right(privilege, "signed_out_sessions") for privilege in ("INSERT", "DELETE")),
    Right("UPDATE", "breaker"),
    *(
        Right("UPDATE", table, column)
        for table in ("seller_transfers", "refunds", "orders")
        for column in ("leased_by", "leased_until")
    ),
)
UNREADABLE = """
    select relname from pg_class
     where relnamespace = current_schema()::regnamespace and relkind = 'r'
       and not has_table_privilege(oid, 'SELECT')
     order by relname limit 1
"""


async def require_rights(connection: Connection, *, writes: bool) -> None:
    """Compare the rights of the session's role with those of a command. Raises MissingRight.

    Tables that do not exist yet are left to the comparison of schema versions.
    """
    row = await (await connection.execute("select current_schema(), current_user")).fetchone()
    assert row is not None
    schema, role = row
    if schema is None:
        raise MissingRight(role, "USAGE", "every schema of its search_path")
    unreadable = await (await connection.execute(UNREADABLE)).fetchone()
    if unreadable is not None:
        raise MissingRight(role, "SELECT", f"table {unreadable[0]}")
    for right in OF_THE_APP if writes else ():
        if await _lacks(connection, right):
            raise MissingRight(role, right.privilege, _named(right))


async def _lacks(connection: Connection, right: Right) -> bool:
    query, values = _question(right)
    row = await (await connection.execute(query, values)).fetchone()
    return row == (False,)


def _question(right: Right) -> tuple[bytes, Sequence[str]]:
    """Return the query; its answer is null for an object that does not exist."""
    if right.privilege == "EXECUTE":
        return b"select has_function_privilege(to_regprocedure(%s), %s)", (right.on, "EXECUTE")
    if right.column is None:
        return b"select has_table_privilege(to_regclass(%s), %s)", (right.on, right.privilege)
    return (
        b"select has_column_privilege(to_regclass(%s), %s, %s)",
        (right.on, right.column, right.privilege),
    )


def _named(right: Right) -> str:
    if right.privilege == "EXECUTE":
        return f"function {right.on}"
    return f"table {right.on}" + (f" (column {right.column})" if right.column else "")
