"""Split payments and split refunds of the PSP: charge type x refund flag x every order of webhooks.

Stripe has moved the money with the charge and with the refund. The ledger never moves it again.
"""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime

import pytest

from infrastructure.bootstrap import running
from infrastructure.service import Service
from infrastructure.simulators.stripe import SimulatorControl
from tests.support.json_types import Json
from tests.support.ledger_view import LedgerView
from tests.support.service import CREATE, CURRENCY, REVERSE, LedgerCaller, SystemUnderTest, account

EVENTS = ("payment", "refund", "transfer.created", "transfer.reversed")
ORDERS = list(itertools.permutations(EVENTS))


class Marketplace:
    """Orders of 1,000 with a share of 900 for anna, each half refunded."""

    def __init__(
        self,
        service: Service,
        system: SystemUnderTest,
        charge_type: str | None,
        reverts: bool | None,
    ) -> None:
        self._service, self._system = service, system
        self._charge_type, self._reverts = charge_type, reverts
        self._moved: dict[str, Json] = {}

    @property
    def stripe(self) -> SimulatorControl:
        return self._system.stripe

    @property
    def view(self) -> LedgerView:
        return self._system.view

    async def opens(self, order_id: str) -> None:
        """Register the order; the charge has made its transfer already."""
        await LedgerCaller(self._service).order(order_id, 1_000, anna=900)
        if self._charge_type == "destination":
            self._moved[order_id] = await self.charge_makes_transfer(order_id)

    async def charge_makes_transfer(self, order_id: str) -> Json:
        charge = f"ch_1{order_id}"
        await self.stripe.create_charge(charge, CURRENCY.lower(), 1_000)
        return await self.stripe.external_transfer(
            account("anna"), 900, CURRENCY.lower(), source_transaction=charge
        )

    async def refund_reverses(self, order_id: str) -> None:
        """Let the refund reverse its part at Stripe, if it does."""
        if order_id in self._moved and self._reverts:
            transfer = str(self._moved[order_id]["id"])
            await self.stripe.external_reversal(transfer, 450, source_refund=f"re_1{order_id}")

    async def hears(self, event: str, order_id: str, copy: int = 1) -> str | None:
        """Deliver the webhook and wait until it is handled; return its status."""
        built = self._event(event, order_id)
        if built is None:
            return None
        provider, type_, body = built
        event_id = f"evt_{event}_{order_id}_{copy}"
        raw = json.dumps({**body, "id": event_id, "event_id": event_id}).encode()
        await self._service.inbox.put(provider, event_id, type_, raw, datetime.now(UTC))
        query = "select status, reason from webhook_inbox where event_id = %s"

        async with asyncio.timeout(30):
            while True:  # the inbox tells nobody that it has handled an event
                (row,) = await self.view.select(query, event_id)
                if row["status"] != "stored" or row["reason"] is not None:
                    return str(row["status"])
                await asyncio.sleep(0.01)

    def _event(self, event: str, order_id: str) -> tuple[str, str, Json] | None:
        if event == "payment":
            return (
                "hyperswitch",
                "payment_succeeded",
                _psp("payment_succeeded", self._payment(order_id)),
            )
        if event == "refund":
            return (
                "hyperswitch",
                "refund_succeeded",
                _psp("refund_succeeded", self._refund(order_id)),
            )
        moved = self._moved.get(order_id)
        if moved is None or (event == "transfer.reversed" and not self._reverts):
            return None
        shown = moved if event == "transfer.created" else {**moved, "amount_reversed": 450}
        return "stripe", event, {"object": "event", "type": event, "data": {"object": shown}}

    def _payment(self, order_id: str) -> Json:
        split: Json | None = None
        if self._charge_type is not None:
            split = {
                "stripe_split_payment": {
                    "charge_id": f"ch_1{order_id}",
                    "charge_type": self._charge_type,
                    "application_fees": 100,
                    "transfer_account_id": account("anna"),
                }
            }
        return {
            "payment_id": f"pay_{order_id}",
            "status": "succeeded",
            "amount": 1_000,
            "amount_received": 1_000,
            "currency": CURRENCY,
            "metadata": {"order_id": order_id},
            "split_payments": split,
        }

    def _refund(self, order_id: str) -> Json:
        flags = {"revert_platform_fee": True, "revert_transfer": self._reverts}
        split = None if self._reverts is None else {"stripe_split_refund": flags}
        return {
            "refund_id": f"ref_{order_id}",
            "payment_id": f"pay_{order_id}",
            "amount": 500,
            "currency": CURRENCY,
            "status": "succeeded",
            "metadata": {"order_id": order_id},
            "split_refunds": split,
        }

    async def posts(self, operation: str) -> int:
        return len(await self._system.posts(operation))


def _psp(type_: str, shown: Json) -> Json:
    return {"event_type": type_, "content": {"type": "details", "object": shown}}


@pytest.fixture
async def ledger(system: SystemUnderTest) -> AsyncIterator[Service]:
    async with running(system.settings) as service:
        yield service


async def everything(market: Marketplace, orders: Sequence[str]) -> None:
    """Deliver all webhooks of each order in another order, and each of them twice."""
    for order_id, events in zip(orders, ORDERS, strict=True):
        await market.opens(order_id)
        await market.refund_reverses(order_id)
        for event in events:
            await market.hears(event, order_id)
        for event in reversed(events):
            await market.hears(event, order_id, copy=2)


