"""Command `reconcile`: planted differences are found and named, and adopted ones are not found
again."""

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

import psycopg
import pytest

from application.commands import commands_on
from domain.identity import compensation, reversal_name, transfer_stream
from domain.provider_call.retry_policy import Policy
from domain.provider_call.steps import Send
from domain.seller_transfer.stripe_call import begin
from domain.seller_transfer.transfer_outcome import complete
from infrastructure.bootstrap import stored
from infrastructure.postgres.directory import PostgresDirectory
from infrastructure.postgres.ledger import PostgresEventLog
from infrastructure.postgres.read_side.read_models import Filters, ReadModels
from infrastructure.settings import settings_from
from infrastructure.simulators.stripe import (
    KIND,
    SimulatorConfig,
    SimulatorControl,
    running_simulator,
)
from tests.scripts.test_command_line import run
from tests.support.json_types import Json
from tests.support.service import LedgerCaller

DECISION = ("--actor", "mia", "--reason", "checked at Stripe")
ORDERS = ("o1", "o2", "o3")


@pytest.fixture
async def stripe() -> AsyncIterator[SimulatorControl]:
    async with running_simulator(SimulatorConfig(manners=KIND)) as (_, control):
        await control.fund("eur", 1_000_000)
        await control.change_account("acct_1ada")
        yield control


def ours(order_id: str) -> str:
    return str(transfer_stream(order_id, "ada"))


OURS1 = ours("o1")


class FixedClock:
    """A clock that always returns one instant."""

    def __init__(self, now: datetime) -> None:
        self._now = now

    def now(self) -> datetime:
        return self._now

    def observe(self, asked: datetime, database_now: datetime) -> None:
        """Ignore the database's time."""


def named(option: str, findings: list[Json]) -> list[str]:
    return [part for one in findings for part in (option, one["id"])]


async def paid(
    stripe: SimulatorControl, order_id: str, amount: int = 1_000, currency: str = "eur"
) -> str:
    """A transfer of ours at Stripe."""
    made = await stripe.external_transfer(
        "acct_1ada", amount, currency, metadata={"transfer_id": ours(order_id)}
    )
    return str(made["id"])


async def recorded(database_url: str, **paid_by: str | None) -> None:
    """Orders of 1000 to ada, paid here by these transfers at Stripe."""
    async with stored(settings_from({"DATABASE_URL": database_url})) as storage:
        caller, ledger = LedgerCaller(storage), PostgresEventLog(storage.store)
        for order_id, stripe_id in paid_by.items():
            await caller.order(order_id, 1_000, ada=1_000)
            await caller.pay(order_id)
            uow = await ledger.load([transfer_stream(order_id, "ada")])
            if stripe_id is not None:
                complete(
                    uow.transfer(transfer_stream(order_id, "ada")),
                    stripe_id,
                    1_000,
                    None,
                    storage.clock.now(),
                )
                await ledger.append(uow)


async def reconciled(
    database_url: str, stripe: SimulatorControl, *more: str
) -> subprocess.CompletedProcess[str]:
    return await asyncio.to_thread(
        run, "reconcile", *more, DATABASE_URL=database_url, STRIPE_API_BASE=stripe.url
    )


async def found(database_url: str, stripe: SimulatorControl, *more: str) -> tuple[int, list[Json]]:
    ended = await reconciled(database_url, stripe, "--json", *more)
    assert ended.returncode in (0, 1), ended.stderr
    return ended.returncode, json.loads(ended.stdout)


async def test_equal_books_have_no_findings(database_url: str, stripe: SimulatorControl) -> None:
    await recorded(database_url, **{order_id: await paid(stripe, order_id) for order_id in ORDERS})
    assert await found(database_url, stripe) == (0, [])


async def test_every_planted_difference_is_named(
    database_url: str, stripe: SimulatorControl
) -> None:
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


async def test_adopted_finding_is_a_fact_and_not_found_again(
    database_url: str, stripe: SimulatorControl
) -> None:
    first = await paid(stripe, "o1")
    for _ in range(12):  # more than a list brings along
        await stripe.external_reversal(first, 10)
    await paid(stripe, "o2")
    await recorded(database_url, o1=first, o2=None)
    code, findings = await found(database_url, stripe)
    assert (code, len(findings)) == (1, 13)
    code, now = await found(database_url, stripe, *DECISION, *named("--adopt", findings[:-1]))
    assert (code, [one["outcome"] for one in now]) == (1, 12 * ["adopted"] + [None])
    assert [one["id"] for one in (await found(database_url, stripe))[1]] == [findings[-1]["id"]], (
        "one by one"
    )
    assert (await found(database_url, stripe, *DECISION, *named("--adopt", findings[-1:])))[0] == 0
    assert await found(database_url, stripe) == (0, [])
    with psycopg.connect(database_url) as connection:
        query = (
            "select count(*) from ledger_events where convert_from(state, 'UTF8') like '%adopted "
            "by mia: checked at Stripe%'"
        )
        assert connection.execute(query).fetchone() == (13,)
        decided = connection.execute("select finding_id, status, actor from findings").fetchall()
    assert set(decided) == {(one["id"], "adopted", "mia") for one in findings}


