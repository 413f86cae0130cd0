"""What a report about a refund changes: the refund itself, the order's allocation, and the sellers' transfers, in one append.

Pure decisions over a loaded `UnitOfWork`; every one of them may be repeated and then changes nothing.
"""

from datetime import datetime
from typing import NamedTuple

from application.unit_of_work import UnitOfWork
from domain.errors import ContentDiffers, Contradiction, ExceedsOrder, NotTheAuthority, Refused
from domain.order.aggregate import Order
from domain.order.authority import HYPERSWITCH, STRIPE, STRIPES_REFUNDS, claim_authority
from domain.order.recovery import parts_of, recover_shares
from domain.refund.aggregate import Refund
from domain.refund.state import RefundStatus


class RefundReport(NamedTuple):
    """What the PSP says of a refund. Amount in minor units."""

    name: str
    """The id the PSP knows it by."""
    order_id: str
    amount: int
    currency: str
    source: str
    """Who says so, for example `hyperswitch:<event id>`."""
    detail: str | None = None
    provider: str | None = None
    """Whose webhook says so. None: it was asked for here, or the authority was asked."""


class RefundRequest(NamedTuple):
    """A refund that a caller wants, or says has succeeded elsewhere. `amount` None: all that is not refunded yet."""

    refund_id: str
    order_id: str
    amount: int | None = None
    reason: str | None = None
    explicit: dict[str, int] | None = None
    psp_refund_id: str | None = None


class Recorded(NamedTuple):
    """The refund, and whether the call made it known."""

    refund: Refund
    news: bool


def succeeded(uow: UnitOfWork, report: RefundReport, now: datetime) -> Recorded:
    """The PSP says it succeeded. Raises UnknownId, NotTheAuthority, ContentDiffers, Contradiction (it is recorded as failed)."""
    order = uow.order(report.order_id)
    refund, news = _reported(uow, report, now)
    _effective(uow, order, refund, report.source, now)
    return Recorded(refund, news)


def succeeded_after_all(uow: UnitOfWork, report: RefundReport, now: datetime) -> Recorded:
    """The PSP was asked just now, and says it succeeded, whatever was reported before. Raises UnknownId, ContentDiffers."""
    order = uow.order(report.order_id)
    refund, news = _reported(uow, report, now)
    _effective(uow, order, refund, report.source, now, asked=True)
    return Recorded(refund, news)


def failed(uow: UnitOfWork, report: RefundReport, now: datetime) -> Recorded:
    """The provider says it failed. Raises UnknownId, NotTheAuthority, ContentDiffers, and, where the PSP can be asked which it
    is, Contradiction (it is recorded as succeeded): the race between two reports is decided here, and not before it."""
    refund = uow.refund()
    if report.provider == HYPERSWITCH and refund is not None and refund.status is RefundStatus.SUCCEEDED:
        raise Contradiction("Refund", refund.refund_id, "succeeded", "failed")
    return failed_after_all(uow, report, now)


def failed_after_all(uow: UnitOfWork, report: RefundReport, now: datetime) -> Recorded:
    """It failed, possibly after it had succeeded: what it took goes back. Raises UnknownId, NotTheAuthority, ContentDiffers."""
    order = uow.order(report.order_id)
    refund, news = _reported(uow, report, now)
    if refund.may_become(RefundStatus.FAILED):
        refund.fail(report.source, report.detail, now)
        order.release_refund(refund.key, now)
        if order.revoke_refund(refund.key, now):
            uow.add(recover_shares(order, uow.transfers(), refund.key, now))
    return Recorded(refund, news)


def under_review(uow: UnitOfWork, report: RefundReport, now: datetime) -> Recorded:
    """The PSP says that a person decides; nothing is taken from the sellers. Raises UnknownId, ContentDiffers."""
    uow.order(report.order_id)
    refund, news = _reported(uow, report, now)
    if refund.may_become(RefundStatus.REVIEW):
        refund.review(report.source, report.detail or "the payment provider is reviewing it", now)
    return Recorded(refund, news)


def settled(uow: UnitOfWork, wish: RefundRequest, now: datetime) -> Recorded:
    """A caller says it succeeded elsewhere. Raises UnknownId, ContentDiffers, Contradiction, ExceedsOrder, Refused."""
    order, refund = uow.order(wish.order_id), uow.refund()
    news = refund is None
    if refund is None:
        refund = _opened(uow, order, wish, now)
    else:
        refund.agree(wish.order_id, wish.amount, wish.psp_refund_id, wish.reason, wish.explicit)
        refund.name(wish.refund_id, wish.psp_refund_id, now)
    _effective(uow, order, refund, "api", now)
    return Recorded(refund, news)


