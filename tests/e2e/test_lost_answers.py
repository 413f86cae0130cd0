"""Lost answers of Stripe: one transfer and one reversal, whatever the next answer is.

The second answer comes from in front of Stripe's idempotency layer, as that of a rotated key or of
a rate limiter does. It says nothing about the first call, so a ledger that takes it for a verdict
pays twice.
"""

from datetime import timedelta
from uuid import UUID

import pytest

from domain.seller_transfer import facts
from infrastructure.simulators.stripe import RunningSimulator, SimulatorControl
from tests.support.json_types import Json
from tests.support.service import CREATE, QUICK, REVERSE, SLOW, SystemUnderTest

BRIEF = timedelta(milliseconds=400)
LOSSES = [
    "timeout_after_commit",
    "reset_after_commit",
    "reset_before_commit",
    "timeout_before_commit",
]
SPOILT = ["truncate_body", "cut_body", "partial_headers"]
SECOND_ANSWERS: dict[str, Json] = {
    "401 key rolled": {
        "status": 401,
        "code": None,
        "message": "Invalid API Key provided: sk_test_***",
    },
    "429 too many": {},
    "409 key in use": {"status": 409, "code": "idempotency_key_in_use"},
    "idempotency_error": {"status": 400, "code": None, "type": "idempotency_error"},
    "400 not stored": {"status": 400, "code": "parameter_invalid_integer"},
    "404 another account": {"status": 404, "code": "resource_missing", "param": "id"},
    "403 disconnected": {"status": 403, "code": "account_invalid"},
    "500": {"status": 500, "code": None, "type": "api_error"},
}


async def lose_the_first_answer(stripe: SimulatorControl, loss: str, second: Json) -> None:
    """Of payments as well as of reversals. The second call of each meets a limiter, worded as
    `second`."""
    for operation in (CREATE, REVERSE):
        await stripe.fault(loss, operation, nth=1)
        await stripe.fault("status", operation, nth=2, status=429)
    if second:
        await stripe.reword("rate_limited", **second)


async def pay_and_refund(system: SystemUnderTest) -> None:
    async with system.at_work(stripe_timeout=BRIEF) as caller:
        await system.paid(caller)
        await caller.refund("r1", "o1", 1_000)
        await system.view.reached("o1", "reversed")


async def assert_one_of_each(system: SystemUnderTest) -> None:
    (theirs,) = (await system.stripe.ledger())["transfers"]
    assert [(r["amount"], r["metadata"]["refund_id"]) for r in theirs["reversals"]] == [(900, "r1")]


async def keys(system: SystemUnderTest, operation: str) -> list[str]:
    return [call["key"] for call in await system.posts(operation)]


@pytest.mark.parametrize("second", SECOND_ANSWERS)
@pytest.mark.parametrize("loss", LOSSES)
async def test_refusal_after_lost_answer_creates_no_second_object(
    system: SystemUnderTest, loss: str, second: str
) -> None:
    await lose_the_first_answer(system.stripe, loss, SECOND_ANSWERS[second])
    await pay_and_refund(system)
    await assert_one_of_each(system)
    for operation in (CREATE, REVERSE):
        assert len(await keys(system, operation)) >= 2
        if loss.endswith(
            "after_commit"
        ):  # it is done, so nothing may have gone out under another key
            assert len(set(await keys(system, operation))) == 1


@pytest.mark.parametrize("spoil", SPOILT)
async def test_unreadable_answer_counts_as_lost(system: SystemUnderTest, spoil: str) -> None:
    await lose_the_first_answer(system.stripe, spoil, SECOND_ANSWERS["401 key rolled"])
    await pay_and_refund(system)
    await assert_one_of_each(system)


@pytest.mark.parametrize("made", ["stored_500_then_created", "stored_500_not_created"])
async def test_repeated_500_is_decided_by_stripe_books(system: SystemUnderTest, made: str) -> None:
    """Such a key answers nothing else any more; whether the object exists is to be read, not
    guessed."""
    for operation in (CREATE, REVERSE):
        await system.stripe.fault(made, operation, nth=1)
    await pay_and_refund(system)
    await assert_one_of_each(system)


@pytest.mark.parametrize("point", ["before_commit", "after_commit"])
async def test_call_outliving_its_caller_is_not_sent_twice(
    system: SystemUnderTest, point: str
) -> None:
    """A real 409: Stripe still works on the first call when the second one comes under the same
    key."""
    async with system.at_work(stripe_timeout=BRIEF) as caller:
        for operation in (CREATE, REVERSE):
            await system.stripe.hold(operation, point=point, on_disconnect="wait")
        await caller.order("o1", 1_000, anna=900)
        await caller.pay("o1")
        await release_when_met(system, CREATE)
        await system.view.reached("o1", "completed")
        await caller.refund("r1", "o1", 1_000)
        await release_when_met(system, REVERSE)
        await system.view.reached("o1", "reversed")
    await assert_one_of_each(system)
    for operation in (CREATE, REVERSE):
        assert len(set(await keys(system, operation))) == 1


