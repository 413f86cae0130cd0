"""What every `TransferGateway` owes its callers, checked against the books of the Stripe behind it.

An implementation joins with a `Stage`: the gateway itself, and a hand on the world behind it.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import pytest

from application.ports import TransferGateway
from domain.provider_call.outcome import Hindrance, LookUpFailed, NotAtStripe, NotExecuted, Outcome, Rejected, Succeeded, Unknown
from infrastructure.simulators.stripe import RunningSimulator, SimulatorControl, running_simulator
from infrastructure.stripe.gateway import StripeGateway
from tests.support.in_memory.stripe import LightStripe, Trouble

CREATE, REVERSE = "transfers.create", "reversals.create"
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


class Stage(Protocol):
    """A gateway and the world behind it. Faults strike the next call of that operation, once."""

    gateway: TransferGateway

    async def transfers(self) -> list[dict[str, Any]]:
        """Stripe's own books: amount, currency, destination, metadata and reversals of every transfer, oldest first."""
        ...

    async def calls(self) -> int:
        """How many calls have arrived."""
        ...

    async def lose(self, operation: str, *, executed: bool) -> None:
        """No answer arrives; the call is executed, or not."""
        ...

    async def fail(self, operation: str, status: int) -> None:
        """An error that is no verdict: a 5xx, or a hindrance by its status."""
        ...

    async def busy(self, operation: str) -> None:
        """Another call holds the object."""
        ...

    async def hold(self, operation: str) -> None:
        """The next call stops in the middle of its execution, whatever becomes of its caller."""
        ...

    async def held(self, operation: str) -> None:
        """Returns when a call is being held."""
        ...

    async def release(self) -> None: ...

    async def reverse_elsewhere(self, stripe_transfer_id: str, amount: int) -> None:
        """As a person does in Stripe's dashboard."""
        ...

    async def balance_of_the_platform(self, currency: str, amount: int) -> None: ...


class SimulatorStage:
    """StripeGateway on the simulated Stripe, over real HTTP."""

    def __init__(self, simulator: RunningSimulator, control: SimulatorControl, gateway: StripeGateway) -> None:
        self._simulator, self._control, self.gateway = simulator, control, gateway

    @classmethod
    @asynccontextmanager
    async def open(cls) -> AsyncIterator["SimulatorStage"]:
        async with running_simulator() as (simulator, control):
            async with StripeGateway("sk_test_contract", simulator.url, timeout=20, max_concurrency=20) as gateway:
                yield cls(simulator, control, gateway)
            assert await control.violations() == []

    async def transfers(self) -> list[dict[str, Any]]:
        return sorted((await self._control.ledger())["transfers"], key=lambda transfer: transfer["id"])

    async def calls(self) -> int:
        return len(await self._control.requests())

    async def lose(self, operation: str, *, executed: bool) -> None:
        await self._control.fault(f"reset_{'after' if executed else 'before'}_commit", operation, times=1)

    async def fail(self, operation: str, status: int) -> None:
        await self._control.fault("status", operation, times=1, status=status)

    async def busy(self, operation: str) -> None:
        await self._control.fault("status", operation, times=1, status=429, lock=True)

    async def hold(self, operation: str) -> None:
        await self._control.hold(operation, on_disconnect="execute")

    async def held(self, operation: str) -> None:
        await self._control.wait_until_held(operation)

    async def release(self) -> None:
        await self._control.release()

    async def reverse_elsewhere(self, stripe_transfer_id: str, amount: int) -> None:
        await self._control.external_reversal(stripe_transfer_id, amount)

    async def balance_of_the_platform(self, currency: str, amount: int) -> None:
        await self._control.drain(currency)
        await self._control.fund(currency, amount)


class LightStage:
    """What stands for Stripe in simulations with tens of thousands of calls."""

    def __init__(self) -> None:
        self.gateway = self._stripe = LightStripe()
        self._released = asyncio.Event()

    @classmethod
    @asynccontextmanager
    async def open(cls) -> AsyncIterator["LightStage"]:
        stage = cls()
        yield stage
        assert stage._stripe.violations == []

    async def transfers(self) -> list[dict[str, Any]]:
        return self._stripe.transfers

    async def calls(self) -> int:
        return self._stripe.calls

    async def lose(self, operation: str, *, executed: bool) -> None:
        self._stripe.strike(operation, Trouble(lost=True, executed=executed))

    async def fail(self, operation: str, status: int) -> None:
        self._stripe.strike(operation, Trouble(status=status))

    async def busy(self, operation: str) -> None:
        self._stripe.strike(operation, Trouble(lock=True))

    async def hold(self, operation: str) -> None:
        self._stripe.strike(operation, Trouble(held=self._released))

    async def held(self, operation: str) -> None:
        while not self._stripe.executing:  # noqa: ASYNC110 - in this loop, and after a few of its turns
            await asyncio.sleep(0)

    async def release(self) -> None:
        self._released.set()

    async def reverse_elsewhere(self, stripe_transfer_id: str, amount: int) -> None:
        self._stripe.take_back(stripe_transfer_id, amount)

    async def balance_of_the_platform(self, currency: str, amount: int) -> None:
        self._stripe.funds[currency] = amount