async def test_ignored_finding_keeps_actor_and_reason(
    database_url: str, stripe: SimulatorControl
) -> None:
    await recorded(database_url, o1="tr_nowhere")
    _, findings = await found(database_url, stripe)
    code, (told,) = await found(database_url, stripe, *DECISION, *named("--ignore", findings))
    assert (code, told["outcome"]) == (0, "ignored")
    code, (told,) = await found(database_url, stripe)
    assert (code, told["id"], told["ignored"]["actor"]) == (0, findings[0]["id"], "mia")
    assert told["ignored"]["reason"] == "checked at Stripe"
    ended = await reconciled(database_url, stripe)
    assert "ignored by mia on 20" in ended.stdout
    assert "0 findings, 0 unclaimed transfers, 1 ignored; at risk: nothing" in ended.stdout
    verified = await asyncio.to_thread(run, "verify", DATABASE_URL=database_url)
    assert verified.returncode == 0, verified.stdout
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("delete from findings")
    rebuilt = await asyncio.to_thread(run, "rebuild", "findings", DATABASE_URL=database_url)
    assert rebuilt.returncode == 0, rebuilt.stderr
    assert (await found(database_url, stripe))[0] == 0, "decisions are facts"


async def test_ignored_finding_returns_when_its_amount_changes(
    database_url: str, stripe: SimulatorControl
) -> None:
    first, second = await paid(stripe, "o1"), await paid(stripe, "o1")
    await recorded(database_url, o1=first)
    _, (duplicate,) = await found(database_url, stripe)
    assert (duplicate["kind"], duplicate["at_risk"]) == ("duplicate", 1_000)
    assert (await found(database_url, stripe, *DECISION, "--ignore", duplicate["id"]))[0] == 0
    await stripe.external_reversal(second, 400)
    code, (again,) = await found(database_url, stripe)
    assert (code, again["at_risk"], again["ignored"]) == (1, 600, None)
    assert again["id"] != duplicate["id"]


async def test_unignored_finding_is_reported_again(
    database_url: str, stripe: SimulatorControl
) -> None:
    await recorded(database_url, o1="tr_nowhere")
    _, findings = await found(database_url, stripe)
    assert (await found(database_url, stripe, *DECISION, *named("--ignore", findings)))[0] == 0
    code, (told,) = await found(database_url, stripe, *DECISION, *named("--unignore", findings))
    assert (code, told["ignored"]) == (1, None)
    code, (told,) = await found(database_url, stripe)
    assert (code, told["ignored"]) == (1, None)
    unknown = await reconciled(database_url, stripe, *DECISION, "--unignore", "none")
    assert unknown.returncode == 2
    assert "There is no finding 'none'" in unknown.stderr


async def test_ignored_finding_can_be_adopted(database_url: str, stripe: SimulatorControl) -> None:
    first = await paid(stripe, "o1")
    await stripe.external_reversal(first, 300)
    await recorded(database_url, o1=first)
    _, findings = await found(database_url, stripe)
    assert (await found(database_url, stripe, *DECISION, *named("--ignore", findings)))[0] == 0
    assert (await found(database_url, stripe, *DECISION, *named("--adopt", findings)))[0] == 0
    assert await found(database_url, stripe) == (0, [])


async def test_lost_outcome_of_our_reversal_is_adopted(
    database_url: str, stripe: SimulatorControl
) -> None:
    """As after a restore: two reversals were sent, the first still seems under way, and the second
    to wait for it."""
    first = await paid(stripe, "o1")
    async with stored(settings_from({"DATABASE_URL": database_url})) as storage:
        an_hour_ago = storage.clock.now() - timedelta(hours=1)
        ledger = PostgresEventLog(storage.store)
        caller = LedgerCaller(
            replace(
                storage,
                commands=commands_on(
                    ledger, PostgresDirectory(storage.pool), FixedClock(an_hour_ago)
                ),
            )
        )
        await caller.order("o1", 1_000, ada=1_000)
        await caller.pay("o1")
        uow = await ledger.load([UUID(OURS1)])
        complete(uow.transfer(UUID(OURS1)), first, 1_000, None, an_hour_ago)
        await ledger.append(uow)
        for refund_id in ("r1", "r2"):
            await caller.refund(refund_id, "o1", 300)
        uow = await ledger.load([UUID(OURS1)])
        transfer = uow.transfer(UUID(OURS1))
        assert isinstance(begin(transfer, an_hour_ago, Policy()), Send)
        await ledger.append(uow)
    for reversal_id in transfer.reversals:
        await stripe.external_reversal(first, 300, metadata={"reversal_id": reversal_id})
    code, findings = await found(database_url, stripe)
    assert (code, [one["kind"] for one in findings]) == (1, 2 * ["missing_here"])
    assert [one["obstacle"] for one in findings] == [None, "it is queued here"]
    code, told = await found(database_url, stripe, *DECISION, *named("--adopt", findings))
    assert (code, [one["outcome"] for one in told]) == (0, 2 * ["adopted"])
    assert await found(database_url, stripe) == (0, [])