NAMES = [f"o{n}" for n in range(len(ORDERS))]


@pytest.mark.parametrize("reverts", [True, False, None])
async def test_destination_charge_pays_and_refund_takes_exactly_once(
    ledger: Service, system: SystemUnderTest, reverts: bool | None
) -> None:
    market = Marketplace(ledger, system, "destination", reverts)
    await everything(market, NAMES)
    for order_id in NAMES:
        (row,) = await system.view.reached(order_id, "partially_reversed")
        assert row.amount_reversed == 450
        (reversal,) = await system.view.reversals(order_id)
        assert (reversal["refund_id"], reversal["reason"]) == (f"ref_{order_id}", "refund")
        assert reversal["settled_by"] == ("external" if reverts else "us")
    assert await market.posts(CREATE) == 0, "no second transfer"
    assert await market.posts(REVERSE) == (0 if reverts else len(NAMES)), "no second reversal"
    assert await system.view.alarms() == set()


@pytest.mark.parametrize("reverts", [True, False, None])
async def test_direct_charge_is_parked_and_moves_nothing(
    ledger: Service, system: SystemUnderTest, reverts: bool | None
) -> None:
    market = Marketplace(ledger, system, "direct", reverts)
    await everything(market, NAMES)
    for order_id in NAMES:
        assert await system.view.transfers(order_id) == []
    assert (await market.posts(CREATE), await market.posts(REVERSE)) == (0, 0)
    parked = await system.view.select(
        "select reason from webhook_inbox where event_type = 'payment_succeeded'"
    )
    assert all("never reached the platform" in row["reason"] for row in parked)
    assert "split_money" in await system.view.alarms()


@pytest.mark.parametrize("reverts", [False, None])
async def test_ordinary_charge_is_paid_and_reversed_by_the_ledger(
    ledger: Service, system: SystemUnderTest, reverts: bool | None
) -> None:
    market = Marketplace(ledger, system, None, reverts)
    await everything(market, NAMES)
    for order_id in NAMES:

        async def half_paid(order_id: str = order_id) -> bool:
            """Return whether the seller has 450: by a smaller transfer, or after a reversal."""
            rows = await system.view.transfers(order_id)
            return any(
                row.stripe_transfer_id and row.amount - row.amount_reversed == 450 for row in rows
            )

        await system.view.until(half_paid, f"{order_id} is half paid")
    assert await market.posts(CREATE) == len(NAMES)


async def test_refund_that_reverses_an_unknown_transfer_waits_with_alarm(
    ledger: Service, system: SystemUnderTest
) -> None:
    market = Marketplace(ledger, system, None, True)
    await market.opens("o1")
    await market.hears("payment", "o1")
    await system.view.reached("o1", "completed")
    assert await market.hears("refund", "o1") == "parked"
    assert "split_money" in await system.view.alarms()
    assert await market.posts(REVERSE) == 0


async def test_movement_that_stripe_does_not_show_yet_is_awaited(
    ledger: Service, system: SystemUnderTest
) -> None:
    """Nothing is sent meanwhile, neither the transfer nor the reversal."""
    market = Marketplace(ledger, system, "destination", True)
    await LedgerCaller(ledger).order("o1", 1_000, anna=900)
    assert await market.hears("payment", "o1") == "stored"
    assert await system.view.transfers("o1") == []
    await market.charge_makes_transfer("o1")
    await due_now(system)
    (row,) = await system.view.reached("o1", "completed")
    assert await market.hears("refund", "o1") == "stored"
    assert (await system.view.transfer("o1")).status == "completed"
    await system.stripe.external_reversal(str(row.stripe_transfer_id), 450, source_refund="re_1")
    await due_now(system)
    await system.view.reached("o1", "partially_reversed")
    assert (await market.posts(CREATE), await market.posts(REVERSE)) == (0, 0)


async def test_transfer_of_a_charge_that_fits_no_share_needs_a_person(
    ledger: Service, system: SystemUnderTest
) -> None:
    market = Marketplace(ledger, system, "destination", None)
    await LedgerCaller(ledger).order("o1", 1_000, anna=800)
    await market.charge_makes_transfer("o1")
    assert await market.hears("payment", "o1") == "parked"
    assert await system.view.transfers("o1") == []
    assert "split_money" in await system.view.alarms()


async def test_transfer_that_was_sent_before_the_split_is_told_raises_an_alarm(
    ledger: Service, system: SystemUnderTest
) -> None:
    """The order was told as paid by the API: the seller has been paid twice."""
    market = Marketplace(ledger, system, "destination", None)
    await market.opens("o1")
    await LedgerCaller(ledger).pay("o1")
    await system.view.reached("o1", "completed")
    await market.hears("payment", "o1")
    assert "evidence_held" in await system.view.alarms()


async def due_now(system: SystemUnderTest) -> None:
    """Let waiting webhooks be handled again now."""
    async with system.view.pool.connection() as connection:
        await connection.execute("update webhook_inbox set due_at = now() where status = 'stored'")
        await connection.execute("select pg_notify('webhook_inbox', '')")
