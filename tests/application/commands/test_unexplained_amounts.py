"""Amounts that Stripe shows as taken after a restore, for a refund whose failure is reported first.

The lost ledger had sent less for the refund, and had not yet given the amount back.
"""

from collections.abc import AsyncIterator

import pytest

from application.command_handler import CommandHandler
from application.commands import commands_on
from application.commands.refunds import RefundReport
from application.unit_of_work import CommitExtras
from application.webhooks.stripe.external_changes import ExternalChanges
from domain.identity import transfer_stream
from domain.order.state import Share
from domain.pause import LOOK_UP_FIRST
from domain.provider_call.stripe_objects import TransferAtStripe
from infrastructure.clock import DatabaseClock
from tests.support.storage import Storage, in_memory

SHARES = [Share(seller_id="anna", destination="acct_anna", amount=900)]
SALE = transfer_stream("o1", "anna")
FAILED = RefundReport("ref_1", "o1", 600, "EUR", "hyperswitch:evt_1", provider="hyperswitch")


class RestoredLedger:
    """A ledger restored to an empty database, behind a Stripe that holds a transfer of 360."""

    def __init__(self, storage: Storage) -> None:
        self._storage, clock = storage, DatabaseClock()
        self.commands = commands_on(storage.ledger, storage.directory, clock)
        self._changes = ExternalChanges(CommandHandler(storage.ledger, clock))

    async def restored(self) -> None:
        """Report order and payment again while look-ups come first."""
        await self.commands.operator.pause(LOOK_UP_FIRST, "serve", "restored")
        await self.commands.orders.register(
            order_id="o1", currency="EUR", amount=1_000, shares=SHARES
        )
        await self.commands.orders.record_payment("o1", "pay_1", None, "api")

    async def fails(self) -> None:
        await self.commands.refunds.failed(FAILED)

    async def seen(self) -> None:
        held = TransferAtStripe("tr_1", 360, 0, "EUR", "acct_anna", str(SALE))
        await self._changes.record(SALE, held, CommitExtras())

    async def resumed(self) -> None:
        await self.commands.operator.resume(LOOK_UP_FIRST, "mia", "reconciled")

    async def given_back(self) -> list[int]:
        order = await self.commands.orders.order("o1")
        assert order is not None
        return [(await self.commands.operator.transfer(one)).amount for one in order.compensations]

    async def alarms(self) -> set[str]:
        return {one.kind for one in await self._storage.alarms.raised()}


@pytest.fixture
async def ledger() -> AsyncIterator[RestoredLedger]:
    async with in_memory() as storage:
        yield RestoredLedger(storage)


@pytest.mark.parametrize("failure_first", [True, False])
async def test_repeated_failure_gives_back_what_it_explains(
    ledger: RestoredLedger, failure_first: bool
) -> None:
    await ledger.restored()
    if failure_first:
        await ledger.fails()
    await ledger.seen()
    await ledger.fails()
    assert await ledger.given_back() == [], "its refund may still be reported"
    await ledger.resumed()
    assert "refund_missing" in await ledger.alarms()
    await ledger.fails()
    assert await ledger.given_back() == [540]
    assert "refund_missing" not in await ledger.alarms()
    await ledger.fails()
    assert await ledger.given_back() == [540], "once"


async def test_repeated_failure_without_an_unexplained_amount_changes_nothing(
    ledger: RestoredLedger,
) -> None:
    await ledger.restored()
    await ledger.resumed()
    await ledger.fails()
    before = (await ledger.commands.operator.transfer(SALE)).version
    await ledger.fails()
    assert await ledger.given_back() == []
    assert (await ledger.commands.operator.transfer(SALE)).version == before
