"""Service under test of the demo: the ledger as a process, with a fresh database and both
simulators."""

import asyncio
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from types import TracebackType
from typing import Any, Self

import httpx
import psycopg
from psycopg.sql import SQL, Identifier

from infrastructure.bootstrap import stored
from infrastructure.hyperswitch.signature import HEADER, sign
from infrastructure.postgres.embedded.client import EmbeddedPostgres
from infrastructure.service import Storage
from infrastructure.settings import settings_from
from infrastructure.simulators.hyperswitch import (
    Behaviour,
    HyperswitchConfig,
    HyperswitchControl,
    running_hyperswitch,
)
from infrastructure.simulators.stripe.control_client import SimulatorControl
from infrastructure.simulators.stripe.server import running_simulator

WITHIN = 120.0
"""Longest wait for a condition, in seconds: a busy machine can take a minute to start the
ledger."""
POLL = 0.03
DAY = 86_400
DATABASE = "demo"
PROGRAM = __package__.rpartition(".")[0]
"""The package of the command line, which an installed wheel holds below `transfer_ledger`."""
REFUNDED_AFTER = 0.1
"""Seconds until the payment provider has made a refund."""

Json = dict[str, Any]


class DemoFailed(Exception):
    """A scenario did not end as expected."""


class ServiceUnderTest:
    """The ledger with real PostgreSQL, HTTP, signatures and processes. Only Stripe and the payment
    provider are simulated."""

    control: SimulatorControl
    psp: HyperswitchControl
    http: httpx.AsyncClient

    def __init__(self) -> None:
        self._data = settings_from(os.environ).data_dir
        self._log = self._data / "demo.log"
        self._stack = AsyncExitStack()
        self._secret = os.urandom(16).hex()
        self._events = 0
        self._serving: asyncio.subprocess.Process | None = None
        self._environment: dict[str, str] = {}

    async def __aenter__(self) -> Self:
        try:
            await self._build()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def _build(self) -> None:
        database_url = await asyncio.to_thread(self._fresh_database)
        stripe, self.control = await self._stack.enter_async_context(running_simulator())
        psp_config = HyperswitchConfig(
            refunds=Behaviour("succeeded", REFUNDED_AFTER), connector=stripe.connector()
        )
        _, self.psp = await self._stack.enter_async_context(running_hyperswitch(psp_config))
        port = _free_port()
        await self.psp.webhook(
            url=f"http://127.0.0.1:{port}/webhooks/hyperswitch", secret=self._secret
        )
        for connect in (False, True):
            url = f"http://127.0.0.1:{port}/webhooks/stripe"
            await self.control.add_webhook_endpoint(url, [self._secret], connect=connect)
        self._environment = {
            "DATABASE_URL": database_url,
            "STRIPE_WEBHOOK_SECRETS": self._secret,
            "STRIPE_API_BASE": self.control.url,
            "HYPERSWITCH_BASE_URL": self.psp.url,
            "HYPERSWITCH_WEBHOOK_SECRETS": self._secret,
            "LEDGER_PORT": str(port),
            "LEDGER_LEASE": "4s",
            "STRIPE_TIMEOUT": "2s",
            "STRIPE_MAX_RPS": "200",
            "REVERSAL_BACKOFF_BASE": "1s",
            "TRANSFER_RETRY_BACKOFF_BASE": "1s",
        }
        self.http = await self._stack.enter_async_context(
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=10, trust_env=False)
        )
        self._stack.push_async_callback(self.stop)
        await self.start()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    def _fresh_database(self) -> str:
        postgres = EmbeddedPostgres(self._data / "demo-postgres")
        self._stack.callback(postgres.release)
        with psycopg.connect(postgres.acquire(), autocommit=True) as connection:
            connection.execute(
                SQL("drop database if exists {} with (force)").format(Identifier(DATABASE))
            )
            connection.execute(SQL("create database {}").format(Identifier(DATABASE)))
        return postgres.url(DATABASE)

    # --- the ledger's process ---------------------------------------------------------------------

    async def start(self) -> None:
        """Start the ledger and wait until it is ready."""
        log = self._log.open("ab")
        self._stack.callback(log.close)
        clean = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("STRIPE_", "HYPERSWITCH_"))
        }
        self._serving = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            PROGRAM,
            "serve",
            env={**clean, **self._environment},
            stdout=log,
            stderr=log,
        )
        await self.until(self._is_ready, "the ledger is ready")

    async def kill(self) -> None:
        """Kill the process with SIGKILL, so that it cannot drain."""
        assert self._serving is not None
        self._serving.kill()
        await self._serving.wait()

    async def stop(self) -> int:
        """End the process with SIGTERM, and return its exit code."""
        if self._serving is None:
            return 0
        if self._serving.returncode is None:
            self._serving.send_signal(signal.SIGTERM)
        return await self._serving.wait()

    async def _is_ready(self) -> bool:
        assert self._serving is not None
        if self._serving.returncode is not None:
            raise DemoFailed(f"The ledger ended with {self._serving.returncode}; see {self._log}.")
        try:
            return (await self.http.get("/readyz")).status_code == 200
        except httpx.TransportError:
            return False

    # --- the marketplace and its payment provider -------------------------------------------------

    async def order(
        self, order_id: str, amount: int, *, payment_id: str | None = "", **shares: int
    ) -> None:
        """Record an order as the marketplace. A seller's account is named after the seller;
        `payment_id` None: unknown."""
        named = [
            {"seller_id": s, "destination": f"acct_1{s}", "amount": a} for s, a in shares.items()
        ]
        body = {"order_id": order_id, "currency": "EUR", "amount": amount, "shares": named}
        paid_by = f"pay_{order_id}" if payment_id == "" else payment_id
        await self.post("/v1/orders", body | ({"payment_id": paid_by} if paid_by else {}))

    async def pay(self, order_id: str, amount: int) -> None:
        """Pay as the buyer: the payment provider charges the card at Stripe, and reports it."""
        metadata = {"order_id": order_id}
        await self.psp.take_payment(f"pay_{order_id}", amount, "EUR", metadata=metadata)

    async def pass_days(self, days: float) -> None:
        """Let days pass at Stripe: money becomes available, and is paid out."""
        await self.control.advance_clock(days * DAY)

    async def refund(self, refund_id: str, order_id: str, amount: int) -> None:
        """Report a successful refund as the payment provider."""
        refund = {
            "refund_id": refund_id,
            "payment_id": f"pay_{order_id}",
            "amount": amount,
            "currency": "EUR",
            "status": "succeeded",
            "metadata": {"order_id": order_id},
        }
        await self.webhook("refund_succeeded", "refund_details", refund)

    async def webhook(self, event_type: str, kind: str, content: Json) -> None:
        """Send a signed webhook of Hyperswitch."""
        self._events += 1
        envelope = {
            "merchant_id": "merchant_demo",
            "event_id": f"evt_demo_{self._events}",
            "event_type": event_type,
            "content": {"type": kind, "object": content},
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }
        body = json.dumps(envelope).encode()
        await self.post("/webhooks/hyperswitch", body, {HEADER: sign(body, self._secret)})

    async def buyer_pays(self, payment_id: str) -> None:
        """Confirm the payment at the payment provider, as the buyer's browser does."""
        key = {"api-key": "snd_of_the_checkout"}
        async with httpx.AsyncClient(
            base_url=self.psp.url, headers=key, trust_env=False
        ) as browser:
            (await browser.post(f"/payments/{payment_id}/confirm")).raise_for_status()

    async def post(
        self, path: str, body: Json | bytes, headers: dict[str, str] | None = None
    ) -> Json:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        given = {"Content-Type": "application/json", **(headers or {})}
        answer = await self.http.post(path, content=content, headers=given)
        if answer.is_error:
            raise DemoFailed(f"POST {path} answered {answer.status_code}: {answer.text}")
        parsed: Json = answer.json()
        return parsed

    async def retry(self, transfer_id: str) -> None:
        """Make a transfer due now, as an operator."""
        await self.post(
            f"/v1/transfers/{transfer_id}/retry", {"actor": "demo", "reason": "the outage is over"}
        )

    # --- reads ------------------------------------------------------------------------------------

    async def transfers(self, order_id: str) -> list[Json]:
        """Read the transfers of an order, sorted by seller."""
        answer = await self.http.get("/v1/transfers", params={"order_id": order_id})
        rows: list[Json] = answer.raise_for_status().json()["data"]
        return sorted(rows, key=lambda row: str(row["seller_id"]))

    async def all_transfers(self) -> list[Json]:
        """Read all transfers."""
        answer = await self.http.get("/v1/transfers", params={"limit": 500})
        rows: list[Json] = answer.raise_for_status().json()["data"]
        return rows

    async def history(self, transfer_id: str) -> list[Json]:
        """Read the audit trail of a transfer."""
        facts: list[Json] = (
            (await self.http.get(f"/v1/transfers/{transfer_id}/history"))
            .raise_for_status()
            .json()["data"]
        )
        return facts

    async def reached(self, order_id: str, *statuses: str) -> list[Json]:
        """Wait until the order's transfers, sorted by seller, have these statuses."""

        async def there() -> bool:
            return [row["status"] for row in await self.transfers(order_id)] == list(statuses)

        await self.until(there, f"order {order_id}: {', '.join(statuses)}")
        return await self.transfers(order_id)

    async def until(self, condition: Callable[[], Awaitable[bool]], what: str) -> None:
        """Wait for a condition. Raises DemoFailed after `WITHIN` seconds."""
        deadline = time.monotonic() + WITHIN
        while not await condition():
            if time.monotonic() > deadline:
                raise DemoFailed(
                    f"After {WITHIN:.0f} s this has not happened: {what}. See {self._log}."
                )
            await asyncio.sleep(POLL)

    def storage(self) -> AbstractAsyncContextManager[Storage]:
        """Open the ledger's storage, for steps without a public call."""
        return stored(settings_from(self._environment))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
