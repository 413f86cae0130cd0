"""The order that a report about a payment, refund or dispute concerns."""

import asyncio

import structlog

from application.gateways import PaymentGateway
from application.ports import OrderMatches
from domain.provider_call.outcome import Failure
from domain.provider_call.psp_objects import PaymentAtPsp

READ_WITHIN = 5.0
"""Seconds; an event is leased for ten."""

log = structlog.get_logger()


def order_of(matches: OrderMatches) -> str | None:
    """Return the order: by the recorded refund, by the payment, and last by the metadata, which is
    only a hint. If several orders name the payment, the metadata decides."""
    by_id = next(iter(matches.by_id), None)
    found = [
        order_id
        for order_id in (matches.by_refund, matches.sole_by_payment, by_id)
        if order_id is not None
    ]
    if len(set(found)) > 1:
        log.warning("an event names several orders, the first one counts", orders=found)
    return found[0] if found else None


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
