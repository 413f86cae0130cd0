"""Every answer to the two calls that move money: the facts, the row, the key and the end that
follow."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import timedelta
from itertools import count
from typing import cast

import pytest
import pytest_asyncio

from domain.provider_call.outcome import Rejected, ReversalOutcome
from domain.provider_call.request_body import ReversalBody, TransferBody
from domain.seller_transfer.facts import AttemptDeferred, CallStarted, Failed
from infrastructure.simulators.stripe import KIND, SimulatorConfig, running_simulator
from infrastructure.stripe.gateway import StripeGateway
from tests.conftest import Databases
from tests.support.idempotency_keys import epoch_of
from tests.support.injected_faults import (
    PLATFORM_POOR,
    SELLER_POOR,
    AnswerRewriter,
    Fault,
    RewritingMiddleware,
    Situation,
    catalogued,
)
from tests.support.ledger_view import LedgerView
from tests.support.postgres_books import books_agree
from tests.support.response_matrix import HINDRANCES, REFUSALS, UNKNOWNS, ResponseCase, Row, cases
from tests.support.service import CREATE, QUICK, REVERSE, SLOW, SystemUnderTest, quick
from tests.support.story import BEFORE, DONE, CallStory, call_story, check_response, names, word_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

OpenScenario = Callable[[str, Situation], AbstractAsyncContextManager[CallStory]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def open_scenario(databases: Databases) -> AsyncIterator[OpenScenario]:
    """One database and one Stripe for all stories. They end well, so that no failure is followed by
    the same of another transfer: several in a row would stop everything. In the end the books of
    them all must agree."""
    database_url, rewriter, numbers = databases.create(migrated=True), AnswerRewriter(), count(1)
    async with (
        running_simulator(SimulatorConfig(manners=KIND)) as (simulator, stripe),
        LedgerView.of(database_url) as view,
    ):
        simulator.app.add_middleware(RewritingMiddleware, rewriter=rewriter)
        system = SystemUnderTest(quick(database_url, stripe.url), view, stripe)
        yield lambda call, situation: call_story(system, rewriter, call, next(numbers), situation)
        await books_agree(stripe, view.pool)
    databases.drop(database_url)


def one_by_one(rows: list[Row]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        "case", [pytest.param(case, id=f"{case.row.id}-{case.call}") for case in cases(rows)]
    )


@one_by_one(REFUSALS)
async def test_rejection_follows_its_row(open_scenario: OpenScenario, case: ResponseCase) -> None:
    await check_case(open_scenario, case)


@one_by_one(HINDRANCES)
async def test_call_not_executed_follows_its_row(
    open_scenario: OpenScenario, case: ResponseCase
) -> None:
    await check_case(open_scenario, case)


@one_by_one(UNKNOWNS)
async def test_unknown_outcome_follows_its_row(
    open_scenario: OpenScenario, case: ResponseCase
) -> None:
    await check_case(open_scenario, case)


async def check_case(open_scenario: OpenScenario, case: ResponseCase) -> None:
    situation = case.row.stripe if isinstance(case.row.stripe, Situation) else Situation()
    async with open_scenario(case.call, situation) as story:
        await check_response(story, case)


# --- laws -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "situation"), [(CREATE, PLATFORM_POOR), (REVERSE, SELLER_POOR)], ids=[CREATE, REVERSE]
)
async def test_key_of_stored_refusal_is_never_reused(
    open_scenario: OpenScenario, call: str, situation: Situation
) -> None:
    """Stripe repeats its refusal under the first key although there is enough money now; the ledger
    asks under the second."""
    async with open_scenario(call, situation) as story:
        await story.work(SLOW)
        await story.open()
        await story.cause()
        await story.told(len(BEFORE[call]) + 1)
        assert situation.ends is not None
        await situation.ends(story)
        await story.caller.retry(story.transfer_id)
        await story.system.view.reached(story.order_id, DONE[call])
        await story.rest()
        first, second = await story.calls()
        assert (first.epoch, second.epoch) == (1, 2)
        assert await asked_again(story, first) == await asked_again(story, first)
        assert isinstance(await asked_again(story, first), Rejected)


async def asked_again(story: CallStory, intent: CallStarted) -> ReversalOutcome:
    """Return Stripe's outcome of the very same call."""
    async with StripeGateway("sk_test_x", story.stripe.url, timeout=10) as gateway:
        if story.call == CREATE:
            outcome: ReversalOutcome = await gateway.create(
                cast("TransferBody", intent.body), intent.key
            )
        else:
            body = cast("ReversalBody", intent.body)
            outcome = await gateway.reverse(
                story.stripe_transfer_id,
                body["amount"],
                body["reason"],
                intent.key,
                body["metadata"],
            )
    return replace(outcome, request_id=None)


UNSTORED = [case for case in cases() if case.row.not_stored]
"""Answers from in front of the idempotency layer, or from the validation."""


