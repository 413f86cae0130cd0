"""Amounts in the providers' webhooks, of currencies that Stripe counts in other units than the
ledger."""

import json
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from application.commands import commands_on
from application.webhooks.handler import (
    DONE,
    Parked,
    StoredEvent,
    WebhookHandler,
    WebhookResult,
)
from application.webhooks.hyperswitch.payments_refunds import HyperswitchPaymentsRefunds
from application.webhooks.stripe.event_object import StripeObjects
from application.webhooks.stripe.events import TRANSFER
from application.webhooks.stripe.refunds_disputes import StripeRefundsDisputes
from domain.dispute import DisputePolicy
from domain.order.state import Share
from infrastructure.clock import DatabaseClock
from tests.support.storage import Storage, in_memory
from tests.support.stripe_events import a_dispute, a_refund

LEASE = timedelta(seconds=10)
SHARES = [Share(seller_id="anna", destination="acct_anna", amount=342_000)]


class UgandanSale:
    """An order of UGX 380,000, of which Anna has 342,000, and the webhooks of both providers."""

    def __init__(self, storage: Storage) -> None:
        self._storage, self._events = storage, 0
        self.commands = commands_on(storage.ledger, storage.directory, DatabaseClock())
        unread = StripeObjects(None)  # type: ignore[arg-type]  # the events carry their objects
        stripe = StripeRefundsDisputes(
            self.commands, storage.directory, unread, DisputePolicy.WITHDRAWAL
        )
        hyperswitch = HyperswitchPaymentsRefunds(self.commands, storage.directory)
        self._handler = WebhookHandler(stripe=stripe.handlers(), hyperswitch=hyperswitch.handlers())

    async def sells(self) -> None:
        await self.commands.orders.register(
            order_id="o1", currency="UGX", amount=380_000, shares=SHARES, payment_id="pay_1"
        )

    async def hears(self, provider: str, event_type: str, shown: object) -> WebhookResult:
        self._events += 1
        event_id = f"evt_{self._events}"
        named = {"id": event_id, "event_id": event_id, "type": event_type, "event_type": event_type}
        body = json.dumps({**named, "data": {"object": shown}, "content": {"object": shown}})
        await self._storage.inbox.put(
            provider, event_id, event_type, body.encode(), await self._storage.now()
        )
        (event,) = (await self._storage.inbox.claim("w", 1, LEASE)).events
        return await self._handler.handle(
            StoredEvent(event.inbox_id, provider, event_id, event_type, body.encode())
        )

    async def targets(self) -> dict[str, int]:
        return (await self.commands.orders.order("o1")).seller_targets


@pytest.fixture
async def sale() -> AsyncIterator[UgandanSale]:
    async with in_memory() as storage:
        sale = UgandanSale(storage)
        await sale.sells()
        yield sale


async def test_hyperswitch_counts_as_the_ledger(sale: UgandanSale) -> None:
    payment = {
        "payment_id": "pay_1",
        "status": "succeeded",
        "amount": 380_000,
        "amount_received": 380_000,
        "currency": "UGX",
    }
    assert await sale.hears("hyperswitch", "payment_succeeded", payment) == DONE
    refund = {
        "refund_id": "ref_1",
        "payment_id": "pay_1",
        "amount": 190_000,
        "currency": "UGX",
        "status": "succeeded",
    }
    assert await sale.hears("hyperswitch", "refund_succeeded", refund) == DONE
    assert await sale.targets() == {"anna": 171_000}


async def test_refund_at_stripe_is_converted(sale: UgandanSale) -> None:
    await sale.commands.orders.record_payment("o1", None, "ch_1", "api")
    refund = a_refund("re_1", 19_000_000, currency="ugx")
    await sale.commands.orders.order("o1")
    result = await sale.hears("stripe", "refund.updated", {**refund, "charge": "ch_1"})
    assert result == DONE
    assert await sale.targets() == {"anna": 171_000}


async def test_dispute_at_stripe_is_converted(sale: UgandanSale) -> None:
    await sale.commands.orders.record_payment("o1", None, "ch_1", "api")
    dispute = a_dispute("dp_1", 38_000_000, currency="ugx")
    assert await sale.hears("stripe", "charge.dispute.funds_withdrawn", dispute) == DONE
    assert await sale.targets() == {"anna": 342_000}


async def test_refund_of_a_fraction_waits_for_a_person(sale: UgandanSale) -> None:
    await sale.commands.orders.record_payment("o1", None, "ch_1", "api")
    result = await sale.hears("stripe", "refund.updated", a_refund("re_1", 150, currency="ugx"))
    assert isinstance(result, Parked)
    assert result.alarm == "refund_disagrees"


def test_transfer_event_shows_the_ledgers_amounts() -> None:
    shown = TRANSFER.validate_python(
        {
            "id": "tr_1",
            "amount": 34_200_000,
            "amount_reversed": 17_100_000,
            "currency": "ugx",
            "destination": "acct_anna",
        }
    ).at_stripe
    assert (shown.amount, shown.amount_reversed) == (342_000, 171_000)
