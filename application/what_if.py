"""Forecast of a refund or dispute: the very decision that a real one would take, on the streams as
they are now, and nothing is appended."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import NamedTuple
from uuid import UUID, uuid4

from application.command_handler import CommandHandler, Decision
from application.commands.disputes import DisputeReport, record_dispute
from application.commands.refunds import RefundRequest, settle_refund
from application.unit_of_work import UnitOfWork
from domain.dispute import DisputePolicy, DisputeStatus
from domain.fact import Fact
from domain.order.aggregate import Order
from domain.order.authority import STRIPE, authority_of
from domain.seller_transfer import facts
from domain.seller_transfer.aggregate import SellerTransfer


class SellerForecast(NamedTuple):
    """The part of one seller, in minor units of the currency of the share. `before`: the amount
    that all refunds and disputes until now take."""

    seller_id: str
    currency: str
    share: int
    before: int
    amount: int


class ForecastStep(NamedTuple):
    """A fact that the refund or dispute would add to a transfer. `amount`: the amount that it
    moves, if it moves one."""

    seller_id: str
    transfer_id: UUID | None
    """None: a compensating transfer that would be made, and whose id depends on the cause."""
    currency: str
    fact: Fact
    amount: int | None


class Forecast(NamedTuple):
    """The effect of a planned refund or dispute of `amount`, in minor units of the order's
    currency."""

    kind: str
    order_id: str
    currency: str
    amount: int
    paid: bool
    """True if the order is paid. Before that, the amounts are deducted from the later transfers."""
    reserved: int
    """Part of the order that requested refunds, which are not decided yet, have reserved."""
    refundable: int
    """Amount that a new refund may ask for, before this one."""
    sellers: Sequence[SellerForecast]
    steps: Sequence[ForecastStep]

    @property
    def residue(self) -> int:
        """The amount that the platform bears: its own part of the order, the amounts lost to
        rounding down, and parts that the sellers have given already. Shares in another currency do
        not count."""
        return self.amount - sum(
            one.amount for one in self.sellers if one.currency == self.currency
        )


class WhatIf:
    """Forecasts, made by the same functions as the real commands."""

    def __init__(self, handler: CommandHandler) -> None:
        self._handler = handler

    async def refund(
        self, order_id: str, amount: int | None, explicit: Mapping[str, int] | None = None
    ) -> Forecast:
        """Forecast a refund that succeeds now; without an amount, of all that may still be
        refunded. Raises UnknownId, ExceedsOrder, Refused."""
        parts = None if explicit is None else dict(explicit)
        request = RefundRequest(f"what-if-{uuid4()}", order_id, amount, explicit=parts)
        return await self._forecast("refund", order_id, partial(_refund, request))

    async def dispute(self, order_id: str, amount: int | None) -> Forecast:
        """Forecast a dispute that takes the money now; without an amount, of all that was
        collected. Raises UnknownId, Refused."""
        return await self._forecast("dispute", order_id, partial(_dispute, order_id, amount))

    async def _forecast(self, kind: str, order_id: str, decide: Decision[int]) -> Forecast:
        uow = await self._handler.load_order_with_transfers(order_id)
        order = uow.order(order_id)
        before, refundable = dict(order.seller_targets), order.refundable
        reserved = sum(portion.amount for portion in order.reserved.values())
        amount = self._handler.foresee(uow, decide)
        return Forecast(
            kind=kind,
            order_id=order_id,
            currency=order.currency,
            amount=amount,
            paid=order.paid,
            reserved=reserved,
            refundable=refundable,
            sellers=[
                SellerForecast(
                    seller_id,
                    order.share_currency(seller_id),
                    order.shares[seller_id]["amount"],
                    before[seller_id],
                    target - before[seller_id],
                )
                for seller_id, target in order.seller_targets.items()
            ],
            steps=_steps(uow),
        )


def _refund(request: RefundRequest, uow: UnitOfWork, now: datetime) -> int:
    return settle_refund(request, uow, now).refund.amount


def _dispute(order_id: str, amount: int | None, uow: UnitOfWork, now: datetime) -> int:
    order = uow.order(order_id)
    report = DisputeReport(
        dispute_id=f"what-if-{uuid4()}",
        provider=_reporter(order),
        order_id=order_id,
        amount=order.collected if amount is None else amount,
        currency=order.currency,
        reported=(DisputeStatus.OPENED, DisputeStatus.WITHDRAWN, DisputeStatus.LOST),
        source="what-if",
    )
    record_dispute(report, DisputePolicy.LOST, uow, now)
    return report.amount


def _reporter(order: Order) -> str:
    return authority_of(order) or STRIPE


def _steps(uow: UnitOfWork) -> list[ForecastStep]:
    return [
        ForecastStep(
            stream.seller_id,
            None if isinstance(pending[0], facts.Created) else stream.id,
            stream.currency,
            fact,
            _amount(fact),
        )
        for stream, pending in uow.changed()
        if isinstance(stream, SellerTransfer)
        for fact in pending
    ]


def _amount(fact: Fact) -> int | None:
    match fact:
        case facts.AmountReduced() | facts.Cancelled():
            return fact.by
        case (
            facts.ReversalRequested()
            | facts.ReversalQueued()
            | facts.ReversalWithdrawn()
            | facts.Created()
        ):
            return fact.amount
    return None