@pytest.mark.parametrize(
    "case", [pytest.param(case, id=f"{case.row.id}-{case.call}") for case in UNSTORED]
)
async def test_unstored_refusal_after_lost_answer_keeps_key_and_body(
    open_scenario: OpenScenario, case: ResponseCase
) -> None:
    """It says nothing about the call before it, which may have moved the money."""
    async with open_scenario(case.call, Situation()) as story:
        await story.work(QUICK)
        await story.open()
        await story.provoke(Fault("reset_before_commit"), nth=1)
        await story.provoke(case.row.stripe, nth=2)
        await story.cause()
        await story.system.view.reached(story.order_id, DONE[case.call])
        await story.rest()
        once, twice = ["AttemptDeferred", "CallStarted"], ["AttemptDeferred", "CallStarted"]
        ending = {CREATE: "Completed", REVERSE: "Reversed"}[case.call]
        assert names(await story.told()) == [*BEFORE[case.call], *once, *twice, ending]
        assert [call.epoch for call in await story.calls()] == [1, 1, 1]
        assert all(fact.open for fact in await story.told() if isinstance(fact, AttemptDeferred))


@pytest.mark.parametrize(
    ("call", "situation"), [(CREATE, PLATFORM_POOR), (REVERSE, SELLER_POOR)], ids=[CREATE, REVERSE]
)
async def test_lost_stored_refusal_counts_when_replayed(
    open_scenario: OpenScenario, call: str, situation: Situation
) -> None:
    """Only then is it certain that the first call moved nothing, and another key may be used."""
    async with open_scenario(call, situation) as story:
        await story.work(QUICK)
        await story.open()
        await story.provoke(Fault("cut_body"))
        await story.cause()
        told = await story.told(len(BEFORE[call]) + 3)
        unknown, _, refused = told[len(BEFORE[call]) :]
        assert isinstance(unknown, AttemptDeferred)
        assert (unknown.why, unknown.open, unknown.epoch) == ("unknown", True, 1)
        assert isinstance(refused, AttemptDeferred | Failed)
        assert (word_of(refused), refused.epoch, refused.waiting_for) == (
            "awaiting_funds",
            2,
            "funds",
        )
        assert situation.ends is not None
        await situation.ends(story)
        await story.caller.retry(story.transfer_id)
        await story.system.view.reached(story.order_id, DONE[call])
        await story.rest()
        assert [call.epoch for call in await story.calls()] == [1, 1, 2]


@pytest.mark.parametrize("call", [CREATE, REVERSE])
async def test_validation_error_keeps_its_key(open_scenario: OpenScenario, call: str) -> None:
    """Nothing is stored under it."""
    async with open_scenario(call, Situation()) as story:
        await story.work(SLOW)
        await story.open()
        await story.provoke(catalogued("integer_too_small"))
        await story.cause()
        await story.told(len(BEFORE[call]) + 1)
        await story.caller.retry(story.transfer_id)
        await story.system.view.reached(story.order_id, DONE[call])
        await story.rest()
        assert [epoch_of(call.key) for call in await story.calls()] == ["e1", "e1"]


@pytest.mark.parametrize("stored", [True, False], ids=["stored", "not stored"])
async def test_refused_transfer_fails_after_six_calls(
    open_scenario: OpenScenario, stored: bool
) -> None:
    async with open_scenario(CREATE, Situation()) as story:
        await story.work(QUICK)
        for nth in range(1, 7):
            await story.provoke(catalogued("integer_too_small", stored=stored), nth)
        await story.cause()
        (row,) = await story.system.view.reached(story.order_id, "permanently_failed")
        await story.rest()
        assert names(await story.told()) == [
            "Created",
            *["CallStarted", "Failed"] * 5,
            "CallStarted",
            "PermanentlyFailed",
        ]
        assert [call.epoch for call in await story.calls()] == (
            [1, 2, 3, 4, 5, 6] if stored else [1] * 6
        )
        assert (row.retry_count, row.next_retry_at, row.waiting_for) == (5, None, None)
        assert word_of((await story.told())[-1]) == "rejected"


@pytest.mark.parametrize(
    ("call", "situation"), [(CREATE, PLATFORM_POOR), (REVERSE, SELLER_POOR)], ids=[CREATE, REVERSE]
)
async def test_wait_for_funds_costs_no_attempt_until_deadline(
    open_scenario: OpenScenario, call: str, situation: Situation
) -> None:
    """Counted from the first refusal on: a second one before the deadline waits on, each under a
    key of its own."""
    waits = {
        "funds_retry_interval": timedelta(milliseconds=50),
        "funds_deadline": timedelta(milliseconds=120),
    }
    async with open_scenario(call, situation) as story:
        await story.work(QUICK, **waits)
        await story.open()
        await story.cause()
        (row,) = await story.system.view.reached(story.order_id, "permanently_failed")
        await story.rest()
        told, calls = (await story.told())[len(BEFORE[call]) :], await story.calls()
        assert situation.ends is not None
        await situation.ends(story)
        assert word_of(told[-1]) == "funds_deadline"
        assert told[-1].timestamp - told[0].timestamp >= waits["funds_deadline"]
        assert {word_of(fact) for fact in told[:-1]} == {"awaiting_funds", ""}
        assert [call.epoch for call in calls] == list(range(1, len(calls) + 1))
        assert (row.retry_count, row.next_retry_at, row.waiting_for) == (0, None, None)
