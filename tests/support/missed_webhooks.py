"""A ledger that receives no webhooks, and a poller whose clock is ahead, so that recent events are
old enough for it."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import httpx

from application.missed_webhooks.poller import Poller, Round, Times
from application.missed_webhooks.psp import MissedPspEvents
from application.missed_webhooks.stripe_events import MissedStripeEvents
from application.ports import Clock
from infrastructure.bootstrap import running
from infrastructure.hyperswitch.signature import HEADER, sign
from infrastructure.postgres.bound_account import bind
from infrastructure.postgres.webhook_polls import PostgresWebhookPolls
from infrastructure.runtime import poller_of
from infrastructure.service import Service
from infrastructure.settings import Settings
from infrastructure.simulators.hyperswitch import HyperswitchControl
from infrastructure.web.app import application_of
from tests.support.json_types import Json
from tests.support.service import CURRENCY, account

SECRET = "the-secret-of-this-test"
AFTER_GRACE = timedelta(minutes=11)
"""The time that a webhook may be under way, and a minute."""
STRIPE, PSP = MissedStripeEvents.name, MissedPspEvents.name


class ShiftedClock:
    """A clock that is ahead of the ledger's clock by `by`."""

    def __init__(self, clock: Clock) -> None:
        self._clock, self.by = clock, timedelta(0)

    def now(self) -> datetime:
        return self._clock.now() + self.by

    def observe(self, asked: datetime, database_now: datetime) -> None:
        self._clock.observe(asked - self.by, database_now)


class LedgerWithoutWebhooks:
    """A ledger that receives no webhooks, and its poller."""

    def __init__(self, service: Service, poller: Poller, clock: ShiftedClock) -> None:
        self.service, self.poller, self._clock = service, poller, clock
        self.http = httpx.AsyncClient(
            transport=httpx.ASGITransport(application_of(service)), base_url="http://ledger"
        )

    async def check(self, provider: str, ahead: timedelta = AFTER_GRACE) -> Round:
        """Poll a provider as if the time `ahead` had passed."""
        self._clock.by = ahead
        (asked,) = [each for each in self.poller.providers if each.name == provider]
        found = await self.poller.check(asked, anyway=True)
        assert found is not None
        return found

    async def order(
        self, psp: HyperswitchControl, order_id: str = "o1", amount: int = 1_000, **shares: int
    ) -> None:
        """Make an order that is paid here and at the payment provider."""
        await psp.take_payment(f"pay_{order_id}", amount, CURRENCY, metadata={"order_id": order_id})
        await self.register(order_id, amount, **shares)
        await self.service.commands.orders.record_payment(order_id, f"pay_{order_id}", None, "test")

    async def register(self, order_id: str = "o1", amount: int = 1_000, **shares: int) -> None:
        named = [
            {"seller_id": s, "destination": account(s), "amount": a}
            for s, a in (shares or {"anna": 900}).items()
        ]
        body = {
            "order_id": order_id,
            "currency": CURRENCY,
            "amount": amount,
            "shares": named,
            "payment_id": f"pay_{order_id}",
        }
        (await self.http.post("/v1/orders", json=body)).raise_for_status()

    async def alarms(self) -> dict[str, str]:
        """Return the details of the open alarms, by kind."""
        return {alarm.kind: alarm.detail for alarm in await self.service.alarms.raised()}

    async def inbox(self) -> list[tuple[str, str, str]]:
        """Return type, source and status of all events, oldest first."""
        return [
            (row.event_type, row.source, row.status)
            for row in reversed(await self.service.inbox.newest(limit=1_000))
        ]


def with_both_providers(settings: Settings, psp_url: str) -> Settings:
    """Return settings with which both providers send webhooks and can be polled."""
    return replace(
        settings,
        stripe_webhook_secrets=(SECRET,),
        hyperswitch_webhook_secrets=(SECRET,),
        hyperswitch_api_key="snd_a_test",
        hyperswitch_base_url=psp_url,
    )


@asynccontextmanager
async def ledger_without_webhooks(
    settings: Settings, **options: Any
) -> AsyncIterator[LedgerWithoutWebhooks]:
    """Run a ledger with these settings; drained at the end."""
    async with running(settings, **options) as service:
        await bind(service.pool, settings.mode)  # as `serve` does: the first poll begins there
        clock = ShiftedClock(service.clock)
        providers = poller_of(service).providers
        poller = Poller(
            PostgresWebhookPolls(service.pool),
            service.inbox,
            service.alarms,
            clock,
            providers,
            Times(),
        )
        ledger = LedgerWithoutWebhooks(service, poller, clock)
        async with ledger.http:
            yield ledger


async def make_refund_at_psp(
    psp: HyperswitchControl,
    order_id: str = "o1",
    amount: int | None = None,
    status: str = "succeeded",
) -> str:
    """Make a refund in the payment provider's dashboard; return its id."""
    made = await psp.make_refund(f"pay_{order_id}", amount)
    name = str(made["refund_id"])
    if status != "pending":
        await psp.settle_refund(name, status)
    return name


async def deliver_webhook(
    ledger: LedgerWithoutWebhooks, event_id: str, event_type: str, shown: Json
) -> None:
    """Deliver a webhook of the payment provider."""
    envelope = {
        "event_id": event_id,
        "event_type": event_type,
        "content": {"type": "details", "object": shown},
    }
    body = json.dumps(envelope).encode()
    answer = await ledger.http.post(
        "/webhooks/hyperswitch", content=body, headers={HEADER: sign(body, SECRET)}
    )
    assert answer.status_code == 200, answer.text
