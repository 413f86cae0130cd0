"""Sixty orders with the same reports in different orders: all reach the same state, here and at
Stripe."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from itertools import permutations
from random import Random

from infrastructure.bootstrap import running
from infrastructure.service import Service
from infrastructure.simulators.hyperswitch import (
    HyperswitchConfig,
    HyperswitchControl,
    running_hyperswitch,
)
from infrastructure.simulators.stripe import SimulatorControl
from tests.support.json_types import Json
from tests.support.ledger_view import LedgerView
from tests.support.service import CURRENCY, LedgerCaller, SystemUnderTest, account
from tests.support.stripe_events import a_dispute, a_refund

SAMPLE, SEED = 60, 20_261_125
ORDER, SHARE = 1_000, 901
REFUND_A, REFUND_B, DISPUTED = 333, 200, 1_000
LEFT = SHARE - SHARE * REFUND_B // ORDER


class OrderReports:
    """One order, and the seven reports about it."""

    def __init__(self, number: int, service: Service) -> None:
        self.number, self._service = number, service
        self.order_id, self.charge = f"o{number}", f"ch_{number}"

    def reports(self) -> list[tuple[str, Callable[[], Awaitable[object]]]]:
        events: list[tuple[str, str, Json]] = [
            ("A", "refund.updated", self._refund("A", REFUND_A)),
            ("A again", "refund.updated", self._refund("A", REFUND_A)),
            ("A fails", "refund.failed", self._refund("A", REFUND_A, "failed")),
            ("B", "refund.created", self._refund("B", REFUND_B)),
            (
                "withdrawn",
                "charge.dispute.funds_withdrawn",
                self._dispute("needs_response", moved=DISPUTED),
            ),
            ("won", "charge.dispute.funds_reinstated", self._dispute("won")),
        ]
        reports = [(name, self._delivery(name, type_, object_)) for name, type_, object_ in events]
        return [("paid", self._pay), *reports]

    async def _pay(self) -> None:
        await self._service.commands.orders.record_payment(self.order_id, None, self.charge, "api")

    def _delivery(self, name: str, type_: str, object_: Json) -> Callable[[], Awaitable[object]]:
        event_id = f"evt_{self.order_id}_{name.replace(' ', '_')}"
        event = {
            "id": event_id,
            "object": "event",
            "type": type_,
            "livemode": False,
            "data": {"object": object_},
        }
        return lambda: self._service.inbox.put(
            "stripe", event_id, type_, json.dumps(event).encode(), datetime.now(UTC)
        )

    def _refund(self, name: str, amount: int, status: str = "succeeded") -> Json:
        return a_refund(f"re_{self.order_id}_{name}", amount, status, self.charge)

    def _dispute(self, status: str, moved: int = 0) -> Json:
        return a_dispute(f"dp_{self.order_id}", DISPUTED, status, self.charge, moved)


async def test_webhook_order_does_not_change_the_end(
    system: SystemUnderTest, stripe: SimulatorControl, view: LedgerView
) -> None:
    orders = Random(SEED).sample(list(permutations(range(7))), SAMPLE)
    async with running(system.settings) as service:
        all_reports = [OrderReports(number, service) for number in range(SAMPLE)]
        for order_reports in all_reports:
            await stripe.create_charge(order_reports.charge, CURRENCY.lower(), ORDER)
            await LedgerCaller(service).order(
                order_reports.order_id, ORDER, **{f"seller{order_reports.number}": SHARE}
            )
        for turn in range(7):
            for order_reports, order in zip(all_reports, orders, strict=True):
                await order_reports.reports()[order[turn]][1]()
            await view.until(lambda: nothing_is(view, "stored"), f"turn {turn} is handled")
        await view.until(lambda: nothing_is(view, "parked"), "what was parked has been released")
        await view.until(lambda: nothing_is_due(view), "nothing is due")

    assert await nets(stripe) == dict.fromkeys(range(SAMPLE), LEFT)
    refunds = await view.select("select refund_id, status from refunds")
    assert {(row["refund_id"].rpartition("_")[2], row["status"]) for row in refunds} == {
        ("A", "failed"),
        ("B", "succeeded"),
    }
    assert len(refunds) == 2 * SAMPLE
    disputes = await view.select("select status, withdrawn, reinstated from disputes")
    assert disputes == [{"status": "won", "withdrawn": True, "reinstated": True}] * SAMPLE
    assert (
        await view.select("select from webhook_inbox where status not in ('done', 'ignored')") == []
    )


async def test_webhook_order_does_not_change_the_end_at_hyperswitch(
    system: SystemUnderTest,
    stripe: SimulatorControl,
    view: LedgerView,
    psp_config: HyperswitchConfig,
) -> None:
    """Every other dispute is lost in the end. Contradicting reports are decided by a look-up at the
    provider."""
    orders = Random(SEED).sample(list(permutations(range(7))), SAMPLE)
    async with running_hyperswitch(psp_config) as (_, psp):
        settings = replace(
            system.settings, hyperswitch_base_url=psp.url, hyperswitch_api_key="snd_1"
        )
        async with running(settings) as service:
            for number in range(SAMPLE):
                await LedgerCaller(service).order(f"o{number}", ORDER, **{f"seller{number}": SHARE})
            stories = [await lived_at_the_provider(psp, number) for number in range(SAMPLE)]
            for turn in range(7):
                for number, order in enumerate(orders):
                    event = stories[number][order[turn]]
                    events = (
                        event["event_id"],
                        event["event_type"],
                        json.dumps(event).encode(),
                        datetime.now(UTC),
                    )
                    await service.inbox.put("hyperswitch", *events)
                await view.until(lambda: nothing_is(view, "stored"), f"turn {turn} is handled")
            await view.until(
                lambda: nothing_is(view, "parked"), "what was parked has been released"
            )
            await view.until(lambda: nothing_is_due(view), "nothing is due")

    assert await nets(stripe) == {number: 0 if number % 2 else LEFT for number in range(SAMPLE)}
    refunds = await view.select(
        "select amount, status, count(*) as rows from refunds group by amount, status order by "
        "amount"
    )
    assert refunds == [
        {"amount": REFUND_B, "status": "succeeded", "rows": SAMPLE},
        {"amount": REFUND_A, "status": "failed", "rows": SAMPLE},
    ]
    disputes = await view.select(
        "select status, count(*) as rows from disputes group by status order by status"
    )
    assert disputes == [
        {"status": "lost", "rows": SAMPLE // 2},
        {"status": "won", "rows": SAMPLE // 2},
    ]
    assert (
        await view.select("select from webhook_inbox where status not in ('done', 'ignored')") == []
    )


async def lived_at_the_provider(psp: HyperswitchControl, number: int) -> list[Json]:
    """Return the provider's reports about one order, in the order of the events; one report comes
    twice."""
    before = len(await psp.events())
    await psp.take_payment(f"pay_{number}", ORDER, CURRENCY, metadata={"order_id": f"o{number}"})
    refund_a, refund_b = [
        (await psp.make_refund(f"pay_{number}", amount))["refund_id"]
        for amount in (REFUND_A, REFUND_B)
    ]
    await psp.settle_refund(refund_a, "succeeded")
    await psp.settle_refund(refund_b, "succeeded")
    await psp.settle_refund(refund_a, "failed")
    dispute_id = await psp.open_dispute(f"pay_{number}", DISPUTED)
    await psp.settle_dispute(dispute_id, "lost" if number % 2 else "won")
    events = (await psp.events())[before:]
    again = next(event for event in events if event["event_type"] == "refund_succeeded")
    return [*events, {**again, "event_id": f"{again['event_id']}_again"}]


async def nets(stripe: SimulatorControl) -> dict[int, int]:
    """Return each seller's net amount at Stripe."""
    held = (await stripe.ledger())["transfers"]
    return {
        number: sum(
            h["amount"] - h["amount_reversed"]
            for h in held
            if h["destination"] == account(f"seller{number}")
        )
        for number in range(SAMPLE)
    }


async def nothing_is(view: LedgerView, status: str) -> bool:
    return not await view.select("select from webhook_inbox where status = %s limit 1", status)


async def nothing_is_due(view: LedgerView) -> bool:
    return not await view.select(
        "select from seller_transfers where next_retry_at is not null limit 1"
    )
