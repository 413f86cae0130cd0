"""Check that Stripe's books, the facts and the rows of PostgreSQL agree, for the end of every
scenario.

Everything is read from outside: one snapshot of the database on a second connection, and the
simulator's own ledger.
"""

import asyncio

from psycopg import IsolationLevel
from psycopg.rows import args_row
from psycopg.sql import SQL, Composed, Identifier

from infrastructure.postgres.connections import Connection, Pool
from infrastructure.postgres.event_store import RecordedFact
from infrastructure.postgres.integrity.verify import verify
from infrastructure.simulation.book_comparison import AnyRow, Snapshot, compared
from infrastructure.simulation.in_memory.constraints import KINDS
from infrastructure.simulators.stripe import SimulatorControl

FACTS = """
    select originator_id, originator_version, topic, state, notification_id as position, digest
      from ledger_events order by notification_id
"""


async def books_agree(stripe: SimulatorControl, pool: Pool) -> None:
    """Raise an AssertionError that names every disagreement. No work may run meanwhile."""
    found = await disagreements(stripe, pool)
    # and the ledger's own verdict, which knows nothing of Stripe
    found += [
        str(finding)
        for finding in (
            await asyncio.to_thread(verify, str(pool.conninfo), [], None, lambda *_: None)
        ).findings
    ]
    assert not found, "the books disagree:\n" + "\n".join(found)


async def disagreements(stripe: SimulatorControl, pool: Pool) -> list[str]:
    """Return every disagreement as a sentence."""
    async with pool.connection() as connection:
        snapshot = await _snapshot(connection)
    return compared(snapshot, (await stripe.ledger())["transfers"], await stripe.violations())


async def _snapshot(connection: Connection) -> Snapshot:
    await connection.set_isolation_level(IsolationLevel.REPEATABLE_READ)
    try:
        async with connection.transaction():
            recorded = await _select(connection, SQL(FACTS), RecordedFact)
            rows = {
                table: await _select(connection, _all_of(table, kind), kind)
                for table, kind in KINDS.items()
            }
            inbox = await connection.execute(
                "select status, count(*) from webhook_inbox group by status"
            )
            return Snapshot(recorded, rows, dict(await inbox.fetchall()))
    finally:
        await connection.set_isolation_level(None)


async def _select(
    connection: Connection, query: Composed | SQL, kind: type[AnyRow]
) -> list[AnyRow]:
    async with connection.cursor(row_factory=args_row(kind)) as cursor:
        return await (await cursor.execute(query)).fetchall()


def _all_of(table: str, kind: type[AnyRow]) -> Composed:
    columns = SQL(", ").join(map(Identifier, kind._fields))
    return SQL("select {} from {}").format(columns, Identifier(table))