IMPLEMENTATIONS: dict[str, Callable[[], AbstractAsyncContextManager[Stage]]] = {
    "Stripe's SDK": SimulatorStage.open,
    "light": LightStage.open,
}


@pytest.fixture(params=IMPLEMENTATIONS.values(), ids=IMPLEMENTATIONS)
async def stage(request) -> AsyncIterator[Stage]:
    async with request.param() as stage:
        yield stage


def body(number: int = 1, amount: int = 1000, destination: str = "acct_seller") -> Any:
    metadata = {"transfer_id": f"t{number}", "order_id": "o1", "seller_id": "s1"}
    return {
        "amount": amount,
        "currency": "usd",
        "destination": destination,
        "transfer_group": "o1",
        "metadata": metadata,
    }


def ours(number: int) -> dict[str, str]:
    return {"reversal_id": f"r{number}", "transfer_id": "t1", "refund_id": f"ref{number}"}


async def paid(stage: Stage, number: int = 1, amount: int = 1000) -> str:
    outcome = await stage.gateway.create(body(number, amount), f"transfer:t{number}:e1")
    assert isinstance(outcome, Succeeded)
    return outcome.stripe_id


Act = Callable[[], Awaitable[Any]]


async def moved(stage: Stage) -> list[int]:
    """What each transfer moved, less what came back."""
    return [transfer["amount"] - transfer["amount_reversed"] for transfer in await stage.transfers()]


@pytest.fixture(params=["create", "reverse"])
async def move(request, stage) -> tuple[str, Act, list[int], list[int]]:
    """One way to move money: its name at Stripe, how to ask for it, and the books before and after."""
    if request.param == "create":
        return CREATE, lambda: stage.gateway.create(body(), "k"), [], [1000]
    stripe_id = await paid(stage)
    return REVERSE, lambda: stage.gateway.reverse(stripe_id, 400, "refund", "k", ours(1)), [1000], [600]


async def test_successful_transfer_is_listed_as_requested(stage):
    outcome = await stage.gateway.create(body(), "k")
    [transfer] = await stage.transfers()
    assert isinstance(outcome, Succeeded)
    assert (outcome.stripe_id, outcome.amount, outcome.replayed) == (transfer["id"], 1000, False)
    assert outcome.stripe_id.startswith("tr_")
    assert {name: transfer[name] for name in body()} == body()


async def test_successful_reversal_is_listed_as_requested(stage):
    stripe_id = await paid(stage)
    outcome = await stage.gateway.reverse(stripe_id, 400, "refund", "k", ours(1))
    [transfer] = await stage.transfers()
    assert isinstance(outcome, Succeeded)
    assert (outcome.stripe_id[:4], outcome.amount) == ("trr_", 400)
    assert transfer["amount_reversed"] == 400


async def test_repeated_key_moves_money_once(stage, move):
    _, act, _, after = move
    first, second = await act(), await act()
    assert (first.stripe_id, first.replayed, second.replayed) == (second.stripe_id, False, True)
    assert await moved(stage) == after


@pytest.mark.parametrize("executed", [True, False], ids=["executed", "not executed"])
async def test_lost_answer_is_unknown_and_settled_by_its_key(stage, move, executed):
    operation, act, before, after = move
    await stage.lose(operation, executed=executed)
    lost = await act()
    assert isinstance(lost, Unknown)
    assert await moved(stage) == (after if executed else before)
    settled = await act()
    assert isinstance(settled, Succeeded)
    assert settled.replayed is executed
    assert await moved(stage) == after


@pytest.mark.parametrize("status", [500, 502, 503])
async def test_failing_server_is_called_once(stage, move, status):
    operation, act, before, _ = move
    await stage.fail(operation, status)
    calls = await stage.calls()
    outcome = await act()
    assert isinstance(outcome, Unknown)
    assert (outcome.why, outcome.status) == (f"http_{status}", status)
    assert (await stage.calls(), await moved(stage)) == (calls + 1, before)


@pytest.mark.parametrize(
    ("status", "why"), [(401, Hindrance.UNAUTHORIZED), (403, Hindrance.FORBIDDEN), (429, Hindrance.RATE_LIMITED)]
)
async def test_hindered_call_is_not_executed_and_repeatable(stage, move, status, why):
    operation, act, before, after = move
    await stage.fail(operation, status)
    outcome = await act()
    assert isinstance(outcome, NotExecuted)
    assert (outcome.why, await moved(stage)) == (why, before)
    assert isinstance(await act(), Succeeded)
    assert await moved(stage) == after


