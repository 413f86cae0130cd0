"""The real gateway and SDK on the real simulator, without a socket and with virtual time between
them.

A call takes as long as recorded calls of Stripe did. It goes on when its caller has given up or
died, as real calls do: the answer that the caller gets and the effect at Stripe are independent.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from contextvars import Context
from dataclasses import dataclass, replace
from typing import Any, TypedDict, Unpack
from urllib.parse import urlsplit

import aiohttp
import stripe
from starlette.types import ASGIApp, Message

from infrastructure.simulation.virtual_time import epoch_seconds
from infrastructure.simulators.common.latency import recorded
from infrastructure.simulators.stripe import KIND, SimulatorConfig, create_simulator
from infrastructure.simulators.stripe.world import StripeWorld
from infrastructure.stripe.gateway import StripeGateway

Json = dict[str, Any]
KEY, URL = "sk_test_virtual", "http://stripe.virtual"
TIMEOUT = 30.0
UNAVAILABLE = b'{"error": {"type": "api_error", "message": "Stripe is not available."}}'


@dataclass(slots=True)
class NetworkConditions:
    """Faults of the network between a process and Stripe. Shares are between 0 and 1, and drawn
    anew for each call."""

    slowness: float = 1.0
    """Factor of the recorded latency."""
    lost_requests: float = 0.0
    lost_answers: float = 0.0
    refused: bool = False
    """Every connection is refused at once."""
    unavailable: bool = False
    """The edge answers 503 before the request is read."""
    silent: bool = False
    """Requests vanish: the caller waits until its time limit."""


class Conditions(TypedDict, total=False):
    """The fields of `NetworkConditions` that a scenario changes for a while."""

    lost_answers: float
    silent: bool


class Exchange:
    """One request to the simulator's application, and its answer."""

    def __init__(
        self, method: str, url: str, headers: Mapping[str, str], post_data: str | None
    ) -> None:
        parts = urlsplit(url)
        self.operation = _operation(method, parts.path)
        self.status, self.headers, self.body = 0, dict[str, str](), b""
        self._sent: bytes | None = (post_data or "").encode()
        self._gone = asyncio.Event()
        self._scope = {
            "type": "http",
            "http_version": "1.1",
            "method": method.upper(),
            "path": parts.path,
            "raw_path": parts.path.encode(),
            "root_path": "",
            "scheme": parts.scheme,
            "query_string": parts.query.encode(),
            "headers": [
                (name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()
            ],
        }

    async def carried_out(self, app: ASGIApp) -> None:
        await app(self._scope, self._receive, self._send)

    def give_up(self) -> None:
        """Report that the caller has closed the connection."""
        self._gone.set()

    async def _receive(self) -> Message:
        if self._sent is not None:
            body, self._sent = self._sent, None
            return {"type": "http.request", "body": body}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {
                name.decode(): value.decode("latin-1") for name, value in message["headers"]
            }
        else:
            self.body += message.get("body", b"")


def _operation(method: str, path: str) -> str:
    """Return the operation's name in the recorded latencies."""
    if method.upper() == "POST":
        return "reversals.create" if path.endswith("/reversals") else "transfers.create"
    return "transfers.list" if path == "/v1/transfers" else "transfers.retrieve"


class InProcessClient(stripe.HTTPClient):
    """HTTP client of the SDK that calls the simulator in this process."""

    name = "in_process"

    def __init__(
        self,
        app: ASGIApp,
        network: NetworkConditions,
        chance: random.Random,
        timeout: float = TIMEOUT,
    ) -> None:
        super().__init__()
        self._app, self._network, self._chance, self._timeout = app, network, chance, timeout
        self._under_way: set[asyncio.Task[None]] = set()

    async def request_async(
        self, method: str, url: str, headers: Mapping[str, str], post_data: str | None = None
    ) -> tuple[bytes, int, Mapping[str, str]]:
        """Send a request. Raises `stripe.APIConnectionError`, caused by the fault on the way."""
        exchange = Exchange(method, url, headers, post_data)
        try:
            async with asyncio.timeout(self._timeout):
                return await self._answer(exchange)
        except (OSError, aiohttp.ClientError) as error:  # TimeoutError is an OSError
            raise stripe.APIConnectionError(f"no answer: {error}") from error  # type: ignore[no-untyped-call]  # the SDK's
        finally:
            exchange.give_up()

    async def _answer(self, exchange: Exchange) -> tuple[bytes, int, Mapping[str, str]]:
        network, chance = self._network, self._chance
        seconds = network.slowness * recorded(exchange.operation, chance.random()) / 1000
        there = seconds * chance.random()
        request_lost, answer_lost = (
            chance.random() < network.lost_requests,
            chance.random() < network.lost_answers,
        )
        if network.refused:
            raise aiohttp.ClientOSError("connection refused")
        await asyncio.sleep(there)
        if network.silent:
            await asyncio.Event().wait()
        if network.unavailable:
            return UNAVAILABLE, 503, {}
        if request_lost:
            raise aiohttp.ServerDisconnectedError
        await self._carry_out(exchange)
        await asyncio.sleep(seconds - there)
        if answer_lost or not exchange.status:
            raise aiohttp.ServerDisconnectedError
        return exchange.body, exchange.status, exchange.headers

    async def _carry_out(self, exchange: Exchange) -> None:
        """Execute the request in a task and context of its own, so that the end of its caller does
        not end it at Stripe."""
        task = asyncio.get_running_loop().create_task(
            exchange.carried_out(self._app), context=Context()
        )
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        await asyncio.shield(task)

    async def close_async(self) -> None:
        """Do nothing: there is no connection to close."""


class VirtualStripe:
    """One Stripe for a whole fleet: its world, its network, and gateways to it."""

    def __init__(self, seed: int, endpoint_rate: float | None = None) -> None:
        app = create_simulator(
            SimulatorConfig(
                seed=seed, clock=epoch_seconds, endpoint_rate=endpoint_rate, manners=KIND
            )
        )
        self.world: StripeWorld = app.state.world
        self.network = NetworkConditions()
        self._app, self._chance = app, random.Random(f"stripe {seed}")

    def gateway(self, max_concurrency: int = 30) -> StripeGateway:
        return StripeGateway(
            KEY,
            URL,
            TIMEOUT,
            max_concurrency,
            InProcessClient(self._app, self.network, self._chance),
        )

    @property
    def transfers(self) -> list[Json]:
        """Return Stripe's books: every transfer with all its reversals."""
        return list(self.world.ledger()["transfers"])

    @property
    def violations(self) -> list[str]:
        """Return the errors in the simulator's own books."""
        return list(self.world.books.violations())

    def posts(self, operation: str) -> list[Json]:
        """Return the log of the calls that arrived, oldest first."""
        return [entry for entry in self.world.log if entry["operation"] == operation]

    @asynccontextmanager
    async def degraded(self, **conditions: Unpack[Conditions]) -> AsyncIterator[None]:
        """Change the network for a while."""
        before = replace(self.network)
        for name, value in conditions.items():
            setattr(self.network, name, value)
        try:
            yield
        finally:
            for name in conditions:
                setattr(self.network, name, getattr(before, name))
