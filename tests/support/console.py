"""A ledger with prepared troubles, its console in a server, and a browser."""

import asyncio
import json
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import NamedTuple
from uuid import UUID

import uvicorn
from playwright.async_api import Browser, async_playwright

from application.commands.disputes import DisputeReport
from application.commands.refunds import RefundReport
from application.reconciliation.reader import DetectedDifference
from domain.dispute import DisputePolicy, DisputeStatus
from domain.finding import Difference, DifferenceKind
from domain.lifecycle import TransferStatus
from domain.provider_call.reasons import WaitingFor
from domain.seller_transfer import facts
from domain.seller_transfer.opening_facts import LONG_AGO
from infrastructure.bootstrap import running
from infrastructure.postgres.found_differences import FoundDifferences
from infrastructure.service import Service
from infrastructure.settings import Settings
from infrastructure.simulators.stripe import SimulatorControl
from infrastructure.web.app import application_of
from infrastructure.web.http_protocol import BoundedProtocol
from scripts.commands.serve import DrainedServer
from tests.support.ledger_view import LedgerView
from tests.support.service import SLOW, LedgerCaller, SystemUnderTest, account

HOSTILE_SELLER = "<img/src=x/onerror=alert(1)>"
HOSTILE_ORDER = '[/x]"><script>alert(1)</script>'
HOSTILE_TEXT = "<img src=x onerror=alert(1)> [/bold] \u202eevil\u202c"
UNKNOWN_AT_STRIPE = "tr_1NotThere"


class Troubles(NamedTuple):
    """Cases that a person has to settle."""

    poor: UUID
    """A transfer whose reversal waits for the seller's money."""
    given_up: UUID
    hostile: UUID
    parked: int
    """A webhook of an order that is not known."""
    finding: str
    """A reversal that others made at Stripe."""


@asynccontextmanager
async def troubled_console(
    settings: Settings, stripe: SimulatorControl, view: LedgerView
) -> AsyncIterator[tuple[str, Service, Troubles]]:
    """Run a ledger with prepared troubles; yield the URL of its server."""
    async with running(replace(settings, reversals=SLOW, transfers=SLOW)) as service:
        troubles = await prepare(service, stripe, view)
        async with served(service) as url:
            yield url, service, troubles


@asynccontextmanager
async def served(service: Service) -> AsyncIterator[str]:
    """Serve the ledger's web interface on a free port; yield its URL."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        config = uvicorn.Config(
            application_of(service), lifespan="off", log_config=None, http=BoundedProtocol
        )
        server = DrainedServer(config)
        serving = asyncio.create_task(server.serve([listening]))
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            await serving


async def prepare(service: Service, stripe: SimulatorControl, view: LedgerView) -> Troubles:
    """Make the troubles, and wait until each is recorded."""
    caller = LedgerCaller(service)
    await _shared(caller, view)
    hostile = await _hostile(caller, view)
    await _disputed(service, caller, view)
    poor = await _poor(caller, stripe, view)
    given_up = await _given_up(caller, SystemUnderTest(service.settings, view, stripe))
    await service.commands.operator.pause("seller:slow", "mia", "the seller asked for it")
    found = await _taken_by_others(service, stripe, view)
    return Troubles(poor, given_up, hostile, await _parked(service, view), found)


async def _paid(
    caller: LedgerCaller, view: LedgerView, order: str, amount: int, **shares: int
) -> list[UUID]:
    await caller.order(order, amount, **shares)
    await caller.pay(order)
    rows = await view.reached(order, *[TransferStatus.COMPLETED] * len(shares))
    return [row.transfer_id for row in rows]


async def _shared(caller: LedgerCaller, view: LedgerView) -> None:
    await _paid(caller, view, "basket", 9_999, berta=3_333, carl=3_334, dora=1_000)
    await caller.refund("rf-basket", "basket", 1_000)
    await view.reached("basket", *[TransferStatus.PARTIALLY_REVERSED] * 3)


async def _hostile(caller: LedgerCaller, view: LedgerView) -> UUID:
    """Pay a seller with a hostile id, which Stripe's refusal repeats."""
    await caller.order(HOSTILE_ORDER, 5_000, **{HOSTILE_SELLER: 4_000})
    await caller.pay(HOSTILE_ORDER)
    (row,) = await view.reached(HOSTILE_ORDER, TransferStatus.FAILED)
    return row.transfer_id