def requested(uow: UnitOfWork, wish: RefundRequest, now: datetime) -> Recorded:
    """A caller wants it: its part of the order is reserved, and the PSP is asked next.

    Raises UnknownId, ContentDiffers, ExceedsOrder, Refused.
    """
    order, refund = uow.order(wish.order_id), uow.refund()
    if refund is not None:
        if refund.refund_id != wish.refund_id:
            raise ContentDiffers("refund", wish.refund_id, ["refund_id"])
        refund.agree(wish.order_id, wish.amount, None, wish.reason, wish.explicit)
        return Recorded(refund, False)
    if not order.paid or order.payment_id is None:
        lacks = "is not paid yet" if not order.paid else "was paid by a payment that the ledger does not know"
        raise Refused(f"Order {order.order_id!r} {lacks}, so there is no payment that could be refunded; report it first.")
    if claim_authority(order, HYPERSWITCH, "api", now) != HYPERSWITCH:
        raise Refused(
            f"Order {order.order_id!r} was paid at Stripe, which the payment provider cannot refund; "
            "refund it there, and its webhook or `settled: true` tells of it here."
        )
    amount = _within(order.refundable, order, wish)
    objection = order.objection_to_request(wish.explicit, amount)
    if objection is not None:
        raise Refused(f"Refund {wish.refund_id!r} cannot be divided among the sellers: {objection}.")
    refund = Refund.open(
        refund_id=wish.refund_id,
        order_id=order.order_id,
        amount=amount,
        currency=order.currency,
        origin="api",
        reason=wish.reason,
        explicit=wish.explicit,
        payment_id=order.payment_id,
        now=now,
    )
    order.reserve_refund(refund.key, amount, wish.explicit, now)
    uow.add([refund])
    return Recorded(refund, True)


def _within(left: int, order: Order, wish: RefundRequest) -> int:
    """The amount that is meant; without one, all that a new refund may ask for. Raises ExceedsOrder."""
    amount = order.refundable if wish.amount is None else wish.amount
    if amount > left or amount == 0:
        raise ExceedsOrder(f"Refund {wish.refund_id!r} of order {order.order_id!r}", wish.amount or 1, left, order.currency)
    return amount


def _opened(uow: UnitOfWork, order: Order, wish: RefundRequest, now: datetime) -> Refund:
    amount = _within(order.amount - order.refunded, order, wish)
    objection = order.objection_to_refund(amount, order.currency, wish.explicit)
    if objection is not None:
        raise Refused(f"Refund {wish.refund_id!r} cannot be divided among the sellers: {objection}.")
    name = wish.psp_refund_id or wish.refund_id
    _told_by_name(order, name, now)
    refund = Refund.open(
        refund_id=wish.refund_id,
        order_id=order.order_id,
        amount=amount,
        currency=order.currency,
        origin="settled",
        psp_refund_id=name,
        reason=wish.reason,
        explicit=wish.explicit,
        now=now,
    )
    uow.add([refund])
    return refund


def _told_by_name(order: Order, name: str, now: datetime) -> None:
    """A refund that is told by Stripe's name is not told once more by the PSP's. Raises Refused where it was told by that."""
    if name.startswith(STRIPES_REFUNDS):
        claim_authority(order, STRIPE, "api", now)
        if order.authority == HYPERSWITCH:
            raise Refused(
                f"The payment provider has told of refunds of order {order.order_id!r}, and {name!r} is Stripe's name of one; "
                "give the payment provider's, or it would be taken twice."
            )


def _reported(uow: UnitOfWork, report: RefundReport, now: datetime) -> Recorded:
    refund = uow.refund()
    if refund is None:
        order = uow.order(report.order_id)
        if report.provider is not None and claim_authority(order, report.provider, report.source, now) != report.provider:
            raise NotTheAuthority(report.order_id)
        refund = Refund.open(
            refund_id=report.name,
            order_id=report.order_id,
            amount=report.amount,
            currency=report.currency,
            origin="psp",
            psp_refund_id=report.name,
            now=now,
        )
        uow.add([refund])
        return Recorded(refund, True)
    same = {
        "order_id": refund.order_id == report.order_id,
        "amount": refund.amount == report.amount,
        "currency": refund.currency == report.currency,
    }
    if not all(same.values()):
        raise ContentDiffers("refund", refund.refund_id, [name for name, equal in same.items() if not equal])
    if report.provider is not None:
        claim_authority(uow.order(report.order_id), report.provider, report.source, now)  # it was told here under this one's name
    return Recorded(refund, False)


def _effective(uow: UnitOfWork, order: Order, refund: Refund, source: str, now: datetime, *, asked: bool = False) -> None:
    """Take it from the sellers, or set it aside. Twice is as good as once. `asked`: the PSP was, just now."""
    if refund.status is RefundStatus.FAILED and not asked:
        # reports overtake each other, so the later one is not the truer one
        raise Contradiction("Refund", refund.refund_id, "failed", "succeeded")
    if not refund.may_become(RefundStatus.SUCCEEDED):
        return
    objection = order.allocate_refund(refund.key, refund.amount, refund.currency, refund.explicit, now)
    if objection is None:
        uow.add(recover_shares(order, uow.transfers(), refund.key, now))
        refund.succeed(source, parts_of(order, uow.transfers(), refund.key), now)
    elif refund.may_become(RefundStatus.REVIEW):
        refund.review(source, f"it cannot be divided among the sellers: {objection}", now)
