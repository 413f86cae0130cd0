"""Commands on refunds: each changes the refund, the order's allocation and the sellers' transfers
in one append."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import partial
from typing import NamedTuple
from uuid import UUID

from application.command_handler import NO_EXTRAS, CommandHandler
from application.commands.fitting_refunds import take_fitting
from application.ports import Directory
from application.unit_of_work import CommitExtras, UnitOfWork, recover_again
from domain.errors import (
    ContentDiffers,
    Contradiction,
    ExceedsOrder,
    NotTheAuthority,
    OrderNotPaid,
    OutdatedAnswer,
    Refused,
)
from domain.identity import refund_stream
from domain.order.aggregate import Order
from domain.order.authority import HYPERSWITCH, STRIPE, STRIPES_REFUNDS, claim_authority
from domain.order.collected import require_covered
from domain.order.payment_match import NO_NAMES, PaymentNames, psp_payment, require_payment_of
from domain.order.recovery import parts_of, recover_shares
from domain.order.set_aside import end_set_aside
from domain.provider_call.psp_objects import RefundAtPsp
from domain.refund.aggregate import Refund
from domain.refund.state import RefundStatus

ASKED = "hyperswitch:read"
"""Source in facts: the PSP's answer to a look-up of ours."""
ANSWERED = "hyperswitch:answer"
"""Source in facts: the PSP's answer to a call of ours."""


class RefundReport(NamedTuple):
    """A provider's report of a refund. Amount in minor units."""

    name: str
    """The provider's id of the refund."""
    order_id: str
    amount: int
    currency: str
    source: str
    """The webhook, answer or caller behind the report, for example `hyperswitch:<event id>`."""
    detail: str | None = None
    provider: str | None = None
    """The sender of the webhook. None: the refund was requested here, or the authority was
    asked."""
    stream: UUID | None = None
    """The refund's stream, if the reporter has just looked it up: that saves one query."""
    payment: PaymentNames = NO_NAMES
    """The names of the refunded payment, as far as the report gives them."""


class RefundRequest(NamedTuple):
    """A refund that a caller requests, or says has succeeded elsewhere. `amount` None: all that is
    not refunded yet."""

    refund_id: str
    order_id: str
    amount: int | None = None
    reason: str | None = None
    explicit: dict[str, int] | None = None
    psp_refund_id: str | None = None


class RecordedRefund(NamedTuple):
    """The refund, and whether the command created it."""

    refund: Refund
    news: bool


class RefundCommands:
    """Commands on refunds."""

    def __init__(self, handler: CommandHandler, directory: Directory) -> None:
        self._handler, self._directory = handler, directory

    async def succeeded(
        self, report: RefundReport, extras: CommitExtras = NO_EXTRAS, *, asked: int | None = None
    ) -> RecordedRefund:
        """Record a refund that is reported as succeeded. See `succeed_refund`."""
        return await self._handler.handle(
            self._loader(report),
            partial(succeed_refund, report, asked=asked),
            extras,
            report.order_id,
        )

    async def failed(
        self, report: RefundReport, extras: CommitExtras = NO_EXTRAS, *, asked: int | None = None
    ) -> RecordedRefund:
        """Record a refund that is reported as failed. See `fail_refund`."""
        return await self._handler.handle(
            self._loader(report), partial(fail_refund, report, asked=asked), extras, report.order_id
        )

    async def under_review(
        self, report: RefundReport, extras: CommitExtras = NO_EXTRAS
    ) -> RecordedRefund:
        """Record a refund that a person at the PSP decides on. See `review_refund`."""
        return await self._handler.handle(
            self._loader(report), partial(review_refund, report), extras, report.order_id
        )

    async def settle(self, request: RefundRequest) -> RecordedRefund:
        """Record a refund that has succeeded elsewhere. See `settle_refund`."""
        return await self._handler.handle(
            partial(self._load_requested, request),
            partial(settle_refund, request),
            order_id=request.order_id,
        )

    async def request(self, request: RefundRequest) -> RecordedRefund:
        """Record a refund that the PSP shall be asked for. See `request_refund`."""
        return await self._handler.handle(
            partial(self._load_requested, request),
            partial(request_refund, request),
            order_id=request.order_id,
        )

    def _loader(self, report: RefundReport) -> Callable[[], Awaitable[UnitOfWork]]:
        """Return a function that loads the order, its transfers and the refund.

        After a lost race the refund's stream is looked up again: another process may have recorded
        the refund under its other name.
        """
        streams = [report.stream] if report.stream is not None else []

        async def load() -> UnitOfWork:
            stream = streams.pop() if streams else await self._stream_of(report.name)
            return await self._handler.load_order_with_transfers(report.order_id, stream)

        return load

    async def _load_requested(self, request: RefundRequest) -> UnitOfWork:
        stream = await self._stream_of(request.refund_id, request.psp_refund_id)
        return await self._handler.load_order_with_transfers(request.order_id, stream)

    async def _stream_of(self, name: str, other_name: str | None = None) -> UUID:
        """Return the stream of the refund with either name; for an unknown refund, the stream that
        the first name gives."""
        for known_as in filter(None, (name, other_name)):
            stream = await self._directory.refund_named(known_as)
            if stream is not None:
                return stream
        return refund_stream(name)


