"""Pressure on the store: the throughput under a disturbance, as a ratio to the undisturbed one.

Both sides run in turns on two databases of one server that have received the same traffic, so that
the load of the machine cancels out, and so that dead rows of one side do not slow down the other.
"""

import asyncio
import math
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import NamedTuple

from infrastructure.postgres.connections import connect
from scripts.bench.append import scratch_database
from scripts.bench.traffic import Traffic, Turn, traffic_on

ROUNDS = 8
"""Least number of turns of each side: the load of the machine changes from one turn to the next."""
READERS = 4
EXPORT_SPEED = 1_000.0
"""Facts per second of a reader that passes them on, as an export does."""
PATIENCE = 120.0
"""Seconds to wait until dead rows are gone: autovacuum looks at a database once a minute."""
FEW = 0.01
"""Part of the dead rows up to which they count as gone."""
HOT_TABLES = ("seller_transfers", "webhook_inbox", "pace", "breaker")
DEAD_ROWS = """
    select relname, n_dead_tup from pg_stat_user_tables where relname = any(%s)
"""
IDLE = (
    "begin isolation level repeatable read",
    "select count(*) from seller_transfers",
    "create temporary table an_idle_transaction_with_a_number ()",
)

Disturbance = Callable[[str], AbstractAsyncContextManager[Callable[[bool], None]]]
"""Opens a disturbance of a database, and yields the switch that stops it during the other side's
turns."""


class Side(NamedTuple):
    """Throughput and latencies (ms) of one side of a cell."""

    per_second: float
    p50: float
    p99: float
    statements: dict[str, float]


class Cell(NamedTuple):
    """Result of one disturbance."""

    name: str
    pressed: Side
    undisturbed: Side
    dead_rows: dict[str, tuple[int, int]]
    """By table: dead rows at the end of the disturbance, and in the end."""
    gone_after: float | None = None
    """Seconds after the disturbance at which the dead rows were gone; None if they were not."""
    light: tuple[float, float] | None = None
    """The 99th percentile of the latency (ms) of light traffic before and after the pressure."""

    def details(self) -> dict[str, object]:
        """Return the latencies, dead rows, and the mean duration of each statement on both
        sides."""
        pressed, calm = self.pressed, self.undisturbed
        return {
            "p50_ms": [round(pressed.p50, 1), round(calm.p50, 1)],
            "p99_ms": [round(pressed.p99, 1), round(calm.p99, 1)],
            **({"light_p99_ms": [round(one, 1) for one in self.light]} if self.light else {}),
            **(
                {"dead_rows": self.dead_rows, "dead_rows_gone_after_s": self.gone_after}
                if self.dead_rows
                else {}
            ),
            **(
                {
                    "statements_ms": {
                        n: [ms, calm.statements.get(n)] for n, ms in pressed.statements.items()
                    }
                }
                if pressed.statements
                else {}
            ),
        }


async def pressure_of(
    database_url: str, name: str, disturbance: Disturbance, seconds: float, lasting: float
) -> Cell:
    """Measure one disturbance that lasts for `lasting` seconds, in turns of `seconds`."""
    with two_databases(database_url) as (quiet_url, pressed_url):
        async with traffic_on(quiet_url) as quiet, traffic_on(pressed_url) as pressed:
            for traffic in (quiet, pressed):
                await traffic.turn(seconds / 2)  # connections, plans and caches
            undisturbed, disturbed = await _in_turns(
                quiet, pressed, disturbance(pressed_url), seconds, lasting
            )
            dead, gone_after = await dead_rows_until_gone(pressed_url)
    return Cell(name, side_of(disturbed), side_of(undisturbed), dead, gone_after)


async def _in_turns(
    quiet: Traffic,
    pressed: Traffic,
    opened: AbstractAsyncContextManager[Callable[[bool], None]],
    seconds: float,
    lasting: float,
) -> tuple[list[Turn], list[Turn]]:
    undisturbed, disturbed = list[Turn](), list[Turn]()
    async with opened as switch:
        end = time.perf_counter() + lasting
        while len(disturbed) < ROUNDS or time.perf_counter() < end:
            switch(False)
            undisturbed.append(await quiet.turn(seconds))
            switch(True)
            disturbed.append(await pressed.turn(seconds))
        switch(False)
    return undisturbed, disturbed


@asynccontextmanager
async def idle_transaction(database_url: str) -> AsyncIterator[Callable[[bool], None]]:
    """Hold a transaction with a snapshot and a number open, and do nothing in it."""
    connection = await connect(database_url)
    try:
        await connection.execute("set idle_in_transaction_session_timeout = 0")
        for statement in IDLE:
            await connection.execute(statement.encode())
        yield lambda _: None
    finally:
        await connection.close()


def readers(facts_per_second: float) -> Disturbance:
    """Return the disturbance by four readers with a speed; 0: as fast as they can."""

    @asynccontextmanager
    async def run(database_url: str) -> AsyncIterator[Callable[[bool], None]]:
        command = ["-m", f"{__package__}.snapshot_reader", database_url, str(facts_per_second)]
        processes = [
            await asyncio.create_subprocess_exec(
                sys.executable, *command, stdout=asyncio.subprocess.PIPE
            )
            for _ in range(READERS)
        ]

        def switch(on: bool) -> None:
            """Stop the processes, whose snapshots stay open, or let them go on."""
            for process in processes:
                os.kill(process.pid, signal.SIGCONT if on else signal.SIGSTOP)

        try:
            for process in processes:
                assert process.stdout is not None
                await process.stdout.readline()  # its start must not count
            yield switch
        finally:
            for process in processes:
                process.kill()
                await process.wait()

    return run


async def dead_rows_until_gone(
    database_url: str,
) -> tuple[dict[str, tuple[int, int]], float | None]:
    """Count dead rows now, and again until they are gone; return both counts by table, and the
    seconds in between."""
    began, before = time.perf_counter(), await dead_rows(database_url)
    while True:
        after, passed = await dead_rows(database_url), time.perf_counter() - began
        gone = sum(after.values()) <= FEW * sum(before.values())
        if gone or passed > PATIENCE:
            counts = {table: (before.get(table, 0), after.get(table, 0)) for table in HOT_TABLES}
            return counts, round(passed, 1) if gone else None
        await asyncio.sleep(1)


async def dead_rows(database_url: str) -> dict[str, int]:
    """Return PostgreSQL's count of dead rows, by table."""
    connection = await connect(database_url)
    try:
        rows = await connection.execute(DEAD_ROWS.encode(), (list(HOT_TABLES),))
        return {str(table): int(count) for table, count in await rows.fetchall()}
    finally:
        await connection.close()


@contextmanager
def two_databases(database_url: str) -> Iterator[tuple[str, str]]:
    """Make two migrated scratch databases."""
    with scratch_database(database_url) as one, scratch_database(database_url) as other:
        yield one, other


def side_of(turns: Sequence[Turn]) -> Side:
    """Combine the turns of one side."""
    latencies = sorted(latency for turn in turns for latency in turn.latencies)
    names = sorted({name for turn in turns for name in turn.statements})
    return Side(
        sum(turn.per_second for turn in turns) / len(turns),
        percentile(latencies, 50),
        percentile(latencies, 99),
        {
            name: round(sum(turn.statements.get(name, 0) for turn in turns) / len(turns), 2)
            for name in names
        },
    )


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Return a percentile of ordered values; 0 if there are none."""
    return ordered[math.ceil(len(ordered) * percent / 100) - 1] if ordered else 0.0
