"""As-of queries: a transfer, an order, a seller's balance and statement at a past moment.

They use the same folds as today's rows. The read models only say which streams belong to an order
or a seller, which never changes; everything else comes from the facts.
"""

from collections.abc import AsyncIterator
from datetime import datetime
from itertools import takewhile
from typing import NamedTuple
from uuid import UUID

from domain.errors import Refused
from domain.identity import SALE
from infrastructure.postgres.connections import Pool, fetch_all
from infrastructure.postgres.named_queries import queries
from infrastructure.postgres.read_side.fact_reader import FactReader
from infrastructure.postgres.read_side.read_models import part_now
from projections.audit_trail.entries import PositionedFact
from projections.balances import SellerBalance, balance_of
from projections.orders import OrderRow
from projections.refunds import RefundRow
from projections.registry import Fold, fold
from projections.statements import Period, SellerStatement, StatementAccounts, account_of
from projections.transfer_and_reversals import TransferFold

STREAMS_AT_ONCE = 100
"""Transfers of a seller in memory at a time; the larger, the longer other calls wait while these
are decoded."""
MOST_MOVEMENTS = 100_000

SQL = queries("as_of")


class NotReached(Refused):
    """A position that the ledger has not reached yet, so its state at that position is unknown."""

    code = "position_not_reached"

    def __init__(self, position: int, head: int) -> None:
        super().__init__(
            f"The ledger has not reached position {position}; ask for {head}, its newest, or an "
            "earlier one."
        )


class PeriodTooLong(Refused):
    """A statement with more movements than one answer holds."""

    code = "period_too_long"

    def __init__(self, most: int) -> None:
        super().__init__(
            f"The period holds more than {most} movements; ask for shorter periods, which join "
            "without a gap."
        )


class Moment(NamedTuple):
    """A moment of the past: facts up to `position`, and, where `instant` is given, no later than
    that instant.

    The position keeps several pages of one answer consistent while others append.
    """

    position: int
    instant: datetime | None = None

    def knew(self, facts: list[PositionedFact]) -> list[PositionedFact]:
        """Return the facts of a stream that had happened: a prefix, since neither positions nor
        instants of a stream go back."""
        return list(takewhile(self._had_happened, facts))

    def _had_happened(self, one: PositionedFact) -> bool:
        return one.position <= self.position and (
            self.instant is None or one.fact.timestamp <= self.instant
        )


class OrderThen(NamedTuple):
    """An order with everything that belonged to it, oldest first."""

    order: OrderRow
    transfers: list[TransferFold]
    refunds: list[RefundRow]


class AsOfQueries:
    """Reads facts; changes nothing."""

    def __init__(
        self, pool: Pool, facts: FactReader, streams_at_once: int = STREAMS_AT_ONCE
    ) -> None:
        self._pool, self._facts, self._streams_at_once = pool, facts, streams_at_once

    async def moment(self, instant: datetime | None = None, position: int | None = None) -> Moment:
        """Return the moment of an instant (facts of that very instant are included) or of a
        position. Raises NotReached."""
        head = await self._facts.head()
        if position is not None and position > head:
            raise NotReached(position, head)
        return Moment(head if position is None else position, instant)

    async def transfer(self, transfer_id: UUID, moment: Moment) -> TransferFold | None:
        """Return the transfer as it was at `moment`; None if it did not exist then."""
        folded = _folded(await self._facts.of(transfer_id), moment)
        return folded if isinstance(folded, TransferFold) else None

    async def order(self, order_id: str, moment: Moment) -> OrderThen | None:
        """Return the order as it was at `moment`; None if it did not exist then."""
        streams = await self._streams_of(order_id)
        facts = await self._facts.several(streams)
        known = [_folded(facts.get(stream, []), moment) for stream in streams]
        order = next((one for one in known if isinstance(one, OrderRow)), None)
        if order is None:
            return None
        transfers = [one for one in known if isinstance(one, TransferFold)]
        return OrderThen(
            order,
            transfers,
            [_as_it_stood(one, transfers) for one in known if isinstance(one, RefundRow)],
        )

    async def balances(self, seller_id: str, moment: Moment) -> list[SellerBalance]:
        """Return one balance for each currency in which the seller had transfers."""
        balances: dict[str, SellerBalance] = {}
        async for facts in self._transfers_of(seller_id, moment.instant):
            folded = _folded(facts, moment)
            if isinstance(folded, TransferFold):
                one = balance_of(folded)
                known = balances.get(one.currency)
                balances[one.currency] = one if known is None else known.plus(one)
        return sorted(balances.values())

    async def statement(
        self, seller_id: str, period: Period, moment: Moment, most: int = MOST_MOVEMENTS
    ) -> SellerStatement:
        """Return the movements of a period, as far as the ledger knew them at the moment. Raises
        PeriodTooLong."""
        accounts = StatementAccounts()
        async for facts in self._transfers_of(seller_id, period.end):
            account = account_of([(one.position, one.fact) for one in moment.knew(facts)], period)
            if account is not None:
                accounts.add(account)
            if accounts.movements > most:
                raise PeriodTooLong(most)
        return SellerStatement(seller_id, period, moment.position, accounts.total())

    async def history_of_order(self, order_id: str) -> list[PositionedFact]:
        """Return the facts of an order, its refunds, disputes and transfers, by position; empty for
        an unknown order."""
        facts = await self._facts.several(await self._streams_of(order_id))
        return sorted(
            (one for several in facts.values() for one in several), key=lambda one: one.position
        )

    async def webhooks_behind(self, facts: list[PositionedFact]) -> dict[int, str]:
        """Return the webhooks whose last facts are among these, as `<provider>:<event id>`, by
        position."""
        rows = await fetch_all(
            self._pool, SQL["webhooks_behind"], ([one.position for one in facts],)
        )
        return {position: f"{provider}:{event_id}" for position, provider, event_id in rows}

    async def _streams_of(self, order_id: str) -> list[UUID]:
        return [
            row[0]
            for row in await fetch_all(self._pool, SQL["streams_of_order"], {"order_id": order_id})
        ]

    async def _transfers_of(
        self, seller_id: str, begun_by: datetime | None
    ) -> AsyncIterator[list[PositionedFact]]:
        """Yield the facts of each of a seller's transfers, reading a page of transfers at a
        time."""
        page = {
            "seller_id": seller_id,
            "begun_by": begun_by,
            "created_at": None,
            "transfer_id": None,
        }
        while True:
            rows = await fetch_all(
                self._pool, SQL["transfers_of_seller"], {**page, "limit": self._streams_at_once}
            )
            for facts in (
                await self._facts.several([transfer_id for _, transfer_id in rows])
            ).values():
                yield facts
            if len(rows) < self._streams_at_once:
                return
            page |= {"created_at": rows[-1][0], "transfer_id": rows[-1][1]}


def _folded(facts: list[PositionedFact], moment: Moment) -> Fold | None:
    return fold(None, (one.fact for one in moment.knew(facts)))


def _as_it_stood(refund: RefundRow, transfers: list[TransferFold]) -> RefundRow:
    """Return the refund with the status that each of its parts had."""
    reversals = {
        str(row.reversal_id): row.status for one in transfers for row in one.reversals.rows.values()
    }
    sales = {
        one.transfer.seller_id: one.transfer.status
        for one in transfers
        if one.transfer.cause == SALE
    }
    return refund._replace(
        allocation=[part_now(refund, part, reversals, sales) for part in refund.allocation]
    )
