"""Contract of `TransferGateway`, checked against the books of the Stripe behind it.

An implementation joins with a `GatewayUnderTest`: the gateway, and control of the Stripe behind it.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Protocol

import pytest

from application.gateways import TransferGateway
from domain.provider_call.outcome import (
    Hindrance,
    LookUpFailed,
    NotAtStripe,
    NotExecuted,
    Rejected,
    ReversalOutcome,
    Succeeded,
    Unknown,
)
from domain.provider_call.request_body import TransferBody
from infrastructure.simulators.stripe import (
    KIND,
    RunningSimulator,
    SimulatorConfig,
    SimulatorControl,
    running_simulator,
)
from infrastructure.stripe.gateway import StripeGateway
from tests.support.in_memory.stripe import CallFault, MemoryStripe
from tests.support.json_types import Json

CREATE, REVERSE = "transfers.create", "reversals.create"
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


class GatewayUnderTest(Protocol):
    """A gateway and control of the Stripe behind it. A fault strikes the next call of its
    operation, once."""

    @property
    def gateway(self) -> TransferGateway: ...

    async def transfers(self) -> list[Json]:
        """Return Stripe's own books: amount, currency, destination, metadata and reversals of every
        transfer, oldest first."""
        ...

    async def calls(self) -> int:
        """Count the calls that have arrived."""
        ...

    async def lose(self, operation: str, *, executed: bool) -> None:
        """Lose the answer of the next call, which is executed or not."""
        ...

    async def fail(self, operation: str, status: int) -> None:
        """Answer the next call with a 5xx or a hindrance of this status."""
        ...

    async def busy(self, operation: str) -> None:
        """Answer the next call as if another call held the object."""
        ...

    async def hold(self, operation: str) -> None:
        """Stop the next call in the middle of its execution, also when its caller goes away."""
        ...

    async def held(self, operation: str) -> None:
        """Returns when a call is being held."""
        ...

    async def release(self) -> None: ...

    async def reverse_elsewhere(self, stripe_transfer_id: str, amount: int) -> None:
        """Reverse a part as a person does in Stripe's dashboard."""
        ...

    async def balance_of_the_platform(self, currency: str, amount: int) -> None: ...


class OnSimulator:
    """`StripeGateway` on the simulated Stripe, over real HTTP."""

    def __init__(
        self, simulator: RunningSimulator, control: SimulatorControl, gateway: StripeGateway
    ) -> None:
        self._simulator, self._control, self.gateway = simulator, control, gateway

    @classmethod
    @asynccontextmanager
    async def open(cls) -> AsyncIterator["OnSimulator"]:
        async with running_simulator(SimulatorConfig(manners=KIND)) as (simulator, control):
            async with StripeGateway(
                "sk_test_contract", simulator.url, timeout=20, max_concurrency=20
            ) as gateway:
                yield cls(simulator, control, gateway)
            assert await control.violations() == []

    async def transfers(self) -> list[Json]:
        return sorted(
            (await self._control.ledger())["transfers"], key=lambda transfer: transfer["id"]
        )

    async def calls(self) -> int:
        return len(await self._control.requests())

    async def lose(self, operation: str, *, executed: bool) -> None:
        await self._control.fault(
            f"reset_{'after' if executed else 'before'}_commit", operation, times=1
        )

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


class InMemory:
    """The Stripe in memory, for simulations with tens of thousands of calls."""

    def __init__(self) -> None:
        self.gateway = self._stripe = MemoryStripe()
        self._released = asyncio.Event()

    @classmethod
    @asynccontextmanager
    async def open(cls) -> AsyncIterator["InMemory"]:
        under_test = cls()
        yield under_test
        assert under_test._stripe.violations == []

    async def transfers(self) -> list[Json]:
        return self._stripe.transfers

    async def calls(self) -> int:
        return self._stripe.calls

    async def lose(self, operation: str, *, executed: bool) -> None:
        self._stripe.inject(operation, CallFault(lost=True, executed=executed))

    async def fail(self, operation: str, status: int) -> None:
        self._stripe.inject(operation, CallFault(status=status))

    async def busy(self, operation: str) -> None:
        self._stripe.inject(operation, CallFault(lock=True))

    async def hold(self, operation: str) -> None:
        self._stripe.inject(operation, CallFault(held=self._released))

    async def held(self, operation: str) -> None:
        while not self._stripe.executing:  # noqa: ASYNC110 - in this loop, and after a few of its turns
            await asyncio.sleep(0)

    async def release(self) -> None:
        self._released.set()

    async def reverse_elsewhere(self, stripe_transfer_id: str, amount: int) -> None:
        self._stripe.take_back(stripe_transfer_id, amount)

    async def balance_of_the_platform(self, currency: str, amount: int) -> None:
        self._stripe.funds[currency] = amount


