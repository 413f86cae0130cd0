"""The order that a report about a payment, refund or dispute concerns."""

import asyncio

import structlog

from application.gateways import PaymentGateway
from application.log_ids import bind_ids
from application.ports import OrderMatches
from domain.provider_call.outcome import Failure
from domain.provider_call.psp_objects import PaymentAtPsp

READ_WITHIN = 5.0
"""Seconds; an event is leased for ten."""

log = structlog.get_logger()


def order_of(matches: OrderMatches) -> str | None:
    """Return the order: by the recorded refund, by the payment, and last by the metadata, which is
    only a hint. If several orders name the payment, the metadata decides."""
    return _first(matches.by_refund, matches.sole_by_payment, *matches.by_id[:1])


def order_to_pay(matches: OrderMatches) -> str | None:
    """Return the order that a payment pays: the marketplace names it in the payment's metadata,
    before any order names the payment."""
    return _first(*matches.by_id, matches.sole_by_payment)


def _first(*found: str | None) -> str | None:
    """Return the first known order, and add it to the log lines. Names that lead to different
    orders are logged."""
    orders = [order_id for order_id in found if order_id is not None]
    if len(set(orders)) > 1:
        log.warning("an event names several orders, the first one counts", orders=orders)
    found_first = orders[0] if orders else None
    bind_ids(order_id=found_first)
    return found_first


async def payment_at_psp(
    psp: PaymentGateway | None, payment_id: str
) -> PaymentAtPsp | Failure | None:
    """Read a payment at the PSP. None: there is no PSP, no answer in time, or an id that the PSP
    cannot have."""
    try:
        async with asyncio.timeout(READ_WITHIN):
            return await psp.payment(payment_id) if psp is not None else None
    except (TimeoutError, ValueError):
        return None


async def order_named_by_payment(psp: PaymentGateway | None, payment_id: str) -> str | None:
    """Return the order in the metadata of a payment at the PSP. A refund or dispute of a second
    payment often names its order only there."""
    seen = await payment_at_psp(psp, payment_id)
    return seen.order_id if isinstance(seen, PaymentAtPsp) else None
