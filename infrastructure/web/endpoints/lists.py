"""Endpoints of the lists for people: orders, refunds, sellers, disputes, webhooks, findings."""

from collections.abc import Callable, Iterable
from dataclasses import fields
from datetime import datetime
from typing import Any, TypeVar

from infrastructure.postgres.read_side.lists import (
    DisputeFilters,
    FindingFilters,
    InboxFilters,
    Lists,
    OrderFilters,
    Page,
    RefundFilters,
    SellerEntry,
)
from infrastructure.web.list_cursors import (
    cursor_at,
    cursor_of,
    instant_and_name,
    number_and_name,
)
from infrastructure.web.list_requests import (
    DisputesQuery,
    FindingsQuery,
    InboxQuery,
    OrdersQuery,
    RefundsQuery,
    SellersQuery,
)
from infrastructure.web.list_responses import (
    Dispute,
    DisputePage,
    FindingPage,
    FindingShown,
    InboxPage,
    OrderEntry,
    OrderPage,
    RefundEntry,
    RefundPage,
    SellerMoneyShown,
    SellerPage,
    SellerShown,
    WebhookEntry,
)
from infrastructure.web.operation import ApiCall, Reply

Shown = TypeVar("Shown")


async def list_orders(call: ApiCall[None, OrdersQuery]) -> Reply:
    query = call.query
    filters = OrderFilters(query.status, query.payment_id, query.created_from, query.created_to)
    page = await Lists(call.service.pool).orders(filters, query.limit, _after(query.cursor))
    return Reply(200, OrderPage(shown(OrderEntry, page.rows), _next(page)))


async def list_refunds(call: ApiCall[None, RefundsQuery]) -> Reply:
    query = call.query
    filters = RefundFilters(
        query.status, query.order_id, query.open, query.created_from, query.created_to
    )
    page = await Lists(call.service.pool).refunds(filters, query.limit, _after(query.cursor))
    return Reply(200, RefundPage(shown(RefundEntry, page.rows), _next(page)))


async def list_disputes(call: ApiCall[None, DisputesQuery]) -> Reply:
    query = call.query
    filters = DisputeFilters(query.status, query.order_id, query.provider, query.open)
    page = await Lists(call.service.pool).disputes(filters, query.limit, _after(query.cursor))
    return Reply(200, DisputePage(shown(Dispute, page.rows), _next(page)))


async def list_inbox(call: ApiCall[None, InboxQuery]) -> Reply:
    query = call.query
    filters = InboxFilters(query.status, query.provider, query.event_type, query.open)
    after = int(query.cursor) if query.cursor is not None else None
    page = await Lists(call.service.pool).inbox(filters, query.limit, after)
    following = str(page.next) if page.next is not None else None
    return Reply(200, InboxPage(shown(WebhookEntry, page.rows), following))


async def list_findings(call: ApiCall[None, FindingsQuery]) -> Reply:
    query = call.query
    filters = FindingFilters(query.status, query.kind, query.transfer_id)
    page = await Lists(call.service.pool).findings(filters, query.limit, _after(query.cursor))
    return Reply(200, FindingPage(shown(FindingShown, page.rows), _next(page)))


async def list_sellers(call: ApiCall[None, SellersQuery]) -> Reply:
    query = call.query
    read = instant_and_name if query.sort == "age" else number_and_name
    after = read(query.cursor) if query.cursor is not None else None
    page = await Lists(call.service.pool).sellers(query.limit, query.sort, query.currency, after)
    following = None
    if page.next is not None:
        place, seller_id = page.next
        following = (
            cursor_at(place, seller_id)
            if isinstance(place, datetime)
            else cursor_of(place or 0, seller_id)
        )
    return Reply(200, SellerPage([_seller(one) for one in page.rows], following))


def _seller(entry: SellerEntry) -> SellerShown:
    return SellerShown(entry.seller_id, shown(SellerMoneyShown, entry.money))


def shown(kind: Callable[..., Shown], rows: Iterable[object]) -> list[Shown]:
    """Return rows as callers see them: the members of the response class."""
    names = [member.name for member in fields(kind)]  # type: ignore[arg-type]
    return [kind(**{name: getattr(row, name) for name in names}) for row in rows]


def _after(cursor: str | None) -> tuple[datetime, str] | None:
    return instant_and_name(cursor) if cursor is not None else None


def _next(page: Page[Any]) -> str | None:
    return cursor_at(*page.next) if page.next is not None else None
