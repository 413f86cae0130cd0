"""Command `backfill` on a real database and a simulated Stripe: only unambiguous matches are
recorded."""

import asyncio
import csv
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypedDict, Unpack
from uuid import UUID

import pytest

from application.command_handler import CommandHandler
from application.unit_of_work import CommitExtras
from application.webhooks.stripe.external_changes import ExternalChanges
from domain.errors import StripeSilent
from domain.identity import transfer_stream
from domain.provider_call.retry_policy import Policy
from domain.provider_call.stripe_objects import TransferAtStripe
from domain.seller_transfer.facts import Completed, StripeTransferIdBackfilled
from domain.seller_transfer.stripe_call import begin
from infrastructure.bootstrap import stored
from infrastructure.postgres.ledger import PostgresEventLog
from infrastructure.simulators.stripe import (
    KIND,
    SimulatorConfig,
    SimulatorControl,
    running_simulator,
)
from scripts.commands.backfill import run_backfill as backfill
from tests.scripts.test_command_line import ROOT, run
from tests.support.json_types import Json
from tests.support.ledger_view import LedgerView
from tests.support.service import CURRENCY, LedgerCaller, SystemUnderTest, account, quick


class Marks(TypedDict, total=False):
    """The marks that an older system left on its transfers at Stripe."""

    metadata: dict[str, str]
    transfer_group: str


OURS = str(transfer_stream("old", "anna"))


@pytest.fixture
async def system(database_url: str) -> AsyncIterator[SystemUnderTest]:
    async with (
        running_simulator(SimulatorConfig(manners=KIND)) as (_, stripe),
        LedgerView.of(database_url) as view,
    ):
        yield SystemUnderTest(quick(database_url, stripe.url), view, stripe)


async def held(
    stripe: SimulatorControl, amount: int = 900, seller: str = "anna", **marks: Unpack[Marks]
) -> str:
    return str((await stripe.external_transfer(account(seller), amount, "eur", **marks))["id"])


async def stripe_id(system: SystemUnderTest, order_id: str = "old") -> str | None:
    return (await system.view.transfer(order_id)).stripe_transfer_id


@pytest.mark.parametrize(
    ("marks", "by"),
    [
        ({"metadata": {"transfer_id": OURS}}, "metadata transfer_id"),
        ({"metadata": {"order_id": "old"}}, "metadata order_id"),
        ({"transfer_group": "old"}, "transfer_group"),
        ({}, "amount and time"),
    ],
)
async def test_match_by_each_rule_is_recorded_with_evidence(
    system: SystemUnderTest, marks: Marks, by: str
) -> None:
    transfer_id = await system.take_over()
    known = await held(system.stripe, **marks)
    await held(system.stripe, 899, **marks)
    assert await backfill(system.settings, True, None, False) == 0
    assert await stripe_id(system) == known
    fact = (await system.view.facts(transfer_id))[-1]
    assert isinstance(fact, StripeTransferIdBackfilled)
    assert (fact.actor, by in fact.evidence) == ("backfill", True)


async def test_dry_run_changes_nothing_and_rerun_finds_nothing(system: SystemUnderTest) -> None:
    transfer_id = await system.take_over()
    await system.at_stripe()
    where = {
        "DATABASE_URL": str(system.settings.database_url),
        "STRIPE_API_BASE": system.stripe.url,
    }
    rehearsed = await asyncio.to_thread(run, "backfill", "--json", **where)
    assert rehearsed.returncode == 0, rehearsed.stderr
    told = json.loads(rehearsed.stdout)
    assert (told["matched"], told["historical_completed"], told["apply"]) == (1, 1, False)
    assert "historical completed transfers without a Stripe id" in rehearsed.stderr
    assert await system.view.story(transfer_id) == ["Imported"]
    for _ in range(2):
        assert await backfill(system.settings, True, None, False) == 0
    assert await system.view.story(transfer_id) == ["Imported", "StripeTransferIdBackfilled"]


