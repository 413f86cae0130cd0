"""Reversals that Stripe keeps pending: nothing counts before Stripe has decided, in whatever way the
ledger learns of it."""

import pytest

from tests.support.idempotency_keys import epoch_of
from tests.support.service import REVERSE, SystemUnderTest

STATUS = "select status, amount_reversed, waiting_for from seller_transfers"


async def pending_reversal(system: SystemUnderTest, *epochs: str) -> str:
    """Return Stripe's id of the reversal, once the ledger waits for Stripe's decision."""

    async def waits() -> bool:
        (row,) = await system.view.select(STATUS)
        return bool(row["waiting_for"] == "stripe")

    await system.view.until(waits, "the reversal is pending")
    keys = [epoch_of(post["key"]) for post in await system.posts(REVERSE)]
    assert keys == list(epochs or ["e1"])
    (transfer,) = await system.view.transfers("o1")
    assert (transfer.status, transfer.amount_reversed) == ("reversal_pending", 0)
    assert transfer.last_error is not None
    return transfer.last_error.split()[0]


@pytest.mark.parametrize("killed", [False, True])
async def test_pending_reversal_counts_once_it_has_succeeded(
    system: SystemUnderTest, killed: bool
) -> None:
    await system.stripe.let_reversals_be_pending()
    async with system.at_work() as caller:
        await system.paid(caller)
        await caller.refund("r1", "o1", 1_000)
        made = await pending_reversal(system)
        if not killed:
            await system.stripe.decide_reversal(made, "succeeded")
            await system.view.reached("o1", "reversed")
    if killed:  # Stripe decides while no ledger runs
        await system.stripe.decide_reversal(made, "succeeded")
        async with system.at_work():
            await system.view.reached("o1", "reversed")
    assert len(await system.posts(REVERSE)) == 1
    (row,) = await system.view.transfers("o1")
    assert (row.stripe_reversal_id, row.amount_reversed) == (made, 900)


@pytest.mark.parametrize("end", ["failed", "canceled"])
async def test_pending_reversal_that_is_refused_is_sent_again(
    system: SystemUnderTest, end: str
) -> None:
    await system.stripe.let_reversals_be_pending()
    async with system.at_work() as caller:
        await system.paid(caller)
        await caller.refund("r1", "o1", 1_000)
        made = await pending_reversal(system)
        await system.stripe.let_reversals_be_pending(False)
        await system.stripe.decide_reversal(made, end)
        await system.view.reached("o1", "reversed")
    assert [epoch_of(post["key"]) for post in await system.posts(REVERSE)] == ["e1", "e2"]
    assert await system.stripe.violations() == []


async def test_pending_reversal_that_fails_for_funds_waits_for_funds(
    system: SystemUnderTest,
) -> None:
    await system.stripe.let_reversals_be_pending()
    async with system.at_work() as caller:
        (transfer_id,) = await system.paid(caller)
        await caller.refund("r1", "o1", 1_000)
        made = await pending_reversal(system)
        await system.stripe.decide_reversal(made, "failed", "insufficient_funds")

        async def unfunded() -> bool:
            return "awaiting_funds" in await system.view.alarms()

        await system.view.until(unfunded, "the seller has too little")
        await system.stripe.let_reversals_be_pending(False)
        await caller.retry(transfer_id)
        await system.view.reached("o1", "reversed")
    assert len(await system.posts(REVERSE)) == 2


@pytest.mark.parametrize(("end", "calls"), [("succeeded", 0), ("failed", 1)])
async def test_lost_answer_of_a_pending_reversal_takes_once(
    system: SystemUnderTest, end: str, calls: int
) -> None:
    """The repeated call hears the first answer, `pending`, for ever; the books decide."""
    await system.stripe.let_reversals_be_pending()
    await system.stripe.fault("reset_after_commit", REVERSE, nth=1)
    async with system.at_work() as caller:
        await system.paid(caller)
        await caller.refund("r1", "o1", 1_000)
        made = await pending_reversal(system, "e1", "e1")
        await system.stripe.let_reversals_be_pending(False)
        await system.stripe.decide_reversal(made, end)
        await system.view.reached("o1", "reversed")
    assert len(await system.posts(REVERSE)) == 2 + calls
    assert await system.stripe.violations() == []


async def test_pending_reversal_of_others_is_neither_counted_nor_reported(
    system: SystemUnderTest,
) -> None:
    async with system.at_work() as caller:
        await system.paid(caller)
        (row,) = await system.view.transfers("o1")
        made = await system.stripe.external_reversal(str(row.stripe_transfer_id), 500, pending=True)
        await caller.refund("r1", "o1", 1_000)

        async def waits() -> bool:
            (row,) = await system.view.transfers("o1")
            return row.waiting_for == "stripe"

        await system.view.until(waits, "the reversal waits for theirs")
        await system.stripe.decide_reversal(str(made["id"]), "canceled")
        (row,) = await system.view.reached("o1", "reversed")
    assert await system.view.reversals("o1") != []
    assert row.amount_reversed == 900
    assert {one["status"] for one in await system.view.reversals("o1")} == {"reversed"}
