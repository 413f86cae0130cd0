"""Torture of the event store: writers, damage and readers at the same time, then the verdict."""

import asyncio
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import psycopg

from domain.errors import LedgerError
from infrastructure.postgres import migrate
from infrastructure.postgres.embedded.client import EmbeddedPostgres
from scripts.bench.append import scratch_database
from scripts.torture.answers import Answer, Result, read
from scripts.torture.damage import Damage
from scripts.torture.followers import (
    LibraryFollower,
    NaiveFollower,
    ProductFollower,
    Seen,
    quieten,
)
from scripts.torture.verdict import StoredLog, Verdict, judge, stored_log
from scripts.torture.writers import WriterOrders

NAIVE_LOG = (
    "create table naive_log (id bigint generated always as identity primary key, token bigint)"
)
NO_PROGRESS = 120.0
"""Seconds without a new fact after which the torture gives up."""
CATCH_UP = 120.0
FOREIGN = "the server is not ours: unset DATABASE_URL to include restarts"


class NoProgress(LedgerError):
    """The writers or a reader stand still, although the server answers."""

    code = "no_progress"


@dataclass(frozen=True, slots=True)
class Plan:
    """Size of a torture. Two of eight writers of a process have transactions of their own."""

    appends: int
    seed: int
    processes: int = 4
    writers: int = 32
    appends_per_termination: int = 1_000
    restarts: int = 0
    limit: float = 1_200.0
    """Seconds after which no append begins."""


@dataclass(frozen=True, slots=True)
class Server:
    """A migrated database, and the data directory of its server if that may be restarted."""

    database_url: str
    cluster: Path | None = None


@contextmanager
def server_for(database_url: str | None) -> Iterator[Server]:
    """Make a scratch database on the given server, or an embedded server with the durability that
    PostgreSQL has by default."""
    if database_url is not None:
        with scratch_database(database_url) as scratch:
            yield Server(scratch)
        return
    with tempfile.TemporaryDirectory(prefix="ledger-torture-") as directory:
        embedded = EmbeddedPostgres(Path(directory) / "server")
        try:
            migrate.up(database := embedded.acquire())
            yield Server(database, embedded.base / "data")
        finally:
            embedded.release()


@dataclass(slots=True)
class Readers:
    """The three readers of one run."""

    product: ProductFollower
    library: LibraryFollower
    naive: NaiveFollower

    @property
    def of_positions(self) -> dict[str, Seen]:
        """Return the readers of which nothing may be missing."""
        return {"product": self.product, "library": self.library}


async def torture(plan: Plan, server: Server, directory: Path) -> dict[str, object]:
    """Run the plan and return the report. Raises NoProgress."""
    quieten()
    with psycopg.connect(server.database_url, autocommit=True) as connection:
        connection.execute(NAIVE_LOG)
    readers = Readers(ProductFollower(), LibraryFollower(), NaiveFollower())
    restarts = plan.restarts if server.cluster else 0
    damage = Damage(
        server.database_url,
        random.Random(plan.seed),
        plan.appends_per_termination,
        restarts,
        plan.appends // (restarts + 1),
        server.cluster,
    )
    began = time.monotonic()
    async with readers.library.following(server.database_url):
        following = [
            asyncio.create_task(readers.product.run(server.database_url)),
            asyncio.create_task(readers.naive.run(server.database_url)),
        ]
        async with _cancelled_at_the_end(following):
            async with _doing(damage, readers.product):
                answers = await _written(plan, server.database_url, directory, readers.product)
            seconds = time.monotonic() - began
            log = await asyncio.to_thread(stored_log, server.database_url)
            await _caught_up(readers, log)
    verdict = judge(log, answers)
    return _report(plan, server, damage, readers, log, answers, verdict, seconds)


