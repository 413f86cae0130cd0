"""A marketplace around one serving ledger that is killed at armed points, and replaced each time."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx

from infrastructure.service import Storage
from infrastructure.simulators.hyperswitch import HyperswitchControl
from infrastructure.simulators.stripe import SimulatorControl
from tests.e2e.conftest import Processes
from tests.support import preforked
from tests.support.crash_points import COMMAND, CrashFile
from tests.support.json_types import Json
from tests.support.ledger_process import (
    SECRET,
    LedgerClient,
    LedgerProcess,
    free_port,
    payment,
    refund,
    signed,
)
from tests.support.ledger_view import LedgerView, eventually
from tests.support.service import account

POLL = {"MISSED_WEBHOOKS_CHECK_INTERVAL": "1s", "MISSED_WEBHOOKS_GRACE": "1s"}
STRIPE_SECRET = "whsec_of_this_test"
LEASED = ("seller_transfers", "orders", "refunds", "webhook_inbox")
RETRY = 0.02
LINGERS = 3.0
"""Seconds in which a process reaches the points after the end of a story, such as a release."""
LONG = 3600.0


class CrashWorld:
    """The providers, the database, and the ledger that serves at the moment."""

    def __init__(
        self,
        processes: Processes,
        stripe: SimulatorControl,
        psp: HyperswitchControl,
        view: LedgerView,
        storage: Storage,
        file: CrashFile,
    ) -> None:
        self.stripe, self.psp, self.view, self.storage, self.file = stripe, psp, view, storage, file
        self.deaths = 0
        self.folder = file.folder
        self.web: LedgerClient
        self.process: LedgerProcess
        self.starts, self._restarting = 0, False
        self._processes, self._alive = processes, asyncio.Condition()
        self._given = {
            "LEDGER_PORT": str(free_port()),
            "HYPERSWITCH_BASE_URL": psp.url,
            "HYPERSWITCH_API_KEY": "snd_a_test",
            "STRIPE_WEBHOOK_SECRETS": STRIPE_SECRET,
            "INBOX_RETENTION": "1h",
            **POLL,
            **file.environment,
        }

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator["CrashWorld"]:
        """Serve, and replace each process that is killed, until the end."""
        self.process = await self._processes.start(**self._given)
        self.web = await self._processes.talk(self.process)
        await self.psp.webhook(
            url=f"{self.process.url}/webhooks/hyperswitch",
            secret=SECRET,
            knobs={"retry_schedule": [0.1] * 300},
        )
        watch = asyncio.create_task(self._replace_the_dead())
        try:
            yield self
            await self._quiet()
        finally:
            watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watch

    async def _quiet(self) -> None:
        """Wait until the poller has found all events, and all of them are handled."""
        (moment,) = await self.view.select("select now() as now")

        async def handled() -> bool:
            (row,) = await self.view.select(
                "select (select min(seen_until) from webhook_polls) > %s "
                "and not exists (select from webhook_inbox where status = 'stored') as all",
                moment["now"],
            )
            return bool(row["all"])

        await eventually(handled, "all events are handled")

    async def _replace_the_dead(self) -> None:
        while True:
            await self.process.ended(within=LONG)
            if not self._restarting:
                await self._died()
            self._restarting = False
            self.process = await self._processes.begin(**self._given)
            with contextlib.suppress(AssertionError):  # it was killed while it started
                await self.process.said("serving")
                async with self._alive:
                    self.starts += 1
                    self._alive.notify_all()

    async def _died(self) -> None:
        """Note the death, so that the next process lives, and that it may take the work over."""
        self.file.disarm()
        await self._end_leases()
        self.deaths += 1

    async def restart(self) -> None:
        """Kill the ledger at no point of note, and wait until another one serves."""
        starts, self._restarting = self.starts, True
        self.process.send(signal.SIGKILL)
        async with self._alive, asyncio.timeout(30):
            await self._alive.wait_for(lambda: self.starts > starts)

    async def _end_leases(self) -> None:
        """Let the time of the leases pass at once: their holder is dead. That nothing else ends
        them is shown by test_kill.py."""
        for table in LEASED:
            await self.view.pool.wait()
            async with self.view.pool.connection() as connection:
                await connection.execute(
                    f"update {table} set leased_until = now() where leased_until > now()".encode()
                )

    async def dies_at(self, point: str, story: Callable[[], Awaitable[None]]) -> bool:
        """Arm the point and play the story; return whether the ledger was killed there. The story
        ends well in both cases, or raises AssertionError."""
        before = self.deaths
        self.file.arm(point)
        try:
            await story()
            async with self._alive:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LINGERS):
                        await self._alive.wait_for(lambda: self.deaths > before)
        finally:
            self.file.disarm()
        return self.deaths > before

    async def command(self, *arguments: str) -> str:
        """Run a command of an operator, again after each kill; return its output. A repeated command
        may be refused, since its effect is there already."""
        given = {**os.environ, **self._processes.given, **self._given, COMMAND: arguments[0]}
        while True:
            ended = await asyncio.to_thread(preforked.run, arguments, given, 60.0)
            if ended.returncode == -signal.SIGKILL:
                async with self._alive:
                    await self._died()
                    self._alive.notify_all()
                continue
            refused = () if self.deaths == 0 else (2,)
            assert ended.returncode in (0, 1, *refused), ended.stdout + ended.stderr
            return ended.stdout

    # --- the callers, who repeat a call until it is acknowledged ---------------------------------

    async def insist(self, call: Callable[[], Awaitable[httpx.Response]]) -> httpx.Response:
        """Make a call until the ledger acknowledges it, as callers and providers do."""
        async with asyncio.timeout(60):
            while True:
                with contextlib.suppress(httpx.TransportError):
                    answer = await call()
                    if answer.status_code < 500:
                        return answer.raise_for_status()
                await asyncio.sleep(RETRY)

    async def post(self, path: str, body: Json) -> Json:
        answer: Json = (await self.insist(lambda: self.web.http.post(path, json=body))).json()
        return answer

    async def order(self, order_id: str, **shares: int) -> None:
        await self.post(
            "/v1/orders", order_of(order_id, **shares) | {"payment_id": f"pay_{order_id}"}
        )

    async def pay(self, order_id: str, amount: int = 1_000, **members: str) -> None:
        await self.webhook("payment_succeeded", "payment", payment(order_id, amount) | members)

    async def refund(self, order_id: str, amount: int = 1_000) -> None:
        await self.webhook("refund_succeeded", "refund", refund(f"r_{order_id}", order_id, amount))

    async def webhook(self, event_type: str, kind: str, content: Json) -> None:
        """Deliver a webhook, always under the same event id, until it is acknowledged."""
        event_id = f"evt_{event_type}_{content['metadata']['order_id']}"
        delivery = signed(event_id, event_type, f"{kind}_details", content)
        await self.insist(lambda: self.web.post(delivery))

    # --- what Stripe holds ------------------------------------------------------------------------

    async def held(self, order_id: str) -> list[Json]:
        """Return Stripe's transfers of this order, in the order of their creation."""
        return [
            transfer
            for transfer in (await self.stripe.ledger())["transfers"]
            if transfer["metadata"].get("order_id") == order_id
        ]

    async def assert_moved_once(self, order_id: str, **shares: int) -> None:
        """Check that each seller was paid once and that all of it was taken back once."""
        held = sorted(
            (
                transfer["destination"],
                transfer["amount"],
                [r["amount"] for r in transfer["reversals"]],
            )
            for transfer in await self.held(order_id)
        )
        assert held == sorted((account(name), share, [share]) for name, share in shares.items()), (
            held
        )


def order_of(order_id: str, **shares: int) -> Json:
    """Return the body that registers an order of 1000 EUR, without its payment."""
    named = [
        {"seller_id": seller, "destination": account(seller), "amount": share}
        for seller, share in shares.items()
    ]
    return {"order_id": order_id, "currency": "EUR", "amount": 1_000, "shares": named}
