"""Requests to a simulator's application without a socket, with virtual time and faults between.

A call takes as long as recorded calls of Stripe did. It goes on when its caller has given up or
died, as real calls do: the answer that the caller gets and the effect at the provider are
independent.
"""

import asyncio
import random
from collections.abc import Callable, Mapping
from contextvars import Context
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias
from urllib.parse import urlsplit

import aiohttp
from starlette.types import ASGIApp, Message

from infrastructure.simulators.common.latency import recorded

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


class Exchange:
    """One request to the simulator's application, and its answer."""

    def __init__(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> None:
        parts = urlsplit(url)
        self.method, self.path, self.sent = method.upper(), parts.path, body
        self.key = headers.get("Idempotency-Key")
        self.operation = _operation(method, parts.path)
        self.status, self.headers, self.body = 0, dict[str, str](), b""
        self._sent: bytes | None = body
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


class ReceivedAnswer(NamedTuple):
    """Body, status and headers of an answer."""

    body: bytes
    status: int
    headers: Mapping[str, str]


class VirtualNetwork:
    """The way between the processes and one simulator's application."""

    def __init__(self, app: ASGIApp, seed: str) -> None:
        self.conditions = NetworkConditions()
        self._app, self._chance = app, random.Random(seed)
        self._under_way: set[asyncio.Task[None]] = set()

    async def send(self, exchange: Exchange, timeout: float) -> ReceivedAnswer:
        """Send a request. Raises OSError or aiohttp.ClientError for a fault on the way."""
        try:
            async with asyncio.timeout(timeout):
                return await self._answer(exchange)
        finally:
            exchange.give_up()

    async def _answer(self, exchange: Exchange) -> ReceivedAnswer:
        network, chance = self.conditions, self._chance
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
            return ReceivedAnswer(UNAVAILABLE, 503, {})
        if request_lost:
            raise aiohttp.ServerDisconnectedError
        await self._carry_out(exchange)
        await asyncio.sleep(seconds - there)
        if answer_lost or not exchange.status:
            raise aiohttp.ServerDisconnectedError
        return ReceivedAnswer(exchange.body, exchange.status, exchange.headers)

    async def _carry_out(self, exchange: Exchange) -> None:
        """Execute the request in a task and context of its own, so that the end of its caller does
        not end it at the provider."""
        task = asyncio.get_running_loop().create_task(self._execute(exchange), context=Context())
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        await asyncio.shield(task)

    async def _execute(self, exchange: Exchange) -> None:
        await exchange.carried_out(self._app)


NewNetwork: TypeAlias = Callable[[ASGIApp, str], VirtualNetwork]
"""Makes the network to a simulator's application, from a seed."""