async def test_script_and_command_are_the_same(system: SystemUnderTest) -> None:
    await system.take_over()
    known = await system.at_stripe()
    where = {
        "DATABASE_URL": str(system.settings.database_url),
        "STRIPE_API_BASE": system.stripe.url,
    }
    script = [sys.executable, "scripts/backfill_stripe_transfer_ids.py", "--apply"]
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("STRIPE_", "DATABASE_", "LEDGER_"))
    }
    ended = await asyncio.to_thread(
        subprocess.run,
        script,
        capture_output=True,
        text=True,
        env={**clean, **where},
        cwd=ROOT,
        timeout=60,
    )
    assert ended.returncode == 0, ended.stderr
    assert f"is {known}: Stripe's list, by transfer_group" in ended.stdout
    assert await stripe_id(system) == known


# --- time -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "marks", [{}, {"transfer_group": "old"}, {"metadata": {"order_id": "old"}}]
)
async def test_contradicting_time_needs_a_person(
    system: SystemUnderTest, tmp_path: Path, marks: Marks
) -> None:
    await system.take_over(created_at=datetime.now(UTC) + timedelta(days=3))
    known = await held(system.stripe, **marks)
    (line,) = await reviewed(system, tmp_path / "review.csv")
    assert (line["candidates"], "not by its time" in line["why"]) == (known, True)


async def test_mark_is_accepted_at_any_age(system: SystemUnderTest) -> None:
    await system.take_over(created_at=datetime.now(UTC) - timedelta(days=30))
    known = await held(system.stripe, transfer_group="old")
    assert await backfill(system.settings, True, None, False) == 0
    assert await stripe_id(system) == known


# --- what an older system left open: it may have paid it ------------------------------------------


@pytest.mark.parametrize("status", ["pending", "failed"])
async def test_open_paid_transfer_is_completed_and_not_sent(
    system: SystemUnderTest, status: str
) -> None:
    await system.take_over(status=status, next_retry_at=datetime.now(UTC))
    known = await held(system.stripe, transfer_group="old")
    assert await backfill(system.settings, False, None, False) == 0
    assert (await system.view.transfer("old")).status == status, "a dry run"
    assert await backfill(system.settings, True, None, False) == 0
    row = await system.view.transfer("old")
    assert (row.status, row.stripe_transfer_id, row.next_retry_at) == ("completed", known, None)
    fact = (await system.view.facts(row.transfer_id))[-1]
    assert isinstance(fact, Completed)
    assert "backfill: Stripe's list, by transfer_group" in str(fact.note)
    async with system.at_work() as caller:
        await system.paid(caller, "new")
    assert len(await system.posts("transfers.create")) == 1


async def test_amount_alone_does_not_match_an_open_transfer(
    system: SystemUnderTest, tmp_path: Path
) -> None:
    await system.take_over(status="pending")
    known = await held(system.stripe)
    (line,) = await reviewed(system, tmp_path / "review.csv")
    assert (line["status"], line["candidates"]) == ("pending", known)
    await system.take_over(
        "dated", status="pending", created_at=datetime.now(UTC), seller_id="bert"
    )
    known = await held(system.stripe, seller="bert")
    assert [line["order_id"] for line in await reviewed(system, tmp_path / "review.csv")] == ["old"]
    assert await stripe_id(system, "dated") == known


async def test_own_transfers_are_not_backfilled(system: SystemUnderTest) -> None:
    async with stored(system.settings) as storage:
        await LedgerCaller(storage).order("new", 900, anna=900)
        await LedgerCaller(storage).pay("new")
    await held(system.stripe, transfer_group="new")
    assert await backfill(system.settings, True, None, False) == 0
    assert (await system.view.transfer("new")).status == "pending"


# --- the same by `reconcile` ----------------------------------------------------------------------


