"""Look-ups in the read models in memory."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from application.missed_webhooks.ports import KnownDispute, KnownRefund
from application.ports import AlarmState, OrderMatches, WebhookName
from domain.dispute import DisputeStatus
from domain.identity import dispute_stream
from domain.provider_call.stripe_objects import TransferAtStripe
from infrastructure.simulation.in_memory.database import MemoryDatabase
from projections.orders import OrderRow, OrderStatus
from projections.refunds import RefundRow


class MemoryDirectory:
    """See `application.ports.Directory`, and the ports of `application.missed_webhooks` for the
    last three methods."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._tables, self._indexes = database.tables, database.indexes
        self._inbox, self._alarms = database.inbox, database.alarms

    async def refund_named(self, name: str) -> UUID | None:
        return self._indexes.refund_named.get(name)

    async def find_order(
        self,
        *,
        refund_id: str | None = None,
        order_ids: Sequence[str] = (),
        payment_ids: Sequence[str] = (),
        source_transactions: Sequence[str] = (),
    ) -> OrderMatches:
        refund = self._refund(refund_id) if refund_id is not None else None
        by_payment = sorted(self._paid_by(payment_ids, source_transactions))[:2]
        by_id = [order_id for order_id in order_ids if order_id in self._tables["orders"]]
        found = {*by_id, *by_payment, *([refund.order_id] if refund else [])}
        paid = frozenset(
            order_id
            for order_id in found
            if (row := self._order(order_id)) is not None and row.status != OrderStatus.OPEN.value
        )
        by_refund, stream = (refund.order_id, refund.stream_id) if refund else (None, None)
        return OrderMatches(by_refund, stream, by_id, by_payment, paid)

    async def transfers_of(self, order_id: str) -> Sequence[UUID]:
        known = self._indexes.transfers_of_order
        return sorted(known[order_id]) if order_id in known else []

    async def unsent_of(self, seller_id: str, after: UUID | None) -> Sequence[UUID]:
        unpaid = ("pending", "failed", "permanently_failed")
        rows = self._tables["seller_transfers"].values()
        ids = [r.transfer_id for r in rows if r.seller_id == seller_id and r.status in unpaid]
        return sorted(i for i in ids if after is None or i > after)[:100]

    async def webhook(self, inbox_id: int) -> WebhookName | None:
        row = self._inbox.rows.get(inbox_id)
        if row is None:
            return None
        return WebhookName(
            row.provider, row.event_id, row.event_type, row.status, row.reason, leased=False
        )

    async def alarm(self, kind: str, subject: str) -> AlarmState | None:
        found = [row for row in self._alarms.rows() if (row.kind, row.subject) == (kind, subject)]
        return AlarmState(found[0].cleared_at is None, found[0].times) if found else None

    async def claimed(self, transfers: Sequence[TransferAtStripe]) -> frozenset[str]:
        paid = self._indexes.transfer_at_stripe
        return frozenset(
            seen.stripe_transfer_id
            for seen in transfers
            if seen.stripe_transfer_id in paid or self._is_ours(seen.transfer_id)
        )

    async def transfer_at_stripe(self, stripe_transfer_id: str) -> UUID | None:
        return self._indexes.transfer_at_stripe.get(stripe_transfer_id)

    async def sellers_of(self, account: str) -> Sequence[str]:
        return sorted(self._indexes.sellers_of.get(account, ()))

    async def waiting(
        self, status: str, waiting_for: str, account: str | None, after: UUID | None
    ) -> Sequence[UUID]:
        rows = self._tables["seller_transfers"]
        return sorted(
            transfer_id
            for transfer_id in self._indexes.waiting[status, waiting_for]
            if account in (None, rows[transfer_id].destination)
            and (after is None or transfer_id > after)
        )

    async def unpaid(self, since: datetime, until: datetime, nth: int, limit: int) -> Sequence[str]:
        rows = (self._tables["orders"][order_id] for order_id in self._indexes.open_orders)
        chosen = [row for row in rows if row.payment_id and since <= row.created_at < until]
        chosen.sort(key=lambda row: hashlib.sha256(f"{nth} {row.order_id}".encode()).digest())
        return list(dict.fromkeys(row.payment_id for row in chosen[:limit]))

    async def still_unpaid(self, payment_ids: Sequence[str]) -> Collection[str]:
        asked = set(payment_ids)
        rows = (self._tables["orders"][order_id] for order_id in self._indexes.open_orders)
        return {row.payment_id for row in rows if row.payment_id in asked}

    async def refund_statuses(self, names: Collection[str]) -> Mapping[str, KnownRefund]:
        found = {name: self._refund(name) for name in names}
        return {
            name: KnownRefund(row.status, row.version)
            for name, row in found.items()
            if row is not None
        }

    async def dispute_statuses(
        self, provider: str, names: Collection[str]
    ) -> Mapping[str, KnownDispute]:
        rows = (self._tables["disputes"].get(dispute_stream(provider, name)) for name in names)
        return {
            row.dispute_id: KnownDispute(DisputeStatus(row.status), row.version)
            for row in rows
            if row is not None
        }

    def _paid_by(self, payment_ids: Sequence[str], source_transactions: Sequence[str]) -> set[str]:
        known = self._indexes.orders_of_payment
        named = {
            order_id
            for name in (*payment_ids, *source_transactions)
            for order_id in known.get(name, ())
        }
        rows = {order_id: self._order(order_id) for order_id in named}
        return {
            order_id
            for order_id, row in rows.items()
            if row is not None
            and (row.payment_id in payment_ids or row.source_transaction in source_transactions)
        }

    def _is_ours(self, transfer_id: str | None) -> bool:
        try:
            return UUID(transfer_id) in self._tables["seller_transfers"]
        except (TypeError, ValueError):
            return False

    def _order(self, order_id: str) -> OrderRow | None:
        return self._tables["orders"].get(order_id)

    def _refund(self, name: str) -> RefundRow | None:
        stream = self._indexes.refund_named.get(name)
        return None if stream is None else self._tables["refunds"].get(stream)