IMPLEMENTATIONS: dict[str, Callable[[], AbstractAsyncContextManager[GatewayUnderTest]]] = {
    "Stripe's SDK": OnSimulator.open,
    "light": InMemory.open,
}


@pytest.fixture(params=IMPLEMENTATIONS.values(), ids=list(IMPLEMENTATIONS))
async def under_test(request: pytest.FixtureRequest) -> AsyncIterator[GatewayUnderTest]:
    async with request.param() as under_test:
        yield under_test


def body(number: int = 1, amount: int = 1000, destination: str = "acct_seller") -> TransferBody:
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


async def paid(under_test: GatewayUnderTest, number: int = 1, amount: int = 1000) -> str:
    outcome = await under_test.gateway.create(body(number, amount), f"transfer:t{number}:e1")
    assert isinstance(outcome, Succeeded)
    return outcome.stripe_id


Act = Callable[[], Coroutine[object, object, ReversalOutcome]]
Move = tuple[str, Act, list[int], list[int]]


async def moved(under_test: GatewayUnderTest) -> list[int]:
    """Return the amount of each transfer less its reversals."""
    return [
        transfer["amount"] - transfer["amount_reversed"]
        for transfer in await under_test.transfers()
    ]


@pytest.fixture(params=["create", "reverse"])
async def move(request: pytest.FixtureRequest, under_test: GatewayUnderTest) -> Move:
    """Return one way to move money: its operation, the call, and the books before and after."""
    if request.param == "create":
        return CREATE, lambda: under_test.gateway.create(body(), "k"), [], [1000]
    stripe_id = await paid(under_test)
    return (
        REVERSE,
        lambda: under_test.gateway.reverse(stripe_id, 400, "refund", "k", ours(1)),
        [1000],
        [600],
    )


async def test_successful_transfer_is_listed_as_requested(under_test: GatewayUnderTest) -> None:
    outcome = await under_test.gateway.create(body(), "k")
    [transfer] = await under_test.transfers()
    assert isinstance(outcome, Succeeded)
    assert (outcome.stripe_id, outcome.amount, outcome.replayed) == (transfer["id"], 1000, False)
    assert outcome.stripe_id.startswith("tr_")
    assert {name: transfer[name] for name in body()} == body()


async def test_successful_reversal_is_listed_as_requested(under_test: GatewayUnderTest) -> None:
    stripe_id = await paid(under_test)
    outcome = await under_test.gateway.reverse(stripe_id, 400, "refund", "k", ours(1))
    [transfer] = await under_test.transfers()
    assert isinstance(outcome, Succeeded)
    assert (outcome.stripe_id[:4], outcome.amount) == ("trr_", 400)
    assert transfer["amount_reversed"] == 400


async def test_repeated_key_moves_money_once(under_test: GatewayUnderTest, move: Move) -> None:
    _, act, _, after = move
    first, second = await act(), await act()
    assert isinstance(first, Succeeded)
    assert isinstance(second, Succeeded)
    assert (first.stripe_id, first.replayed, second.replayed) == (second.stripe_id, False, True)
    assert await moved(under_test) == after


@pytest.mark.parametrize("executed", [True, False], ids=["executed", "not executed"])
async def test_lost_answer_is_unknown_and_settled_by_its_key(
    under_test: GatewayUnderTest, move: Move, executed: bool
) -> None:
    operation, act, before, after = move
    await under_test.lose(operation, executed=executed)
    lost = await act()
    assert isinstance(lost, Unknown)
    assert await moved(under_test) == (after if executed else before)
    settled = await act()
    assert isinstance(settled, Succeeded)
    assert settled.replayed is executed
    assert await moved(under_test) == after


