"""Positions of the polls: one process at a time, never back, and not from before the first
start."""

import asyncio
from datetime import timedelta

import pytest

from infrastructure.postgres.bound_account import bind
from infrastructure.postgres.connections import Pool
from infrastructure.postgres.webhook_polls import PostgresWebhookPolls
from tests.infrastructure.postgres.conftest import Person

MINUTES = timedelta(minutes=5)


@pytest.fixture
def polls(pool: Pool) -> PostgresWebhookPolls:
    return PostgresWebhookPolls(pool)


async def test_due_poll_turn_goes_to_one_process(polls: PostgresWebhookPolls) -> None:
    turns = await asyncio.gather(*(polls.take("stripe", MINUTES) for _ in range(8)))
    assert len([turn for turn in turns if turn is not None]) == 1
    assert await polls.take("hyperswitch", MINUTES) is not None, (
        "each provider has a turn of its own"
    )
    assert await polls.take("stripe", MINUTES, anyway=True) is not None


async def test_poll_turn_is_due_after_interval_and_renewed(
    polls: PostgresWebhookPolls, person: Person
) -> None:
    assert await polls.until_due(["stripe"]) == 0
    turn = await polls.take("stripe", MINUTES)
    assert turn is not None
    assert 290 < await polls.until_due(["stripe"]) <= 300
    assert await polls.until_due(["stripe", "hyperswitch"]) == 0
    await person.execute("update webhook_polls set due_at = now() - interval '1 second'")
    await polls.advance("stripe", turn.seen_until, MINUTES)
    assert await polls.take("stripe", MINUTES) is None
    await person.execute("update webhook_polls set due_at = now() - interval '1 second'")
    assert await polls.take("stripe", MINUTES) is not None


async def test_poll_cursor_never_goes_back(polls: PostgresWebhookPolls) -> None:
    turn = await polls.take("stripe", MINUTES)
    assert turn is not None
    later = turn.seen_until + timedelta(hours=2)
    for seen_until in (later, later - timedelta(hours=1)):
        await polls.advance("stripe", seen_until, MINUTES)
    assert (await polls.state())["stripe"].seen_until == later


@pytest.mark.parametrize(("bound", "begun"), [("3 days", "3 days"), ("90 days", "30 days")])
async def test_poll_window_begins_at_first_start_or_retention(
    polls: PostgresWebhookPolls, pool: Pool, person: Person, bound: str, begun: str
) -> None:
    await bind(pool, "simulator")
    await person.execute("update ledger_binding set bound_at = now() - %s::interval", (bound,))
    turn = await polls.take("stripe", MINUTES)
    assert turn is not None
    assert turn.begun_at == turn.seen_until
    row = await (await person.execute("select now() - %s::interval", (begun,))).fetchone()
    assert row is not None
    assert abs(turn.begun_at - row[0]) < timedelta(minutes=1)