async def _disputed(service: Service, caller: LedgerCaller, view: LedgerView) -> None:
    await _paid(caller, view, "disputed", 2_000, dan=1_500)
    report = DisputeReport(
        "dp_1",
        "hyperswitch",
        "disputed",
        2_000,
        "EUR",
        [DisputeStatus.OPENED],
        "test",
        HOSTILE_TEXT,
    )
    await service.commands.disputes.record(report, DisputePolicy.WITHDRAWAL)
    set_aside = RefundReport("rf-odd", "disputed", 100, "USD", "test")
    await service.commands.refunds.succeeded(set_aside)


async def _poor(caller: LedgerCaller, stripe: SimulatorControl, view: LedgerView) -> UUID:
    (poor,) = await _paid(caller, view, "poor-order", 10_000, poor=9_000)
    await stripe.drain("eur", account=account("poor"))
    await caller.refund("rf-poor", "poor-order", 10_000)

    async def waits() -> bool:
        return (await view.transfer("poor-order")).waiting_for == WaitingFor.FUNDS

    await view.until(waits, "the reversal waits for the seller's money")
    for attempt in (2, 3):
        await caller.retry(poor)
        await view.happened(poor, facts.AttemptDeferred, attempt)
    return poor


async def _given_up(caller: LedgerCaller, system: SystemUnderTest) -> UUID:
    given_up = await system.take_over(
        "old", with_order=True, seller_id="hanna", stripe_transfer_id=UNKNOWN_AT_STRIPE
    )
    await caller.refund("rf-old", "old", 900)
    await system.view.reached("old", TransferStatus.PERMANENTLY_FAILED)
    return given_up


async def _taken_by_others(service: Service, stripe: SimulatorControl, view: LedgerView) -> str:
    """Reverse a part of a transfer outside the ledger, and keep the finding as `reconcile` does."""
    berta, *_ = await view.transfers("basket")
    paid = str(berta.stripe_transfer_id)
    reversal = await stripe.external_reversal(paid, 100)
    found = Difference(
        DifferenceKind.EXTERNAL_REVERSAL, str(reversal["id"]), paid, berta.transfer_id, 100, "EUR",
        f"Others reversed a part: {HOSTILE_TEXT}", None,
    )  # fmt: skip
    reconciliation = await FoundDifferences.begin(service.pool)
    await reconciliation.add(DetectedDifference(found, service.clock.now()))
    await reconciliation.end(LONG_AGO, service.clock.now(), 1)
    return found.id


async def _parked(service: Service, view: LedgerView) -> int:
    refund = {
        "refund_id": "rf-stranger", "payment_id": "pay_stranger", "amount": 500, "currency": "EUR",
        "status": "succeeded", "reason": HOSTILE_TEXT, "metadata": {"order_id": "not-known"},
    }  # fmt: skip
    envelope = {
        "merchant_id": "m", "event_id": "evt-stranger", "event_type": "refund_succeeded",
        "content": {"type": "refund_details", "object": refund}, "timestamp": "2026-11-30T12:00:00Z",
    }  # fmt: skip
    body = json.dumps(envelope).encode()
    now = service.clock.now()
    await service.inbox.put("hyperswitch", "evt-stranger", "refund_succeeded", body, now)

    async def parked() -> int:
        rows = await view.select("select inbox_id from webhook_inbox where status = 'parked'")
        return rows[0]["inbox_id"] if rows else 0

    return await view.until(parked, "the webhook is parked")


BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def browser_path() -> str | None:
    """Return the browser of this machine; None if there is none."""
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


@asynccontextmanager
async def chromium(path: str) -> AsyncIterator[Browser]:
    """Start a browser without a window."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            await browser.close()
