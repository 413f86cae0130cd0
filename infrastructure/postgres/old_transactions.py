"""Watch over transactions that have been open for long, of whichever program.

Such a transaction keeps every row that is replaced after its beginning: tables grow, and searches
read the dead rows. PostgreSQL shows the age of another role's transaction only to a member of
pg_read_all_stats, but the number of the transaction to every role.
"""

from collections.abc import Sequence
from datetime import timedelta
from time import monotonic
from typing import NamedTuple

from application.loop import Loop
from application.ports import Alarms
from infrastructure.postgres.connections import Pool, fetch_all

OLD_TRANSACTION, SUBJECT = "old_transaction", "database"
"""Kind and subject of the alarm."""
OLD = timedelta(minutes=5)
INTERVAL = 30.0
OPEN_TRANSACTIONS = b"""
    select l.virtualtransaction, a.pid, a.usename, coalesce(a.state, 'state unknown'),
           extract(epoch from clock_timestamp() - a.xact_start)::float8
      from pg_locks l join pg_stat_activity a using (pid)
     where l.locktype = 'virtualxid' and l.granted and l.virtualxid = l.virtualtransaction
       and a.datname = current_database() and a.usename is not null and a.pid <> pg_backend_pid()
     union all
    select 'prepared ' || gid, null, owner, 'prepared',
           extract(epoch from clock_timestamp() - prepared)::float8
      from pg_prepared_xacts where database = current_database()
"""


class OpenTransaction(NamedTuple):
    """A transaction of another session, or a prepared one without a session; `seconds` is None if
    its age is hidden from this role."""

    number: str
    pid: int | None
    role: str
    state: str
    seconds: float | None

    def sentence(self, seconds: float) -> str:
        """Describe the transaction, open for at least `seconds`."""
        holder = f"session {self.pid}" if self.pid is not None else self.number
        return f"{holder} of role {self.role} ({self.state}) for {seconds / 60:.0f} min"


async def open_transactions(pool: Pool) -> list[OpenTransaction]:
    """List the open transactions of other sessions on this database."""
    return [OpenTransaction(*row) for row in await fetch_all(pool, OPEN_TRANSACTIONS)]


def old_ones(
    transactions: Sequence[OpenTransaction], seen: dict[str, float], limit: timedelta
) -> list[str]:
    """Describe the transactions older than `limit`; `seen` has the seconds for which this process
    has known their numbers."""
    ages = {
        each: max(each.seconds or 0.0, seen.get(each.number, 0.0))
        for each in sorted(transactions, key=lambda one: one.number)
    }
    return [each.sentence(age) for each, age in ages.items() if age > limit.total_seconds()]


class OldTransactionWatch(Loop):
    """Loop that raises an alarm while a transaction is older than `limit`."""

    def __init__(self, pool: Pool, alarms: Alarms, limit: timedelta = OLD) -> None:
        super().__init__()
        self._pool, self._alarms, self._limit = pool, alarms, limit
        self._first_seen: dict[str, float] = {}
        self._well = False

    async def turn(self) -> float:
        """Look at the open transactions; return the seconds until the next look."""
        transactions, now = await open_transactions(self._pool), monotonic()
        self._first_seen = {
            each.number: self._first_seen.get(each.number, now) for each in transactions
        }
        seen = {number: now - first for number, first in self._first_seen.items()}
        old = old_ones(transactions, seen, self._limit)
        if old:
            await self._alarms.raise_alarm(OLD_TRANSACTION, SUBJECT, _sentence(old))
        elif not self._well:  # another process may have raised it
            await self._alarms.clear(OLD_TRANSACTION, SUBJECT)
        self._well = not old
        return min(INTERVAL, max(self._limit.total_seconds() / 2, 0.1))


def _sentence(old: Sequence[str]) -> str:
    return (
        f"Open transactions keep the dead rows of all tables: {', '.join(old)}. End the program, "
        "or the session with pg_terminate_backend(pid)."
    )