def succeed_refund(
    report: RefundReport, uow: UnitOfWork, now: datetime, *, asked: int | None = None
) -> RecordedRefund:
    """Take a refund that has succeeded from the sellers. `asked`: the PSP was asked when the refund
    had this version, so no earlier report counts.

    Raises UnknownId, NotTheAuthority, OtherPayment, ContentDiffers, AwaitsPayment, OutdatedAnswer,
    and, unless `asked`, Contradiction when it is recorded as failed.
    """
    _require_current(uow, asked)
    order = uow.order(report.order_id)
    known = uow.refund()
    if known is None or known.key not in order.refunds:
        require_covered(order, report.name, report.amount, report.currency)
    refund, news = _reported(uow, report, now)
    _take_from_sellers(uow, order, refund, report.source, now, asked=asked, payment=report.payment)
    return RecordedRefund(refund, news)


def fail_refund(
    report: RefundReport, uow: UnitOfWork, now: datetime, *, asked: int | None = None
) -> RecordedRefund:
    """Give back to the sellers the shares of a refund that has failed, possibly after it had
    succeeded.

    Raises UnknownId, NotTheAuthority, OtherPayment, ContentDiffers, OutdatedAnswer when it has
    changed since the version `asked`, and, without `asked`, Contradiction when a webhook of
    Hyperswitch reports a refund as failed that is recorded as succeeded: then the PSP can be asked
    which it is. The race between two reports is decided here and not before.
    """
    _require_current(uow, asked)
    known = uow.refund()
    if (
        asked is None
        and report.provider == HYPERSWITCH
        and known is not None
        and known.status is RefundStatus.SUCCEEDED
    ):
        raise Contradiction("Refund", known.refund_id, "succeeded", "failed", known.version)
    order = uow.order(report.order_id)
    refund, news = _reported(uow, report, now)
    if refund.may_become(RefundStatus.FAILED):
        decided = order.decided.get(refund.key)
        dismissed = decided is not None and decided.allocation is None
        refund.fail(report.source, report.detail, now, dismissed=dismissed)
        order.release_refund(refund.key, now)
        end_set_aside(order, refund.key, "the refund has failed", now)
        revoked = order.revoke_refund(refund.key, now)
        # after a restore Stripe may show amounts taken for a success that was lost here
        if revoked or any(transfer.unexplained for transfer in uow.transfers()):
            uow.add(recover_shares(order, uow.transfers(), refund.key, now))
        if revoked:
            take_fitting(uow, order, report.source, now)
    elif any(transfer.unexplained for transfer in uow.transfers()):
        # the failure was reported before Stripe showed the amount, or while a restore went on
        recover_again(uow, order, refund.key, now)
    return RecordedRefund(refund, news)


def _require_current(uow: UnitOfWork, asked: int | None) -> None:
    """Check that the refund has not changed since the PSP was asked. Raises OutdatedAnswer."""
    refund = uow.refund()
    if asked is not None and refund is not None and refund.version != asked:
        raise OutdatedAnswer(refund.refund_id, asked, refund.version)


