"""`reconcile` as a person uses it: what is planted is found and named, nothing else is, and what is adopted is gone."""

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator

import psycopg
import pytest

from domain.identity import transfer_stream
from domain.paying import complete
from infrastructure.bootstrap import stored
from infrastructure.postgres.ledger import PostgresLedger
from infrastructure.settings import settings_from
from infrastructure.stripe.simulator import SimulatorControl, running_simulator
from tests.e2e.stage import Desk
from tests.scripts.test_command_line import run

DECISION = ("--actor", "mia", "--reason", "checked at Stripe")
ORDERS = ("o1", "o2", "o3")


@pytest.fixture
async def stripe() -> AsyncIterator[SimulatorControl]:
    async with running_simulator() as (_, control):
        await control.fund("eur", 1_000_000)
        await control.change_account("acct_1ada")
        yield control


def ours(order_id: str) -> str:
    return str(transfer_stream(order_id, "ada"))


async def paid(stripe: SimulatorControl, order_id: str, amount: int = 1_000, currency: str = "eur") -> str:
    """A transfer of ours at Stripe."""
    made = await stripe.external_transfer("acct_1ada", amount, currency, metadata={"transfer_id": ours(order_id)})
    return str(made["id"])


async def recorded(database_url: str, **paid_by: str | None) -> None:
    """Orders of 1000 to ada, paid here by these transfers at Stripe."""
    async with stored(settings_from({"DATABASE_URL": database_url})) as storage:
        desk, ledger = Desk(storage), PostgresLedger(storage.store)
        for order_id, stripe_id in paid_by.items():
            await desk.order(order_id, 1_000, ada=1_000)
            await desk.pay(order_id)
            book = await ledger.load([transfer_stream(order_id, "ada")])
            if stripe_id is not None:
                complete(book.transfer(transfer_stream(order_id, "ada")), stripe_id, 1_000, None, storage.clock.now())
                await ledger.append(book)


async def reconciled(database_url: str, stripe: SimulatorControl, *more: str) -> subprocess.CompletedProcess[str]:
    return await asyncio.to_thread(run, "reconcile", *more, DATABASE_URL=database_url, STRIPE_API_BASE=stripe.url)


async def found(database_url: str, stripe: SimulatorControl, *more: str) -> tuple[int, list[dict]]:
    ended = await reconciled(database_url, stripe, "--json", *more)
    assert ended.returncode in (0, 1), ended.stderr
    return ended.returncode, json.loads(ended.stdout)


async def test_nothing_is_found_where_the_books_agree(database_url: str, stripe: SimulatorControl) -> None:
    await recorded(database_url, **{order_id: await paid(stripe, order_id) for order_id in ORDERS})
    assert await found(database_url, stripe) == (0, [])


async def test_every_planted_difference_is_found_and_named(database_url: str, stripe: SimulatorControl) -> None:
    first = await paid(stripe, "o1")
    await stripe.fund("usd", 10_000)
    planted = {
        "duplicate": await paid(stripe, "o1"),
        "missing_here": await paid(stripe, "o2"),
        "missing_there": "tr_nowhere",
        "amount": await paid(stripe, "o4", 900),
        "currency": await paid(stripe, "o6", currency="usd"),
        "unclaimed": str((await stripe.external_transfer("acct_1ada", 5, "eur"))["id"]),
        "external_reversal": str((await stripe.external_reversal(first, 300))["id"]),
    }
    by = {"o3": "tr_nowhere", "o4": planted["amount"], "o6": planted["currency"]}
    await recorded(database_url, o1=first, o2=None, **by)
    code, findings = await found(database_url, stripe)
    assert (code, {one["kind"]: one["stripe_id"] for one in findings}) == (1, planted)
    assert len(findings) == len(planted)
    _, again = await found(database_url, stripe)
    assert [one["id"] for one in again] == [one["id"] for one in findings], "a finding keeps its id"


async def test_what_is_adopted_is_a_fact_and_found_no_more(database_url: str, stripe: SimulatorControl) -> None:
    first = await paid(stripe, "o1")
    for _ in range(12):  # more than a list brings along
        await stripe.external_reversal(first, 10)
    await paid(stripe, "o2")
    await recorded(database_url, o1=first, o2=None)
    code, findings = await found(database_url, stripe)
    assert (code, len(findings)) == (1, 13)
    chosen = [one["id"] for one in findings if one["kind"] == "missing_here"]
    chosen += [one["id"] for one in findings if one["kind"] == "external_reversal"][:1]
    code, now = await found(database_url, stripe, *DECISION, *[part for id_ in chosen for part in ("--adopt", id_)])
    assert (code, {one["outcome"] for one in now}) == (0, {"adopted"})
    assert await found(database_url, stripe) == (0, [])
    with psycopg.connect(database_url) as connection:
        query = "select count(*) from ledger_events where convert_from(state, 'UTF8') like '%adopted by mia: checked at Stripe%'"
        assert connection.execute(query).fetchone() == (13,)


async def test_what_cannot_be_adopted_says_why(database_url: str, stripe: SimulatorControl) -> None:
    await recorded(database_url, o1="tr_nowhere")
    _, (finding,) = await found(database_url, stripe)
    code, (tried,) = await found(database_url, stripe, "--adopt", finding["id"], *DECISION)
    assert (code, tried["outcome"]) == (1, "cannot be adopted: nothing is there")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--from", "monday"], "--from is"),
        (["--from", "2026-02-01T00:00:00Z", "--to", "2026-01-01T00:00:00Z"], "--from is"),
        (["--adopt", "x"], "--actor"),
        (["--adopt", "x", *DECISION], "no finding x"),
        (["--actor", "mia"], "--adopt"),
    ],
)
async def test_bad_usage_is_2(database_url: str, stripe: SimulatorControl, arguments: list[str], named: str) -> None:
    ended = await reconciled(database_url, stripe, *arguments)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert named in ended.stderr
