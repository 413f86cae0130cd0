"""The newest end of each check: verify, reconcile and seal. The overview shows them."""

from datetime import datetime
from typing import Literal, NamedTuple

import psycopg
from psycopg.rows import TupleRow

from infrastructure.postgres.connections import Pool, execute, fetch_rows
from infrastructure.postgres.named_queries import queries

SQL = queries("machine_state")
CheckKind = Literal["verify", "reconcile", "seal"]


class CheckRun(NamedTuple):
    """The newest end of one kind of check."""

    kind: str
    finished_at: datetime
    findings: int
    position: int | None
    """Of the newest fact that the check covered."""
    detail: str


class CheckRuns:
    """The checks that have ended."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def newest(self) -> dict[str, CheckRun]:
        """Return the newest run of each kind; a kind that never ran is missing."""
        return {run.kind: run for run in await fetch_rows(self._pool, CheckRun, SQL["checks"])}

    async def record(
        self, kind: CheckKind, findings: int, detail: str, position: int | None = None
    ) -> None:
        """Record the end of a check."""
        await execute(self._pool, SQL["record_check"], _values(kind, findings, detail, position))


def record_check(
    connection: psycopg.Connection[TupleRow],
    kind: CheckKind,
    findings: int,
    detail: str,
    position: int | None = None,
) -> bool:
    """Record the end of a check on a connection in autocommit; return False where this role or
    server only reads."""
    try:
        connection.execute(SQL["record_check"], _values(kind, findings, detail, position))
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.ReadOnlySqlTransaction):
        return False
    return True


def _values(kind: CheckKind, findings: int, detail: str, position: int | None) -> dict[str, object]:
    return {"kind": kind, "findings": findings, "detail": detail, "position": position}