def review_refund(report: RefundReport, uow: UnitOfWork, now: datetime) -> RecordedRefund:
    """Record that a person at the PSP decides; nothing is taken from the sellers. Raises UnknownId,
    ContentDiffers."""
    uow.order(report.order_id)
    refund, news = _reported(uow, report, now)
    if refund.may_become(RefundStatus.REVIEW):
        refund.review(report.source, report.detail or "the payment provider is reviewing it", now)
    return RecordedRefund(refund, news)


def record_refund_at_psp(
    uow: UnitOfWork, refund: Refund, seen: RefundAtPsp, source: str, now: datetime
) -> bool:
    """Record the status that the PSP shows; return whether it is final. The PSP is the authority,
    so no earlier report outweighs it: the refund must not have changed since the question."""
    report = report_of(seen, refund.order_id, source)
    match seen.status:
        case "succeeded" if seen.reverts_transfer:
            return False  # its report is handled with a read of the reversal that it has made
        case "succeeded":
            succeed_refund(report, uow, now, asked=refund.version)
        case "failed":
            fail_refund(report, uow, now)
        case "review":
            review_refund(report, uow, now)
        case _:
            return False
    return True


def report_of(seen: RefundAtPsp, order_id: str, source: str) -> RefundReport:
    """Return the refund that the PSP shows as a report."""
    detail = ": ".join(filter(None, (seen.error_code, seen.error_message))) or None
    report = RefundReport(seen.refund_id, order_id, seen.amount, seen.currency, source, detail)
    return report._replace(payment=psp_payment(seen.payment_id))


def settle_refund(request: RefundRequest, uow: UnitOfWork, now: datetime) -> RecordedRefund:
    """Take a refund that has succeeded elsewhere from the sellers.

    Raises UnknownId, ContentDiffers, Contradiction, ExceedsOrder, Refused.
    """
    order, refund = uow.order(request.order_id), uow.refund()
    news = refund is None
    if refund is None:
        refund = _settled(uow, order, request, now)
    else:
        refund.agree(
            request.order_id,
            request.amount,
            request.psp_refund_id,
            request.reason,
            request.explicit,
        )
        refund.name(request.refund_id, request.psp_refund_id, now)
    _take_from_sellers(uow, order, refund, "api", now)
    return RecordedRefund(refund, news)


def request_refund(request: RefundRequest, uow: UnitOfWork, now: datetime) -> RecordedRefund:
    """Reserve the refund's part of the order; a worker asks the PSP next.

    Raises UnknownId, ContentDiffers, ExceedsOrder, Refused.
    """
    order, refund = uow.order(request.order_id), uow.refund()
    if refund is not None:
        if refund.refund_id != request.refund_id:
            raise ContentDiffers("refund", request.refund_id, ["refund_id"])
        refund.agree(request.order_id, request.amount, None, request.reason, request.explicit)
        return RecordedRefund(refund, False)
    if not order.paid:
        raise OrderNotPaid(order.order_id)
    if order.payment_id is None:
        raise Refused(
            f"Order {order.order_id!r} was paid by a payment that the ledger does not know. Refund "
            "it where it was paid, and record the refund with settled: true."
        )
    if claim_authority(order, HYPERSWITCH, "api", now) != HYPERSWITCH:
        raise Refused(
            f"Order {order.order_id!r} was paid at Stripe, which the payment provider cannot "
            "refund; "
            "refund it there, and its webhook or `settled: true` records it here."
        )
    amount = _amount_within(order.refundable, order, request)
    objection = order.objection_to_request(request.explicit, amount)
    if objection is not None:
        raise Refused(
            f"Refund {request.refund_id!r} cannot be divided among the sellers: {objection}."
        )
    refund = Refund.open(
        refund_id=request.refund_id,
        order_id=order.order_id,
        amount=amount,
        currency=order.currency,
        origin="api",
        reason=request.reason,
        explicit=request.explicit,
        payment_id=order.payment_id,
        now=now,
    )
    order.reserve_refund(refund.key, amount, request.explicit, now)
    uow.add([refund])
    return RecordedRefund(refund, True)