async def release_when_met(system: SystemUnderTest, operation: str) -> None:
    """Not before the ledger has come again and was told that its key is in use."""

    async def told() -> bool:
        return any(call["status"] == 409 for call in await system.posts(operation))

    await system.stripe.wait_until_held(operation)
    await system.view.until(told, "409")
    await system.stripe.release(operation)


async def test_rotated_api_key_during_call_pays_once(
    system: SystemUnderTest, simulator: RunningSimulator
) -> None:
    """401 for every call until the operator has put the new key in place, as after a restart with
    it."""
    old, new = "sk_test_old", "sk_test_new"
    accept(simulator, old)
    async with system.at_work(stripe_api_key=old, stripe_timeout=BRIEF) as caller:
        await system.stripe.hold(CREATE, point="after_commit", on_disconnect="wait")
        await caller.order("o1", 1_000, anna=900)
        await caller.pay("o1")
        await system.stripe.wait_until_held(CREATE)
        accept(simulator, new)
        transfer_id = (await system.view.transfer("o1")).transfer_id
        hindered = await until_unauthorized(system, transfer_id)
        assert hindered.open
        assert "stripe_refuses_the_key" in await system.view.alarms()
        await system.stripe.release(CREATE)
    async with system.at_work(stripe_api_key=new) as caller:
        await system.view.reached("o1", "completed")
        await caller.refund("r1", "o1", 1_000)
        await system.view.reached("o1", "reversed")
    await assert_one_of_each(system)


def accept(simulator: RunningSimulator, key: str) -> None:
    simulator.world.tune({"accepted_keys": [key]})


async def until_unauthorized(system: SystemUnderTest, transfer_id: UUID) -> facts.AttemptDeferred:
    async def there() -> list[facts.AttemptDeferred]:
        deferred = [
            fact
            for fact in await system.view.facts(transfer_id)
            if isinstance(fact, facts.AttemptDeferred)
        ]
        return [fact for fact in deferred if fact.why == "unauthorized"]

    return (await system.view.until(there, "a 401"))[0]


@pytest.mark.parametrize("then", ["nothing", *SECOND_ANSWERS])
async def test_refund_waits_for_payment_of_unknown_outcome(
    system: SystemUnderTest, then: str
) -> None:
    """Cancelling a payment that may have been sent would leave the seller with the money."""
    await system.stripe.fault("reset_after_commit", CREATE, nth=1)
    if then != "nothing":
        await system.stripe.fault("status", CREATE, nth=2, status=429)
        await system.stripe.reword("rate_limited", **SECOND_ANSWERS[then])
    async with system.at_work(transfers=SLOW) as caller:
        await caller.order("o1", 1_000, anna=900)
        await caller.pay("o1")
        transfer_id = (await system.view.transfer("o1")).transfer_id
        await system.view.happened(transfer_id, facts.AttemptDeferred)
        if then != "nothing":
            await caller.retry(transfer_id)
            await system.view.happened(transfer_id, facts.AttemptDeferred, times=2)
        await caller.refund("r1", "o1", 1_000)
        queued = await system.view.happened(transfer_id, facts.ReversalQueued)
        assert (queued.amount, queued.waiting_for) == (900, "transfer")
        await caller.retry(transfer_id)
        await system.view.reached("o1", "reversed")
    await assert_one_of_each(system)


async def test_equal_refunds_make_two_reversals(system: SystemUnderTest) -> None:
    """Each with its own key: keys by amount or by transfer alone would make them one."""
    await system.stripe.fault("reset_after_commit", REVERSE, nth=1)
    async with system.at_work(reversals=QUICK) as caller:
        await system.paid(caller, "o1", 1_000, anna=1_000)
        await caller.refund("r1", "o1", 250)
        await caller.refund("r2", "o1", 250)
        await system.view.until(lambda: two_reversed(system), "both reversed")
    (theirs,) = (await system.stripe.ledger())["transfers"]
    assert sorted((r["amount"], r["metadata"]["refund_id"]) for r in theirs["reversals"]) == [
        (250, "r1"),
        (250, "r2"),
    ]


async def two_reversed(system: SystemUnderTest) -> bool:
    return [row["status"] for row in await system.view.reversals("o1")] == ["reversed", "reversed"]