async def test_our_reversal_of_an_unknown_refund_stays_ours(
    database_url: str, stripe: SimulatorControl
) -> None:
    first = await paid(stripe, "o1")
    await recorded(database_url, o1=first)
    lost = str(reversal_name(UUID(ours("o1")), "re_lost", 1))
    await stripe.external_reversal(first, 300, metadata={"reversal_id": lost})
    code, findings = await found(database_url, stripe)
    assert (code, [(one["kind"], one["obstacle"]) for one in findings]) == (
        1,
        [("missing_here", "its refund has to be recorded first")],
    )


async def test_unmarked_transfer_is_found_by_group_and_amount(
    database_url: str, stripe: SimulatorControl
) -> None:
    one = await stripe.external_transfer("acct_1ada", 1_000, "eur", transfer_group="o1")
    await stripe.external_transfer("acct_1ada", 999, "eur", transfer_group="o1")
    await recorded(database_url, o1=None)
    code, findings = await found(database_url, stripe)
    assert (code, [(f["kind"], f["transfer_id"]) for f in findings]) == (
        1,
        [("unclaimed", None), ("missing_here", OURS1)],
    )
    assert (await found(database_url, stripe, *DECISION, *named("--adopt", findings[1:])))[0] == 0
    again = await stripe.external_transfer("acct_1ada", 1_000, "eur", transfer_group="o1")
    _, findings = await found(database_url, stripe)
    assert [(f["kind"], f["stripe_id"]) for f in findings if f["kind"] != "unclaimed"] == [
        ("duplicate", again["id"])
    ]
    with psycopg.connect(database_url) as connection:
        row = connection.execute(
            "select status, stripe_transfer_id from seller_transfers"
        ).fetchone()
    assert row == ("completed", one["id"])


async def test_unadoptable_finding_says_why(database_url: str, stripe: SimulatorControl) -> None:
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
        (["--ignore", "x"], "--actor"),
        (["--ignore", "x", "--adopt", "x", *DECISION], "one of them"),
    ],
)
async def test_usage_error_exits_with_2(
    database_url: str, stripe: SimulatorControl, arguments: list[str], named: str
) -> None:
    ended = await reconciled(database_url, stripe, *arguments)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert named in ended.stderr


@pytest.mark.parametrize("operation", ["transfers.list", "transfers.retrieve", "reversals.list"])
async def test_incomplete_books_report_nothing(
    database_url: str, stripe: SimulatorControl, operation: str
) -> None:
    first = await paid(stripe, "o1")
    for _ in range(11):
        await stripe.external_reversal(first, 10)
    await recorded(database_url, o1=first)
    await stripe.fault("status", operation, status=503)
    ended = await reconciled(database_url, stripe)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "could not be read at Stripe" in ended.stderr


async def test_each_page_of_transfers_is_read_once(
    database_url: str, stripe: SimulatorControl
) -> None:
    strangers = [
        str((await stripe.external_transfer("acct_1ada", 5, "eur"))["id"]) for _ in range(205)
    ]
    code, findings = await found(database_url, stripe)
    assert (code, [one["stripe_id"] for one in findings]) == (0, strangers[::-1])
    assert len(await stripe.requests("transfers.list")) == 3


async def test_lost_reversal_and_its_compensation_are_adopted(
    database_url: str, stripe: SimulatorControl
) -> None:
    """As after a restore: a refund had succeeded and failed again, and is reported as failed
    only."""
    first = await paid(stripe, "o1")
    await recorded(database_url, o1=first)
    transfer_id = transfer_stream("o1", "ada")
    reversed_ = {"reversal_id": str(reversal_name(transfer_id, "r1")), "refund_id": "r1"}
    await stripe.external_reversal(first, 500, metadata=reversed_)
    cause = compensation(transfer_id, "r1")
    metadata = {
        "transfer_id": str(transfer_stream("o1", "ada", cause)),
        "order_id": "o1",
        "seller_id": "ada",
        "refund_id": "r1",
        "compensates": str(transfer_id),
    }
    await stripe.external_transfer("acct_1ada", 500, "eur", metadata=metadata)
    async with stored(settings_from({"DATABASE_URL": database_url})) as storage:
        await LedgerCaller(storage).refund_failed("r1", "o1", 500)
    code, findings = await found(database_url, stripe)
    assert (code, {one["kind"] for one in findings}) == (1, {"missing_here"})
    code, told = await found(database_url, stripe, *DECISION, *named("--adopt", findings))
    assert (code, {one["outcome"] for one in told}) == (0, {"adopted"})
    assert await found(database_url, stripe) == (0, [])
    async with stored(settings_from({"DATABASE_URL": database_url})) as storage:
        rows = await ReadModels(storage.pool).transfers(Filters(order_id="o1"), 10)
        assert sum(row.amount - row.amount_reversed for row in rows) == 1_000
        assert {row.next_retry_at for row in rows} == {None}, "nothing is sent"
