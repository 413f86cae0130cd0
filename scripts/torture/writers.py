"""Writers of one process: tasks that share the product's event store, and tasks with transactions
of their own.

`python -m scripts.torture.writers ORDERS`; ORDERS is a `WriterOrders` as JSON.
"""

import asyncio
import json
import logging
import random
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO
from uuid import NAMESPACE_URL, UUID, uuid5

import psycopg
import uvloop

from domain.errors import Conflict, ConstraintBroken, Unavailable
from infrastructure.postgres.connections import Connection, connect, new_pool
from infrastructure.postgres.event_store import EventStore, StoredFact
from scripts.torture.answers import RECORD, TOKENS_PER_PROCESS, Answer, Result

TOPIC, TOPIC_WITH_ROW = "torture.happened", "torture.with_row"
CONTESTED = 4
"""Streams that all writers of all processes append to."""
OWN_STREAMS = 20
MOST_AT_ONCE = 24
RAW_SHARE = 0.02
"""Part of the appends that are made in transactions of their own. Such a transaction holds the lock
of all appends over several round trips."""
PAUSE = 0.05
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class WriterOrders:
    """Task of one process: acknowledged appends to reach, by which number of tasks, within which
    time, and the file for the answers."""

    database_url: str
    process: int
    appends: int
    tasks: int
    raw_tasks: int
    seconds: float
    seed: int
    answers: str

    def as_json(self) -> str:
        """Return the only argument of the program."""
        return json.dumps(asdict(self))


@dataclass(slots=True)
class Journal:
    """The answers of one process, and its numbering of facts."""

    process: int
    file: BinaryIO
    acknowledged: int = 0
    used: int = 0

    def tokens(self, count: int) -> int:
        """Reserve `count` tokens, and return the first of them."""
        first = self.process * TOKENS_PER_PROCESS + self.used + 1
        self.used += count
        return first

    def write(self, token: int, count: int, result: Result, position: int, sent: int) -> None:
        """Record an answer that has just come."""
        answer = Answer(token, count, result, position, sent, time.monotonic_ns())
        self.file.write(RECORD.pack(*answer))
        self.acknowledged += result == Result.STORED


@dataclass(slots=True)
class StoreWriter:
    """A task that appends through the product's event store, as the commands of the ledger do."""

    store: EventStore
    journal: Journal
    random: random.Random
    contested: Sequence[UUID]
    known: dict[UUID, int] = field(default_factory=dict)
    own: list[tuple[UUID, bool]] = field(default_factory=list)

    async def act(self) -> None:
        """Take one random action."""
        drawn = self.random.random()
        if drawn < 0.04:
            await self._contend()
        elif drawn < 0.06:
            await self._break_a_rule()
        elif drawn < 0.07:
            await self._give_up()
        elif drawn < 0.5:
            await self._continue_own()
        else:
            await self._append_several()

    async def _continue_own(self) -> None:
        """Append to a stream of this task, new or old; some streams have a row as well."""
        if len(self.own) < OWN_STREAMS or self.random.random() < 0.5:
            stream, with_row = _uuid(self.random), self.random.random() < 0.25
            self.own.append((stream, with_row))
            if len(self.own) > OWN_STREAMS:
                self.known.pop(self.own.pop(0)[0], None)
        else:
            stream, with_row = self.random.choice(self.own)
        version = self.known.get(stream, 0) + 1
        count = self.random.choice((1, 1, 1, 2, 3))
        if await self._append(stream, version, count, with_row) == Result.STORED:
            self.known[stream] = version + count - 1
        else:
            self.own.remove((stream, with_row))

    async def _append_several(self) -> None:
        """Begin several streams at the same time, each by an append of its own."""
        several = range(self.random.randint(2, MOST_AT_ONCE))
        await asyncio.gather(*(self._append(_uuid(self.random), 1, 1) for _ in several))

    async def _contend(self) -> None:
        """Append to a stream of all writers: the loser of a conflict reloads and decides again."""
        stream = self.random.choice(self.contested)
        for _ in range(3):
            loaded = await self.store.load([stream], lambda one: self.known.get(one, 1))
            if stream in loaded:
                self.known[stream] = loaded[stream][-1].originator_version
            version = self.known.get(stream, 0) + 1
            if await self._append(stream, version, 1, contested=True) != Result.CONFLICT:
                return

    async def _break_a_rule(self) -> None:
        """Append facts that leave a gap in their stream, or a row that a CHECK refuses."""
        gap = self.random.random() < 0.5
        await self._append(_uuid(self.random), 2 if gap else 1, 2, with_row=not gap, status="?")

    async def _give_up(self) -> None:
        """Cancel the caller of an append, which withdraws nothing."""
        token, sent = self.journal.tokens(2), time.monotonic_ns()
        call = asyncio.create_task(
            self.store.append(_facts(_uuid(self.random), 1, token, 2, TOPIC))
        )
        await asyncio.sleep(self.random.choice((0, 0.001)))
        call.cancel()
        with suppress(asyncio.CancelledError, Unavailable):
            await call
        self.journal.write(token, 2, Result.UNKNOWN, 0, sent)

    async def _append(
        self,
        stream: UUID,
        version: int,
        count: int,
        with_row: bool = False,
        *,
        status: str = "paid",
        contested: bool = False,
    ) -> Result:
        token, sent, position = self.journal.tokens(count), time.monotonic_ns(), 0
        facts = _facts(stream, version, token, count, TOPIC_WITH_ROW if with_row else TOPIC)
        last = version + count - 1
        rows = {"payouts": [_row(stream, token + count - 1, last, status)]} if with_row else None
        try:
            position = await self.store.append(facts, rows)
            result = Result.STORED
        except Conflict:
            result = Result.CONFLICT if contested else Result.SELF_CONFLICT
        except ConstraintBroken:
            result = Result.ABSENT
        except Unavailable as error:
            result = Result.UNKNOWN if error.in_doubt else Result.ABSENT
        self.journal.write(token, count, result, position, sent)
        return result


