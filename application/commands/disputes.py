"""What a report about a dispute changes: the dispute, the order's count, and the sellers' transfers, in one append.

A pure decision over a loaded `UnitOfWork`; it may be repeated and then changes nothing.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from application.unit_of_work import UnitOfWork
from domain.dispute import Dispute, DisputePolicy, DisputeStatus
from domain.errors import NotTheAuthority
from domain.identity import dispute_cause
from domain.order.aggregate import Order
from domain.order.authority import authority_of, claim_authority
from domain.order.disputes import count_dispute, revoke_dispute
from domain.order.recovery import recover_shares

MOVED = frozenset({DisputeStatus.WITHDRAWN, DisputeStatus.LOST})


class DisputeReport(NamedTuple):
    """What the provider says of a dispute. Amount in minor units."""

    dispute_id: str
    provider: str
    order_id: str
    amount: int
    currency: str
    told: Sequence[DisputeStatus]
    """What it says happened, the earliest first."""
    source: str
    reason: str | None = None


def heard(uow: UnitOfWork, report: DisputeReport, policy: DisputePolicy, now: datetime) -> bool:
    """Take a report in; answers whether it was news.

    Raises UnknownId, NotTheAuthority, ContentDiffers, Contradiction (it was won, and is reported as lost).
    """
    order = uow.order(report.order_id)
    if _authority(order, report, now) not in (report.provider, None):
        raise NotTheAuthority(report.order_id)
    dispute = uow.dispute(report.provider, report.dispute_id)
    news = dispute is None
    if dispute is None:
        dispute = _opened(report, now)
        uow.add([dispute])
    if (dispute.order_id, dispute.currency) == (report.order_id, report.currency):
        news = dispute.restate(report.amount, report.source, now) or news
    dispute.agree(report.order_id, report.amount, report.currency)
    for status in report.told:
        news = dispute.report(status, report.source, now) or news
    known = len(order.pending_events)
    if dispute.takes(policy):
        count_dispute(order, dispute.dispute_id, dispute.amount, dispute.currency, now)
    else:
        revoke_dispute(order, dispute.dispute_id, now)
    if len(order.pending_events) > known:
        cause_id = dispute_cause(dispute.dispute_id)
        uow.add(recover_shares(order, uow.transfers(), cause_id, now))
    return news


def _authority(order: Order, report: DisputeReport, now: datetime) -> str | None:
    """Nobody gets the word for telling of a dispute that has moved no money."""
    moved = not MOVED.isdisjoint(report.told)
    return claim_authority(order, report.provider, report.source, now) if moved else authority_of(order)


def _opened(report: DisputeReport, now: datetime) -> Dispute:
    return Dispute.open(
        dispute_id=report.dispute_id,
        provider=report.provider,
        order_id=report.order_id,
        amount=report.amount,
        currency=report.currency,
        reason=report.reason,
        source=report.source,
        now=now,
    )
