"""The past: a transfer, an order, a seller's balance and statement as they were, by the fold that also writes the rows of now.

Read models only say which streams belong to an order or a seller, which never changes; what those were comes from facts.
"""

from collections.abc import AsyncIterator
from datetime import datetime
from itertools import takewhile
from typing import NamedTuple
from uuid import UUID

from domain.errors import Refused
from domain.identity import SALE
from infrastructure.postgres.connections import Pool
from infrastructure.postgres.fact_reader import History
from infrastructure.postgres.named_queries import queries
from infrastructure.postgres.read_models import part_now
from projections.audit_trail.entries import PositionedFact
from projections.balances import SellerBalance, balance_of
from projections.orders import OrderRow
from projections.refunds import RefundRow
from projections.registry import Fold, fold
from projections.statements import Period, SellerStatement, StatementAccounts, account_of
from projections.transfer_fold import TransferFold

STREAMS_AT_ONCE = 100
"""How many of a seller's transfers are in memory at a time, and how long other calls wait while they are decoded."""
MOST_MOVEMENTS = 100_000

SQL = queries("past")


class NotReached(Refused):
    """A position that the ledger has not reached yet: nobody can say what it will have been then."""

    code = "position_not_reached"

    def __init__(self, position: int, head: int) -> None:
        super().__init__(f"The ledger has not reached position {position}; its newest is {head}, so ask for that or earlier.")


class PeriodTooLong(Refused):
    """A statement with more movements than one answer holds."""

    code = "period_too_long"

    def __init__(self, most: int) -> None:
        super().__init__(f"The period holds more than {most} movements; ask for shorter ones, which join without a gap.")


class Moment(NamedTuple):
    """Where the past is looked at from: facts up to `position`, of no later instant than `instant` where that is given.

    The position holds still what is read in several pages while others append.
    """

    position: int
    instant: datetime | None = None

    def knew(self, told: list[PositionedFact]) -> list[PositionedFact]:
        """What of a stream had happened: a prefix, since neither positions nor a stream's instants ever go back."""
        return list(takewhile(self._had_happened, told))

    def _had_happened(self, one: PositionedFact) -> bool:
        return one.position <= self.position and (self.instant is None or one.fact.timestamp <= self.instant)


class OrderThen(NamedTuple):
    """An order with everything that belonged to it, oldest first."""

    order: OrderRow
    transfers: list[TransferFold]
    refunds: list[RefundRow]


class Past:
    """Reads facts; changes nothing."""

    def __init__(self, pool: Pool, history: History, streams_at_once: int = STREAMS_AT_ONCE) -> None:
        self._pool, self._history, self._streams_at_once = pool, history, streams_at_once

    async def moment(self, instant: datetime | None = None, position: int | None = None) -> Moment:
        """The moment at an instant (what happened at that very instant included) or a position. Raises NotReached."""
        head = await self._history.head()
        if position is not None and position > head:
            raise NotReached(position, head)
        return Moment(head if position is None else position, instant)

    async def transfer(self, transfer_id: UUID, moment: Moment) -> TransferFold | None:
        """One transfer; None before it existed."""
        folded = _folded(await self._history.of(transfer_id), moment)
        return folded if isinstance(folded, TransferFold) else None

    async def order(self, order_id: str, moment: Moment) -> OrderThen | None:
        """One order; None before it existed."""
        streams = await self._streams_of(order_id)
        told = await self._history.several(streams)
        known = [_folded(told.get(stream, []), moment) for stream in streams]
        order = next((one for one in known if isinstance(one, OrderRow)), None)
        if order is None:
            return None
        transfers = [one for one in known if isinstance(one, TransferFold)]
        return OrderThen(order, transfers, [_as_it_stood(one, transfers) for one in known if isinstance(one, RefundRow)])

    async def balances(self, seller_id: str, moment: Moment) -> list[SellerBalance]:
        """One line for each currency in which the seller had transfers."""
        balances: dict[str, SellerBalance] = {}
        async for told in self._transfers_of(seller_id, moment.instant):
            folded = _folded(told, moment)
            if isinstance(folded, TransferFold):
                one = balance_of(folded)
                known = balances.get(one.currency)
                balances[one.currency] = one if known is None else known.plus(one)
        return sorted(balances.values())

    async def statement(self, seller_id: str, period: Period, moment: Moment, most: int = MOST_MOVEMENTS) -> SellerStatement:
        """What moved in a period, as far as the ledger knew at the moment. Raises PeriodTooLong."""
        accounts = StatementAccounts()
        async for told in self._transfers_of(seller_id, period.end):
            account = account_of([(one.position, one.fact) for one in moment.knew(told)], period)
            if account is not None:
                accounts.add(account)
            if accounts.movements > most:
                raise PeriodTooLong(most)
        return SellerStatement(seller_id, period, moment.position, accounts.total())

    async def history_of_order(self, order_id: str) -> list[PositionedFact]:
        """All facts of an order, its refunds and its transfers, in order of position; empty when there is none of them."""
        told = await self._history.several(await self._streams_of(order_id))
        return sorted((one for several in told.values() for one in several), key=lambda one: one.position)

    async def webhooks_behind(self, told: list[PositionedFact]) -> dict[int, str]:
        """By position of a fact that was the last of a webhook's, that webhook as `<provider>:<event id>`."""
        async with self._pool.connection() as connection:
            found = await connection.execute(SQL["webhooks_behind"], ([one.position for one in told],))
            return {position: f"{provider}:{event_id}" for position, provider, event_id in await found.fetchall()}

    async def _streams_of(self, order_id: str) -> list[UUID]:
        async with self._pool.connection() as connection:
            found = await connection.execute(SQL["streams_of_order"], {"order_id": order_id})
            return [row[0] for row in await found.fetchall()]

    async def _transfers_of(self, seller_id: str, begun_by: datetime | None) -> AsyncIterator[list[PositionedFact]]:
        """The facts of each of a seller's transfers; a page of them at a time."""
        page = {"seller_id": seller_id, "begun_by": begun_by, "created_at": None, "transfer_id": None}
        while True:
            async with self._pool.connection() as connection:
                found = await connection.execute(SQL["transfers_of_seller"], {**page, "limit": self._streams_at_once})
                rows = await found.fetchall()
            for told in (await self._history.several([transfer_id for _, transfer_id in rows])).values():
                yield told
            if len(rows) < self._streams_at_once:
                return
            page |= {"created_at": rows[-1][0], "transfer_id": rows[-1][1]}


def _folded(told: list[PositionedFact], moment: Moment) -> Fold | None:
    return fold(None, (one.fact for one in moment.knew(told)))


def _as_it_stood(refund: RefundRow, transfers: list[TransferFold]) -> RefundRow:
    """The refund with what had become of each of its parts."""
    reversals = {str(row.reversal_id): row.status for one in transfers for row in one.reversals.rows.values()}
    sales = {one.transfer.seller_id: one.transfer.status for one in transfers if one.transfer.cause == SALE}
    return refund._replace(allocation=[part_now(refund, part, reversals, sales) for part in refund.allocation])
