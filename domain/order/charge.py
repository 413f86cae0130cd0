"""Charge of an order: the buyer's payment at Stripe, which funds the sellers' transfers.

The PSP names the payment at its connector. Behind Stripe that is a PaymentIntent, and its charge is
read once, before the first call. A read moves no money, so a read that was lost is repeated.

The charge funds the transfers of the sale in the order of the shares, each as a whole or not at
all. The rest, compensations, and all transfers of an order whose charge cannot be read are paid
from the platform's balance.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Literal

from domain.currency import in_major_units
from domain.errors import NothingToRead
from domain.identity import SALE
from domain.order.aggregate import Order
from domain.order.facts import (
    ChargeFound,
    ChargeNotFound,
    ChargeReadDeferred,
    ChargeReadRequested,
)
from domain.order.recovery import doubt
from domain.provider_call.reasons import DeferralReason
from domain.provider_call.retry_policy import Policy
from domain.provider_call.steps import LookUp, Rest
from domain.provider_call.stripe_objects import ChargeAtStripe
from domain.seller_transfer.aggregate import SellerTransfer
from domain.seller_transfer.source import decide_source, refuse_source, takes_source

CHARGE = "charge"
"""The operation that reads the charge."""


def begin(order: Order, now: datetime) -> LookUp | Rest:
    """Return the next step of an order that was claimed to read its charge."""
    if order.read_charge_at is None or order.connector_payment is None:
        return Rest("no charge is to be read")
    if order.read_charge_at > now:
        return Rest("not due yet")
    return LookUp(CHARGE, order.created_on, order.charge_reads)


def defer(order: Order, why: DeferralReason, detail: str, now: datetime, policy: Policy) -> None:
    """Read the charge again after a delay that grows; nothing is decided."""
    assert order.connector_payment is not None
    order.record(
        ChargeReadDeferred(
            **order.next(now),
            connector_payment=order.connector_payment,
            why=why.value,
            detail=detail,
            reads=order.charge_reads + 1,
            since=order.charge_unread_since or now,
            read_charge_at=now + policy.delay(order.charge_reads),
        )
    )


def request_read(order: Order, actor: str, reason: str, now: datetime) -> None:
    """Read the charge again, as an operator asks. Raises NothingToRead."""
    if order.source_transaction is not None:
        raise NothingToRead(order.order_id, f"its charge is {order.source_transaction!r}")
    if order.connector_payment is None:
        raise NothingToRead(order.order_id, "the payment provider has named no payment at Stripe")
    order.record(
        ChargeReadRequested(**order.next(now), actor=actor, reason=reason, read_charge_at=now)
    )


def find(
    order: Order, transfers: Iterable[SellerTransfer], seen: ChargeAtStripe, now: datetime
) -> None:
    """Record the charge that Stripe shows, and the source of each transfer of the sale."""
    if order.read_charge_at is None or order.connector_payment is None:
        return
    known = list(transfers)
    sales = _sales(order, known)
    failed = seen.status == "failed"
    sources = {} if failed else _sources(order, sales, seen)
    order.record(
        ChargeFound(
            **order.next(now),
            connector_payment=order.connector_payment,
            charge=seen.charge_id,
            amount=seen.amount,
            currency=seen.currency,
            settled_amount=seen.settled_amount,
            settled_currency=seen.settled_currency,
            status=seen.status,
            sourced=sum(why is None for why in sources.values()),
        )
    )
    if failed:
        _doubt(order, known, seen, now)
    for transfer in sales:
        why = sources.get(transfer.seller_id)
        if takes_source(transfer):
            _decide(order, transfer, seen, why if not failed else "The charge has failed.", now)


def _doubt(
    order: Order, transfers: Sequence[SellerTransfer], seen: ChargeAtStripe, now: datetime
) -> None:
    detail = (
        f"The payment {order.payment_id!r} of order {order.order_id!r} was recorded as succeeded, "
        f"and Stripe shows its charge {seen.charge_id!r} as failed"
    )
    source = f"stripe:{seen.charge_id}"
    doubt(order, transfers, order.payment_id or seen.charge_id, source, detail, now)


def lose(
    order: Order,
    transfers: Iterable[SellerTransfer],
    why: Literal["not_readable", "no_charge"],
    detail: str,
    now: datetime,
) -> None:
    """Record that the charge cannot be read, and let the transfers that wait for it be sent without
    it."""
    if order.read_charge_at is None or order.connector_payment is None:
        return
    waiting = [transfer for transfer in _sales(order, transfers) if transfer.awaits_charge]
    order.record(
        ChargeNotFound(
            **order.next(now),
            order_id=order.order_id,
            connector_payment=order.connector_payment,
            why=why,
            detail=detail,
            unfunded=len(waiting),
            amount=sum(t.amount for t in waiting if t.currency == order.currency),
            currency=order.currency,
        )
    )
    for transfer in waiting:
        decide_source(transfer, None, f"The charge cannot be read at Stripe: {detail}", now)


def _sales(order: Order, transfers: Iterable[SellerTransfer]) -> list[SellerTransfer]:
    """Return the unsent transfers of the sale in the order of the shares."""
    of_sale = {transfer.seller_id: transfer for transfer in transfers if transfer.cause == SALE}
    sales = [of_sale[seller_id] for seller_id in order.shares if seller_id in of_sale]
    return [transfer for transfer in sales if takes_source(transfer)]


def _sources(
    order: Order, sales: Sequence[SellerTransfer], seen: ChargeAtStripe
) -> dict[str, str | None]:
    """Return for each seller why the charge does not fund the transfer; None if it does."""
    left, currency = seen.transferable
    reasons: dict[str, str | None] = {}
    for transfer in sales:
        if transfer.currency != currency:
            reasons[transfer.seller_id] = (
                f"The charge {seen.charge_id!r} was settled in {currency}, the transfer is in "
                f"{transfer.currency}."
            )
        elif transfer.amount > left:
            reasons[transfer.seller_id] = (
                f"The charge {seen.charge_id!r} has {in_major_units(left, currency)} left for "
                "this transfer."
            )
        else:
            reasons[transfer.seller_id] = None
            left -= transfer.amount
    return reasons


def _decide(
    order: Order, transfer: SellerTransfer, seen: ChargeAtStripe, why: str | None, now: datetime
) -> None:
    if why is None:
        paid_from = f"The charge {seen.charge_id!r} of payment {order.connector_payment!r}."
        decide_source(transfer, seen.charge_id, paid_from, now)
    elif not transfer.awaits_charge:
        return  # it goes on as it was, from the platform's balance
    elif _refused(order, transfer, seen):
        refuse_source(transfer, why, now)
    else:
        decide_source(transfer, None, why, now)


def _refused(order: Order, transfer: SellerTransfer, seen: ChargeAtStripe) -> bool:
    """Return whether the currency of the charge refuses the transfer.

    A share with a currency of its own was never to be paid from the buyer's money.
    """
    own = transfer.currency != order.currency
    return seen.status != "failed" and not own and transfer.currency != seen.transferable[1]