def _amount_within(left: int, order: Order, request: RefundRequest) -> int:
    """Return the requested amount; without one, all that a new refund may ask for. Raises
    ExceedsOrder."""
    amount = order.refundable if request.amount is None else request.amount
    if amount > left or amount == 0:
        name = f"Refund {request.refund_id!r} of order {order.order_id!r}"
        raise ExceedsOrder(name, request.amount or 1, left, order.currency)
    return amount


def _settled(uow: UnitOfWork, order: Order, request: RefundRequest, now: datetime) -> Refund:
    """Open a refund that has succeeded elsewhere."""
    amount = _amount_within(order.collected - order.refunded, order, request)
    objection = order.objection_to_refund(amount, order.currency, request.explicit)
    if objection is not None:
        raise Refused(
            f"Refund {request.refund_id!r} cannot be divided among the sellers: {objection}."
        )
    name = request.psp_refund_id or request.refund_id
    _claim_by_name(order, name, now)
    refund = Refund.open(
        refund_id=request.refund_id,
        order_id=order.order_id,
        amount=amount,
        currency=order.currency,
        origin="settled",
        psp_refund_id=name,
        reason=request.reason,
        explicit=request.explicit,
        now=now,
    )
    uow.add([refund])
    return refund


def _claim_by_name(order: Order, name: str, now: datetime) -> None:
    """Make Stripe the authority of the order if this is a refund id of Stripe's, so that the PSP's
    webhooks do not count it again under another name. Raises Refused when the PSP is the authority
    already."""
    if name.startswith(STRIPES_REFUNDS):
        claim_authority(order, STRIPE, "api", now)
        if order.authority == HYPERSWITCH:
            raise Refused(
                f"The payment provider has reported refunds of order {order.order_id!r}, and "
                f"{name!r} is a refund id of "
                "Stripe's; give the payment provider's id, or the refund would be taken twice."
            )


def _reported(uow: UnitOfWork, report: RefundReport, now: datetime) -> RecordedRefund:
    """Return the reported refund, opened if it is unknown. Raises UnknownId, NotTheAuthority,
    OtherPayment, ContentDiffers."""
    refund, order = uow.refund(), uow.order(report.order_id)
    if refund is None:
        if (
            report.provider is not None
            and claim_authority(order, report.provider, report.source, now) != report.provider
        ):
            raise NotTheAuthority(report.order_id)
        require_payment_of(order, report.payment)
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
        return RecordedRefund(refund, True)
    same = {
        "order_id": refund.order_id == report.order_id,
        "amount": refund.amount == report.amount,
        "currency": refund.currency == report.currency,
    }
    if not all(same.values()):
        raise ContentDiffers(
            "refund", refund.refund_id, [name for name, equal in same.items() if not equal]
        )
    if refund.status is not RefundStatus.SUCCEEDED:  # what was taken may always be given back
        require_payment_of(order, report.payment)
    if report.provider is not None:  # recorded under this provider's name, so its report counts
        claim_authority(order, report.provider, report.source, now)
    return RecordedRefund(refund, False)


def _take_from_sellers(
    uow: UnitOfWork,
    order: Order,
    refund: Refund,
    source: str,
    now: datetime,
    *,
    asked: int | None = None,
    payment: PaymentNames | None = None,
) -> None:
    """Take a refund from the sellers, or set it aside if it cannot be divided. Repeating this
    changes nothing.

    Raises Contradiction when it is recorded as failed, unless the PSP was `asked`.
    """
    if refund.status is RefundStatus.FAILED and asked is None:
        # reports overtake each other, so the later one is not the truer one
        raise Contradiction("Refund", refund.refund_id, "failed", "succeeded", refund.version)
    if not refund.may_become(RefundStatus.SUCCEEDED):
        return
    objection = order.allocate_refund(
        refund.key, refund.amount, refund.currency, refund.explicit, now, payment
    )
    if objection is None:
        uow.add(recover_shares(order, uow.transfers(), refund.key, now))
        refund.succeed(source, parts_of(order, uow.transfers(), refund.key), now)
    elif refund.may_become(RefundStatus.REVIEW):
        refund.review(source, f"it cannot be divided among the sellers: {objection}", now)
