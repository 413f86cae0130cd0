"""Transfers, orders, refunds and sellers as the API and the command line show them."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from domain.identity import transfer_stream
from domain.refund.state import Part
from infrastructure.postgres.connections import Pool, fetch_all, fetch_one, fetch_rows
from infrastructure.postgres.named_queries import queries
from projections.balances import SellerBalance
from projections.disputes import DisputeRow
from projections.orders import OrderRow
from projections.pauses import PauseRow
from projections.payouts import PayoutRow
from projections.refunds import RefundRow
from projections.seller_transfers import SellerTransferRow
from projections.transfer_reversals import ReversalRow

SQL = queries("read_models")


class Filters(NamedTuple):
    """Filters of a list of transfers; None does not filter.

    `before` continues a list: created_at and transfer_id of its last row.
    """

    status: str | None = None
    seller_id: str | None = None
    order_id: str | None = None
    before: tuple[datetime, UUID] | None = None


class ReadModels:
    """Read models. Every answer is as new as the last commit: rows are written in the transaction
    of their facts."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def transfers(self, filters: Filters, limit: int) -> list[SellerTransferRow]:
        """List transfers, newest first."""
        created_at, transfer_id = filters.before or (None, None)
        values = filters._asdict() | {
            "created_at": created_at,
            "transfer_id": transfer_id,
            "limit": limit,
        }
        return await fetch_rows(self._pool, SellerTransferRow, SQL["transfers"], values)

    async def transfer(self, transfer_id: UUID) -> SellerTransferRow | None:
        """Return one transfer as it is now."""
        return next(
            iter(
                await fetch_rows(
                    self._pool, SellerTransferRow, SQL["some_transfers"], ([transfer_id],)
                )
            ),
            None,
        )

    async def reversals(self, transfer_ids: Sequence[UUID]) -> dict[UUID, list[ReversalRow]]:
        """Return the reversals of each of these transfers, oldest first; a transfer without
        reversals has an empty list."""
        found: dict[UUID, list[ReversalRow]] = {transfer_id: [] for transfer_id in transfer_ids}
        for reversal in await fetch_rows(
            self._pool, ReversalRow, SQL["reversals"], (list(transfer_ids),)
        ):
            found[reversal.transfer_id].append(reversal)
        return found

    async def order(self, order_id: str) -> OrderRow | None:
        """Return one order."""
        return next(iter(await fetch_rows(self._pool, OrderRow, SQL["order"], (order_id,))), None)

    async def refund(self, name: str) -> RefundRow | None:
        """Return one refund by `refund_id` or `psp_refund_id`; its allocation has the present
        status of each part."""
        refund = next(
            iter(await fetch_rows(self._pool, RefundRow, SQL["refund"], {"name": name})), None
        )
        return (await self._with_statuses([refund]))[0] if refund is not None else None

    async def dispute(self, dispute_id: str) -> DisputeRow | None:
        """Return one dispute by the provider's id."""
        found = await fetch_rows(self._pool, DisputeRow, SQL["dispute"], (dispute_id,))
        return next(iter(found), None)

    async def refunds_of(self, order_id: str) -> list[RefundRow]:
        """List an order's refunds, oldest first; their allocations have the present status of each
        part."""
        refunds = await fetch_rows(self._pool, RefundRow, SQL["refunds_of"], (order_id,))
        return await self._with_statuses(refunds) if refunds else []

    async def _with_statuses(self, refunds: Sequence[RefundRow]) -> list[RefundRow]:
        """Return refunds of one order with the present status of each part."""
        ids = [
            UUID(part["reversal_id"])
            for refund in refunds
            for part in refund.allocation
            if part["reversal_id"] is not None
        ]
        statuses = {str(key): status for key, status in await self._pairs("reversal_statuses", ids)}
        sales = dict(await self._pairs("sale_statuses", refunds[0].order_id))
        return [
            refund._replace(
                allocation=[part_now(refund, part, statuses, sales) for part in refund.allocation]
            )
            for refund in refunds
        ]

    async def balances(self, seller_id: str) -> list[SellerBalance]:
        """Return one balance for each currency in which the seller has transfers."""
        rows = await fetch_all(self._pool, SQL["balance"], (seller_id,))
        return [SellerBalance(*row) for row in rows]

    async def payouts(self, seller_id: str, limit: int) -> list[PayoutRow]:
        """List the payouts of the accounts to which a seller's transfers go, newest first."""
        return await fetch_rows(
            self._pool, PayoutRow, SQL["payouts"], {"seller_id": seller_id, "limit": limit}
        )

    async def open_alarms(self) -> dict[str, int]:
        """Count the open alarms of each kind."""
        return dict(await self._pairs("open_alarms"))

    async def oldest_reversal(self) -> float:
        """Return the age, in seconds, of the oldest reversal that is still owed; 0 when there is
        none."""
        row = await fetch_one(self._pool, SQL["oldest_reversal"])
        return float(row[0]) if row else 0.0

    async def pauses(self) -> list[PauseRow]:
        """List the scopes that are paused now, longest first."""
        return await fetch_rows(self._pool, PauseRow, SQL["pauses"])

    async def pause(self, scope: str) -> PauseRow | None:
        """Return the pause of one scope, if that was ever paused."""
        return next(iter(await fetch_rows(self._pool, PauseRow, SQL["pause"], (scope,))), None)

    async def schema_version(self) -> int:
        """Return the newest migration that the database has; 0 when it has none."""
        row = await fetch_one(self._pool, SQL["schema_version"])
        return int(row[0]) if row else 0

    async def _pairs(self, query: str, *values: object) -> list[tuple[str, int]]:
        rows = await fetch_all(self._pool, SQL[query], values)
        return [(row[0], row[1]) for row in rows]


def part_now(
    refund: RefundRow, part: Part, reversals: Mapping[str, object], sales: Mapping[str, object]
) -> Part:
    """Return a part of a refund with its present status.

    Since the refund, its order may have been paid, and a queued reversal may have become
    unnecessary.
    """
    seller_id, reversal_id, transfer_id = (
        part["seller_id"],
        part["reversal_id"],
        part["transfer_id"],
    )
    if transfer_id is None and seller_id in sales:
        transfer_id = str(transfer_stream(refund.order_id, seller_id))
    status = _status(refund.status, reversals.get(reversal_id or ""), sales.get(seller_id))
    return Part(
        seller_id=seller_id,
        amount=part["amount"],
        transfer_id=transfer_id,
        reversal_id=reversal_id,
        status=status,
    )


def _status(refund: str, reversal: object, sale: object) -> str:
    # a refund that counts with a withdrawn reversal: the transfer was refused, and the next one
    # sends less instead
    if reversal is not None and not (reversal == "withdrawn" and refund == "succeeded"):
        return str(reversal)
    if sale is None:
        return "waiting_for_payment"
    return "cancelled" if sale == "cancelled" else "reduced"
