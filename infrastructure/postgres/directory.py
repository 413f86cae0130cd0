"""The port `Directory` on PostgreSQL: look-ups in the read models."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from application.missed_webhooks.ports import KnownDispute, KnownRefund
from application.ports import AlarmState, OrderMatches, WebhookName
from domain.dispute import DisputeStatus
from domain.provider_call.stripe_objects import TransferAtStripe
from infrastructure.postgres.connections import Pool
from infrastructure.postgres.named_queries import queries

SQL = queries("directory")
BATCH = 100
"""Waiting transfers per query."""


class PostgresDirectory:
    """See `application.ports.Directory`, and the ports of `application.missed_webhooks` for the
    last three methods."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def find_order(
        self,
        *,
        refund_id: str | None = None,
        order_ids: Sequence[str] = (),
        payment_ids: Sequence[str] = (),
        source_transactions: Sequence[str] = (),
    ) -> OrderMatches:
        """Find the orders with these names in one query."""
        values = {
            "refund_id": refund_id,
            "order_ids": list(order_ids),
            "payment_ids": list(payment_ids),
            "source_transactions": list(source_transactions),
        }
        rows = await self._rows("find_order", values)
        by_refund, refund = next(
            ((order_id, stream) for by, order_id, _, stream in rows if by == "refund"), (None, None)
        )
        by_id = {order_id for by, order_id, _, _ in rows if by == "id"}
        by_payment = [order_id for by, order_id, _, _ in rows if by == "payment"]
        paid = frozenset(order_id for _, order_id, paid, _ in rows if paid)
        return OrderMatches(
            by_refund, refund, [name for name in order_ids if name in by_id], by_payment, paid
        )

    async def refund_named(self, name: str) -> UUID | None:
        """Return the stream of the refund with this `refund_id` or `psp_refund_id`."""
        found = await self._rows("refund_named", {"name": name})
        return found[0][0] if found else None

    async def transfer_at_stripe(self, stripe_transfer_id: str) -> UUID | None:
        """Return our transfer with this id at Stripe."""
        found = await self._rows("transfer_at_stripe", (stripe_transfer_id,))
        return found[0][0] if found else None

    async def sellers_of(self, account: str) -> Sequence[str]:
        """Return the sellers whose transfers go to this account."""
        return [row[0] for row in await self._rows("sellers_of", {"account": account})]

    async def waiting(
        self, status: str, waiting_for: str, account: str | None, after: UUID | None
    ) -> Sequence[UUID]:
        """Return a batch of the transfers that wait for `account` or `funds`."""
        values = {
            "status": status,
            "waiting_for": waiting_for,
            "account": account,
            "after": after,
            "limit": BATCH,
        }
        return [row[0] for row in await self._rows("waiting", values)]

    async def transfers_of(self, order_id: str) -> Sequence[UUID]:
        """Return the transfers of an order. The order itself may be unknown."""
        return [row[0] for row in await self._rows("transfers_of", (order_id,))]

    async def unsent_of(self, seller_id: str, after: UUID | None) -> Sequence[UUID]:
        """Return a batch of the seller's transfers that are not paid."""
        values = {"seller_id": seller_id, "after": after, "limit": BATCH}
        return [row[0] for row in await self._rows("unsent_of", values)]

    async def webhook(self, inbox_id: int) -> WebhookName | None:
        """Return the stored webhook with this number."""
        found = await self._rows("webhook", (inbox_id,))
        return WebhookName(*found[0]) if found else None

    async def alarm(self, kind: str, subject: str) -> AlarmState | None:
        """Return the alarm, open or not."""
        found = await self._rows("alarm", (kind, subject))
        return AlarmState(*found[0]) if found else None

    async def claimed(self, transfers: Sequence[TransferAtStripe]) -> frozenset[str]:
        """Return the Stripe ids of those that belong to a transfer of ours."""
        values = {
            "ids": [seen.stripe_transfer_id for seen in transfers],
            "names": [seen.transfer_id for seen in transfers],
        }
        return frozenset(row[0] for row in await self._rows("claimed", values))

    async def unpaid(self, since: datetime, until: datetime, nth: int, limit: int) -> Sequence[str]:
        """Return payments of unpaid orders. See
        `application.missed_webhooks.ports.UnpaidOrders`."""
        values = {"since": since, "until": until, "nth": nth, "limit": limit}
        return list(dict.fromkeys(row[0] for row in await self._rows("unpaid", values)))

    async def still_unpaid(self, payment_ids: Sequence[str]) -> Collection[str]:
        """Return those of these payments that an unpaid order names."""
        return {row[0] for row in await self._rows("still_unpaid", {"names": list(payment_ids)})}

    async def refund_statuses(self, names: Collection[str]) -> Mapping[str, KnownRefund]:
        """Return refund statuses by name. See `application.missed_webhooks.ports.KnownRefunds`."""
        rows = await self._rows("refund_statuses", (list(names),))
        return {name: KnownRefund(status, version) for name, status, version in rows}

    async def dispute_statuses(
        self, provider: str, names: Collection[str]
    ) -> Mapping[str, KnownDispute]:
        """Return dispute statuses by name. See
        `application.missed_webhooks.ports.KnownDisputes`."""
        values = {"provider": provider, "names": list(names)}
        rows = await self._rows("dispute_statuses", values)
        return {name: KnownDispute(DisputeStatus(told), version) for name, told, version in rows}

    async def _rows(
        self, query: str, values: Mapping[str, object] | Sequence[object]
    ) -> list[tuple[Any, ...]]:
        async with self._pool.connection() as connection:
            cursor = await connection.execute(SQL[query], values)
            return await cursor.fetchall()