async def reconciled(system: SystemUnderTest, *more: str) -> tuple[int, list[Json]]:
    where = {
        "DATABASE_URL": str(system.settings.database_url),
        "STRIPE_API_BASE": system.stripe.url,
    }
    ended = await asyncio.to_thread(run, "reconcile", "--json", *more, **where)
    assert ended.returncode in (0, 1), ended.stderr
    return ended.returncode, json.loads(ended.stdout)


async def test_reconcile_adopts_an_old_systems_payment(system: SystemUnderTest) -> None:
    await system.take_over("paid")
    await system.take_over(
        "open", status="failed", seller_id="bert", next_retry_at=datetime.now(UTC)
    )
    known = [
        await held(system.stripe, transfer_group="paid"),
        await held(system.stripe, seller="bert", transfer_group="open"),
    ]
    code, found = await reconciled(system)
    assert (code, [(one["kind"], one["stripe_id"]) for one in found]) == (
        1,
        [("missing_here", name) for name in known[::-1]],
    )
    decision = ("--actor", "mia", "--reason", "as listed")
    assert (await reconciled(system, *decision, *(f"--adopt={one['id']}" for one in found)))[0] == 0
    rows = [await system.view.transfer("paid"), await system.view.transfer("open")]
    assert [(row.status, row.stripe_transfer_id) for row in rows] == [
        ("completed", name) for name in known
    ]
    assert await reconciled(system) == (0, [])


async def test_reconcile_adopts_nothing_ambiguous(system: SystemUnderTest) -> None:
    for order_id in ("a", "b"):
        await system.take_over(order_id, transfer_group="shared")
    await held(system.stripe, transfer_group="shared")
    code, (found,) = await reconciled(system)
    assert (code, found["kind"], found["obstacle"]) == (
        1,
        "missing_here",
        "a person has to say which it is",
    )
    code, (found,) = await reconciled(
        system, "--actor", "mia", "--reason", "try", f"--adopt={found['id']}"
    )
    assert (code, found["outcome"]) == (1, "cannot be adopted: a person has to say which it is")


# --- doubt ----------------------------------------------------------------------------------------


async def reviewed(system: SystemUnderTest, file: Path) -> list[dict[str, str]]:
    assert await backfill(system.settings, True, file, False) == 1
    with file.open(newline="") as lines:
        return list(csv.DictReader(lines))


async def test_double_match_needs_a_person(system: SystemUnderTest, tmp_path: Path) -> None:
    await system.take_over()
    both = {await system.at_stripe(), await system.at_stripe()}
    (line,) = await reviewed(system, tmp_path / "review.csv")
    assert (line["order_id"], set(line["candidates"].split())) == ("old", both)
    assert await stripe_id(system) is None


async def test_transfer_matching_two_rows_goes_to_neither(
    system: SystemUnderTest, tmp_path: Path
) -> None:
    await system.take_over("a")
    await system.take_over("b")
    await held(system.stripe)
    assert [line["order_id"] for line in await reviewed(system, tmp_path / "review.csv")] == [
        "a",
        "b",
    ]


async def test_taken_transfer_is_not_given_again(system: SystemUnderTest, tmp_path: Path) -> None:
    known = await held(system.stripe, metadata={"transfer_id": OURS})
    await system.take_over("other", stripe_transfer_id=known)
    await system.take_over()
    (line,) = await reviewed(system, tmp_path / "review.csv")
    assert (line["order_id"], line["candidates"]) == ("old", known)
    assert "belongs to another transfer" in line["why"]


async def test_other_order_or_amount_does_not_match(
    system: SystemUnderTest, tmp_path: Path
) -> None:
    await system.take_over()
    await held(system.stripe, 899, transfer_group="old")
    await held(system.stripe, metadata={"order_id": "another"})
    (line,) = await reviewed(system, tmp_path / "review.csv")
    assert "nothing that fits" in line["why"]


