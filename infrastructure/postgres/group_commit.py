"""Group commit: all items that wait at the same time become one statement, one transaction, one
fsync.

Promises to every caller of `submit`:
- the caller always gets an answer: success, a refusal of the caller's own item, or Unavailable
  after a bounded time;
- no caller fails for the mistake of another: items that the error names fail alone, and any other
  culprit is found by halving the group;
- cancelling the caller withdraws nothing: a submitted item is stored;
- a connection lost in COMMIT leads to no guess: `recall` finds out whether the group is stored;
- giving up sends no cancel: PostgreSQL takes a cancel, while a commit waits for a synchronous
  standby, as leave to commit without it.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic
from typing import Generic, Protocol, TypeVar

import psycopg

from domain.errors import Unavailable
from infrastructure.measurements import AppendMeasurements, WriterMeter
from infrastructure.postgres.connections import DEMOTED, Connection, connect, hang_up
from infrastructure.postgres.writer_health import WriterHealth, sentence_of

Item = TypeVar("Item")
Answer = TypeVar("Answer")
Item_contra = TypeVar("Item_contra", contravariant=True)
Answer_co = TypeVar("Answer_co", covariant=True)

QUEUE_LIMIT = 10_000
PATIENCE = timedelta(seconds=15)
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0
LONGEST_REFUSAL = 3.0
"""Seconds for which a server that refuses every write is not asked again."""

log = logging.getLogger(__name__)


class GroupStatement(Protocol[Item_contra, Answer_co]):
    """The statement that stores a group of items of one kind."""

    async def store(
        self, connection: Connection, items: Sequence[Item_contra]
    ) -> Sequence[Answer_co]:
        """Store all items or none, by one autocommit statement. The answers are in the order of the
        items."""

    async def recall(
        self, connection: Connection, items: Sequence[Item_contra]
    ) -> Sequence[Answer_co] | None:
        """Return, after a lost connection, the answers if the items are stored; None if not, or if
        storing twice is harmless."""

    def blamed(self, error: psycopg.Error, items: Sequence[Item_contra]) -> Mapping[int, Exception]:
        """Return the errors of the items that this error names, by index; empty if it names
        none."""

    def refusal(self, error: Exception, item: Item_contra) -> Exception:
        """Return the error for the caller of an item that failed alone."""


@dataclass(slots=True, eq=False)
class Waiting(Generic[Item, Answer]):
    """A submitted item and its caller's future. The future may be done already: the caller was
    cancelled."""

    item: Item
    answer: asyncio.Future[Answer]
    until: float

    def succeed(self, answer: Answer) -> None:
        if not self.answer.done():
            self.answer.set_result(answer)

    def fail(self, error: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)


@dataclass(slots=True)
class GroupPart(Generic[Item, Answer]):
    """A part of a group; `in_doubt` while a lost connection may have stored it, `resent` if it was
    once in doubt, `reconnected` if a server has refused it with every other write."""

    waiting: Sequence[Waiting[Item, Answer]]
    in_doubt: bool = False
    resent: bool = False
    reconnected: bool = False

    @property
    def items(self) -> list[Item]:
        return [each.item for each in self.waiting]

    @property
    def until(self) -> float:
        return min(each.until for each in self.waiting)

    def fail(self, error: Exception) -> None:
        for each in self.waiting:
            each.fail(error)

    def halves(self) -> "list[GroupPart[Item, Answer]]":
        """Split the part, the second half first: parts are taken from the end."""
        middle = len(self.waiting) // 2
        return [
            GroupPart(half, resent=self.resent)
            for half in (self.waiting[middle:], self.waiting[:middle])
        ]


class GroupCommit(Generic[Item, Answer]):
    """One task and one connection that store the items of all callers. `start` before use, `aclose`
    after."""

    def __init__(
        self,
        database_url: str,
        statement: GroupStatement[Item, Answer],
        limit: int,
        patience: timedelta = PATIENCE,
        on_read_only: Callable[[], Awaitable[None]] | None = None,
        meter: WriterMeter | None = None,
    ) -> None:
        """Set `limit`, the items per group. `on_read_only` is called when the server takes no
        writes.

        Taking all waiting items is the slowest choice: every caller then moves in one wave, and
        this process and PostgreSQL take turns instead of overlapping.
        """
        self._url, self._statement, self._limit = database_url, statement, limit
        self._patience = patience.total_seconds()
        self._queue: deque[Waiting[Item, Answer]] = deque()
        self._group: Sequence[Waiting[Item, Answer]] = ()
        self._wake = asyncio.Event()
        self._closing = False
        self._connection: Connection | None = None
        self._on_read_only = on_read_only
        self._refused_until, self._refusal_pause = 0.0, FIRST_PAUSE
        self.health = WriterHealth()
        self._meter = meter or WriterMeter(AppendMeasurements(), "unnamed")
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Connect and start the task. Raises psycopg.OperationalError if the database cannot be
        reached."""
        self._connection = await connect(self._url)
        self._task = asyncio.create_task(self._run(), name=type(self._statement).__name__)

    async def aclose(self) -> None:
        """Accept no more items, answer all that wait, then end. If this is cancelled, the waiting
        items fail at once."""
        self._closing = True
        self._wake.set()
        try:
            if self._task:
                await self._task
        finally:
            await self._disconnect()

    async def submit(self, item: Item) -> Answer:
        """Store one item and return its answer. Raises Unavailable, or the error with which the
        statement refuses the item."""
        if self._closing or not self._task or self._task.done():
            raise Unavailable("the writer is closed")
        if len(self._queue) >= QUEUE_LIMIT:
            raise Unavailable(f"{QUEUE_LIMIT} requests are waiting already")
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        submitted = monotonic()
        self._queue.append(Waiting(item, answer, submitted + self._patience))
        self._wake.set()
        try:
            stored = await answer
        except Exception as error:
            self._meter.failed(error)
            raise
        self._meter.stored(monotonic() - submitted)
        return stored

    async def _run(self) -> None:
        try:
            while await self._something_waits():
                self._group = [
                    self._queue.popleft() for _ in range(min(len(self._queue), self._limit))
                ]
                self._meter.group(len(self._group))
                await self._answer(self._group)
        finally:
            GroupPart(self._group).fail(Unavailable("the writer was stopped", in_doubt=True))
            GroupPart(self._queue).fail(Unavailable("the writer was stopped"))

    async def _something_waits(self) -> bool:
        while not self._queue and not self._closing:
            self._wake.clear()
            await self._wake.wait()
        return bool(self._queue)

    async def _answer(self, group: Sequence[Waiting[Item, Answer]]) -> None:
        """Answer every caller of the group, in every case."""
        parts: list[GroupPart[Item, Answer]] = [GroupPart(group)]
        while parts:
            part = parts.pop()
            try:
                parts += await self._attempt(part)
            except Exception as error:  # a bug in this program must not stop the whole ledger
                log.exception("group commit failed")
                part.fail(Unavailable(f"{type(error).__name__}: {error}", in_doubt=True))

    async def _attempt(self, part: GroupPart[Item, Answer]) -> Sequence[GroupPart[Item, Answer]]:
        """Try one part, and return the parts that have no answer yet, the first one last."""
        connection = await self._connected(part)
        if connection is None:
            return []
        loop = asyncio.get_running_loop()
        giving_up = loop.call_later(self._patience, hang_up, connection)
        try:
            answers = await self._ask(connection, part)
        except Exception as error:
            giving_up.cancel()
            if not await _alive(connection):
                return await self._lost(error, part)
            return await self._explain(connection, error, part)
        finally:
            giving_up.cancel()
        self._refusal_pause = FIRST_PAUSE
        self.health.succeeded()
        if answers is None:
            return [GroupPart(part.waiting, resent=True)]
        for waiting, answer in zip(part.waiting, answers, strict=True):
            waiting.succeed(answer)
        return []

    async def _ask(
        self, connection: Connection, part: GroupPart[Item, Answer]
    ) -> Sequence[Answer] | None:
        if part.in_doubt:
            return await self._statement.recall(connection, part.items)
        return await self._statement.store(connection, part.items)

    async def _lost(
        self, error: Exception, part: GroupPart[Item, Answer]
    ) -> Sequence[GroupPart[Item, Answer]]:
        """Retry a part whose connection, and with it the answer, was lost; until its patience ends.

        The end is needed: an item that makes the server crash must not do so for ever.
        """
        await self._disconnect()
        if part.until <= monotonic():
            self.health.failed(error)
            part.fail(Unavailable(sentence_of(error), in_doubt=True))
            return []
        return [GroupPart(part.waiting, in_doubt=True, resent=True)]

    async def _explain(
        self, connection: Connection, error: Exception, part: GroupPart[Item, Answer]
    ) -> Sequence[GroupPart[Item, Answer]]:
        """Find the culprits after a statement that failed for certain; the other items are tried
        again."""
        if isinstance(error, psycopg.Error):
            if is_general(error):
                return await self._refused(error, part)
            if blamed := self._statement.blamed(error, part.items):
                for index, reason in blamed.items():
                    await self._refuse(connection, part.waiting[index], reason, part.resent)
                others = [each for index, each in enumerate(part.waiting) if index not in blamed]
                return [GroupPart(others, resent=part.resent)] if others else []
        if len(part.waiting) > 1:
            return part.halves()
        part.fail(self._statement.refusal(error, part.waiting[0].item))
        return []

    async def _refused(
        self, error: psycopg.Error, part: GroupPart[Item, Answer]
    ) -> Sequence[GroupPart[Item, Answer]]:
        """Answer a part that the server refuses with every other write.

        Another server may take writes by now, so the session is closed and the part tried once
        more. Then the server is left alone for a moment, and callers are answered at once.
        """
        await self._disconnect()
        if self._on_read_only is not None:
            await self._on_read_only()
        if not part.reconnected:
            return [GroupPart(part.waiting, resent=part.resent, reconnected=True)]
        self._refused_until = monotonic() + self._refusal_pause
        self._refusal_pause = min(2 * self._refusal_pause, LONGEST_REFUSAL)
        self.health.failed(error)
        part.fail(Unavailable(sentence_of(error), in_doubt=part.resent))
        return []

    async def _refuse(
        self,
        connection: Connection,
        waiting: Waiting[Item, Answer],
        reason: Exception,
        resent: bool,
    ) -> None:
        """Refuse an item, unless the facts in its way are its own.

        A statement that was under way when its connection was lost can arrive after `recall` and
        after the item was sent again. Then the caller must not get a Conflict about its own facts.
        """
        own = await self._statement.recall(connection, [waiting.item]) if resent else None
        if own is None:
            waiting.fail(reason)
        else:
            waiting.succeed(own[0])

    async def _connected(self, part: GroupPart[Item, Answer]) -> Connection | None:
        """Return the connection, or a new one; None when the patience of this part is over and its
        callers have an error."""
        pause = FIRST_PAUSE
        while self._connection is None:
            if monotonic() < self._refused_until and not part.in_doubt:
                part.fail(Unavailable(self.health.failure or "", in_doubt=part.resent))
                return None
            try:
                self._connection = await connect(self._url)
            except Exception as error:
                log.warning("no connection to the database: %s", sentence_of(error))
                self._fail_expired(part, error)
                if all(each.answer.done() for each in part.waiting):
                    return None
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
        return self._connection

    def _fail_expired(self, part: GroupPart[Item, Answer], error: Exception) -> None:
        now = monotonic()
        if part.until <= now:
            self.health.failed(error)
            part.fail(Unavailable(sentence_of(error), in_doubt=part.resent))
        while self._queue and self._queue[0].until <= now:
            self._queue.popleft().fail(Unavailable(sentence_of(error)))

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection:
            await connection.close()


def is_general(error: psycopg.Error) -> bool:
    """Return True if the database refuses everything: no resources (53), being stopped (57), a
    broken disk (58), read only, a role without the right to write."""
    state = error.sqlstate or ""
    return state[:2] in {"53", "57", "58"} or state in {DEMOTED, "42501"}


async def _alive(connection: Connection) -> bool:
    """Test the connection: the class of an error does not say whether the session survived."""
    try:
        async with asyncio.timeout(2):
            await connection.execute("select 1")
    except Exception:
        return False
    return True
