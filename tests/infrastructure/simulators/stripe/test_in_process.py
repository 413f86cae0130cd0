"""The simulator called as a function, in a test's own virtual time: no sockets, and no real second
passes."""

import asyncio
import json
import random
import selectors
import socket
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import httpx
import pytest
import stripe

from infrastructure.simulators.stripe import KIND, SimulatorConfig, create_simulator
from infrastructure.simulators.stripe.world import StripeWorld
from tests.support.json_types import Json

START = 1_800_000_000.0
SECRET = "whsec_now"
BODY = {"amount": 2000, "currency": "usd", "destination": "acct_seller"}


class JumpingSelector(selectors.DefaultSelector):
    """Nothing to do for a while means that the while is over: sleeps cost nothing, and all are in
    order."""

    def __init__(self) -> None:
        super().__init__()
        self.instant = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert timeout is not None, "everybody waits for something that will never come"
        self.instant += timeout
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._jumping = JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.instant


def elapsed() -> int:
    """Whole seconds since the story began."""
    return round(asyncio.get_running_loop().time())


def now() -> float:
    return START + asyncio.get_running_loop().time()


class InProcessSimulator:
    """A client of the app without a connection, and the inside of its world."""

    def __init__(self, **config: Any) -> None:
        app = create_simulator(SimulatorConfig(manners=KIND, clock=now, **config))
        self.world: StripeWorld = app.state.world
        transport = httpx.ASGITransport(app)
        headers = {"Authorization": "Bearer sk_test_1"}
        self.http = httpx.AsyncClient(
            transport=transport, base_url="http://stripe", headers=headers
        )

    async def transfer(self, key: str = "k1", **changes: object) -> httpx.Response:
        return await self.http.post(
            "/v1/transfers", data={**BODY, **changes}, headers={"Idempotency-Key": key}
        )

    async def fault(self, kind: str, key: str = "*", **action: object) -> None:
        match = {"operation": "transfers.create", "key": key, "times": 1}
        answer = await self.http.post(
            "/_sim/faults", json={"match": match, "action": {"kind": kind, **action}}
        )
        assert answer.status_code == 200, answer.text


@pytest.fixture
def run_virtually(
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[Coroutine[object, object, None]], None]:
    """Run a coroutine in virtual time, where opening a socket fails."""

    def run(story: Coroutine[object, object, None]) -> None:
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            runner.get_loop()  # has a pair of sockets to wake itself up
            monkeypatch.setattr(socket, "socket", None)
            try:
                runner.run(story)
            finally:
                monkeypatch.undo()

    return run


def test_call_neither_sleeps_nor_opens_socket(
    run_virtually: Callable[[Coroutine[object, object, None]], None],
) -> None:
    async def story() -> None:
        simulator = InProcessSimulator()
        made = (await simulator.transfer()).json()
        reversal = (
            await simulator.http.post(f"/v1/transfers/{made['id']}/reversals", data={"amount": 5})
        ).json()
        assert (made["created"], reversal["created"], now()) == (int(START), int(START), START)

    run_virtually(story())


def test_simulated_time_is_the_given_clock(
    run_virtually: Callable[[Coroutine[object, object, None]], None],
) -> None:
    async def story() -> None:
        simulator = InProcessSimulator()
        first = (await simulator.transfer()).json()
        await asyncio.sleep(86_399)
        assert "idempotent-replayed" in (await simulator.transfer()).headers
        await asyncio.sleep(1)
        again = (await simulator.transfer()).json()
        assert (again["created"] - first["created"], again["id"] == first["id"]) == (86_400, False)
        assert [round(call["at"] - START) for call in simulator.world.log] == [0, 86_399, 86_400]

    run_virtually(story())


def test_recorded_latency_slows_only_executed_calls(
    run_virtually: Callable[[Coroutine[object, object, None]], None],
) -> None:
    async def story() -> None:
        simulator = InProcessSimulator(latency="recorded")
        for fields in (Json(), Json(), Json(amount=0)):
            await simulator.transfer(**fields)
        durations = [call["seconds"] for call in simulator.world.log]
        assert 0.6 < durations[0] <= 1.327
        assert durations[1:] == [0, 0]

    run_virtually(story())


def test_same_seed_takes_same_time(
    run_virtually: Callable[[Coroutine[object, object, None]], None],
) -> None:
    durations = []

    async def story(seed: int) -> None:
        simulator = InProcessSimulator(latency="recorded", seed=seed)
        await asyncio.gather(*(simulator.transfer(f"k{n}") for n in range(20)))
        durations.append([call["seconds"] for call in simulator.world.log])

    for seed in (1, 1, 2):
        run_virtually(story(seed))
    assert durations[0] == durations[1] != durations[2]


def test_paced_fleet_is_never_limited_and_unpaced_mostly_is(
    run_virtually: Callable[[Coroutine[object, object, None]], None],
) -> None:
    """Stripe's limit of 25 per second, twice that often asked, with the latency of real calls."""

    async def asked(simulator: InProcessSimulator, per_second: float, calls: int) -> float:
        async def one(number: int) -> None:
            await asyncio.sleep(number / per_second)
            await simulator.transfer(f"k{number}")

        await asyncio.gather(*(one(number) for number in range(calls)))
        statuses = Counter(call["status"] for call in simulator.world.log)
        return statuses[429] / statuses.total()

    async def story() -> None:
        limits = {"endpoint_rate": 25.0, "latency": "recorded"}
        assert await asked(InProcessSimulator(**limits), 25, 500) == 0
        assert 0.4 < await asked(InProcessSimulator(**limits), 50, 500) < 0.5

    run_virtually(story())