@dataclass(slots=True)
class RawWriter:
    """A task that calls `ledger_append` in transactions of its own, many of which it rolls back.

    Each of its transactions also adds a row to `naive_log`, whose numbers come from a sequence.
    """

    database_url: str
    journal: Journal
    random: random.Random
    connection: Connection | None = None

    async def act(self) -> None:
        """Append in one transaction. A lost connection is replaced at the next action."""
        if self.connection is None:
            self.connection = await connect(self.database_url)
        token, sent = self.journal.tokens(1), time.monotonic_ns()
        position, result = 0, Result.ABSENT
        try:
            position = await self._until_commit(self.connection, token)
            if self.random.random() < 0.3:
                await self.connection.execute("rollback")
            else:
                result = Result.UNKNOWN
                await self.connection.execute("commit")
                result = Result.STORED
        except psycopg.Error:
            await self.connection.close()
            self.connection = None
        self.journal.write(token, 1, result, position if result == Result.STORED else 0, sent)

    async def _until_commit(self, connection: Connection, token: int) -> int:
        await connection.execute("begin")
        naive_first = self.random.random() < 0.5
        if naive_first:
            await _insert_naive(connection, token)
        if self.random.random() < 0.2:
            await self._roll_back_a_savepoint(connection)
        position = await _call_append(connection, _facts(_uuid(self.random), 1, token, 1, TOPIC))
        if not naive_first:
            await _insert_naive(connection, token)
        return position

    async def _roll_back_a_savepoint(self, connection: Connection) -> None:
        """Append and take that back; the lock of the append ends with the savepoint."""
        token, sent = self.journal.tokens(1), time.monotonic_ns()
        self.journal.write(token, 1, Result.ABSENT, 0, sent)
        await connection.execute("savepoint before")
        await _call_append(connection, _facts(_uuid(self.random), 1, token, 1, TOPIC))
        await connection.execute("rollback to savepoint before")


async def _started(store: EventStore, end: float) -> None:
    """Open the store: a restart of the server may come before the first append of this process."""
    while True:
        try:
            return await store.start()
        except psycopg.OperationalError:
            if time.monotonic() > end:
                raise
            await asyncio.sleep(0.1)


async def main(orders: WriterOrders) -> None:
    """Append until the ordered number of appends is acknowledged, or the time is over."""
    end = time.monotonic() + orders.seconds
    chance = random.Random(f"{orders.seed}/{orders.process}")
    contested = [uuid5(NAMESPACE_URL, f"{orders.seed}/{n}") for n in range(CONTESTED)]
    async with new_pool(orders.database_url) as pool:
        store = EventStore(orders.database_url, pool)
        await _started(store, end)
        with Path(orders.answers).open("wb") as file:  # noqa: ASYNC230 - it is buffered
            raw, journal = Journal(orders.process, file), Journal(orders.process, file)
            raw.process += 1 << 10  # tokens of their own
            raw_appends = int(orders.appends * RAW_SHARE) if orders.raw_tasks else 0
            seeds = [chance.getrandbits(64) for _ in range(orders.tasks + orders.raw_tasks)]
            writers = [
                StoreWriter(store, journal, random.Random(seed), contested)
                for seed in seeds[: orders.tasks]
            ]
            raws = [
                RawWriter(orders.database_url, raw, random.Random(seed))
                for seed in seeds[orders.tasks :]
            ]
            await asyncio.gather(
                *(_repeat(each, orders.appends - raw_appends, end) for each in writers),
                *(_repeat(each, raw_appends, end) for each in raws),
            )
            await asyncio.gather(*(raw.connection.close() for raw in raws if raw.connection))
            await store.aclose()


async def _repeat(writer: StoreWriter | RawWriter, appends: int, end: float) -> None:
    while writer.journal.acknowledged < appends and time.monotonic() < end:
        try:
            await writer.act()
        except psycopg.Error:  # the server is away: nothing was sent
            await asyncio.sleep(PAUSE)


async def _insert_naive(connection: Connection, token: int) -> None:
    await connection.execute("insert into naive_log (token) values (%s)", (token,))


async def _call_append(connection: Connection, facts: Sequence[StoredFact]) -> int:
    given = [
        {"id": str(f.originator_id), "version": f.originator_version, "topic": f.topic}
        | {"state": json.loads(f.state)}
        for f in facts
    ]
    row = await (
        await connection.execute("select ledger_append(%s, '{}')", (json.dumps(given),))
    ).fetchone()
    assert row is not None
    return int(row[0])


def _facts(stream: UUID, version: int, token: int, count: int, topic: str) -> list[StoredFact]:
    return [
        StoredFact(stream, version + n, topic, b'{"token":%d}' % (token + n)) for n in range(count)
    ]


def _row(stream: UUID, token: int, version: int, status: str) -> dict[str, object]:
    return {
        "stream_id": stream, "payout_id": str(stream), "account": "torture", "seller_ids": [],
        "amount": token, "currency": "EUR", "status": status, "version": version,
        "created_at": NOW, "updated_at": NOW,
    }  # fmt: skip


def _uuid(chance: random.Random) -> UUID:
    return UUID(int=chance.getrandbits(128), version=4)


if __name__ == "__main__":
    logging.disable(logging.ERROR)  # each lost connection is logged, and there are thousands
    uvloop.run(main(WriterOrders(**json.loads(sys.argv[1]))))
