"""The cache of long streams never shows another state than the stored facts lead to."""

import asyncio
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from random import Random
from uuid import UUID

import pytest

from application.commands import Commands, commands_on
from application.commands.refunds import RefundReport
from application.ports import EventLog
from domain.fact import Stream
from domain.identity import order_stream, transfer_stream
from domain.order.state import Share
from infrastructure.clock import DatabaseClock
from infrastructure.postgres.event_store import RecordedFact
from infrastructure.postgres.ledger import PostgresEventLog
from infrastructure.postgres.stream_cache import SHORTEST
from infrastructure.simulation.in_memory.database import MemoryDatabase, MemoryStore, event_log
from infrastructure.simulation.in_memory.directory import MemoryDirectory

SELLERS = ("ada", "ben", "cleo")
STREAMS = [order_stream("o1"), *(transfer_stream("o1", seller) for seller in SELLERS)]


def state(stream: Stream) -> dict[str, object]:
    return {name: value for name, value in stream.__dict__.items() if name != "_pending_events"}


async def seen(log: EventLog) -> list[tuple[dict[str, object], object]]:
    uow = await log.load(STREAMS)
    order = uow.order("o1")
    streams: list[tuple[UUID, Stream]] = [(STREAMS[0], order)]
    streams += [(id_, uow.transfer(id_)) for id_ in STREAMS[1:]]
    return [(state(stream), uow.folded(id_)) for id_, stream in streams]


@pytest.fixture
def database() -> MemoryDatabase:
    return MemoryDatabase(lambda: datetime.now(UTC))


@pytest.fixture
def log(database: MemoryDatabase) -> EventLog:
    """A log whose cache lives through the whole test."""
    return event_log(database)


@pytest.fixture
async def commands(database: MemoryDatabase, log: EventLog) -> Commands:
    """Commands on a paid order of 3,000 of three sellers."""
    commands = commands_on(log, MemoryDirectory(database), DatabaseClock())
    shares = [Share(seller_id=s, destination=f"acct_{s}", amount=900) for s in SELLERS]
    await commands.orders.register(order_id="o1", currency="EUR", amount=3_000, shares=shares)
    await commands.orders.record_payment("o1", None, None, "api")
    return commands


async def refund(commands: Commands, name: str, amount: int, *, fails: bool = False) -> None:
    report = RefundReport(name, "o1", amount, "EUR", "test")
    await (commands.refunds.failed if fails else commands.refunds.succeeded)(report)


async def test_cached_state_equals_the_state_of_all_facts(
    database: MemoryDatabase, log: EventLog, commands: Commands
) -> None:
    random, names = Random(7), list[str]()
    for number in range(3 * SHORTEST):
        if names and random.random() < 0.3:
            await refund(commands, names.pop(random.randrange(len(names))), 40, fails=True)
        else:
            names.append(f"r{number}")
            await refund(commands, names[-1], 40)
        assert await seen(log) == await seen(event_log(database))


async def test_decision_that_was_not_stored_leaves_the_cache_alone(
    database: MemoryDatabase, log: EventLog, commands: Commands
) -> None:
    for number in range(SHORTEST):
        await refund(commands, f"r{number}", 40)
    uow = await log.load(STREAMS)
    for transfer in uow.transfers():
        transfer.take_back("never stored", 5, datetime.now(UTC))
    assert await seen(log) == await seen(event_log(database))


async def test_facts_that_a_fail_over_has_lost_are_forgotten(
    database: MemoryDatabase, log: EventLog, commands: Commands
) -> None:
    for number in range(SHORTEST):
        await refund(commands, f"r{number}", 40)
    await seen(log)
    for stream in STREAMS:  # the standby lacks the last facts …
        lost = [database.streams[stream].pop() for _ in range(2)]
        database.recorded = [fact for fact in database.recorded if fact not in lost]
    assert await seen(log) == await seen(event_log(database))
    await refund(
        commands_on(event_log(database), MemoryDirectory(database), DatabaseClock()), "another", 55
    )  # … and goes on otherwise
    assert await seen(log) == await seen(event_log(database))
    for stream in STREAMS:
        database.streams[stream].clear()
    assert not (await log.load(STREAMS)).transfers()


class FarStore(MemoryStore):
    """A store whose answers are on the way for a while, as those of a real server."""

    async def load(
        self, ids: Collection[UUID], since: Callable[[UUID], int] = lambda _: 1
    ) -> dict[UUID, list[RecordedFact]]:
        recorded = await super().load(ids, since)
        await asyncio.sleep(0)
        return recorded


async def test_loads_at_once_of_a_stream_that_grew_all_see_the_same_state(
    database: MemoryDatabase, commands: Commands
) -> None:
    """Each load continues the state from which it asked, not one that others learned meanwhile."""
    for number in range(SHORTEST):
        await refund(commands, f"r{number}", 40)
    far = PostgresEventLog(FarStore(database))  # type: ignore[arg-type]  # it uses load and append only
    await seen(far)
    await refund(commands, "another", 55)
    at_once = await asyncio.gather(*(seen(far) for _ in range(4)))
    assert all(one == at_once[0] for one in at_once)
    assert at_once[0] == await seen(event_log(database))
