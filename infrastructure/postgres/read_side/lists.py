"""Lists for people, with filters and cursors: transfers, orders, refunds, disputes, webhooks,
findings, sellers.

Each query has the conditions of the given filters only, so that PostgreSQL plans for these values.
A filter without an index reads at most `WINDOW` rows for a page: the page may then be short, and
still have a next one.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Generic, Literal, NamedTuple, TypeVar
from uuid import UUID

from infrastructure.postgres.connections import Pool, fetch_by_index
from infrastructure.postgres.inbox import InboxRow
from infrastructure.postgres.named_queries import queries
from projections.disputes import DisputeRow
from projections.orders import OrderRow
from projections.refunds import RefundRow
from projections.seller_transfers import SellerTransferRow

SQL = queries("lists")
WINDOW = 20_000
FILTERS, ORDER = b"true /* filters */", b"seller_id /* order */"
"""The places in the queries that the conditions of the filters, and the order, replace."""
Row = TypeVar("Row")
Place = tuple[datetime, Any]
"""The last row of a page: its order in the list, and its id."""


class Page(NamedTuple, Generic[Row]):
    """A page of a list. `next` is the place after which the list continues; None at its end."""

    rows: Sequence[Row]
    next: Any


class TransferFilters(NamedTuple):
    """Filters of transfers; None does not filter. Amounts in minor units."""

    status: str | None = None
    seller_id: str | None = None
    order_id: str | None = None
    waiting_for: str | None = None
    refund_id: str | None = None
    stripe_id: str | None = None
    """`tr_…` or `trr_…`."""
    destination: str | None = None
    currency: str | None = None
    created_from: datetime | None = None
    created_to: datetime | None = None
    """Not part of the period."""
    updated_since: datetime | None = None
    min_amount: int | None = None
    attempts: int | None = None
    """The least number of attempts that were repeated."""
    error: str | None = None
    """A part of the last error, in any case."""


class OrderFilters(NamedTuple):
    """Filters of orders; None does not filter."""

    status: str | None = None
    payment_id: str | None = None
    created_from: datetime | None = None
    created_to: datetime | None = None


class RefundFilters(NamedTuple):
    """Filters of refunds; None does not filter. `open`: not succeeded and not failed."""

    status: str | None = None
    order_id: str | None = None
    open: bool | None = None
    created_from: datetime | None = None
    created_to: datetime | None = None


class DisputeFilters(NamedTuple):
    """Filters of disputes; None does not filter. `open`: the bank has not decided."""

    status: str | None = None
    order_id: str | None = None
    provider: str | None = None
    open: bool | None = None


class InboxFilters(NamedTuple):
    """Filters of webhooks; None does not filter. `open`: stored, parked or dead."""

    status: str | None = None
    provider: str | None = None
    event_type: str | None = None
    open: bool | None = None


class FindingFilters(NamedTuple):
    """Filters of findings; None does not filter. `status`: undecided, ignored, adopted or noted."""

    status: str | None = None
    kind: str | None = None
    transfer_id: UUID | None = None


class FindingEntry(NamedTuple):
    """A difference from Stripe's books, with the last decision about it. `at_risk` in minor units.

    `status` is `undecided` without a decision, and `noted` after one was taken back. `found_at` is
    None when the newest reconciliation did not find it; such a finding needs no decision.
    """

    finding_id: str
    kind: str
    status: str
    stripe_id: str
    stripe_transfer_id: str
    transfer_id: UUID | None
    reversal_id: str | None
    at_risk: int
    currency: str
    detail: str
    obstacle: str | None
    """Why it cannot be adopted; None if it can."""
    awaits_others: bool
    actor: str | None
    reason: str | None
    since: datetime | None
    found_at: datetime | None
    decided_at: datetime | None
    at: datetime


class SellerMoney(NamedTuple):
    """The open money of one seller and currency, in minor units.

    `owed` and `stuck` are owed back: by reversals under way, and by those that wait for a person.
    The last four divide both by age.
    """

    seller_id: str
    currency: str
    owed: int
    stuck: int
    to_send: int
    oldest_debt_at: datetime | None
    up_to_1_day: int
    up_to_7_days: int
    up_to_30_days: int
    older: int
    debt: int
    """The largest debt of the seller in one currency."""


class SellerEntry(NamedTuple):
    """One seller, with the open money of each currency."""

    seller_id: str
    money: Sequence[SellerMoney]


SellerSort = Literal["debt", "age", "seller"]

_TRANSFERS = {
    "waiting_for": "waiting_for = %(waiting_for)s "
    "and status in ('pending', 'failed', 'reversal_pending')",
    "refund_id": f"transfer_id = any(array({SQL['of_refund'].decode()}))",
    "stripe_id": f"transfer_id = any(array({SQL['at_stripe'].decode()}))",
    "updated_since": "updated_at >= %(updated_since)s",
    "min_amount": "amount >= %(min_amount)s",
    "attempts": "retry_count >= %(attempts)s",
    "error": "position(lower(%(error)s) in lower(last_error)) > 0",
}
_UNINDEXED = frozenset({"currency", "updated_since", "min_amount", "attempts", "error"})
_SELECTIVE = frozenset({
    "seller_id", "order_id", "waiting_for", "refund_id", "stripe_id", "destination",
})  # fmt: skip
_PERIOD = {
    "created_from": "created_at >= %(created_from)s",
    "created_to": "created_at < %(created_to)s",
}
_OPEN = {
    "refunds": "status in ('requested', 'submitted', 'review')",
    "disputes": "status in ('opened', 'challenged', 'withdrawn')",
    "inbox": "status in ('stored', 'parked', 'dead') and inbox_id > 0",
}
_RANK = {
    "debt": ("debt > 0", "debt desc, seller_id", "(debt, seller_id)"),
    "age": ("oldest is not null", "oldest, seller_id", "(oldest, seller_id)"),
}


class Lists:
    """Lists of the read models, each a page at a time."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def transfers(
        self, filters: TransferFilters, limit: int, after: Place | None = None
    ) -> Page[SellerTransferRow]:
        """List transfers, newest first; a place is `created_at` and `transfer_id`."""
        given = {name for name, value in filters._asdict().items() if value is not None}
        where, values = transfer_conditions(filters)
        floor = None
        if given & _UNINDEXED and not given & _SELECTIVE:
            floor = await self._floor(after)
        if floor is not None:
            where.append("(created_at, transfer_id) >= (%(floor_at)s, %(floor_id)s)")
            values |= {"floor_at": floor[0], "floor_id": floor[1]}
        page = await self._page(
            "transfers", SellerTransferRow, "created_at", "transfer_id", where, values, limit, after
        )
        return page if page.next is not None else page._replace(next=floor)

    async def _floor(self, after: Place | None) -> Place | None:
        created_at, transfer_id = after or (None, None)
        values = {"created_at": created_at, "transfer_id": transfer_id, "window": WINDOW}
        async with self._pool.connection() as connection:
            row = await (await connection.execute(SQL["floor"], values, prepare=False)).fetchone()
        return (row[0], row[1]) if row else None

    async def orders(
        self, filters: OrderFilters, limit: int, after: Place | None = None
    ) -> Page[OrderRow]:
        """List orders, newest first; a place is `created_at` and `order_id`."""
        where, values = _where(filters, _PERIOD)
        return await self._page(
            "orders", OrderRow, "created_at", "order_id", where, values, limit, after
        )

    async def refunds(
        self, filters: RefundFilters, limit: int, after: Place | None = None
    ) -> Page[RefundRow]:
        """List refunds, newest first; a place is `created_at` and `refund_id`. Parts have the
        status that they had when the refund was divided."""
        where, values = _where(filters, {**_PERIOD, "open": _OPEN["refunds"]})
        return await self._page(
            "refunds", RefundRow, "created_at", "refund_id", where, values, limit, after
        )

    async def disputes(
        self, filters: DisputeFilters, limit: int, after: Place | None = None
    ) -> Page[DisputeRow]:
        """List disputes, newest first; a place is `created_at` and `dispute_id`."""
        where, values = _where(filters, {"open": _OPEN["disputes"]})
        return await self._page(
            "disputes", DisputeRow, "created_at", "dispute_id", where, values, limit, after
        )

    async def inbox(
        self, filters: InboxFilters, limit: int, after: int | None = None
    ) -> Page[InboxRow]:
        """List webhooks, newest first; a place is the `inbox_id`."""
        where, values = _where(filters, {"open": _OPEN["inbox"]})
        if after is not None:
            where.append("inbox_id < %(after)s")
        if filters.status in ("stored", "parked", "dead"):
            where.append(_OPEN["inbox"])  # selects the partial index
        rows = await self._rows("inbox", InboxRow, where, {**values, "after": after}, limit)
        return _cut(rows, limit, lambda row: row.inbox_id)

    async def findings(
        self, filters: FindingFilters, limit: int, after: Place | None = None
    ) -> Page[FindingEntry]:
        """List differences from Stripe's books, newest first; a place is `at` and `finding_id`."""
        where, values = _where(filters, {})
        return await self._page(
            "findings", FindingEntry, "at", "finding_id", where, values, limit, after
        )

    async def finding(self, finding_id: str) -> FindingEntry | None:
        """Return one finding, found lately or decided about."""
        rows = await self._rows(
            "findings", FindingEntry, ["finding_id = %(id)s"], {"id": finding_id}, 0
        )
        return rows[0] if rows else None

    async def sellers(
        self,
        limit: int,
        sort: SellerSort = "debt",
        currency: str | None = None,
        after: tuple[Any, str] | None = None,
    ) -> Page[SellerEntry]:
        """List sellers. By `debt` (the largest in one currency) or `age` only sellers that owe
        money; by `seller` all of them.

        A place is the debt, the beginning of the oldest debt, or None; and the seller.
        """
        if sort == "seller":
            return await self._by_name(limit, currency, after[1] if after else "")
        holds, order, place = _RANK[sort]
        where = holds
        if after is not None:
            less = "<" if sort == "debt" else ">"
            column = place[1:].split(",")[0]
            where += (
                f" and ({column} {less} %(place)s"
                f" or ({column} = %(place)s and seller_id > %(seller)s))"
            )
        values = {
            "place": after[0] if after else None,
            "seller": after[1] if after else None,
            "currency": currency,
            "sellers": None,
            "limit": limit + 1,
        }
        entries = await self._money(where, order, values)
        return _cut(entries, limit, lambda one: _seller_place(one, sort))

    async def seller(self, seller_id: str) -> SellerEntry:
        """Return one seller's open money; a seller without any, or an unknown one, has none."""
        values = {"currency": None, "sellers": [seller_id], "limit": 1}
        found = await self._money("true", "seller_id", values)
        return found[0] if found else SellerEntry(seller_id, [])

    async def _by_name(self, limit: int, currency: str | None, after: str) -> Page[SellerEntry]:
        values: dict[str, Any] = {"after": after, "limit": limit + 1}
        async with self._pool.connection() as connection:
            cursor = await connection.execute(SQL["sellers"], values, prepare=False)
            names = [row[0] for row in await cursor.fetchall()]
        values = {"currency": currency, "sellers": names, "limit": limit + 1}
        known = {one.seller_id: one for one in await self._money("true", "seller_id", values)}
        entries = [known.get(name, SellerEntry(name, [])) for name in names]
        return _cut(entries, limit, lambda one: (None, one.seller_id))

    async def _money(
        self, where: str, order: str, values: Mapping[str, object]
    ) -> list[SellerEntry]:
        query = SQL["debtors"].replace(FILTERS, where.encode()).replace(ORDER, order.encode())
        found: dict[str, list[SellerMoney]] = {}
        for row in await self._fetch(SellerMoney, query, values):
            found.setdefault(row.seller_id, []).append(row)
        return [SellerEntry(seller_id, money) for seller_id, money in found.items()]

    async def _page(
        self,
        query: str,
        kind: type[Row],
        at: str,
        name: str,
        where: list[str],
        values: dict[str, object],
        limit: int,
        after: Place | None,
    ) -> Page[Row]:
        if after is not None:
            where.append(f"({at}, {name}) < (%(after_at)s, %(after_id)s)")
            values |= {"after_at": after[0], "after_id": after[1]}
        rows = await self._rows(query, kind, where, values, limit)
        return _cut(rows, limit, lambda row: (getattr(row, at), getattr(row, name)))

    async def _rows(
        self,
        query: str,
        kind: type[Row],
        where: Sequence[str],
        values: Mapping[str, object],
        limit: int,
    ) -> list[Row]:
        """Fetch one row more than requested: it shows whether another page follows."""
        condition = " and ".join(where) or "true"
        text = SQL[query].replace(FILTERS, condition.encode())
        return await self._fetch(kind, text, {**values, "limit": limit + 1})

    async def _fetch(
        self, kind: type[Row], query: bytes, values: Mapping[str, object]
    ) -> list[Row]:
        return await fetch_by_index(self._pool, kind, query, values)


def transfer_conditions(filters: NamedTuple) -> tuple[list[str], dict[str, object]]:
    """Return the conditions of filters of transfers, and their values."""
    return _where(filters, {**_PERIOD, **_TRANSFERS})


def _where(
    filters: NamedTuple, conditions: Mapping[str, str]
) -> tuple[list[str], dict[str, object]]:
    """Return the conditions of the filters that were given, and their values."""
    given = {
        name: value
        for name, value in filters._asdict().items()
        if value is not None and not (name == "open" and value is False)
    }
    return [conditions.get(name, f"{name} = %({name})s") for name in given], given


def _cut(rows: Sequence[Row], limit: int, place: Callable[[Row], Any]) -> Page[Row]:
    page = rows[:limit]
    return Page(page, place(page[-1]) if page and len(rows) > limit else None)


def _seller_place(entry: SellerEntry, sort: SellerSort) -> tuple[Any, str]:
    if sort == "debt":
        return entry.money[0].debt, entry.seller_id
    ages = [money.oldest_debt_at for money in entry.money if money.oldest_debt_at is not None]
    return min(ages), entry.seller_id
