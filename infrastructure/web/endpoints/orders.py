"""Endpoints of orders: register, record or create the payment, show an order with its transfers and
refunds."""

from collections.abc import Sequence

from domain.errors import UnknownId
from domain.order import state
from infrastructure.postgres.read_side.read_models import Filters, ReadModels
from infrastructure.web.as_of import asks_for_the_past, before_its_time, moment_of
from infrastructure.web.endpoints.refunds import shown as shown_refund
from infrastructure.web.endpoints.transfers import as_folded, with_reversals
from infrastructure.web.operation import ApiCall, Reply
from infrastructure.web.problems import psp_not_configured
from infrastructure.web.requests import OrderIn, PaidIn, Parameters, PastQuery, RetryIn, ShareIn
from infrastructure.web.responses import Order, Payment, Refund, Share, Transfer
from projections.orders import OrderRow

MOST_TRANSFERS = 10_000


async def record_order(call: ApiCall[OrderIn, Parameters]) -> Reply:
    body = call.body
    news = await call.service.commands.orders.register(
        order_id=body.order_id,
        currency=body.currency,
        amount=body.amount,
        shares=[_share(share, body.currency) for share in body.shares],
        payment_id=body.payment_id,
        source_transaction=body.source_transaction,
    )
    return Reply(201 if news else 200, await _order(call.reads, body.order_id))


def _share(share: ShareIn, currency: str) -> state.Share:
    plain = state.Share(
        seller_id=share.seller_id, destination=share.destination, amount=share.amount
    )
    if share.currency not in (None, currency):
        plain["currency"] = share.currency
    return plain


def _shown(share: state.Share, currency: str) -> Share:
    return Share(
        share["seller_id"], share["destination"], share["amount"], share.get("currency", currency)
    )


async def pay_order(call: ApiCall[PaidIn, Parameters]) -> Reply:
    order_id = call.id("order_id")
    body, orders = call.body, call.service.commands.orders
    order = await orders.order(order_id) if body.amount_received is not None else None
    expected = (
        (body.amount_received, order.currency)
        if order is not None and body.amount_received is not None and not order.paid
        else None
    )
    await orders.record_payment(
        order_id, body.payment_id, body.source_transaction, "api", expected=expected
    )
    if body.amount_received is not None:
        await orders.correct_collected(order_id, body.amount_received, "api")
    return Reply(200, await _order(call.reads, order_id))


async def create_payment(call: ApiCall[None, Parameters]) -> Reply:
    order_id, psp = call.id("order_id"), call.service.psp
    if psp is None:
        raise psp_not_configured()
    made = await call.service.commands.orders.create_payment(psp, order_id)
    return Reply(
        200,
        Payment(
            order_id, made.payment_id, made.status, made.amount, made.currency, made.client_secret
        ),
    )


async def read_charge(call: ApiCall[RetryIn, Parameters]) -> Reply:
    order_id = call.id("order_id")
    await call.service.commands.orders.read_charge(order_id, call.body.actor, call.body.reason)
    return Reply(202, await _order(call.reads, order_id))


async def show_order(call: ApiCall[None, PastQuery]) -> Reply:
    order_id = call.id("order_id")
    return Reply(
        200,
        await (
            _as_it_was(call, order_id)
            if asks_for_the_past(call.query)
            else _order(call.reads, order_id)
        ),
    )


async def _as_it_was(call: ApiCall[None, PastQuery], order_id: str) -> Order:
    then = await call.past.order(order_id, await moment_of(call))
    if then is None:
        raise before_its_time("order", order_id, call.query)
    return _whole(
        then.order,
        [as_folded(one) for one in then.transfers],
        [shown_refund(one) for one in then.refunds],
    )


async def _order(reads: ReadModels, order_id: str) -> Order:
    row = await reads.order(order_id)
    if row is None:
        raise UnknownId("order", order_id)
    transfers = await reads.transfers(Filters(order_id=order_id), MOST_TRANSFERS)
    shown = await with_reversals(reads, transfers[::-1])
    return _whole(row, shown, list(map(shown_refund, await reads.refunds_of(order_id))))


def _whole(row: OrderRow, transfers: Sequence[Transfer], refunds: Sequence[Refund]) -> Order:
    return Order(
        order_id=row.order_id,
        currency=row.currency,
        amount=row.amount,
        refunded=row.refunded,
        collected=row.collected,
        status=row.status,
        payment_id=row.payment_id,
        source_transaction=row.source_transaction,
        connector_payment=row.connector_payment,
        last_error=row.last_error,
        shares=[_shown(share, row.currency) for share in row.shares],
        transfers=transfers,
        refunds=refunds,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