async def test_lock_timeout_is_no_rate_limit(stage, move):
    operation, act, before, _ = move
    await stage.busy(operation)
    outcome = await act()
    assert isinstance(outcome, NotExecuted)
    assert (outcome.why, await moved(stage)) == (Hindrance.LOCK_TIMEOUT, before)


async def test_key_of_a_running_call_is_in_use(stage, move):
    operation, act, _, after = move
    await stage.hold(operation)
    first = asyncio.create_task(act())
    await stage.held(operation)
    second = await act()
    await stage.release()
    assert isinstance(second, NotExecuted)
    assert second.why is Hindrance.KEY_IN_USE
    assert isinstance(await first, Succeeded)
    assert await moved(stage) == after


async def test_cancelled_call_is_settled_by_its_key(stage, move):
    operation, act, _, after = move
    await stage.hold(operation)
    call = asyncio.create_task(act())
    await stage.held(operation)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await stage.release()
    assert isinstance(await until_executed(act), Succeeded)
    assert await moved(stage) == after


async def until_executed(act: Act) -> Outcome:
    """The abandoned call may still be executing; it has no caller who could tell when it is done."""
    while isinstance(outcome := await act(), NotExecuted):
        assert outcome.why is Hindrance.KEY_IN_USE
    return outcome


async def test_key_with_another_body_raises_and_moves_nothing(stage):
    stripe_id = await paid(stage)
    for outcome in (
        await stage.gateway.create(body(1, amount=999), "transfer:t1:e1"),
        await stage.gateway.reverse(stripe_id, 400, "refund", "transfer:t1:e1"),
    ):
        assert isinstance(outcome, Unknown)
        assert outcome.why == "idempotency_error"
    assert await moved(stage) == [1000]


async def test_stored_refusal_repeats_until_a_new_key(stage):
    await stage.balance_of_the_platform("usd", 999)
    first = await stage.gateway.create(body(), "transfer:t1:e1")
    await stage.balance_of_the_platform("usd", 1000)
    again = await stage.gateway.create(body(), "transfer:t1:e1")
    for refused in (first, again):
        assert isinstance(refused, Rejected)
        assert (refused.status, refused.code, refused.stored) == (400, "balance_insufficient", True)
    assert isinstance(await stage.gateway.create(body(), "transfer:t1:e2"), Succeeded)


async def test_validation_error_keeps_its_key(stage):
    refused = await stage.gateway.create(body(destination="acct_missing"), "k")
    assert isinstance(refused, Rejected)
    assert (refused.code, refused.param, refused.stored) == ("resource_missing", "destination", False)
    assert isinstance(await stage.gateway.create(body(), "k"), Succeeded)


async def test_reversal_of_an_unknown_transfer_is_a_final_404(stage):
    refused = await stage.gateway.reverse("tr_unknown", 400, "refund", "k")
    assert isinstance(refused, Rejected)
    assert (refused.status, refused.code) == (404, "resource_missing")


async def test_reversal_above_the_remainder_is_refused(stage):
    stripe_id = await paid(stage)
    assert isinstance(await stage.gateway.reverse(stripe_id, 1001, "refund", "k"), Rejected)
    assert await moved(stage) == [1000]


async def test_remainder_is_taken_once_under_one_key(stage):
    stripe_id = await paid(stage)
    await stage.reverse_elsewhere(stripe_id, 300)
    first = await stage.gateway.reverse(stripe_id, None, "refund", "k", ours(1))
    again = await stage.gateway.reverse(stripe_id, None, "refund", "k", ours(1))
    assert isinstance(first, Succeeded)
    assert isinstance(again, Succeeded)
    assert (first.stripe_id, first.amount) == (again.stripe_id, 700)
    assert await moved(stage) == [0]


async def test_remainder_of_nothing_is_refused(stage):
    stripe_id = await paid(stage)
    await stage.reverse_elsewhere(stripe_id, 1000)
    assert isinstance(await stage.gateway.reverse(stripe_id, None, "refund", "k", ours(1)), Rejected)


async def test_empty_key_is_never_sent(stage):
    stripe_id = await paid(stage)
    calls = await stage.calls()
    with pytest.raises(ValueError, match="key"):
        await stage.gateway.create(body(2), "")
    with pytest.raises(ValueError, match="key"):
        await stage.gateway.reverse(stripe_id, 400, "refund", "")
    assert await stage.calls() == calls