@pytest.mark.parametrize("status", [500, 502, 503])
async def test_failing_server_is_called_once(
    under_test: GatewayUnderTest, move: Move, status: int
) -> None:
    operation, act, before, _ = move
    await under_test.fail(operation, status)
    calls = await under_test.calls()
    outcome = await act()
    assert isinstance(outcome, Unknown)
    assert (outcome.why, outcome.status) == (f"http_{status}", status)
    assert (await under_test.calls(), await moved(under_test)) == (calls + 1, before)


@pytest.mark.parametrize(
    ("status", "why"),
    [(401, Hindrance.UNAUTHORIZED), (403, Hindrance.FORBIDDEN), (429, Hindrance.RATE_LIMITED)],
)
async def test_hindered_call_is_not_executed_and_repeatable(
    under_test: GatewayUnderTest, move: Move, status: int, why: Hindrance
) -> None:
    operation, act, before, after = move
    await under_test.fail(operation, status)
    outcome = await act()
    assert isinstance(outcome, NotExecuted)
    assert (outcome.why, await moved(under_test)) == (why, before)
    assert isinstance(await act(), Succeeded)
    assert await moved(under_test) == after


async def test_lock_timeout_is_no_rate_limit(under_test: GatewayUnderTest, move: Move) -> None:
    operation, act, before, _ = move
    await under_test.busy(operation)
    outcome = await act()
    assert isinstance(outcome, NotExecuted)
    assert (outcome.why, await moved(under_test)) == (Hindrance.LOCK_TIMEOUT, before)


async def test_key_of_a_running_call_is_in_use(under_test: GatewayUnderTest, move: Move) -> None:
    operation, act, _, after = move
    await under_test.hold(operation)
    first = asyncio.create_task(act())
    await under_test.held(operation)
    second = await act()
    await under_test.release()
    assert isinstance(second, NotExecuted)
    assert second.why is Hindrance.KEY_IN_USE
    assert isinstance(await first, Succeeded)
    assert await moved(under_test) == after


async def test_cancelled_call_is_settled_by_its_key(
    under_test: GatewayUnderTest, move: Move
) -> None:
    operation, act, _, after = move
    await under_test.hold(operation)
    call = asyncio.create_task(act())
    await under_test.held(operation)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await under_test.release()
    assert isinstance(await until_executed(act), Succeeded)
    assert await moved(under_test) == after


async def until_executed(act: Act) -> ReversalOutcome:
    """Repeat the call while the abandoned one is still executing, as its end is not reported."""
    while isinstance(outcome := await act(), NotExecuted):
        assert outcome.why is Hindrance.KEY_IN_USE
    return outcome


async def test_key_with_another_body_raises_and_moves_nothing(under_test: GatewayUnderTest) -> None:
    stripe_id = await paid(under_test)
    for outcome in (
        await under_test.gateway.create(body(1, amount=999), "transfer:t1:e1"),
        await under_test.gateway.reverse(stripe_id, 400, "refund", "transfer:t1:e1"),
    ):
        assert isinstance(outcome, Unknown)
        assert outcome.why == "idempotency_error"
    assert await moved(under_test) == [1000]


async def test_stored_refusal_repeats_until_a_new_key(under_test: GatewayUnderTest) -> None:
    await under_test.balance_of_the_platform("usd", 999)
    first = await under_test.gateway.create(body(), "transfer:t1:e1")
    await under_test.balance_of_the_platform("usd", 1000)
    again = await under_test.gateway.create(body(), "transfer:t1:e1")
    for refused in (first, again):
        assert isinstance(refused, Rejected)
        assert (refused.status, refused.code, refused.stored) == (400, "balance_insufficient", True)
    assert isinstance(await under_test.gateway.create(body(), "transfer:t1:e2"), Succeeded)


