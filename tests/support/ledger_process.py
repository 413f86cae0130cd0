"""The ledger as a process of its own: started by its command, called over HTTP, killed with
signals."""

import asyncio
import contextlib
import json
import os
import signal
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import httpx

from infrastructure.hyperswitch.signature import HEADER, sign
from tests.support import preforked
from tests.support.json_types import Json
from tests.support.service import CURRENCY, account

ROOT = Path(__file__).parents[2]
SECRET = "the-secret-of-this-test"
READY = {"serve": "serving", "worker": "working"}
STARTS_WITHIN = 30.0
FOREIGN = (
    "DATABASE_URL",
    "STRIPE_",
    "HYPERSWITCH_",
    "LEDGER_",
    "REVERSAL_",
    "TRANSFER_RETRY_",
    "MISSED_",
)


def environment(database_url: str, stripe_url: str, **changes: str) -> dict[str, str]:
    """Return settings with short leases and back-offs, as far as allowed; `changes` by name."""
    return {
        "DATABASE_URL": database_url,
        "STRIPE_API_BASE": stripe_url,
        "HYPERSWITCH_WEBHOOK_SECRETS": SECRET,
        "LEDGER_LEASE": "4s",
        "STRIPE_TIMEOUT": "20s",
        "STRIPE_MAX_RPS": "500",
        "REVERSAL_BACKOFF_BASE": "1s",
        "TRANSFER_RETRY_BACKOFF_BASE": "1s",
    } | changes


class LedgerProcess:
    """A process of `python -m scripts serve` or `worker`, and its log lines."""

    def __init__(
        self, process: preforked.ForkedProcess, log: asyncio.StreamReader, port: int
    ) -> None:
        self._process, self._log, self.url = process, log, f"http://127.0.0.1:{port}"
        self.lines: list[str] = []
        self._spoke, self._silent = asyncio.Condition(), False
        self._listening = asyncio.create_task(self._listen())

    @property
    def pid(self) -> int:
        return self._process.pid

    async def said(self, word: str) -> None:
        """Wait for a log line with this event. Raises AssertionError when the process ended
        instead."""

        def heard() -> bool:
            return any(_event(line) == word for line in self.lines)

        async with asyncio.timeout(STARTS_WITHIN), self._spoke:
            await self._spoke.wait_for(lambda: heard() or self._silent)
        assert heard(), (
            f"the ledger ended with {await self._process.wait()} before it said "
            f"{word!r}:\n{self.log}"
        )

    @property
    def log(self) -> str:
        return "\n".join(self.lines)

    def send(self, name: signal.Signals) -> None:
        self._process.send_signal(name)

    async def kill(self) -> None:
        """Send SIGKILL. A second call is harmless."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self.ended()

    async def ended(self, within: float = 30.0) -> int:
        """Wait for the end; return the exit code."""
        async with asyncio.timeout(within):
            code = await self._process.wait()
            await self._listening
        return code

    async def _listen(self) -> None:
        async for line in self._log:
            async with self._spoke:
                self.lines.append(line.decode(errors="replace").rstrip())
                self._spoke.notify_all()
        async with self._spoke:
            self._silent = True
            self._spoke.notify_all()


def _event(line: str) -> object:
    try:
        return json.loads(line).get("event")
    except (ValueError, AttributeError):
        return None


async def begin(given: Mapping[str, str], command: str = "serve") -> LedgerProcess:
    """Start a process, and return while it is starting."""
    port = int(given.get("LEDGER_PORT") or free_port())
    clean = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    ours, theirs = os.pipe()
    log = asyncio.StreamReader(limit=1 << 24)  # of one log line
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(log), os.fdopen(ours, "rb")
    )
    with open(os.devnull, "wb") as nowhere, os.fdopen(theirs, "wb") as stderr:  # noqa: ASYNC230 - nothing blocks
        given_all = {**clean, **given, "LEDGER_PORT": str(port)}
        process = preforked.start([command], given_all, nowhere.fileno(), stderr.fileno())
    return LedgerProcess(process, log, port)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class LedgerClient:
    """A client that acts as the marketplace, over HTTP, and as its payment provider, by signed
    webhooks."""

    _numbers = count(1)

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http

    @classmethod
    @asynccontextmanager
    async def to(cls, process: LedgerProcess) -> AsyncIterator["LedgerClient"]:
        # `serving` is said just before it listens, so the first connection may be refused
        transport = httpx.AsyncHTTPTransport(retries=6)
        async with httpx.AsyncClient(
            base_url=process.url, timeout=20, trust_env=False, transport=transport
        ) as http:
            yield cls(http)

    async def order(self, order_id: str, amount: int, **shares: int) -> None:
        named = [
            {"seller_id": seller, "destination": account(seller), "amount": share}
            for seller, share in shares.items()
        ]
        body = {
            "order_id": order_id,
            "currency": CURRENCY,
            "amount": amount,
            "shares": named,
            "payment_id": f"pay_{order_id}",
        }
        (await self.http.post("/v1/orders", json=body)).raise_for_status()

    async def pay(self, order_id: str, amount: int) -> None:
        await self.webhook("payment_succeeded", "payment_details", payment(order_id, amount))

    async def refund(self, name: str, order_id: str, amount: int) -> None:
        await self.webhook("refund_succeeded", "refund_details", refund(name, order_id, amount))

    async def webhook(self, event_type: str, kind: str, content: Json) -> None:
        """Send a webhook. Raises AssertionError unless the answer is 200."""
        answer = await self.post(
            signed(f"evt_of_web_{next(self._numbers)}", event_type, kind, content)
        )
        assert answer.status_code == 200, answer.text

    async def post(self, delivery: tuple[bytes, dict[str, str]]) -> httpx.Response:
        body, headers = delivery
        return await self.http.post("/webhooks/hyperswitch", content=body, headers=headers)

    async def is_unready(self) -> bool:
        return (await self.http.get("/readyz")).status_code == 503

    async def get(self, path: str, **query: str) -> Any:
        return (await self.http.get(path, params=query)).raise_for_status().json()


def payment(order_id: str, amount: int) -> Json:
    return {
        "payment_id": f"pay_{order_id}",
        "status": "succeeded",
        "amount": amount,
        "amount_received": amount,
        "currency": CURRENCY,
        "metadata": {"order_id": order_id},
    }


def refund(name: str, order_id: str, amount: int) -> Json:
    return {
        "refund_id": name,
        "payment_id": f"pay_{order_id}",
        "amount": amount,
        "currency": CURRENCY,
        "status": "succeeded",
        "metadata": {"order_id": order_id},
    }


def signed(
    event_id: str, event_type: str, kind: str, content: Json
) -> tuple[bytes, dict[str, str]]:
    """Return body and headers of a webhook as Hyperswitch sends it."""
    envelope = {
        "merchant_id": "merchant_of_this_test",
        "event_id": event_id,
        "event_type": event_type,
        "content": {"type": kind, "object": content},
        "timestamp": "2026-11-20T12:00:00Z",
    }
    body = json.dumps(envelope).encode()
    return body, {HEADER: sign(body, SECRET), "Content-Type": "application/json"}
