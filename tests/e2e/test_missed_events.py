"""Lost webhooks of Stripe, found by the poller in Stripe's list of events."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Never

import pytest

from application.missed_webhooks.poller import Poller, Times
from infrastructure.postgres.circuit_breaker import PostgresCircuitBreaker
from infrastructure.postgres.connections import Pool
from infrastructure.postgres.webhook_polls import PostgresWebhookPolls
from infrastructure.settings import Settings
from infrastructure.simulators.stripe import SimulatorControl
from infrastructure.stripe import signature
from tests.support.ledger_view import LedgerView
from tests.support.missed_webhooks import (
    AFTER_GRACE,
    SECRET,
    STRIPE,
    LedgerWithoutWebhooks,
    ledger_without_webhooks,
    with_both_providers,
)
from tests.support.service import SystemUnderTest

NOWHERE = "http://127.0.0.1:9"


@pytest.fixture
def settings_of(system: SystemUnderTest) -> Settings:
    return with_both_providers(system.settings, NOWHERE)


@pytest.fixture
async def ledger(
    settings_of: Settings, system: SystemUnderTest, view: LedgerView
) -> AsyncIterator[LedgerWithoutWebhooks]:
    """A ledger without its loops, so that stored events stay unhandled. In the end a running ledger
    handles them."""
    async with ledger_without_webhooks(settings_of, loops=False) as ledger:
        yield ledger
        async with system.at_work():
            await view.until(lambda: handled(ledger), "what was found is handled")


async def handled(ledger: LedgerWithoutWebhooks) -> bool:
    return all(status in ("done", "ignored") for _, _, status in await ledger.inbox())


async def lose(
    stripe: SimulatorControl, count: int = 1, type_: str = "balance.available"
) -> list[str]:
    """Events of which no webhook tells; their ids, oldest first."""
    made = [
        await stripe.announce(type_, {"object": "balance", "livemode": False}) for _ in range(count)
    ]
    return [str(event["id"]) for event in made]


async def ids(ledger: LedgerWithoutWebhooks) -> list[str]:
    return sorted(row.event_id for row in await ledger.service.inbox.newest(limit=1_000))


async def test_missed_event_is_stored_once_like_its_webhook(
    ledger: LedgerWithoutWebhooks, stripe: SimulatorControl
) -> None:
    (lost,) = await lose(stripe)
    assert (await ledger.check(STRIPE)).sentence == "missed 1, replayed 1"
    assert (await ledger.check(STRIPE, 2 * AFTER_GRACE)).sentence == "missed 0, replayed 0"
    (row,) = await ledger.service.inbox.newest()
    assert (row.provider, row.event_id, row.event_type, row.source) == (
        "stripe",
        lost,
        "balance.available",
        "poller",
    )
    body = json.loads(await ledger.service.inbox.body(row.inbox_id) or b"")
    assert (body["id"], body["livemode"], body["data"]["object"]["object"]) == (
        lost,
        False,
        "balance",
    )


async def test_late_webhook_of_polled_event_is_duplicate(
    ledger: LedgerWithoutWebhooks, stripe: SimulatorControl
) -> None:
    (lost,) = await lose(stripe)
    await ledger.check(STRIPE)
    late = json.dumps({"id": lost, "type": "balance.available", "livemode": False}).encode()
    headers = {signature.HEADER: signature.sign(late, SECRET, datetime.now(UTC))}
    assert (
        await ledger.http.post("/webhooks/stripe", content=late, headers=headers)
    ).status_code == 200
    assert (
        'ledger_webhooks_received_total{provider="stripe",result="duplicate"} 1.0'
        in (await ledger.http.get("/metrics")).text
    )
    assert await ids(ledger) == [lost]


async def test_event_received_by_webhook_is_not_missed(
    ledger: LedgerWithoutWebhooks, stripe: SimulatorControl
) -> None:
    lost, arrived = await lose(stripe, 2)
    body = json.dumps({"id": arrived, "type": "balance.available", "livemode": False}).encode()
    headers = {signature.HEADER: signature.sign(body, SECRET, datetime.now(UTC))}
    await ledger.http.post("/webhooks/stripe", content=body, headers=headers)
    assert (await ledger.check(STRIPE)).missed == 1
    assert {row.event_id: row.source for row in await ledger.service.inbox.newest()} == {
        lost: "poller",
        arrived: "webhook",
    }


async def test_irrelevant_or_recent_event_is_not_fetched(
    ledger: LedgerWithoutWebhooks, stripe: SimulatorControl
) -> None:
    await lose(stripe, type_="invoice.paid")
    assert (await ledger.check(STRIPE)).missed == 0
    await lose(stripe)
    assert (await ledger.check(STRIPE, timedelta(minutes=9))).missed == 0
    assert (await ledger.check(STRIPE)).missed == 1


async def test_event_poll_reads_all_pages(
    ledger: LedgerWithoutWebhooks, stripe: SimulatorControl
) -> None:
    lost = await lose(stripe, 230)
    assert (await ledger.check(STRIPE)).sentence == "missed 230, replayed 230"
    assert await ids(ledger) == sorted(lost)
    metrics = (await ledger.http.get("/metrics")).text
    assert 'ledger_webhooks_missed_total{provider="stripe"} 230.0' in metrics
    assert 'ledger_webhooks_replayed_total{provider="stripe"} 0.0' in metrics, (
        "nobody has handled them yet"
    )


async def test_concurrent_pollers_store_event_once(
    ledger: LedgerWithoutWebhooks, stripe: SimulatorControl
) -> None:
    lost = await lose(stripe, 150)
    both = await asyncio.gather(ledger.check(STRIPE), ledger.check(STRIPE))
    assert await ids(ledger) == sorted(lost)
    assert sum(found.replayed for found in both) == 150


async def test_poller_killed_between_pages_loses_and_doubles_nothing(
    ledger: LedgerWithoutWebhooks, stripe: SimulatorControl
) -> None:
    lost = await lose(stripe, 150)
    polls = PostgresWebhookPolls(ledger.service.pool)
    await polls.take(STRIPE, timedelta(hours=1))
    before = (await polls.state())[STRIPE].seen_until
    await stripe.fault("hold", "events.list", nth=2)
    killed = asyncio.create_task(ledger.check(STRIPE))
    await stripe.wait_until_held("events.list")
    killed.cancel()
    await asyncio.gather(killed, return_exceptions=True)
    assert len(await ids(ledger)) == 100, "the first page is stored"
    assert (await polls.state())[STRIPE].seen_until == before, "and the cursor is where it was"
    assert "webhooks_missed" in await ledger.alarms(), "and somebody knows"
    await stripe.clear_faults()
    assert (await ledger.check(STRIPE)).sentence == "missed 50, replayed 50"
    assert await ids(ledger) == sorted(lost)
    assert (await polls.state())[STRIPE].seen_until > before


async def test_outage_postpones_poll_without_opening_breaker(
    ledger: LedgerWithoutWebhooks, stripe: SimulatorControl, view: LedgerView
) -> None:
    await lose(stripe)
    fault = await stripe.fault("status", "events.list", status=500)
    for _ in range(10):
        assert (await ledger.check(STRIPE)).failure is not None
    assert not (await PostgresCircuitBreaker(view.pool).state()).outage
    await stripe.clear_faults(fault)
    assert (await ledger.check(STRIPE)).sentence == "missed 1, replayed 1"


async def test_open_breaker_stops_polling(
    ledger: LedgerWithoutWebhooks, stripe: SimulatorControl, view: LedgerView
) -> None:
    await lose(stripe)
    breaker = PostgresCircuitBreaker(view.pool)
    await breaker.open_breaker()
    assert (await ledger.check(STRIPE)).failure is not None
    assert await stripe.requests("events.list") == []
    await breaker.close_breaker()
    assert (await ledger.check(STRIPE)).missed == 1


async def test_rate_limit_slows_only_the_list(
    ledger: LedgerWithoutWebhooks, stripe: SimulatorControl, view: LedgerView
) -> None:
    await stripe.fault("status", "events.list", status=429, times=1)
    assert (await ledger.check(STRIPE)).failure is not None
    slowed = await view.select("select endpoint from pace where slowed_at is not null")
    assert [row["endpoint"] for row in slowed] == ["events.list"]


async def test_provider_unpolled_for_an_hour_raises_alarm(
    ledger: LedgerWithoutWebhooks, stripe: SimulatorControl, view: LedgerView
) -> None:
    await ledger.check(STRIPE)
    await stripe.fault("status", "events.list", status=503)
    assert (await ledger.check(STRIPE, 2 * AFTER_GRACE)).failure is not None
    assert "webhooks_unchecked" not in await ledger.alarms()
    await view.select(
        "update webhook_polls set checked_at = checked_at - interval '1 hour' returning 1"
    )
    await ledger.check(STRIPE, 2 * AFTER_GRACE)
    assert "webhooks_unchecked" in await ledger.alarms()


async def test_failing_provider_does_not_delay_the_other(
    ledger: LedgerWithoutWebhooks, stripe: SimulatorControl, view: LedgerView
) -> None:
    """Here the payment provider is nowhere, its rounds fail; and a third one is broken."""
    (lost,) = await lose(stripe)
    failed, well = [await ledger.check(name) for name in ("hyperswitch", STRIPE)]
    assert (failed.failure is None, well.failure is None, await ids(ledger)) == (
        False,
        True,
        [lost],
    )
    service, providers = ledger.service, ledger.poller.providers
    loop = Poller(
        PostgresWebhookPolls(service.pool),
        service.inbox,
        service.alarms,
        service.clock,
        [Broken(), *providers],
        Times(),
    )
    await view.select("update webhook_polls set due_at = now(), checked_at = null returning 1")
    running = asyncio.create_task(loop.run())
    await view.until(lambda: checked(service.pool), "the provider after the broken one is asked")
    loop.stop()
    await running


class Broken:
    """A fault of this program's own."""

    name, longest = "broken", timedelta(days=1)

    def events(self, span: object) -> Never:
        raise RuntimeError("a bug")


async def checked(pool: Pool) -> bool:
    return (await PostgresWebhookPolls(pool).state())[STRIPE].checked_at is not None
