"""`backfill` on a real database and a simulated Stripe: what fits once is recorded, everything else is for a person."""

import asyncio
import csv
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from domain.identity import transfer_stream
from infrastructure.stripe.simulator import SimulatorControl, running_simulator
from scripts.backfilling import backfill
from tests.e2e.stage import Stage, account, quick
from tests.e2e.view import View
from tests.scripts.test_command_line import run

OURS = str(transfer_stream("old", "anna"))


@pytest.fixture
async def stage(database_url: str) -> AsyncIterator[Stage]:
    async with running_simulator() as (_, stripe), View.of(database_url) as view:
        yield Stage(quick(database_url, stripe.url), view, stripe)


async def held(stripe: SimulatorControl, amount: int = 900, seller: str = "anna", **settings: Any) -> str:
    return str((await stripe.external_transfer(account(seller), amount, "eur", **settings))["id"])


async def stripe_id(stage: Stage, order_id: str = "old") -> str | None:
    return (await stage.view.transfer(order_id)).stripe_transfer_id


@pytest.mark.parametrize(
    ("marks", "by"),
    [
        ({"metadata": {"transfer_id": OURS}}, "metadata transfer_id"),
        ({"metadata": {"order_id": "old"}}, "metadata order_id"),
        ({"transfer_group": "old"}, "transfer_group"),
        ({}, "amount, currency and time"),
    ],
)
async def test_one_that_fits_by_any_rule_is_recorded_with_its_evidence(stage: Stage, marks: dict[str, Any], by: str) -> None:
    transfer_id = await stage.take_over()
    known = await held(stage.stripe, **marks)
    await held(stage.stripe, 899, **marks)
    assert await backfill(stage.settings, True, None, False) == 0
    assert await stripe_id(stage) == known
    fact: Any = (await stage.view.facts(transfer_id))[-1]
    assert (fact.actor, by in fact.evidence) == ("backfill", True)


async def test_a_dry_run_changes_nothing_and_a_second_run_finds_nothing_to_do(stage: Stage) -> None:
    transfer_id = await stage.take_over()
    await stage.at_stripe()
    where = {"DATABASE_URL": str(stage.settings.database_url), "STRIPE_API_BASE": stage.stripe.url}
    rehearsed = await asyncio.to_thread(run, "backfill", "--json", **where)
    assert rehearsed.returncode == 0, rehearsed.stderr
    assert json.loads(rehearsed.stdout)["matched"] == 1
    assert await stage.view.story(transfer_id) == ["Imported"]
    for _ in range(2):
        assert await backfill(stage.settings, True, None, False) == 0
    assert await stage.view.story(transfer_id) == ["Imported", "StripeTransferIdBackfilled"]


async def reviewed(stage: Stage, file: Path) -> list[dict[str, str]]:
    assert await backfill(stage.settings, True, file, False) == 1
    with file.open(newline="") as lines:
        return list(csv.DictReader(lines))


async def test_what_fits_twice_is_for_a_person(stage: Stage, tmp_path: Path) -> None:
    await stage.take_over()
    both = {await stage.at_stripe(), await stage.at_stripe()}
    (line,) = await reviewed(stage, tmp_path / "review.csv")
    assert (line["order_id"], set(line["candidates"].split())) == ("old", both)
    assert await stripe_id(stage) is None


async def test_one_that_fits_two_of_our_rows_goes_to_neither(stage: Stage, tmp_path: Path) -> None:
    await stage.take_over("a")
    await stage.take_over("b")
    await held(stage.stripe)
    assert [line["order_id"] for line in await reviewed(stage, tmp_path / "review.csv")] == ["a", "b"]


async def test_one_that_another_row_has_is_not_given_again(stage: Stage, tmp_path: Path) -> None:
    known = await held(stage.stripe, metadata={"transfer_id": OURS})
    await stage.take_over("other", stripe_transfer_id=known)
    await stage.take_over()
    (line,) = await reviewed(stage, tmp_path / "review.csv")
    assert (line["order_id"], line["candidates"]) == ("old", known)
    assert "belongs to another transfer" in line["why"]


async def test_what_names_another_order_or_amount_does_not_fit(stage: Stage, tmp_path: Path) -> None:
    await stage.take_over()
    await held(stage.stripe, 899, transfer_group="old")
    await held(stage.stripe, metadata={"order_id": "another"})
    (line,) = await reviewed(stage, tmp_path / "review.csv")
    assert "nothing that fits" in line["why"]


async def test_a_list_that_fails_leaves_the_others_going_and_the_next_run_does_the_rest(stage: Stage, tmp_path: Path) -> None:
    await stage.take_over("first")
    await stage.take_over("second", seller_id="bert")
    await held(stage.stripe, transfer_group="first")
    known = await held(stage.stripe, seller="bert", transfer_group="second")
    await stage.stripe.fault("status", "transfers.list", times=1, status=503)
    (line,) = await reviewed(stage, tmp_path / "review.csv")
    assert (line["order_id"], "run it again" in line["why"]) == ("first", True)
    assert (await stripe_id(stage, "first"), await stripe_id(stage, "second")) == (None, known)
    assert await backfill(stage.settings, True, None, False) == 0
    assert await stripe_id(stage, "first") is not None


async def test_a_run_that_is_cut_is_finished_by_the_next(stage: Stage) -> None:
    await stage.take_over("first")
    await stage.take_over("second", seller_id="bert")
    await held(stage.stripe, transfer_group="first")
    await held(stage.stripe, seller="bert", transfer_group="second")
    await stage.stripe.hold("transfers.list", destination=account("bert"))
    cut = asyncio.create_task(backfill(stage.settings, True, None, False))
    await stage.stripe.wait_until_held("transfers.list")
    cut.cancel()
    await asyncio.wait([cut])
    await stage.stripe.release()
    assert (await stripe_id(stage, "first") is None, await stripe_id(stage, "second")) == (False, None)
    assert await backfill(stage.settings, True, None, False) == 0
    assert await stripe_id(stage, "second") is not None


async def test_a_stuck_reversal_goes_on_after_the_backfill(stage: Stage) -> None:
    transfer_id: UUID = await stage.take_over(with_order=True)
    known = await stage.at_stripe()
    async with stage.at_work() as desk:
        await desk.refund("r1", "old", 900)
        await stage.view.reached("old", "permanently_failed")
        assert await backfill(stage.settings, True, None, False) == 0
        await desk.retry(transfer_id)
        (row,) = await stage.view.reached("old", "reversed")
    assert (row.stripe_transfer_id, row.amount_reversed) == (known, 900)
