"""Fixtures of the end-to-end scenarios; each scenario ends with a check that the books agree."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from infrastructure.settings import Settings
from infrastructure.simulators.hyperswitch import HyperswitchConfig
from infrastructure.simulators.stripe import (
    RunningSimulator,
    SimulatorControl,
    running_simulator,
)
from tests.support.ledger_process import READY, LedgerClient, LedgerProcess, begin, environment
from tests.support.ledger_view import LedgerView
from tests.support.postgres_books import books_agree
from tests.support.service import SystemUnderTest, quick


@pytest.fixture
async def simulator() -> AsyncIterator[RunningSimulator]:
    """A Stripe in live manners, on which a platform without charges has no money."""
    async with running_simulator() as (simulator, _):
        yield simulator


@pytest.fixture
async def stripe(simulator: RunningSimulator) -> AsyncIterator[SimulatorControl]:
    async with simulator.control() as control:
        yield control


@pytest.fixture
async def kindness(stripe: SimulatorControl) -> None:
    """A platform that never lacks money: for payments that a test reports by hand, without a
    charge."""
    await stripe.change_manners("kind")


@pytest.fixture
def psp_config(simulator: RunningSimulator) -> HyperswitchConfig:
    """Settings of a payment provider that takes payments through this Stripe."""
    return HyperswitchConfig(connector=simulator.connector())


@pytest.fixture
async def view(database_url: str) -> AsyncIterator[LedgerView]:
    async with LedgerView.of(database_url) as view:
        yield view


@pytest.fixture
def settings(database_url: str, stripe: SimulatorControl) -> Settings:
    return quick(database_url, stripe.url)


@pytest.fixture
async def system(
    settings: Settings, view: LedgerView, stripe: SimulatorControl, kindness: None
) -> AsyncIterator[SystemUnderTest]:
    """The ledgers are drained when the test ends, and the books must agree."""
    yield SystemUnderTest(settings, view, stripe)
    await books_agree(stripe, view.pool)


class Processes:
    """Ledgers as processes on one database and one Stripe; they are killed at the end."""

    def __init__(self, given: dict[str, str], stack: AsyncExitStack) -> None:
        self.given, self._stack = given, stack

    async def start(self, command: str = "serve", **changes: str) -> LedgerProcess:
        """Start a process, and wait until it is at work. `changes` to the environment."""
        started = await self.begin(command, **changes)
        await started.said(READY[command])
        return started

    async def begin(self, command: str = "serve", **changes: str) -> LedgerProcess:
        """Start a process, and return while it is starting."""
        begun = await begin({**self.given, **changes}, command)
        self._stack.push_async_callback(begun.kill)
        return begun

    async def talk(self, to: LedgerProcess) -> LedgerClient:
        """Open a client of the process."""
        return await self._stack.enter_async_context(LedgerClient.to(to))


@pytest.fixture
async def processes(
    database_url: str, stripe: SimulatorControl, view: LedgerView, kindness: None
) -> AsyncIterator[Processes]:
    """The books are checked while the processes still run, with no work left."""
    async with AsyncExitStack() as stack:
        yield Processes(environment(database_url, stripe.url), stack)
        await books_agree(stripe, view.pool)
