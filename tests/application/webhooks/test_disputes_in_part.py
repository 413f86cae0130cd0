"""Stripe's reports of disputes whose money comes back in part or in another currency."""

import json
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta

import pytest

from application.commands import commands_on
from application.webhooks.handler import (
    DONE,
    Ignored,
    Parked,
    StoredEvent,
    WebhookAlarm,
    WebhookHandler,
    WebhookResult,
)
from application.webhooks.stripe.event_object import StripeObjects
from application.webhooks.stripe.refunds_disputes import StripeRefundsDisputes
from domain.dispute import DisputePolicy
from domain.order.state import Share
from infrastructure.clock import DatabaseClock
from tests.support.storage import Storage, in_memory
from tests.support.stripe_events import a_dispute

LEASE = timedelta(seconds=10)
SHARES = [Share(seller_id="anna", destination="acct_anna", amount=900)]
NO_READS = StripeObjects(None)  # type: ignore[arg-type]  # the events carry their objects
WITHDRAWN, REINSTATED = "charge.dispute.funds_withdrawn", "charge.dispute.funds_reinstated"


class Disputed:
    """A paid order of 1000 EUR, of which Anna has 900, and Stripe's events about its dispute of
    400."""

    def __init__(self, storage: Storage, policy: DisputePolicy) -> None:
        self._storage, self._events = storage, 0
        self.commands = commands_on(storage.ledger, storage.directory, DatabaseClock())
        handlers = StripeRefundsDisputes(
            self.commands, storage.directory, NO_READS, policy
        ).handlers()
        self._handler = WebhookHandler(stripe=handlers)

    async def paid(self) -> None:
        await self.commands.orders.register(
            order_id="o1", currency="EUR", amount=1_000, shares=SHARES
        )
        await self.commands.orders.record_payment("o1", None, "ch_1", "api")

    async def hears(
        self, event_type: str, *moved: tuple[int, str], **more: object
    ) -> WebhookResult:
        self._events += 1
        event_id = f"evt_{self._events}"
        movements = [{"amount": amount, "currency": code} for amount, code in moved]
        shown = {**a_dispute("dp_1", 400), "balance_transactions": movements, **more}
        event: Mapping[str, object] = {
            "id": event_id,
            "type": event_type,
            "data": {"object": shown},
        }
        body = json.dumps(event).encode()
        await self._storage.inbox.put(
            "stripe", event_id, event_type, body, await self._storage.now()
        )
        (claimed,) = (await self._storage.inbox.claim("w", 1, LEASE)).events
        return await self._handler.handle(
            StoredEvent(claimed.inbox_id, "stripe", event_id, event_type, body)
        )

    async def taken(self) -> int:
        """Return the part of Anna's share that no transfer pays. None of them has been sent."""
        order = await self.commands.orders.order("o1")
        streams = order.transfer_ids()
        paid = [(await self.commands.operator.transfer(stream)).amount for stream in streams]
        return 900 - sum(paid)


@pytest.fixture(params=list(DisputePolicy))
async def disputed(request: pytest.FixtureRequest) -> AsyncIterator[Disputed]:
    async with in_memory() as storage:
        order = Disputed(storage, request.param)
        await order.paid()
        await order.hears(WITHDRAWN, (-1_356, "cad"))
        if request.param is DisputePolicy.LOST:
            await order.hears("charge.dispute.closed", (-1_356, "cad"), status="lost")
        yield order


@pytest.mark.parametrize(
    "moved",
    [
        [(-1_356, "cad"), (1_340, "cad")],
        [(-400, "eur"), (150, "eur")],
        [(-1_356, "cad"), (400, "eur")],
        [(-400, "eur"), (400, "eur"), (-16, "cad")],
    ],
    ids=["a part of CAD", "a part of EUR", "another currency", "one of two currencies"],
)
async def test_dispute_below_zero_in_any_currency_is_parked(
    disputed: Disputed, moved: list[tuple[int, str]]
) -> None:
    parked = await disputed.hears(REINSTATED, *moved)
    assert isinstance(parked, Parked)
    assert parked.alarm is WebhookAlarm.DISPUTE_REINSTATED_IN_PART
    assert "order 'o1'" in parked.reason
    assert await disputed.taken() == 360


async def test_dispute_back_in_its_settled_currency_is_over(disputed: Disputed) -> None:
    moved = [(-1_356, "cad"), (1_356, "cad")]
    assert await disputed.hears(REINSTATED, *moved) == DONE
    assert await disputed.taken() == 0


async def test_decision_ends_the_wait_and_returns_the_rest(disputed: Disputed) -> None:
    part = [(-1_356, "cad"), (1_000, "cad")]
    assert isinstance(await disputed.hears(REINSTATED, *part), Parked)
    await disputed.commands.disputes.reduce("stripe", "dp_1", 100, "ops", "the bank keeps it")
    assert await disputed.taken() == 90
    assert isinstance(await disputed.hears(REINSTATED, *part), Ignored)
    await disputed.hears("charge.dispute.updated", *part, status="lost")
    assert await disputed.taken() == 90, "later reports do not outweigh the decision"
    more = [(-1_356, "cad"), (1_200, "cad")]
    assert isinstance(await disputed.hears(REINSTATED, *more), Parked), "another part, to decide"
    whole = [(-1_356, "cad"), (1_356, "cad")]
    assert await disputed.hears(REINSTATED, *whole) == DONE
    assert await disputed.taken() == 0


async def test_order_stays_as_it_is_until_the_decision(disputed: Disputed) -> None:
    """A win does not give back the part that the bank keeps, by neither policy."""
    part = [(-1_356, "cad"), (1_000, "cad")]
    assert isinstance(await disputed.hears(REINSTATED, *part, status="won"), Parked)
    assert await disputed.hears("charge.dispute.closed", *part, status="won") == DONE
    assert await disputed.taken() == 360


async def test_decision_that_it_takes_nothing_outlives_reports(disputed: Disputed) -> None:
    await disputed.hears(REINSTATED, (-1_356, "cad"), (1_350, "cad"))
    await disputed.commands.disputes.reduce("stripe", "dp_1", 0, "ops", "only the exchange rate")
    await disputed.hears(WITHDRAWN, (-1_356, "cad"))
    assert await disputed.taken() == 0
