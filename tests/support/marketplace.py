"""The marketplace and its payment provider, as callers of a virtual fleet: by commands and by
webhooks."""

from collections.abc import Mapping
from itertools import count

import orjson

from application.commands.refunds import RefundReport
from domain.fact import Fact
from domain.order.state import Share
from infrastructure.postgres.ledger import FactCodec
from infrastructure.simulation.fleet import Fleet
from infrastructure.simulation.virtual_time import now
from projections.seller_transfers import SellerTransferRow
from projections.transfer_reversals import ReversalRow

CURRENCY = "EUR"


def account(seller_id: str) -> str:
    """Return the id of the seller's account at Stripe."""
    return f"acct_1{seller_id}"


class Marketplace:
    """Orders, payments and refunds, and the rows and facts that follow from them."""

    def __init__(self, fleet: Fleet, first_event: int = 1) -> None:
        self._fleet, self._events = fleet, count(first_event)

    async def order(self, order_id: str, amount: int, **shares: int) -> None:
        named = [
            Share(seller_id=seller, destination=account(seller), amount=share)
            for seller, share in shares.items()
        ]
        await self._fleet.commands.orders.register(
            order_id=order_id, currency=CURRENCY, amount=amount, shares=named
        )

    async def pay(self, order_id: str) -> None:
        await self._fleet.commands.orders.record_payment(order_id, f"pay_{order_id}", None, "test")

    async def refund(self, name: str, order_id: str, amount: int) -> None:
        await self._fleet.commands.refunds.succeeded(
            RefundReport(name, order_id, amount, CURRENCY, "test")
        )

    # --- webhooks ---------------------------------------------------------------------------------

    async def payment_webhook(self, order_id: str, amount: int, times: int = 1) -> None:
        """Deliver a webhook about a succeeded payment, `times` times."""
        payment = {
            "payment_id": f"pay_{order_id}",
            "status": "succeeded",
            "amount": amount,
            "currency": CURRENCY,
            "metadata": {"order_id": order_id},
        }
        await self._webhook("payment_succeeded", payment, times)

    async def refund_webhook(
        self, event_type: str, name: str, order_id: str, amount: int, times: int = 1
    ) -> None:
        """Deliver `refund_succeeded` or `refund_failed`, `times` times."""
        refund = {
            "refund_id": name,
            "payment_id": f"pay_{order_id}",
            "amount": amount,
            "currency": CURRENCY,
            "status": event_type.removeprefix("refund_"),
            "metadata": {"order_id": order_id},
        }
        await self._webhook(event_type, refund, times)

    async def _webhook(self, event_type: str, content: Mapping[str, object], times: int) -> None:
        event_id = f"evt_{next(self._events)}"
        body = orjson.dumps(
            {"event_id": event_id, "event_type": event_type, "content": {"object": content}}
        )
        for _ in range(times):
            await self._fleet.inbox.put("hyperswitch", event_id, event_type, body, now())

    # --- what has become of them ------------------------------------------------------------------

    def transfers(self, order_id: str) -> list[SellerTransferRow]:
        """Return the order's rows, by seller, oldest first."""
        rows = [
            row
            for row in self._fleet.database.tables["seller_transfers"].values()
            if row.order_id == order_id
        ]
        return sorted(rows, key=lambda row: (row.seller_id, row.created_at, row.cause))

    def transfer(self, order_id: str) -> SellerTransferRow:
        """Return the only row of the order."""
        (row,) = self.transfers(order_id)
        return row

    def statuses(self, order_id: str) -> list[str]:
        return [row.status for row in self.transfers(order_id)]

    def reversals(self, order_id: str) -> list[ReversalRow]:
        """Return the order's reversals, oldest first."""
        rows = [
            row
            for row in self._fleet.database.tables["transfer_reversals"].values()
            if row.order_id == order_id
        ]
        return sorted(rows, key=lambda row: (row.created_at, str(row.reversal_id)))

    def facts(self, order_id: str) -> list[Fact]:
        """Return the facts of the order's only transfer."""
        codec = FactCodec()
        return [
            codec.fact(one)
            for one in self._fleet.database.streams[self.transfer(order_id).transfer_id]
        ]

    def alarms(self) -> dict[str, str]:
        """Return the subjects of the open alarms, by kind."""
        return {alarm.kind: alarm.subject for alarm in self._fleet.database.alarms.raised()}
