"""Indexes of the read models in memory, so that a look-up does not read every row."""

from collections import defaultdict
from typing import Any
from uuid import UUID

from projections.orders import OrderRow, OrderStatus
from projections.refunds import RefundRow
from projections.seller_transfers import SellerTransferRow
from projections.transfer_reversals import ReversalRow


class Indexes:
    """Keys of rows by the columns that the ledger searches for."""

    def __init__(self) -> None:
        self.transfers_of_order: defaultdict[str, set[UUID]] = defaultdict(set)
        self.transfer_at_stripe: dict[str, UUID] = {}
        self.waiting: defaultdict[tuple[str, str | None], set[UUID]] = defaultdict(set)
        """Transfers by status and by what they wait for."""
        self.sellers_of: defaultdict[str, set[str]] = defaultdict(set)
        """Sellers by account at Stripe."""
        self.orders_of_payment: defaultdict[str, set[str]] = defaultdict(set)
        """Orders by payment and by source_transaction."""
        self.open_orders: dict[str, None] = {}
        self.reversals_of: defaultdict[UUID, dict[UUID, None]] = defaultdict(dict)
        """Reversals by transfer."""
        self.refund_named: dict[str, UUID] = {}
        """Refunds by `refund_id` and by `psp_refund_id`."""

    def changed(self, before: Any, after: Any) -> None:
        """Take over a written row. `before`: the row that it replaces, or None."""
        match after:
            case SellerTransferRow():
                self._transfer(before, after)
            case ReversalRow():
                self.reversals_of[after.transfer_id][after.reversal_id] = None
            case OrderRow():
                self._order(after)
            case RefundRow():
                for name in filter(None, (after.refund_id, after.psp_refund_id)):
                    self.refund_named[name] = after.stream_id

    def _transfer(self, before: SellerTransferRow | None, row: SellerTransferRow) -> None:
        if before is not None:
            self.waiting[before.status, before.waiting_for].discard(row.transfer_id)
        self.waiting[row.status, row.waiting_for].add(row.transfer_id)
        self.transfers_of_order[row.order_id].add(row.transfer_id)
        self.sellers_of[row.destination].add(row.seller_id)
        if row.stripe_transfer_id:
            self.transfer_at_stripe[row.stripe_transfer_id] = row.transfer_id

    def _order(self, row: OrderRow) -> None:
        for name in filter(None, (row.payment_id, row.source_transaction)):
            self.orders_of_payment[name].add(row.order_id)
        if row.status == OrderStatus.OPEN.value:
            self.open_orders[row.order_id] = None
        else:
            self.open_orders.pop(row.order_id, None)
