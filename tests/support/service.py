"""A ledger in this process, on a real PostgreSQL and a simulated Stripe: `serve` without HTTP and
signals."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from application.commands.refunds import RefundReport, RefundRequest
from domain.fact import opened
from domain.identity import transfer_stream
from domain.order.aggregate import Order
from domain.order.state import Share
from domain.refund.aggregate import Refund
from domain.seller_transfer.aggregate import TOPIC, SellerTransfer
from domain.seller_transfer.opening_facts import Imported
from infrastructure.bootstrap import running, stored
from infrastructure.postgres.ledger import PostgresEventLog
from infrastructure.service import Storage
from infrastructure.settings import Settings, WorkSettings
from infrastructure.simulators.stripe import SimulatorControl
from tests.support.json_types import Json
from tests.support.ledger_view import LedgerView

CREATE, REVERSE = "transfers.create", "reversals.create"
CURRENCY = "EUR"
QUICK = WorkSettings(
    backoff_base=timedelta(milliseconds=50), backoff_max=timedelta(milliseconds=200)
)
SLOW = WorkSettings(backoff_base=timedelta(hours=1), backoff_max=timedelta(hours=24))
"""A failed call is not tried again while the test lasts."""
OFF = WorkSettings(enabled=False)


def quick(database_url: str, stripe_api_base: str) -> Settings:
    """Return settings with a long timeout and short back-offs."""
    return Settings(
        database_url=database_url,
        stripe_api_base=stripe_api_base,
        stripe_timeout=timedelta(seconds=10),
        stripe_max_rps=1_000,
        reversals=QUICK,
        transfers=QUICK,
    )


def account(seller_id: str) -> str:
    """Return the id of the seller's account at Stripe."""
    return f"acct_1{seller_id}"


class LedgerCaller:
    """Calls the ledger as the marketplace and its payment provider do."""

    def __init__(self, storage: Storage) -> None:
        self._commands = storage.commands

    async def order(self, order_id: str, amount: int, **shares: int) -> None:
        named = [
            Share(seller_id=seller, destination=account(seller), amount=share)
            for seller, share in shares.items()
        ]
        await self._commands.orders.register(
            order_id=order_id, currency=CURRENCY, amount=amount, shares=named
        )

    async def pay(self, order_id: str, source_transaction: str | None = None) -> None:
        await self._commands.orders.record_payment(
            order_id, f"pay_{order_id}", source_transaction, "test"
        )

    async def refund(self, name: str, order_id: str, amount: int) -> None:
        await self._commands.refunds.succeeded(_report(name, order_id, amount))

    async def refund_failed(self, name: str, order_id: str, amount: int) -> None:
        await self._commands.refunds.failed(_report(name, order_id, amount))

    async def ask_refund(
        self, refund_id: str, order_id: str = "o1", amount: int | None = None, **more: Any
    ) -> Refund:
        """Request a refund, which the ledger then requests from the payment provider."""
        return (
            await self._commands.refunds.request(RefundRequest(refund_id, order_id, amount, **more))
        ).refund

    async def retry(self, transfer_id: UUID) -> None:
        await self._commands.operator.retry(transfer_id, "test", "it is time")


def _report(name: str, order_id: str, amount: int) -> RefundReport:
    return RefundReport(name, order_id, amount, CURRENCY, "test")


class SystemUnderTest:
    """The database and Stripe, on which ledgers are started and drained."""

    def __init__(self, settings: Settings, view: LedgerView, stripe: SimulatorControl) -> None:
        self.settings, self.view, self.stripe = settings, view, stripe

    @asynccontextmanager
    async def at_work(self, **changes: Any) -> AsyncIterator[LedgerCaller]:
        """Run a ledger with these settings; drained at the end."""
        async with running(replace(self.settings, **changes)) as service:
            yield LedgerCaller(service)

    async def posts(self, operation: str) -> list[Json]:
        """Return the simulator's log of these calls, oldest first."""
        return await self.stripe.requests(operation)

    async def paid(
        self, caller: LedgerCaller, order_id: str = "o1", amount: int = 1_000, **shares: int
    ) -> list[UUID]:
        """Make an order and wait until its sellers are paid; return the transfers' ids, in the
        order of the sellers."""
        shares = shares or {"anna": 900}
        await caller.order(order_id, amount, **shares)
        await caller.pay(order_id)
        return [
            row.transfer_id
            for row in await self.view.reached(order_id, *["completed"] * len(shares))
        ]

    async def at_stripe(self, order_id: str = "old", amount: int = 900) -> str:
        """Make a transfer at Stripe that this ledger does not know; return its id."""
        made = await self.stripe.external_transfer(
            account("anna"), amount, CURRENCY.lower(), transfer_group=order_id
        )
        return str(made["id"])

    async def take_over(
        self, order_id: str = "old", *, with_order: bool = False, **columns: Any
    ) -> UUID:
        """Record the import of a row of an older system; with `with_order`, also its paid order."""
        fact = imported(order_id, **columns)
        async with stored(self.settings) as storage:
            ledger = PostgresEventLog(storage.store)
            uow = await ledger.load([])
            uow.add([opened(SellerTransfer, fact), *([_paid_order(fact)] if with_order else [])])
            await ledger.append(uow)
        return fact.originator_id


def imported(order_id: str, **columns: Any) -> Imported:
    """Build the import fact of a transfer of 900 to anna; `columns` override its members."""
    usual: Json = {
        "seller_id": "anna",
        "amount": 900,
        "currency": CURRENCY,
        "transfer_group": order_id,
        "status": "completed",
        "amount_reversed": 0,
        "evidence": "a table of an older system",
    }
    row = usual | columns
    seller = row["seller_id"]
    return Imported(
        originator_id=transfer_stream(order_id, seller),
        originator_version=1,
        originator_topic=TOPIC,
        timestamp=datetime.now(UTC),
        order_id=order_id,
        destination=account(seller),
        **row,
    )


def _paid_order(fact: Imported) -> Order:
    share = Share(seller_id=fact.seller_id, destination=fact.destination, amount=fact.amount)
    order = Order.register(
        order_id=fact.order_id,
        currency=CURRENCY,
        amount=fact.amount,
        shares=[share],
        now=fact.timestamp,
    )
    order.pay(f"pay_{fact.order_id}", None, "import", fact.timestamp)
    return order
