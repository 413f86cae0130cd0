"""The read side: what people and programs ask about. Plain SQL on the read models, and folds where the past is asked for."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from psycopg.rows import class_row

from domain.identity import transfer_stream
from domain.refund.state import Part
from infrastructure.postgres.connections import Pool
from infrastructure.postgres.named_queries import queries
from projections.balances import SellerBalance
from projections.orders import OrderRow
from projections.pauses import PauseRow
from projections.payouts import PayoutRow
from projections.refunds import RefundRow
from projections.seller_transfers import SellerTransferRow
from projections.transfer_reversals import ReversalRow

SQL = queries("read_models")


class Filters(NamedTuple):
    """None does not filter. `before` continues a listing: created_at and transfer_id of its last row."""

    status: str | None = None
    seller_id: str | None = None
    order_id: str | None = None
    before: tuple[datetime, UUID] | None = None


class ReadModels:
    """Every answer is as new as the last commit: rows are written in the transaction of their facts."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def transfers(self, filters: Filters, limit: int) -> list[SellerTransferRow]:
        """Newest first."""
        created_at, transfer_id = filters.before or (None, None)
        values = {
            "status": filters.status,
            "seller_id": filters.seller_id,
            "order_id": filters.order_id,
            "created_at": created_at,
            "transfer_id": transfer_id,
            "limit": limit,
        }
        async with self._pool.connection() as connection, connection.cursor(row_factory=class_row(SellerTransferRow)) as cursor:
            await cursor.execute(SQL["transfers"], values)
            return await cursor.fetchall()

    async def transfer(self, transfer_id: UUID) -> SellerTransferRow | None:
        """One transfer, as it is now."""
        async with self._pool.connection() as connection, connection.cursor(row_factory=class_row(SellerTransferRow)) as cursor:
            await cursor.execute(SQL["transfer"], (transfer_id,))
            return await cursor.fetchone()

    async def reversals(self, transfer_ids: Sequence[UUID]) -> dict[UUID, list[ReversalRow]]:
        """The reversals of some transfers, oldest first; every id has its list."""
        found: dict[UUID, list[ReversalRow]] = {transfer_id: [] for transfer_id in transfer_ids}
        async with self._pool.connection() as connection, connection.cursor(row_factory=class_row(ReversalRow)) as cursor:
            await cursor.execute(SQL["reversals"], (list(transfer_ids),))
            for reversal in await cursor.fetchall():
                found[reversal.transfer_id].append(reversal)
        return found

    async def order(self, order_id: str) -> OrderRow | None:
        """One order."""
        async with self._pool.connection() as connection, connection.cursor(row_factory=class_row(OrderRow)) as cursor:
            await cursor.execute(SQL["order"], (order_id,))
            return await cursor.fetchone()

    async def refund(self, name: str) -> RefundRow | None:
        """One refund, by `refund_id` or `psp_refund_id`; its allocation says what has become of each part."""
        async with self._pool.connection() as connection, connection.cursor(row_factory=class_row(RefundRow)) as cursor:
            await cursor.execute(SQL["refund"], {"name": name})
            refund = await cursor.fetchone()
        if refund is None:
            return None
        return refund._replace(allocation=await self._with_statuses(refund))

    async def _with_statuses(self, refund: RefundRow) -> list[Part]:
        ids = [UUID(part["reversal_id"]) for part in refund.allocation if part["reversal_id"] is not None]
        statuses = {str(key): status for key, status in await self._pairs("reversal_statuses", ids)}
        sales = dict(await self._pairs("sale_statuses", refund.order_id))
        return [part_now(refund, part, statuses, sales) for part in refund.allocation]

    async def names_of(self, order_id: str) -> tuple[list[UUID], list[str]]:
        """The ids of an order's transfers and of its refunds, oldest first."""
        async with self._pool.connection() as connection:
            transfers = await (await connection.execute(SQL["transfers_of"], (order_id,))).fetchall()
            refunds = await (await connection.execute(SQL["refunds_of"], (order_id,))).fetchall()
        return [row[0] for row in transfers], [row[0] for row in refunds]

    async def balances(self, seller_id: str) -> list[SellerBalance]:
        """One line for each currency in which the seller has transfers."""
        async with self._pool.connection() as connection:
            rows = await (await connection.execute(SQL["balance"], (seller_id,))).fetchall()
        return [SellerBalance(*row) for row in rows]

    async def payouts(self, seller_id: str, limit: int) -> list[PayoutRow]:
        """The newest payouts of the accounts to which a seller's transfers go."""
        values = {"seller_id": seller_id, "limit": limit}
        async with self._pool.connection() as connection, connection.cursor(row_factory=class_row(PayoutRow)) as cursor:
            await cursor.execute(SQL["payouts"], values)
            return await cursor.fetchall()

    async def statuses(self) -> dict[str, int]:
        """How many transfers have each status."""
        return dict(await self._pairs("statuses"))

    async def open_alarms(self) -> dict[str, int]:
        """How many alarms of each kind are open."""
        return dict(await self._pairs("open_alarms"))

    async def oldest_reversal(self) -> float:
        """For how many seconds the longest waiting reversal has been owed; 0 when none is."""
        async with self._pool.connection() as connection:
            row = await (await connection.execute(SQL["oldest_reversal"])).fetchone()
        return float(row[0]) if row else 0.0

    async def pauses(self) -> list[PauseRow]:
        """What is paused now, longest first."""
        async with self._pool.connection() as connection, connection.cursor(row_factory=class_row(PauseRow)) as cursor:
            await cursor.execute(SQL["pauses"])
            return await cursor.fetchall()

    async def pause(self, scope: str) -> PauseRow | None:
        """One scope, if it was ever paused."""
        async with self._pool.connection() as connection, connection.cursor(row_factory=class_row(PauseRow)) as cursor:
            await cursor.execute(SQL["pause"], (scope,))
            return await cursor.fetchone()

    async def schema_version(self) -> int:
        """The newest migration that the database has; 0 when it has none."""
        async with self._pool.connection() as connection:
            row = await (await connection.execute(SQL["schema_version"])).fetchone()
        return int(row[0]) if row else 0

    async def _pairs(self, query: str, *values: object) -> list[tuple[str, int]]:
        async with self._pool.connection() as connection:
            rows = await (await connection.execute(SQL[query], values)).fetchall()
        return [(row[0], row[1]) for row in rows]


def part_now(refund: RefundRow, part: Part, reversals: Mapping[str, object], sales: Mapping[str, object]) -> Part:
    """A part as it stands now: its order may have been paid since, and a reversal that waited may have become unnecessary."""
    seller_id, reversal_id, transfer_id = part["seller_id"], part["reversal_id"], part["transfer_id"]
    if transfer_id is None and seller_id in sales:
        transfer_id = str(transfer_stream(refund.order_id, seller_id))
    status = _status(refund.status, reversals.get(reversal_id or ""), sales.get(seller_id))
    return Part(seller_id=seller_id, amount=part["amount"], transfer_id=transfer_id, reversal_id=reversal_id, status=status)


def _status(refund: str, reversal: object, sale: object) -> str:
    # a refund that counts, and whose queued reversal was withdrawn: the transfer was refused, and less is sent instead
    if reversal is not None and not (reversal == "withdrawn" and refund == "succeeded"):
        return str(reversal)
    if sale is None:
        return "waiting_for_payment"
    return "cancelled" if sale == "cancelled" else "reduced"