async def test_unknown_destination_is_a_stored_refusal(under_test: GatewayUnderTest) -> None:
    refused = await under_test.gateway.create(body(destination="acct_missing"), "k")
    assert isinstance(refused, Rejected)
    assert (refused.code, refused.param, refused.stored) == (
        "resource_missing",
        "destination",
        True,
    )
    assert isinstance(await under_test.gateway.create(body(), "k2"), Succeeded)


async def test_reversal_of_an_unknown_transfer_is_a_final_404(under_test: GatewayUnderTest) -> None:
    refused = await under_test.gateway.reverse("tr_unknown", 400, "refund", "k")
    assert isinstance(refused, Rejected)
    assert (refused.status, refused.code) == (404, "resource_missing")


async def test_reversal_above_the_remainder_is_refused(under_test: GatewayUnderTest) -> None:
    stripe_id = await paid(under_test)
    assert isinstance(await under_test.gateway.reverse(stripe_id, 1001, "refund", "k"), Rejected)
    assert await moved(under_test) == [1000]


async def test_remainder_is_taken_once_under_one_key(under_test: GatewayUnderTest) -> None:
    stripe_id = await paid(under_test)
    await under_test.reverse_elsewhere(stripe_id, 300)
    first = await under_test.gateway.reverse(stripe_id, None, "refund", "k", ours(1))
    again = await under_test.gateway.reverse(stripe_id, None, "refund", "k", ours(1))
    assert isinstance(first, Succeeded)
    assert isinstance(again, Succeeded)
    assert (first.stripe_id, first.amount) == (again.stripe_id, 700)
    assert await moved(under_test) == [0]


async def test_remainder_of_nothing_is_refused(under_test: GatewayUnderTest) -> None:
    stripe_id = await paid(under_test)
    await under_test.reverse_elsewhere(stripe_id, 1000)
    assert isinstance(
        await under_test.gateway.reverse(stripe_id, None, "refund", "k", ours(1)), Rejected
    )


async def test_empty_key_is_never_sent(under_test: GatewayUnderTest) -> None:
    stripe_id = await paid(under_test)
    calls = await under_test.calls()
    with pytest.raises(ValueError, match="key"):
        await under_test.gateway.create(body(2), "")
    with pytest.raises(ValueError, match="key"):
        await under_test.gateway.reverse(stripe_id, 400, "refund", "")
    assert await under_test.calls() == calls


async def test_transfer_shows_reversals_newest_first_with_owner(
    under_test: GatewayUnderTest,
) -> None:
    stripe_id = await paid(under_test)
    taken = await under_test.gateway.reverse(stripe_id, 400, "refund", "k1", ours(1))
    for _ in range(100):  # one page is a hundred
        await under_test.reverse_elsewhere(stripe_id, 1)
    last = await under_test.gateway.reverse(stripe_id, 100, "refund", "k2", ours(2))
    assert isinstance(taken, Succeeded)
    assert isinstance(last, Succeeded)
    shown = await under_test.gateway.get_transfer(stripe_id)
    assert (shown.amount, shown.amount_reversed, shown.reversible) == (1000, 600, 400)
    assert (shown.currency, shown.destination, shown.transfer_id) == ("USD", "acct_seller", "t1")
    assert [reversal.reversal_id for reversal in shown.reversals] == ["r2", *[None] * 100, "r1"]
    assert shown.reversals[0].stripe_reversal_id == last.stripe_id
    assert shown.reversals[-1].stripe_reversal_id == taken.stripe_id


async def test_missing_transfer_is_reported_as_missing(under_test: GatewayUnderTest) -> None:
    with pytest.raises(NotAtStripe):
        await under_test.gateway.get_transfer("tr_unknown")


@pytest.mark.parametrize("operation", ["transfers.retrieve", "reversals.list"])
@pytest.mark.parametrize("status", [401, 403, 429, 500, 503])
async def test_incomplete_transfer_is_not_returned(
    under_test: GatewayUnderTest, operation: str, status: int
) -> None:
    stripe_id = await paid(under_test)
    await under_test.fail(operation, status)
    with pytest.raises(LookUpFailed):
        await under_test.gateway.get_transfer(stripe_id)


