"""A fresh simulator for each test, and two ways to call it: bare HTTP (`api`) and the real Stripe
SDK (`sdk`)."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import httpx
import pytest
import stripe

from infrastructure.simulators.stripe import (
    KIND,
    RunningSimulator,
    SimulatorConfig,
    SimulatorControl,
    running_simulator,
)
from tests.support.json_types import Json

NINE_O_CLOCK = 1_800_000_000.0


class StripeCaller:
    """Bare HTTP in Stripe's manner: form bodies, a bearer key, an Idempotency-Key when one is
    given."""

    def __init__(self, url: str, api_key: str = "sk_test_1") -> None:
        self.http = httpx.AsyncClient(
            base_url=url,
            headers={"Authorization": f"Bearer {api_key}"},
            timeout=10,
            trust_env=False,
        )

    async def post(
        self, path: str, fields: Json | None = None, key: str | None = None, /, **headers: str
    ) -> httpx.Response:
        if key is not None:
            headers["Idempotency-Key"] = key
        return await self.http.post(path, data=fields or {}, headers=headers)

    async def get(self, path: str, fields: Json | None = None, /, **headers: str) -> httpx.Response:
        return await self.http.get(path, params=fields or {}, headers=headers)

    async def transfer(self, key: str | None = None, **fields: object) -> httpx.Response:
        """POST /v1/transfers of 20.00 USD, unless told otherwise."""
        body = {"amount": 2000, "currency": "usd", "destination": "acct_seller", **fields}
        return await self.post("/v1/transfers", body, key)

    async def made(self, key: str | None = None, **fields: object) -> Json:
        """Make a transfer, and return it."""
        answer = await self.transfer(key, **fields)
        assert answer.status_code == 200, answer.text
        made: Json = answer.json()
        return made

    async def reverse(
        self, transfer_id: str, amount: int | None = None, key: str | None = None, **fields: object
    ) -> httpx.Response:
        body = fields if amount is None else {"amount": amount, **fields}
        return await self.post(f"/v1/transfers/{transfer_id}/reversals", body, key)


OpenCaller = Callable[[str], StripeCaller]
WaitFor = Callable[[Callable[[], Awaitable[object]]], Awaitable[None]]
ErrorOf = Callable[[httpx.Response], tuple[int, str, str | None, str | None]]
"""Status, type, code, and parameter of an error."""


@pytest.fixture
def config() -> SimulatorConfig:
    """A test that needs other settings parametrizes `config`."""
    return SimulatorConfig(manners=KIND, virtual_start=NINE_O_CLOCK)


@pytest.fixture
async def running(
    config: SimulatorConfig,
) -> AsyncIterator[tuple[RunningSimulator, SimulatorControl]]:
    async with running_simulator(config) as both:
        yield both


@pytest.fixture
def simulator(running: tuple[RunningSimulator, SimulatorControl]) -> RunningSimulator:
    return running[0]


@pytest.fixture
async def control(
    running: tuple[RunningSimulator, SimulatorControl],
) -> AsyncIterator[SimulatorControl]:
    """After each test the simulator's own books must be sound."""
    yield running[1]
    assert await running[1].violations() == []


@pytest.fixture
async def api_at() -> AsyncIterator[OpenCaller]:
    """Open callers of any URL; closed at the end."""
    async with AsyncExitStack() as stack:

        def open_caller(url: str) -> StripeCaller:
            caller = StripeCaller(url)
            stack.push_async_callback(caller.http.aclose)
            return caller

        yield open_caller


@pytest.fixture
def api(simulator: RunningSimulator, control: SimulatorControl, api_at: OpenCaller) -> StripeCaller:
    return api_at(simulator.url)


@pytest.fixture
async def sdk(
    simulator: RunningSimulator, control: SimulatorControl, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[stripe.StripeClient]:
    monkeypatch.setattr(stripe, "enable_telemetry", False)
    transport = stripe.AIOHTTPClient(timeout=1)
    yield stripe.StripeClient(
        "sk_test_1",
        base_addresses={"api": simulator.url},
        http_client=transport,
        max_network_retries=0,
    )
    await transport.close_async()  # type: ignore[no-untyped-call]  # the SDK leaves it untyped


@pytest.fixture
def eventually() -> WaitFor:
    """Ask again until the answer is true, for ten seconds at most: for states without a long
    poll."""

    async def wait_for(asked: Callable[[], Awaitable[object]]) -> None:
        async with asyncio.timeout(10):
            while not await asked():  # noqa: ASYNC110 - the state is on the other side of HTTP
                await asyncio.sleep(0.005)

    return wait_for


def error_of(answer: httpx.Response) -> tuple[int, str, str | None, str | None]:
    """(status, type, code, param)."""
    error = answer.json()["error"]
    return answer.status_code, error["type"], error.get("code"), error.get("param")


@pytest.fixture
def refused() -> ErrorOf:
    return error_of