async def test_failed_list_is_completed_by_the_next_run(
    system: SystemUnderTest, tmp_path: Path
) -> None:
    await system.take_over("first")
    await system.take_over("second", seller_id="bert")
    await held(system.stripe, transfer_group="first")
    known = await held(system.stripe, seller="bert", transfer_group="second")
    await system.stripe.fault("status", "transfers.list", times=1, status=503)
    (line,) = await reviewed(system, tmp_path / "review.csv")
    assert (line["order_id"], "run it again" in line["why"]) == ("first", True)
    assert (await stripe_id(system, "first"), await stripe_id(system, "second")) == (None, known)
    assert await backfill(system.settings, True, None, False) == 0
    assert await stripe_id(system, "first") is not None


async def test_unanswering_stripe_ends_the_run(system: SystemUnderTest) -> None:
    for seller in ("anna", "bert", "cora", "dora"):
        await system.take_over(f"of-{seller}", seller_id=seller)
    await system.stripe.fault("status", "transfers.list", status=503)
    with pytest.raises(StripeSilent):
        await backfill(system.settings, True, None, False)
    assert len(await system.posts("transfers.list")) == 3


async def test_interrupted_run_is_finished_by_the_next(system: SystemUnderTest) -> None:
    await system.take_over("first")
    await system.take_over("second", seller_id="bert")
    await held(system.stripe, transfer_group="first")
    await held(system.stripe, seller="bert", transfer_group="second")
    await system.stripe.hold("transfers.list", destination=account("bert"))
    cut = asyncio.create_task(backfill(system.settings, True, None, False))
    await system.stripe.wait_until_held("transfers.list")
    cut.cancel()
    await asyncio.wait([cut])
    await system.stripe.release()
    assert (await stripe_id(system, "first") is None, await stripe_id(system, "second")) == (
        False,
        None,
    )
    assert await backfill(system.settings, True, None, False) == 0
    assert await stripe_id(system, "second") is not None


async def test_stuck_reversal_continues_after_backfill(system: SystemUnderTest) -> None:
    transfer_id: UUID = await system.take_over(with_order=True)
    known = await system.at_stripe()
    async with system.at_work() as caller:
        await caller.refund("r1", "old", 900)
        await system.view.reached("old", "permanently_failed")
        assert await backfill(system.settings, True, None, False) == 0
        await caller.retry(transfer_id)
        (row,) = await system.view.reached("old", "reversed")
    assert (row.stripe_transfer_id, row.amount_reversed) == (known, 900)


# --- a person marks it at Stripe, and Stripe's webhook tells of the mark --------------------------


@pytest.mark.parametrize("stuck", [False, True])
async def test_webhook_with_a_mark_records_the_id(system: SystemUnderTest, stuck: bool) -> None:
    """As mere evidence, the id would leave the stuck reversal without it, and no later backfill
    would look for it."""
    if stuck:
        transfer_id = await system.take_over(
            status="reversal_pending", reversal_id=str(UUID(int=1)), next_retry_at=datetime.now(UTC)
        )
    else:
        transfer_id = await system.take_over()
    async with stored(system.settings) as storage:
        ledger = PostgresEventLog(storage.store)
        if stuck:
            uow = await ledger.load([transfer_id])
            begin(uow.transfer(transfer_id), storage.clock.now() + timedelta(seconds=1), Policy())
            await ledger.append(uow)
            assert str((await system.view.transfer("old")).last_error).startswith(
                "no_stripe_transfer_id"
            )
        known = await held(system.stripe, metadata={"transfer_id": str(transfer_id)})
        seen = TransferAtStripe(known, 900, 0, CURRENCY, account("anna"), str(transfer_id))
        await ExternalChanges(CommandHandler(ledger, storage.clock)).record(
            transfer_id, seen, CommitExtras()
        )
        await backfill(system.settings, True, None, False)
        assert await stripe_id(system) == known
        assert "evidence_held" not in await system.view.alarms()
        if stuck:
            await storage.commands.operator.retry(transfer_id, "mia", "its id is known")
            assert (await system.view.transfer("old")).status == "reversal_pending"