async def _written(plan: Plan, database_url: str, directory: Path, progress: Seen) -> list[Answer]:
    """Run the processes of the writers to their end, and read their answers."""
    raw = max(1, plan.writers // plan.processes // 4)
    orders = [
        WriterOrders(
            database_url,
            number,
            plan.appends // plan.processes,
            plan.writers // plan.processes - raw,
            raw,
            plan.limit,
            plan.seed,
            str(directory / f"answers-{number}"),
        )
        for number in range(plan.processes)
    ]
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-m", f"{__package__}.writers", one.as_json()
        )
        for one in orders
    ]
    ends = asyncio.gather(*(process.wait() for process in processes))
    try:
        last = -1
        while not ends.done():
            await asyncio.wait([ends], timeout=NO_PROGRESS)
            if not ends.done() and progress.last == last:
                raise NoProgress(f"no new fact in {NO_PROGRESS:.0f} s after position {last}")
            last = progress.last
        if any(codes := await ends):
            raise NoProgress(f"the writers ended with {codes}")
    finally:
        for process in processes:
            if process.returncode is None:
                process.kill()
    return [answer for one in orders for answer in read(Path(one.answers))]


async def _caught_up(readers: Readers, log: StoredLog) -> None:
    """Wait until both readers of positions have seen the last fact; the naive one has the same
    time."""
    end = time.monotonic() + CATCH_UP
    while any(seen.last < len(log.tokens) for seen in readers.of_positions.values()):
        if time.monotonic() > end:
            raise NoProgress(f"a reader has not seen the last position {len(log.tokens)}")
        await asyncio.sleep(0.05)
    newest = max(log.naive_ids, default=0)
    while readers.naive.last < newest and time.monotonic() < end:  # noqa: ASYNC110
        await asyncio.sleep(0.05)


@asynccontextmanager
async def _doing(damage: Damage, progress: Seen) -> AsyncIterator[None]:
    done = asyncio.Event()
    task = asyncio.create_task(damage.run(lambda: progress.last, done))
    try:
        yield
    finally:
        done.set()
        await task


@asynccontextmanager
async def _cancelled_at_the_end(tasks: Sequence[asyncio.Task[None]]) -> AsyncIterator[None]:
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _report(
    plan: Plan,
    server: Server,
    damage: Damage,
    readers: Readers,
    log: StoredLog,
    answers: Sequence[Answer],
    verdict: Verdict,
    seconds: float,
) -> dict[str, object]:
    results = Counter(Result(answer.result) for answer in answers)
    stored = set(log.tokens)
    found = sum(a.result == Result.UNKNOWN and a.token in stored for a in answers)
    followers = {
        name: {
            "seen": len(seen.tokens),
            "missed": len(log.tokens) - len(seen.tokens),
            "gaps": seen.gaps,
            "doubled": seen.doubled,
            "other_content": int(seen.tokens != log.tokens),
            "lost_connections": seen.lost_connections,
        }
        for name, seen in readers.of_positions.items()
    }
    followers["product"]["chain_breaks"] = readers.product.chain_breaks
    unseen = sum(
        counts[name] != 0
        for counts in followers.values()
        for name in ("missed", "gaps", "doubled", "other_content")
    )
    return {
        **asdict(plan),
        "violations": verdict.violations + unseen + readers.product.chain_breaks,
        **asdict(verdict),
        "acknowledged": results[Result.STORED],
        "facts": len(log.tokens),
        "unknown_stored": found,
        "unknown_absent": results[Result.UNKNOWN] - found,
        "conflicts": results[Result.CONFLICT],
        "refused_or_rolled_back": results[Result.ABSENT],
        "terminations": damage.terminations,
        "restarts": damage.restarts,
        "restarts_skipped": None if server.cluster else FOREIGN,
        "followers": followers,
        "naive_reader": {
            "written": len(log.naive_ids),
            "missed": len(log.naive_ids - readers.naive.seen),
        },
        "seconds": round(seconds, 1),
        "per_second": round(results[Result.STORED] / seconds),
    }