async def test_search_finds_our_transfer_among_many(under_test: GatewayUnderTest) -> None:
    for number in range(1, 102):  # ours is the oldest, on the second page
        await paid(under_test, number, amount=number)
    [found] = await under_test.gateway.find_by_our_id("t1", "acct_seller", LONG_AGO)
    assert (found.transfer_id, found.amount, found.reversals) == ("t1", 1, ())


async def test_search_returns_reversals_too(under_test: GatewayUnderTest) -> None:
    stripe_id = await paid(under_test)
    await under_test.gateway.reverse(stripe_id, 400, "refund", "k", ours(1))
    [found] = await under_test.gateway.find_by_our_id("t1", "acct_seller", LONG_AGO)
    assert found == await under_test.gateway.get_transfer(stripe_id)


async def test_search_is_limited_to_account_and_time(under_test: GatewayUnderTest) -> None:
    await paid(under_test)
    assert await under_test.gateway.find_by_our_id("t1", "acct_other", LONG_AGO) == []
    assert (
        await under_test.gateway.find_by_our_id(
            "t1", "acct_seller", datetime.now(UTC) + timedelta(days=1)
        )
        == []
    )
    assert await under_test.gateway.find_by_our_id("t2", "acct_seller", LONG_AGO) == []


async def test_incomplete_search_is_not_returned(under_test: GatewayUnderTest) -> None:
    await under_test.fail("transfers.list", 503)
    with pytest.raises(LookUpFailed):
        await under_test.gateway.find_by_our_id("t1", "acct_seller", LONG_AGO)


async def test_similar_transfers_are_found_and_no_others(under_test: GatewayUnderTest) -> None:
    wanted = [await paid(under_test, 1), await paid(under_test, 2)]
    for number in range(3, 104):  # the oldest are on the second page
        await paid(under_test, number, amount=number)
    await under_test.gateway.create(body(200, 1000, "acct_other"), "transfer:t200:e1")
    await under_test.gateway.create({**body(201), "currency": "eur"}, "transfer:t201:e1")
    await under_test.gateway.reverse(wanted[0], 400, "refund", "k", ours(1))
    found = await under_test.gateway.find_similar("acct_seller", "USD", 1000, LONG_AGO)
    assert {seen.stripe_transfer_id: seen.amount_reversed for seen in found} == {
        wanted[0]: 400,
        wanted[1]: 0,
    }
    assert (
        list(
            await under_test.gateway.find_similar(
                "acct_seller", "USD", 1000, datetime.now(UTC) + timedelta(days=1)
            )
        )
        == []
    )


async def test_incomplete_search_for_similar_is_not_returned(under_test: GatewayUnderTest) -> None:
    await under_test.fail("transfers.list", 503)
    with pytest.raises(LookUpFailed):
        await under_test.gateway.find_similar("acct_seller", "USD", 1000, LONG_AGO)


async def test_account_of_the_key_is_returned_or_unknown(under_test: GatewayUnderTest) -> None:
    account = await under_test.gateway.account()
    assert account is None or account.startswith("acct_")


@pytest.mark.parametrize("seed", range(20))
async def test_repeated_key_moves_money_once_after_any_fault(
    under_test: GatewayUnderTest, seed: int
) -> None:
    chance = random.Random(seed)
    stripe_id = await paid(under_test)
    acts: dict[str, Act] = {
        CREATE: lambda: under_test.gateway.create(body(2, 500), "transfer:t2:e1"),
        REVERSE: lambda: under_test.gateway.reverse(
            stripe_id, 400, "refund", "reversal:r1:e1", ours(1)
        ),
    }
    for operation in chance.choices(list(acts), k=8):
        match chance.randrange(4):
            case 0:
                await under_test.lose(operation, executed=chance.random() < 0.5)
            case 1:
                await under_test.fail(operation, chance.choice([401, 429, 500, 503]))
            case 2:
                await under_test.busy(operation)
        await acts[operation]()
    for act in acts.values():
        while not isinstance(await act(), Succeeded):
            pass
    assert sorted(await moved(under_test)) == [500, 600]