def test_webhook_deliveries_use_given_function(
    run_virtually: Callable[[Coroutine[object, object, None]], None],
) -> None:
    heard: list[tuple[int, bytes, str]] = []

    async def deliver(url: str, body: bytes, headers: Mapping[str, str]) -> int:
        heard.append((elapsed(), body, headers["Stripe-Signature"]))
        if len(heard) == 1:
            raise OSError("nobody is there")
        return 500 if len(heard) == 2 else 200

    async def story() -> None:
        endpoint = {
            "url": "app:/webhooks/stripe",
            "secrets": [SECRET],
            "knobs": {"delay": 5, "duplicates": 1},
        }
        simulator = InProcessSimulator(deliver=deliver, webhook_endpoints=(endpoint,))
        await simulator.transfer()
        await simulator.world.webhooks.log.quiet()
        assert [at for at, _, _ in heard] == [5, 5, 65, 65]
        assert {json.loads(body)["id"] for _, body, _ in heard} == {"evt_1Qsim00000001"}
        for _, body, signature in heard:
            assert stripe.WebhookSignature.verify_header(
                body.decode(), signature, SECRET, tolerance=None
            )
        await simulator.world.close()

    run_virtually(story())


def test_webhook_answered_too_late_counts_as_undelivered(
    run_virtually: Callable[[Coroutine[object, object, None]], None],
) -> None:
    async def deliver(url: str, body: bytes, headers: Mapping[str, str]) -> int:
        await asyncio.sleep(21)
        return 200

    async def story() -> None:
        simulator = InProcessSimulator(
            deliver=deliver,
            webhook_endpoints=(
                {"url": "app:", "secrets": [SECRET], "knobs": {"retry_schedule": []}},
            ),
        )
        await simulator.transfer()
        await simulator.world.webhooks.log.quiet()
        assert (elapsed(), simulator.world.webhooks.log.outcomes[0]["outcome"]) == (20, "given_up")
        await simulator.world.close()

    run_virtually(story())


def test_lost_answer_is_a_connection_error(
    run_virtually: Callable[[Coroutine[object, object, None]], None],
) -> None:
    async def story() -> None:
        simulator = InProcessSimulator()
        for kind, made in (("reset_before_commit", 0), ("reset_after_commit", 1)):
            await simulator.fault(kind)
            with pytest.raises(ConnectionResetError):
                await simulator.transfer(kind)
            assert len(simulator.world.books.transfers) == made

    run_virtually(story())


def test_caller_giving_up_does_not_undo_call(
    run_virtually: Callable[[Coroutine[object, object, None]], None],
) -> None:
    async def story() -> None:
        simulator = InProcessSimulator(latency="recorded")
        call = asyncio.ensure_future(simulator.transfer())
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(call), 0.5)
        assert (await simulator.transfer()).json()["error"]["code"] == "idempotency_key_in_use"
        await call
        assert (await simulator.transfer()).headers["idempotent-replayed"] == "true"

    run_virtually(story())


def test_object_of_500_is_made_and_announced_later(
    run_virtually: Callable[[Coroutine[object, object, None]], None],
) -> None:
    heard: list[int] = []

    async def deliver(url: str, body: bytes, headers: Mapping[str, str]) -> int:
        heard.append(elapsed())
        return 200

    async def story() -> None:
        simulator = InProcessSimulator(
            deliver=deliver, webhook_endpoints=({"url": "app:", "secrets": [SECRET]},)
        )
        await simulator.fault("stored_500_then_created", "late", seconds=3600)
        await simulator.fault("stored_500_then_created", "silent", announce_after=7200)
        for key in ("late", "silent"):
            assert [(await simulator.transfer(key)).status_code for _ in range(2)] == [500, 500]
        assert (len(simulator.world.books.transfers), heard) == (1, [])
        await simulator.world.webhooks.log.quiet()
        assert (len(simulator.world.books.transfers), heard) == (2, [3600, 7200])
        await simulator.world.close()

    run_virtually(story())


def test_advanced_clock_runs_due_work(
    run_virtually: Callable[[Coroutine[object, object, None]], None],
) -> None:
    """For tests that drive the simulator's clock by hand instead of sleeping."""

    async def story() -> None:
        simulator = InProcessSimulator()
        await simulator.fault("stored_500_then_created", seconds=3600)
        await simulator.transfer()
        simulator.world.advance(3599)
        assert len(simulator.world.books.transfers) == 0
        simulator.world.advance(1)
        assert [transfer.created for transfer in simulator.world.books.transfers] == [
            int(START) + 3600
        ]

    run_virtually(story())


def test_one_clock_is_enough() -> None:
    with pytest.raises(ValueError, match="choose one"):
        create_simulator(SimulatorConfig(manners=KIND, clock=time.time, virtual_start=START))


@pytest.mark.parametrize("seed", range(3))
def test_days_of_chaos_keep_books_sound(
    run_virtually: Callable[[Coroutine[object, object, None]], None], seed: int
) -> None:
    async def story() -> None:
        chance = random.Random(seed)
        match = {"probability": 0.2, "seed": seed}
        faults = [
            {"match": match, "action": {"kind": kind}}
            for kind in ("reset_after_commit", "stored_500_then_created")
        ]
        simulator = InProcessSimulator(
            latency="recorded", endpoint_rate=25, faults=tuple(faults), seed=seed
        )

        async def one(number: int) -> None:
            await asyncio.sleep(chance.uniform(0, 3 * 86_400))
            for _ in range(3):
                try:
                    await simulator.transfer(f"k{number}")
                except ConnectionResetError:
                    await asyncio.sleep(1)

        await asyncio.gather(*(one(number) for number in range(100)))
        assert len(simulator.world.books.transfers) == 100
        assert (await simulator.http.get("/_sim/invariants")).json()["violations"] == []

    run_virtually(story())
