"""The ledger as a process that can be killed, beside a simulated Stripe that outlives it. Everything real but Stripe."""

import asyncio
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psycopg

from infrastructure.hyperswitch.signature import HEADER, sign
from infrastructure.stripe.simulator.control import SimulatorControl

ROOT = Path(__file__).parent.parent.parent
SECRET = "a secret of the test"
WITHIN = 40.0

Json = dict[str, Any]


async def until(condition: Callable[[], Awaitable[bool]], what: str) -> None:
    """Asks again and again, since what is waited for happens in another process; fails when it takes too long."""
    deadline = time.monotonic() + WITHIN
    while not await condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {WITHIN:.0f} s in vain for {what}")
        await asyncio.sleep(0.02)


class Town:
    """A marketplace, its payment provider, Stripe, and one ledger process."""

    def __init__(self, database_url: str, stripe: SimulatorControl, stripe_url: str, log: Path) -> None:
        self.database_url, self.stripe, self.log = database_url, stripe, log
        self.database: psycopg.AsyncConnection[Any]
        self._port = free_port()
        self.http = httpx.AsyncClient(base_url=f"http://127.0.0.1:{self._port}", timeout=10, trust_env=False)
        self.environment = {
            "DATABASE_URL": database_url,
            "STRIPE_API_BASE": stripe_url,
            "HYPERSWITCH_WEBHOOK_SECRETS": SECRET,
            "LEDGER_PORT": str(self._port),
            "LEDGER_LEASE": "4s",
            "STRIPE_TIMEOUT": "20s",
            "STRIPE_MAX_RPS": "500",
            "REVERSAL_BACKOFF_BASE": "1s",
            "TRANSFER_RETRY_BACKOFF_BASE": "1s",
        }
        self.process: asyncio.subprocess.Process | None = None

    async def start(self, *command: str) -> None:
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("STRIPE_", "LEDGER_"))}
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "scripts", *(command or ("serve",)), env={**clean, **self.environment},
                cwd=ROOT, stdout=log, stderr=log,
            )  # fmt: skip
        if not command:
            await until(self._ready, f"the ledger to be ready; its log: {self.log}")

    async def _ready(self) -> bool:
        assert self.process is not None
        assert self.process.returncode is None, self.log.read_text()[-2000:]
        try:
            return (await self.http.get("/readyz")).status_code == 200
        except httpx.TransportError:
            return False

    async def kill(self) -> None:
        """kill -9."""
        assert self.process is not None
        self.process.kill()
        await self.process.wait()

    async def terminate(self) -> int:
        """SIGTERM; the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return await self.process.wait()

    async def order(self, order_id: str, amount: int = 1_000) -> None:
        share = {"seller_id": "s1", "destination": f"acct_1{order_id}", "amount": amount}
        body = {"order_id": order_id, "currency": "EUR", "amount": amount, "shares": [share], "payment_id": f"pay_{order_id}"}
        (await self.http.post("/v1/orders", json=body)).raise_for_status()

    async def pay(self, order_id: str, amount: int = 1_000) -> None:
        payment = {"payment_id": f"pay_{order_id}", "status": "succeeded", "amount": amount, "currency": "EUR"}
        named = {"amount_received": amount, "metadata": {"order_id": order_id}}
        await self.webhook("payment_succeeded", {**payment, **named})

    async def refund(self, order_id: str, amount: int = 1_000) -> None:
        refund = {"refund_id": f"ref_{order_id}", "payment_id": f"pay_{order_id}", "amount": amount, "currency": "EUR"}
        await self.webhook("refund_succeeded", {**refund, "status": "succeeded", "metadata": {"order_id": order_id}})

    async def webhook(self, event_type: str, content: Json) -> None:
        envelope = {"merchant_id": "m", "event_id": uuid4().hex, "event_type": event_type, "content": {"object": content}}
        body = json.dumps(envelope).encode()
        answer = await self.http.post("/webhooks/hyperswitch", content=body, headers={HEADER: sign(body, SECRET)})
        assert answer.status_code == 200, answer.text

    async def status(self, order_id: str) -> str | None:
        row = await self.one("select status from seller_transfers where order_id = %s", order_id)
        return row[0] if row else None

    async def reached(self, order_id: str, status: str) -> None:
        async def there() -> bool:
            return await self.status(order_id) == status

        await until(there, f"{order_id} to be {status}; it is {await self.status(order_id)}; log: {self.log}")

    async def one(self, query: str, *values: object) -> Any:
        return await (await self.database.execute(query.encode(), values)).fetchone()

    async def blocked(self, words: str) -> None:
        """Wait until a statement of the ledger with these words waits for a lock."""

        async def waits() -> bool:
            query = (
                "select from pg_stat_activity where wait_event_type = 'Lock' and query like %s and datname = current_database()"
            )
            return await self.one(query, f"%{words}%") is not None

        await until(waits, f"a statement with {words!r} to wait for a lock")

    async def cut_off(self) -> None:
        """End what the killed process left behind in the database, as happens when a whole host dies."""
        await self.database.execute(
            b"select pg_terminate_backend(pid) from pg_stat_activity "
            b"where datname = current_database() and pid <> pg_backend_pid() and wait_event_type = 'Lock'"
        )

    async def at_stripe(self, order_id: str) -> list[Json]:
        """The order's transfers with their reversals, as Stripe's own books show them."""
        return [t for t in (await self.stripe.ledger())["transfers"] if t["destination"] == f"acct_1{order_id}"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
