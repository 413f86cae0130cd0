"""Change of the Stripe key as docs/security.md describes it: pause, restart with the new key and
`--look-up-first`, resume. It pays once, even if Stripe knows no idempotency key of the old one."""

from dataclasses import replace
from datetime import timedelta

import pytest

from domain.pause import EVERYTHING, LOOK_UP_FIRST
from domain.seller_transfer import facts
from infrastructure.bootstrap import running
from infrastructure.postgres.errors import WrongBinding
from infrastructure.simulators.stripe import (
    SimulatorConfig,
    SimulatorControl,
    running_simulator,
)
from tests.support.service import CREATE, OFF, REVERSE, SLOW, LedgerCaller, SystemUnderTest

OLD, NEW = "sk_test_old", "sk_test_new"
BRIEF = timedelta(seconds=1)
"""Timeout of a call: a look-up waits for it."""
LOSSES = ["reset_after_commit", "reset_before_commit"]
WHY = ("mia", "the Stripe key changes")


async def two_calls_without_an_answer(system: SystemUnderTest, loss: str) -> None:
    """Lose the answer to a reversal for `o1` and to the transfer of `o2`, then pause."""
    old = replace(
        system.settings, stripe_api_key=OLD, stripe_timeout=BRIEF, transfers=SLOW, reversals=SLOW
    )
    async with running(old) as service:
        caller = LedgerCaller(service)
        (first,) = await system.paid(caller, "o1")
        for operation in (CREATE, REVERSE):
            await system.stripe.fault(loss, operation, times=1)
        await caller.order("o2", 1_000, anna=900)
        await caller.pay("o2")
        await caller.refund("r1", "o1", 500)
        second = (await system.view.transfer("o2")).transfer_id
        for transfer_id in (first, second):
            await system.view.happened(transfer_id, facts.AttemptDeferred)
        await service.commands.operator.pause(EVERYTHING, *WHY)


async def forget_idempotency_keys(stripe: SimulatorControl) -> None:
    """Let Stripe forget every idempotency key, as if each belonged to the old API key."""
    await stripe.advance_clock(25 * 3_600.0)


@pytest.mark.parametrize("loss", LOSSES)
async def test_new_stripe_key_repeats_no_call_before_a_look_up(
    system: SystemUnderTest, loss: str
) -> None:
    await system.stripe.tune(accepted_keys=[OLD, NEW])
    await two_calls_without_an_answer(system, loss)
    await forget_idempotency_keys(system.stripe)
    new = replace(system.settings, stripe_api_key=NEW, stripe_timeout=BRIEF)
    async with running(new, look_up_first=True) as service:
        caller = LedgerCaller(service)
        await system.stripe.tune(accepted_keys=[NEW])
        await service.commands.operator.resume(EVERYTHING, *WHY)
        for order in ("o1", "o2"):
            await caller.retry((await system.view.transfer(order)).transfer_id)
        await system.view.reached("o1", "partially_reversed")
        await system.view.reached("o2", "completed")
        await system.paid(caller, "o3")  # new work goes on meanwhile
        await service.commands.operator.resume(LOOK_UP_FIRST, *WHY)
        await caller.refund("r2", "o2", 1_000)
        await system.view.reached("o2", "reversed")
    theirs = (await system.stripe.ledger())["transfers"]
    assert sorted((t["metadata"]["order_id"], t["amount_reversed"]) for t in theirs) == [
        ("o1", 450),
        ("o2", 900),
        ("o3", 0),
    ]


async def test_key_of_another_account_is_refused_before_it_sends(system: SystemUnderTest) -> None:
    async with system.at_work(stripe_api_key=OLD, transfers=OFF) as caller:
        await caller.order("o1", 1_000, anna=900)
        await caller.pay("o1")
    async with running_simulator(SimulatorConfig(platform_account="acct_1Qother")) as (
        other,
        control,
    ):
        changed = replace(system.settings, stripe_api_key=NEW, stripe_api_base=other.url)
        with pytest.raises(WrongBinding, match="acct_1Qother"):
            async with running(changed, look_up_first=True):
                pass
        assert [call["operation"] for call in await control.requests()] == ["account.retrieve"]
    async with system.at_work(stripe_api_key=NEW):
        await system.view.reached("o1", "completed")