async def test_transfer_shows_reversals_newest_first_with_owner(stage):
    stripe_id = await paid(stage)
    taken = await stage.gateway.reverse(stripe_id, 400, "refund", "k1", ours(1))
    for _ in range(100):  # one page is a hundred
        await stage.reverse_elsewhere(stripe_id, 1)
    last = await stage.gateway.reverse(stripe_id, 100, "refund", "k2", ours(2))
    shown = await stage.gateway.get_transfer(stripe_id)
    assert (shown.amount, shown.amount_reversed, shown.left) == (1000, 600, 400)
    assert (shown.currency, shown.destination, shown.transfer_id) == ("USD", "acct_seller", "t1")
    assert [reversal.reversal_id for reversal in shown.reversals] == ["r2", *[None] * 100, "r1"]
    assert shown.reversals[0].stripe_reversal_id == last.stripe_id
    assert shown.reversals[-1].stripe_reversal_id == taken.stripe_id


async def test_missing_transfer_is_reported_as_missing(stage):
    with pytest.raises(NotAtStripe):
        await stage.gateway.get_transfer("tr_unknown")


@pytest.mark.parametrize("operation", ["transfers.retrieve", "reversals.list"])
@pytest.mark.parametrize("status", [401, 403, 429, 500, 503])
async def test_incomplete_transfer_is_not_returned(stage, operation, status):
    stripe_id = await paid(stage)
    await stage.fail(operation, status)
    with pytest.raises(LookUpFailed):
        await stage.gateway.get_transfer(stripe_id)


async def test_search_finds_our_transfer_among_many(stage):
    for number in range(1, 102):  # ours is the oldest, on the second page
        await paid(stage, number, amount=number)
    [found] = await stage.gateway.find_by_our_id("t1", "acct_seller", LONG_AGO)
    assert (found.transfer_id, found.amount, found.reversals) == ("t1", 1, ())


async def test_search_returns_reversals_too(stage):
    stripe_id = await paid(stage)
    await stage.gateway.reverse(stripe_id, 400, "refund", "k", ours(1))
    [found] = await stage.gateway.find_by_our_id("t1", "acct_seller", LONG_AGO)
    assert found == await stage.gateway.get_transfer(stripe_id)


async def test_search_is_limited_to_account_and_time(stage):
    await paid(stage)
    assert await stage.gateway.find_by_our_id("t1", "acct_other", LONG_AGO) == []
    assert await stage.gateway.find_by_our_id("t1", "acct_seller", datetime.now(UTC) + timedelta(days=1)) == []
    assert await stage.gateway.find_by_our_id("t2", "acct_seller", LONG_AGO) == []


async def test_incomplete_search_is_not_returned(stage):
    await stage.fail("transfers.list", 503)
    with pytest.raises(LookUpFailed):
        await stage.gateway.find_by_our_id("t1", "acct_seller", LONG_AGO)


async def test_similar_transfers_are_found_and_no_others(stage):
    wanted = [await paid(stage, 1), await paid(stage, 2)]
    for number in range(3, 104):  # the oldest are on the second page
        await paid(stage, number, amount=number)
    await stage.gateway.create(body(200, 1000, "acct_other"), "transfer:t200:e1")
    await stage.gateway.create(body(201) | {"currency": "eur"}, "transfer:t201:e1")
    await stage.gateway.reverse(wanted[0], 400, "refund", "k", ours(1))
    found = await stage.gateway.find_similar("acct_seller", "USD", 1000, LONG_AGO)
    assert {seen.stripe_transfer_id: seen.amount_reversed for seen in found} == {wanted[0]: 400, wanted[1]: 0}
    assert list(await stage.gateway.find_similar("acct_seller", "USD", 1000, datetime.now(UTC) + timedelta(days=1))) == []


async def test_incomplete_search_for_similar_is_not_returned(stage):
    await stage.fail("transfers.list", 503)
    with pytest.raises(LookUpFailed):
        await stage.gateway.find_similar("acct_seller", "USD", 1000, LONG_AGO)


async def test_account_of_the_key_is_returned_or_unknown(stage):
    account = await stage.gateway.account()
    assert account is None or account.startswith("acct_")


@pytest.mark.parametrize("seed", range(20))
async def test_repeated_key_moves_money_once_after_any_fault(stage, seed):
    chance = random.Random(seed)
    stripe_id = await paid(stage)
    acts = {
        CREATE: lambda: stage.gateway.create(body(2, 500), "transfer:t2:e1"),
        REVERSE: lambda: stage.gateway.reverse(stripe_id, 400, "refund", "reversal:r1:e1", ours(1)),
    }
    for operation in chance.choices(list(acts), k=8):
        match chance.randrange(4):
            case 0:
                await stage.lose(operation, executed=chance.random() < 0.5)
            case 1:
                await stage.fail(operation, chance.choice([401, 429, 500, 503]))
            case 2:
                await stage.busy(operation)
        await acts[operation]()
    for act in acts.values():
        while not isinstance(await act(), Succeeded):
            pass
    assert sorted(await moved(stage)) == [500, 600]
