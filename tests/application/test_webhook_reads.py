"""Queries before the append of a webhook: one for the order, one for its streams, one for its
transfers."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import wraps

import pytest

from application.commands import Commands, commands_on
from application.ports import Directory, EventLog
from application.webhooks.handler import DONE, StoredEvent
from application.webhooks.hyperswitch.disputes import HyperswitchDisputes
from application.webhooks.hyperswitch.payments_refunds import HyperswitchPaymentsRefunds
from application.webhooks.stripe.event_object import StripeObjects
from application.webhooks.stripe.refunds_disputes import StripeRefundsDisputes
from domain.dispute import DisputePolicy
from domain.order.state import Share
from infrastructure.clock import DatabaseClock
from tests.support.storage import Storage, in_memory

REFUND = {
    "refund_id": "ref_1",
    "payment_id": "pay_1",
    "amount": 400,
    "currency": "EUR",
    "status": "succeeded",
}
DISPUTE = {"dispute_id": "dp_1", "payment_id": "pay_1", "amount": "400", "currency": "EUR"}
STRIPES = {"id": "re_1", "amount": 400, "currency": "eur", "charge": "pi_1"}


class Counted:
    """A port that lists the names of the called methods; each is one statement."""

    def __init__(self, port: Directory | EventLog, calls: list[str]) -> None:
        self._port, self._calls = port, calls

    def __getattr__(self, name: str) -> Callable[..., Awaitable[object]]:
        method = getattr(self._port, name)

        @wraps(method)
        async def counted(*given: object, **named: object) -> object:
            self._calls.append(name)
            return await method(*given, **named)

        return counted


@pytest.fixture
async def storage() -> AsyncIterator[Storage]:
    async with in_memory() as storage:
        yield storage


async def paid(commands: Commands, payment_id: str) -> None:
    shares = [Share(seller_id="anna", destination="acct_anna", amount=900)]
    await commands.orders.register(order_id="o1", currency="EUR", amount=1_000, shares=shares)
    await commands.orders.record_payment("o1", payment_id, None, "api")


@pytest.mark.parametrize(
    ("provider", "event_type", "content"),
    [
        ("hyperswitch", "refund_succeeded", REFUND),
        ("hyperswitch", "dispute_lost", DISPUTE),
        ("stripe", "refund.updated", {**STRIPES, "status": "succeeded"}),
        ("stripe", "charge.dispute.funds_withdrawn", {**STRIPES, "status": "needs_response"}),
    ],
)
async def test_webhook_makes_three_queries_before_its_append(
    storage: Storage, provider: str, event_type: str, content: dict[str, object]
) -> None:
    await paid(
        commands_on(storage.ledger, storage.directory, DatabaseClock()),
        "pay_1" if provider == "hyperswitch" else "pi_1",
    )
    calls: list[str] = []
    directory = Counted(storage.directory, calls)
    commands = commands_on(Counted(storage.ledger, calls), directory, DatabaseClock())  # type: ignore[arg-type]  # a proxy
    policy, objects = DisputePolicy.WITHDRAWAL, StripeObjects(None)  # type: ignore[arg-type]  # nothing is read at Stripe
    handlers = {
        **HyperswitchPaymentsRefunds(commands, directory).handlers(),  # type: ignore[arg-type]  # a proxy
        **HyperswitchDisputes(commands, directory, policy).handlers(),  # type: ignore[arg-type]  # a proxy
        **StripeRefundsDisputes(commands, directory, objects, policy).handlers(),  # type: ignore[arg-type]  # a proxy
    }
    about = (
        {"content": {"object": content}}
        if provider == "hyperswitch"
        else {"data": {"object": content}}
    )
    body = json.dumps(
        {"id": "evt_1", "type": event_type, "event_id": "evt_1", "event_type": event_type, **about}
    ).encode()
    await storage.inbox.put(provider, "evt_1", event_type, body, await storage.now())
    assert await handlers[event_type](StoredEvent(1, provider, "evt_1", event_type, body)) == DONE
    assert calls == ["find_order", "load", "load", "append"]
