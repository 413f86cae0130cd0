"""Grouped commit: whatever waits at the same time becomes one statement, one transaction, one fsync.

Promises to every caller of `submit`:
- there is an answer, whatever happens: success, the caller's own refusal, or Unavailable after a bounded time;
- nobody fails for another one's mistake: those that the error names fail alone, anything else is found by halving;
- cancelling the caller withdraws nothing: what was submitted is stored;
- a connection lost in COMMIT is not guessed at: `recall` finds out what became of the group.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic
from typing import Generic, Protocol, TypeVar

import psycopg

from domain.errors import Unavailable
from infrastructure.postgres.connections import Connection, connect

Item = TypeVar("Item")
Answer = TypeVar("Answer")
Item_contra = TypeVar("Item_contra", contravariant=True)
Answer_co = TypeVar("Answer_co", covariant=True)

QUEUE_LIMIT = 10_000
PATIENCE = timedelta(seconds=15)
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0

log = logging.getLogger(__name__)


class GroupStatement(Protocol[Item_contra, Answer_co]):
    """What one kind of grouped commit knows about its items."""

    async def store(self, connection: Connection, items: Sequence[Item_contra]) -> Sequence[Answer_co]:
        """Store all items or none, by one autocommit statement. Answers in the order of the items."""

    async def recall(self, connection: Connection, items: Sequence[Item_contra]) -> Sequence[Answer_co] | None:
        """After a lost connection: the answers if the items are stored; None if not, or if storing twice is harmless."""

    def blamed(self, error: psycopg.Error, items: Sequence[Item_contra]) -> Mapping[int, Exception]:
        """The items that the error names, by index, each with what its caller is told; empty if it names none."""

    def refusal(self, error: Exception, item: Item_contra) -> Exception:
        """What the caller of an item that failed alone is told."""


@dataclass(slots=True, eq=False)
class Waiting(Generic[Item, Answer]):
    item: Item
    answer: asyncio.Future[Answer]
    until: float

    def tell(self, answer: Answer) -> None:
        """Nobody listens any more if the caller was cancelled."""
        if not self.answer.done():
            self.answer.set_result(answer)

    def fail(self, error: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)


@dataclass(slots=True)
class GroupPart(Generic[Item, Answer]):
    """Some of a group; `in_doubt` while a lost connection may have stored it, `resent` if it once was."""

    waiting: Sequence[Waiting[Item, Answer]]
    in_doubt: bool = False
    resent: bool = False

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
        """The second half first: parts are taken from the end."""
        middle = len(self.waiting) // 2
        return [GroupPart(half, resent=self.resent) for half in (self.waiting[middle:], self.waiting[:middle])]


class GroupCommit(Generic[Item, Answer]):
    """One task and one connection that store what callers submit. `start` before use, `aclose` after."""

    def __init__(self, database_url: str, statement: GroupStatement[Item, Answer], limit: int, patience: timedelta = PATIENCE) -> None:
        """`limit`: items per group. Taking all that waits is the slowest choice: every caller then moves in one wave,
        and this process and PostgreSQL take turns instead of overlapping."""
        self._url, self._statement, self._limit = database_url, statement, limit
        self._patience = patience.total_seconds()
        self._queue: deque[Waiting[Item, Answer]] = deque()
        self._group: Sequence[Waiting[Item, Answer]] = ()
        self._wake = asyncio.Event()
        self._closing = False
        self._connection: Connection | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Raises psycopg.OperationalError if the database cannot be reached at all."""
        self._connection = await connect(self._url)
        self._task = asyncio.create_task(self._run(), name=type(self._statement).__name__)

    async def aclose(self) -> None:
        """Take nothing more, answer everything that waits, then end. If this is cancelled, what waits fails at once."""
        self._closing = True
        self._wake.set()
        try:
            if self._task:
                await self._task
        finally:
            await self._disconnect()

    async def submit(self, item: Item) -> Answer:
        """Raises Unavailable, or whatever the statement refuses this item with."""
        if self._closing or not self._task or self._task.done():
            raise Unavailable("the writer is closed")
        if len(self._queue) >= QUEUE_LIMIT:
            raise Unavailable(f"{QUEUE_LIMIT} requests are waiting already")
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._queue.append(Waiting(item, answer, monotonic() + self._patience))
        self._wake.set()
        return await answer

    async def _run(self) -> None:
        try:
            while await self._something_waits():
                self._group = [self._queue.popleft() for _ in range(min(len(self._queue), self._limit))]
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
        """Everybody in the group has an answer when this returns, whatever happens."""
        parts: list[GroupPart[Item, Answer]] = [GroupPart(group)]
        while parts:
            part = parts.pop()
            try:
                parts += await self._attempt(part)
            except Exception as error:  # a mistake in our own code must not take the ledger down with it
                log.exception("grouped commit failed")
                part.fail(Unavailable(f"{type(error).__name__}: {error}", in_doubt=True))

    async def _attempt(self, part: GroupPart[Item, Answer]) -> Sequence[GroupPart[Item, Answer]]:
        """Returns the parts that have no answer yet, the first one last."""
        connection = await self._connected(part)
        if connection is None:
            return []
        try:
            async with asyncio.timeout(self._patience):
                answers = await self._ask(connection, part)
        except Exception as error:
            if isinstance(error, TimeoutError) or not await _alive(connection):
                return await self._lost(error, part)
            return await self._explain(connection, error, part)
        if answers is None:
            return [GroupPart(part.waiting, resent=True)]
        for waiting, answer in zip(part.waiting, answers, strict=True):
            waiting.tell(answer)
        return []

    async def _ask(self, connection: Connection, part: GroupPart[Item, Answer]) -> Sequence[Answer] | None:
        if part.in_doubt:
            return await self._statement.recall(connection, part.items)
        return await self._statement.store(connection, part.items)

    async def _lost(self, error: Exception, part: GroupPart[Item, Answer]) -> Sequence[GroupPart[Item, Answer]]:
        """The connection is gone, and with it the answer. An item that brings the server down must not do so for ever."""
        await self._disconnect()
        if part.until <= monotonic():
            part.fail(Unavailable(_one_line(error), in_doubt=True))
            return []
        return [GroupPart(part.waiting, in_doubt=True, resent=True)]

    async def _explain(self, connection: Connection, error: Exception, part: GroupPart[Item, Answer]) -> Sequence[GroupPart[Item, Answer]]:
        """The statement failed for certain. Tell those who caused it; the others try again."""
        if isinstance(error, psycopg.Error):
            if is_general(error):
                part.fail(Unavailable(_one_line(error), in_doubt=part.resent))
                return []
            if blamed := self._statement.blamed(error, part.items):
                for index, reason in blamed.items():
                    await self._refuse(connection, part.waiting[index], reason, part.resent)
                others = [each for index, each in enumerate(part.waiting) if index not in blamed]
                return [GroupPart(others, resent=part.resent)] if others else []
        if len(part.waiting) > 1:
            return part.halves()
        part.fail(self._statement.refusal(error, part.waiting[0].item))
        return []

    async def _refuse(self, connection: Connection, waiting: Waiting[Item, Answer], reason: Exception, resent: bool) -> None:
        """A statement on its way when its connection was lost can arrive after we looked for it and sent it again. Then
        what is in the way are the caller's own facts, and it must not hear that somebody else was first."""
        own = await self._statement.recall(connection, [waiting.item]) if resent else None
        if own is None:
            waiting.fail(reason)
        else:
            waiting.tell(own[0])

    async def _connected(self, part: GroupPart[Item, Answer]) -> Connection | None:
        """None when the patience of this part is over; its callers have been told."""
        pause = FIRST_PAUSE
        while self._connection is None:
            try:
                self._connection = await connect(self._url)
            except Exception as error:
                log.warning("no connection to the database: %s", _one_line(error))
                self._give_up_on_the_impatient(part, error)
                if all(each.answer.done() for each in part.waiting):
                    return None
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
        return self._connection

    def _give_up_on_the_impatient(self, part: GroupPart[Item, Answer], error: Exception) -> None:
        now = monotonic()
        if part.until <= now:
            part.fail(Unavailable(_one_line(error), in_doubt=part.resent))
        while self._queue and self._queue[0].until <= now:
            self._queue.popleft().fail(Unavailable(_one_line(error)))

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection:
            await connection.close()


def is_general(error: psycopg.Error) -> bool:
    """Whether the database refuses everybody: no resources (53), being stopped (57), a broken disk (58), read only."""
    state = error.sqlstate or ""
    return state[:2] in {"53", "57", "58"} or state == "25006"


async def _alive(connection: Connection) -> bool:
    """Ask the connection, not the error's class: those do not tell whether the session survived."""
    try:
        async with asyncio.timeout(2):
            await connection.execute("select 1")
    except Exception:
        return False
    return True


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
